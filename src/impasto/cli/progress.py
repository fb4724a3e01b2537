"""The progress of a run on stderr: a rich bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from impasto.events import Step

LINES = 10


@contextmanager
def progress(silent: bool) -> Iterator[Callable[[Step], None]]:
    """A listener that shows scale, iteration, losses and the time left."""
    console = Console(stderr=True)
    if silent:
        yield lambda step: None
    elif not console.is_terminal:
        yield print_line
    else:
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("starting", total=None, losses="")

            def show(step: Step) -> None:
                bar.update(
                    task, total=step.iterations, completed=step.iteration + 1, description=scale_of(step),
                    losses=losses_of(step),
                )  # fmt: skip

            yield show


def scale_of(step: Step) -> str:
    entry = step.entry
    return f"scale {entry.scale + 1}/{step.scales} {entry.width}x{entry.height}"


def losses_of(step: Step) -> str:
    entry = step.entry
    if not entry.losses:
        return ""
    return f"objective {entry.total:.3f} (content {entry.content:.3f}, style {entry.style:.3f})"


def print_line(step: Step) -> None:
    every = max(1, step.iterations // LINES)
    if step.iteration % every == 0 or step.iteration + 1 == step.iterations:
        done = step.iteration + 1
        left = step.entry.seconds / done * (step.iterations - done)
        line = f"{scale_of(step)}  {done}/{step.iterations}  {losses_of(step)}  {left:.0f} s left"
        click.echo(line, file=sys.stderr)
