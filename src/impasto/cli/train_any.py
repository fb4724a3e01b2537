"""`impasto train-any CONTENT_DIR STYLE_DIR -o MODEL`."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import click

from impasto.errors import JobError

HELP = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=HELP)
@click.argument("content_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("style_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", metavar="MODEL", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option("--folder", type=click.Path(path_type=Path), help="For checkpoints, logs and sheets [MODEL.training].")
@click.option("--start", metavar="MODEL", type=click.Path(path_type=Path), help="Network to begin with.")
@click.option("--settings", metavar="JSON", default="{}", help='What differs from the defaults: {"steps": 5000}.')
@click.option("--budget", metavar="SECONDS", type=float, help="Stop after this time; run again to go on.")
@click.option("--sheet-every", metavar="STEPS", default=500, show_default=True, help="Between two contact sheets.")
@click.option("--threads", type=int, help="CPU threads; default: as many as there are cores.")
def train_any(content_dir: Path, style_dir: Path, output: Path, **options: Any) -> None:
    """Train one network for any style on a folder of photos and a folder of styles.

    Goes on from the checkpoint in its folder if there is one. Under torchrun, every process takes a share.
    """
    import os

    import torch
    import torch.distributed as dist
    from pydantic import ValidationError

    from impasto.hardware import choose_device, choose_dtype, keep_big_blocks
    from impasto.job import explain
    from impasto.nets.any_style import load_any_style
    from impasto.nets.catalogue import network
    from impasto.train.any_style import Settings, Training, folders, train

    try:
        settings = Settings.model_validate_json(options["settings"])
    except ValidationError as error:
        raise JobError(f"--settings: {explain(error.errors()[0])}") from None
    keep_big_blocks()
    torch.set_num_threads(options["threads"] or os.cpu_count() or 1)
    if "RANK" in os.environ:
        dist.init_process_group()
    device = choose_device("auto")
    source = folders(content_dir, style_dir, settings.seed)
    training = Training(settings, source, network("vgg16"), device=device, dtype=choose_dtype("auto", device))
    folder = options["folder"] or output.with_suffix(".training")
    if (folder / "training.safetensors").is_file():
        training.load(folder / "training.safetensors")
    elif options["start"]:
        training.start_from(load_any_style(options["start"]))

    asked: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        # The step under way is finished and a checkpoint written.
        signal.signal(name, lambda number, frame: asked.append(number))
    deadline = time.monotonic() + (options["budget"] or float("inf"))
    train(
        training,
        folder,
        sheet_every=options["sheet_every"],
        stop=lambda: bool(asked) or time.monotonic() > deadline,
    )
    training.average.save(output)
    if asked:
        raise click.Abort
