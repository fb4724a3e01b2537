"""`impasto evaluate RESULTS ...`: judge results beside the photo unchanged and a pure colour transfer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from impasto.evaluation import SIZE_PX
from impasto.evaluation.files import check_target, write_text

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def judging_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `evaluate` and `compare` share."""
    path = click.Path(path_type=Path)
    options = [
        click.option("--photo", metavar="FILE", help="The photo of all results; default: what their jobs say."),
        click.option(
            "--style", "styles", metavar="FILE", multiple=True,
            help="The style of all results, FILE or FILE:WEIGHT, repeatable; default: what their jobs say.",
        ),
        click.option(
            "--size", metavar="PX", type=click.IntRange(min=32), default=SIZE_PX, show_default=True,
            help="Longest side at which networks, structure and colours are judged, where results are larger; larger "
            "sees finer strokes and is slower.",
        ),
        click.option("--csv", metavar="FILE", type=path, help="Write every figure of every picture as CSV."),
        click.option("--html", metavar="FILE", type=path, help="Write a page with tables and pictures."),
        click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else."),
        click.option("--quiet", is_flag=True, help="No progress; the table stays."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command(context_settings=HELP)
@click.argument("results", nargs=-1, required=True, metavar="RESULTS ...")
@judging_options
def evaluate(results: tuple[str, ...], **options: Any) -> None:
    """Judge RESULTS, pictures or folders of them, by networks that they were not optimised against.

    Photo and style are those of the job that impasto saves beside each result. Beside every figure stand those of the
    photo unchanged and of a pure colour transfer: a result that does not beat them is none.
    """
    check_targets(options)
    from impasto.evaluation import page, tables
    from impasto.evaluation.evaluate import evaluate as judge

    with progress(options) as shown:
        found = judge(list(results), **sources(options), on_progress=shown)
    deliver(
        options,
        lambda: tables.evaluation_text(found),
        lambda: tables.evaluation_csv(found),
        lambda: page.evaluation_page(found),
        lambda: tables.evaluation_json(found),
    )


def sources(options: dict[str, Any]) -> dict[str, Any]:
    return {"photo": options["photo"], "style": list(options["styles"]) or None, "size": options["size"]}


def check_targets(options: dict[str, Any]) -> None:
    for file in (options["csv"], options["html"]):
        if file:
            check_target(file)


@contextmanager
def progress(options: dict[str, Any]) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr."""
    if options["quiet"] or options["as_json"]:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def deliver(
    options: dict[str, Any],
    text: Callable[[], str],
    csv: Callable[[], str],
    html: Callable[[], str],
    fields: Callable[[], dict[str, Any]],
) -> None:
    """Write the files asked for, then say what was found."""
    for file, made in ((options["csv"], csv), (options["html"], html)):
        if file:
            write_text(file, made())
    if options["as_json"]:
        click.echo(json.dumps(fields()))
        return
    click.echo(text())
    for file in (options["csv"], options["html"]):
        if file and not options["quiet"]:
            click.echo(f"{file}: written.")
