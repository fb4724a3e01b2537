"""`impasto layers PHOTO STYLE`: what each layer sees, and which the program chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from impasto.cli.options import job_of, option_of
from impasto.cli.stylize import check_target, free_name
from impasto.job import StyleJob, parse_style

FIELDS = (
    "size", "iterations", "content_loss", "style_loss", "style_scale", "precision", "device", "threads", "backbone",
    "pooling", "seed", "max_pixels",
)  # fmt: skip
# Small and short: two runs for each convolution of the network.
SMALL = {"size": 128, "iterations": 40}


def layer_options(function: Any) -> Any:
    for name in reversed(FIELDS):
        function = option_of(name, StyleJob.model_fields[name])(function)
    return function


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("photo")
@click.argument("style")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT",
    help="The picture that shows them. Default: PHOTO-STYLE.png beside the photo, never over a file.",
)  # fmt: skip
@layer_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="No progress; warnings and failures stay.")
def layers(photo: str, style: str, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Show what each layer alone keeps of PHOTO and takes from STYLE, and which layers --content-layers auto and
    --style-layers auto choose.

    Two runs a layer, of 128 px and 40 iterations where --size and --iterations do not say otherwise. A layer's pull is
    the size of its gradient; weights are the inverse of it, so that no layer is silent, times what was learned for
    the network where impasto learn-layers found any.
    """
    job = job_of(options, {**SMALL, "photo": photo, "styles": [parse_style(style)]})
    target = output or free_name(job)
    check_target(target, job)
    # torch is imported from here on.
    from impasto.layer_report import explain_layers, layer_figure

    found = explain_layers(job, lambda name: None if quiet or as_json else click.echo(f"{name} ...", err=True))
    layer_figure(found).save(target)
    if as_json:
        kinds = {kind: {one.name: getattr(one, f"{kind}_weight") for one in found} for kind in ("content", "style")}
        click.echo(json.dumps({"output": str(target), **kinds}))
    elif not quiet:
        click.echo(f"{'layer':<16}{'content pull':>14}{'weight':>8}{'style pull':>14}{'weight':>8}")
        for one in found:
            content, style_ = (f"{weight:.3f}" if weight else "-" for weight in (one.content_weight, one.style_weight))
            click.echo(f"{one.name:<16}{one.content_pull:>14.4g}{content:>8}{one.style_pull:>14.4g}{style_:>8}")
        click.echo(f"{target}: what each layer keeps of the photo and takes from the style.")
