"""`impasto learn-layers CONTENT_DIR STYLE_DIR`: learn which layers `auto` is to use with a network."""

from __future__ import annotations

import math
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli.main import INTERRUPTED
from impasto.cli.options import options_of
from impasto.errors import JobError, UserError
from impasto.job import explain, parse_seconds
from impasto.learning.settings import LearningSettings

if TYPE_CHECKING:
    from impasto.learning.learn import Learned
    from impasto.nets.cnn import Cnn

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("content_dir", type=FOLDER)
@click.argument("style_dir", type=FOLDER)
@click.option("--backbone", default="vgg16", show_default=True, metavar="NAME|FILE",
              help="The network: one of impasto weights list, or a file that Cnn.save wrote.")  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE",
              help="File to write; default: .layers.json beside the network's weights, where auto looks.")  # fmt: skip
@click.option("--log", type=FILE, metavar="CSV", help="Every trial's scores, to go on from; default: FILE with .csv.")
@options_of(LearningSettings)
@click.option("--time-budget", metavar="10m|2h", help="Search no longer than this; the check comes on top.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads; default: all cores.")
@click.option("--quiet", is_flag=True, help="No progress.")
def learn_layers(
    content_dir: Path, style_dir: Path, backbone: str, output: Path | None, log: Path | None, time_budget: str | None,
    threads: int | None, quiet: bool, **options: Any,
) -> int:  # fmt: skip
    """Learn weights of all convolutions of a network from photos and styles, for --content-layers auto and
    --style-layers auto.

    Settings are tried in short runs, at equal content, and scored by a network that no run works towards. What comes
    out is kept only if it is better than balance alone on pairs held out. Run again to go on after an interruption.
    """
    if find_spec("cmaes") is None:
        raise UserError("impasto learn-layers needs the extra learn: pip install 'impasto[learn]'.")
    settings = settings_of(options)
    budget_s = parse_seconds(time_budget) if time_budget else math.inf
    if not isinstance(budget_s, float):
        raise JobError(f"--time-budget must be a time such as 10m or 2h, not {budget_s!r}.")
    # torch is imported from here on.
    from impasto.evaluation.files import check_target, write_text
    from impasto.learned_layers import place_of
    from impasto.nets.catalogue import network

    cnn = network(backbone)
    place = place_of(backbone, cnn)
    assert place is not None, "a network of a file or of the catalogue has one"
    target = output or place
    log = log or target.with_suffix(".csv")
    for file in (target, log):
        check_target(file)
    try:
        found = learn(cnn, (content_dir, style_dir), log, settings, budget_s, threads, quiet)
    except KeyboardInterrupt:
        click.echo(f"impasto: Interrupted. {log} holds what was done: run again to go on.", err=True)
        return INTERRUPTED
    for name, scores in found.scores.items():
        click.echo(f"{name:<10} {told(scores)}")
    if found.layers is None:
        click.echo("Balance alone was no worse: nothing was written, and auto stays as it is.")
        return 0
    write_text(target, found.layers.model_dump_json(indent=1) + "\n")
    where = "" if target == place else f" auto reads it from {place}."
    click.echo(f"{target}: {'predicted for each pair' if found.layers.predictor else 'the same for all pairs'}.{where}")
    return 0


def settings_of(options: dict[str, Any]) -> LearningSettings:
    from pydantic import ValidationError

    try:
        return LearningSettings.model_validate({name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        message = explain(error.errors()[0])
        raise JobError(f"--{message.replace('_', '-', message.partition(' ')[0].count('_'))}") from None


def learn(
    cnn: Cnn, folders: tuple[Path, Path], log: Path, settings: LearningSettings, budget_s: float, threads: int | None,
    quiet: bool,
) -> Learned:  # fmt: skip
    """The search with a progress bar."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from impasto.evaluation.judges import judging_network
    from impasto.hardware import keep_big_blocks
    from impasto.learning.learn import JUDGE
    from impasto.learning.learn import learn_layers as run

    keep_big_blocks()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    judge, deadline = judging_network(JUDGE), time.monotonic() + budget_s
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("learning", total=settings.scores)
        return run(
            cnn, judge, *folders, log, settings, threads=threads,
            told=lambda done, trial: bar.update(task, completed=done, description=trial),
            stop=lambda: time.monotonic() > deadline,
        )  # fmt: skip


def told(scores: list[float]) -> str:
    """The mean of a setting's scores as a ratio, and in how many pairs plain layers were worse."""
    better = sum(score < 0 for score in scores)
    ratio = math.exp(sum(scores) / len(scores))
    return f"{ratio:.3f} of the plain layers' style distance, better on {better} of {len(scores)} pairs held out"
