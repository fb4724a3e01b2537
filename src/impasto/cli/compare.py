"""`impasto compare A B`: which of two settings is better, and how sure that is."""

from __future__ import annotations

from typing import Any

import click

from impasto.cli.evaluate import HELP, check_targets, deliver, judging_options, progress, sources


@click.command(context_settings=HELP)
@click.argument("a")
@click.argument("b")
@judging_options
def compare(a: str, b: str, **options: Any) -> None:
    """Compare A with B, two folders of results of the same pairs of photo and style, or two results.

    Pairs are matched by the names of their photo and styles. How sure a difference is, a paired bootstrap tells.
    """
    check_targets(options)
    from impasto.evaluation import page, tables
    from impasto.evaluation.compare import compare as judge

    with progress(options) as shown:
        found = judge(a, b, **sources(options), on_progress=shown)
    deliver(
        options,
        lambda: tables.comparison_text(found),
        lambda: tables.comparison_csv(found),
        lambda: page.comparison_page(found),
        lambda: tables.comparison_json(found),
    )
