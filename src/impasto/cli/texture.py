"""`impasto texture STYLE -o OUT`: a picture that is all texture, made of a style alone."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import click

from impasto.cli.options import job_of, option_of
from impasto.cli.stylize import check_target, free_name, work
from impasto.job import TEXTURE_FIELDS, StyleJob, parse_style

# The fields of a job that mean something without a photo.
FIELDS = (
    "size", "quality", "iterations", "pyramid_from", "optimizer", "learning_rate", "style_layers", "style_loss",
    "tv_weight", "style_scale", "seamless", "stop_loss", "tolerance", "time_budget", "precision", "device", "threads",
    "backbone", "pooling", "seed", "max_pixels",
)  # fmt: skip


def texture_options(function: Any) -> Any:
    for name in reversed(FIELDS):
        field = copy(StyleJob.model_fields[name])
        field.default = TEXTURE_FIELDS.get(name, field.default)
        function = option_of(name, field)(function)
    return function


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("styles", nargs=-1, required=True, metavar="STYLE [STYLE ...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT",
    help="The result; its extension is its format. Default: STYLE-STYLE.png beside the style, never over a file.",
)  # fmt: skip
@texture_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="No progress; warnings and failures stay.")
def texture(styles: tuple[str, ...], output: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Make a square picture (512 px, or --size) that is nothing but the texture of STYLE.

    With --seamless it can be laid out as tiles.
    """
    job = job_of(options, {**TEXTURE_FIELDS, "styles": [parse_style(style) for style in styles]})
    target = output or free_name(job)
    check_target(target, job)
    return work(job, target, None, None, as_json, quiet)
