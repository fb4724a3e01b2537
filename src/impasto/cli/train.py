"""`impasto train STYLE -o MODEL`, and what it has in common with `impasto train-any`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from impasto.cli.main import INTERRUPTED
from impasto.cli.options import options_of
from impasto.errors import JobError
from impasto.train.settings import OneStyleSettings, Settings

if TYPE_CHECKING:
    from impasto.train.any_style import HeldOut, Training

CHECKPOINT = "training.safetensors"
MINUTES = 20
SettingsKind = TypeVar("SettingsKind", bound=Settings)


def training_options(model: type[Settings]) -> Callable[[Any], Any]:
    """Decorate a training command with what every training is asked: where to, for how long, and its settings."""
    folder = click.Path(path_type=Path)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--quiet", is_flag=True, help="No progress."),
            click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads; default: all cores."),
            click.option(
                "--time-budget", metavar="10m|2h", help="Stop after this time with what there is; run again to go on."
            ),
            click.option(
                "--sheet-every",
                type=click.IntRange(1),
                metavar="N",
                default=200,
                show_default=True,
                help="Steps between two contact sheets of held-out photos.",
            ),  # fmt: skip
            options_of(model),
            click.option(
                "--folder",
                type=folder,
                metavar="DIR",
                help="For the checkpoint to go on from, logs and contact sheets; default: MODEL.training.",
            ),  # fmt: skip
            click.option("-o", "--output", type=folder, metavar="MODEL", required=True, help="File to write."),
        ):
            function = option(function)
        return function

    return decorate


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("style")
@click.option(
    "--photos", type=click.Path(path_type=Path), metavar="DIR", required=True,
    help="Photos to train on, a hundred or more; every tenth is held out for the contact sheets.",
)  # fmt: skip
@click.option("--style-size", type=click.IntRange(64, 2048), metavar="PX", default=512, show_default=True,
              help="Longest side of the style as it is painted; larger gives larger strokes.")  # fmt: skip
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help=f"As many steps as the machine takes in this time, in place of --steps. [default: {MINUTES}]",
)
@training_options(OneStyleSettings)
def train(
    style: str, photos: Path, style_size: int, minutes: float | None, output: Path, folder: Path | None, **options: Any
) -> int:
    """Train a small network that paints in the one style of the picture STYLE.

    It begins as the part of the network for any style that paints this one, and is then trained to the style itself.
    Goes on from the checkpoint in its folder if there is one. `impasto PHOTO --model MODEL -o OUT` uses it;
    network.safetensors in its folder is what there is so far.
    """
    folder = prepared_folder(output, folder)
    if minutes and options["steps"]:
        raise JobError("--minutes and --steps both say how long to train: give one of them.")
    going_on = (folder / CHECKPOINT).is_file()
    paced = not options["steps"] and (minutes is not None or not going_on)
    settings = settings_of(OneStyleSettings, options | ({"steps": 1} if paced else {}), folder)

    import torch

    from impasto.hardware import choose_device, choose_dtype, keep_big_blocks
    from impasto.nets.any_style import SHIPPED, load_any_style
    from impasto.nets.catalogue import network
    from impasto.picture import read_picture
    from impasto.train.any_style import steps_within
    from impasto.train.checkpoint import load_checkpoint
    from impasto.train.data import Folder
    from impasto.train.one_style import OneStyleTraining, PhotoSource

    keep_big_blocks()
    torch.set_num_threads(options["threads"] or os.cpu_count() or 1)
    device = choose_device("auto")
    picture = read_picture(style)
    factor = style_size / max(picture.size_hw)
    picture = picture.resized(*(max(32, round(side * factor)) for side in picture.size_hw))
    source = PhotoSource(Folder(photos, held_out=10), settings.seed)
    pixels = torch.from_numpy(picture.pixels)[None]
    cnn, teacher, dtype = network("vgg16"), load_any_style(SHIPPED), choose_dtype("auto", device)

    def begun(settings: OneStyleSettings) -> OneStyleTraining:
        return OneStyleTraining(settings, source, cnn, pixels, teacher, device=device, dtype=dtype)

    training = begun(settings)
    if paced:
        steps = steps_within(training, 60 * (minutes or MINUTES))
        done = load_checkpoint(folder / CHECKPOINT)[1]["step"] if going_on else 0
        training = begun(settings.model_copy(update={"steps": done + steps}))
    card = f"A network of one style, {Path(style).name}, for impasto PHOTO --model MODEL -o OUT."
    return work(training, training.pairs(), output, folder, card, options)


def prepared_folder(output: Path, folder: Path | None) -> Path:
    """The training's folder; JobError where MODEL could not be written in the end."""
    if output.suffix != ".safetensors":
        raise JobError(f"{output} must end in .safetensors.")
    if output.is_dir() or not os.access(output.absolute().parent, os.W_OK):
        raise JobError(f"{output} cannot be written: choose a file in a folder that is there and can be written to.")
    return folder or output.with_suffix(".training")


def settings_of(model: type[SettingsKind], options: dict[str, Any], folder: Path) -> SettingsKind:
    """The settings given, over those of the training that is gone on with."""
    from pydantic import ValidationError

    from impasto.job import explain

    given = {name: options[name] for name in model.model_fields if options[name] is not None}
    if (folder / CHECKPOINT).is_file():
        from impasto.train.checkpoint import load_checkpoint

        given = load_checkpoint(folder / CHECKPOINT)[1]["settings"] | given
    try:
        return model.model_validate(given)
    except ValidationError as error:
        message = explain(error.errors()[0])
        raise JobError(f"--{message.replace('_', '-', message.partition(' ')[0].count('_'))}") from None


def work(training: Training, pairs: HeldOut, output: Path, folder: Path, card: str, options: dict[str, Any]) -> int:
    """Train with a progress bar until the last step, the end of the time or Ctrl-C, then write MODEL."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from impasto.job import parse_seconds
    from impasto.train.any_style import train as run

    if (folder / CHECKPOINT).is_file():
        training.load(folder / CHECKPOINT)
    budget_s = parse_seconds(options["time_budget"]) if options["time_budget"] else float("inf")
    if not isinstance(budget_s, float):
        raise JobError(f"--time-budget must be a time such as 10m or 2h, not {budget_s!r}.")
    asked: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        # The step under way is finished and a checkpoint written.
        signal.signal(name, lambda number, frame: asked.append(number))
    deadline = time.monotonic() + budget_s
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    main_process = training.rank == 0
    with Progress(*columns, console=Console(stderr=True), disable=options["quiet"] or not main_process) as bar:
        task = bar.add_task("training", total=training.settings.steps, completed=training.step)

        def show(distances: dict[str, float]) -> None:
            told = ", ".join(f"{name} {distances[name]:.3f}" for name in ("content", "style") if name in distances)
            bar.update(task, completed=training.step, description=told)

        run(
            training, folder, pairs, sheet_every=options["sheet_every"], on_step=show,
            stop=lambda: bool(asked) or time.monotonic() > deadline,
        )  # fmt: skip
    if main_process:
        training.average.save(output, {"card": f"{card}\n\n{training.told()}"})
        sheet = folder / "sheet.png"
        # There is none where too few pictures were given for one to be held out.
        shown = f"; {sheet} shows it" if sheet.is_file() else ""
        click.echo(f"{output}: {training.step} of {training.settings.steps} steps{shown}.")
        if training.source.skipped:
            click.echo(f"impasto: {training.source.skipped} of the pictures could not be read: left out.", err=True)
    return INTERRUPTED if asked else 0
