"""`impasto train-any CONTENT_DIR STYLE_DIR -o MODEL`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from impasto.cli.train import CHECKPOINT, prepared_folder, settings_of, training_options, work
from impasto.errors import JobError
from impasto.train.settings import Settings

FOLDER = click.Path(path_type=Path)


def end_process(code: int) -> None:
    """Part from the processes that torchrun started, and end this one with what it is to return.

    Backends keep threads of their own, which now and then abort an interpreter that winds down, even after the group is
    parted: so this one does not wind down.
    """
    import torch.distributed as dist

    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("content_dir", type=FOLDER)
@click.argument("style_dir", type=FOLDER)
@click.option("--start", type=FOLDER, metavar="MODEL", help="The network to begin with; default: at random.")
@training_options(Settings)
def train_any(
    content_dir: Path, style_dir: Path, start: Path | None, output: Path, folder: Path | None, **options: Any
) -> int:
    """Train one network for any style on a folder of photos and a folder of styles.

    Goes on from the checkpoint in its folder if there is one. Under torchrun, every process takes a share of each step.
    """
    folder = prepared_folder(output, folder)
    settings = settings_of(Settings, options, folder)
    if start and (folder / CHECKPOINT).is_file():
        raise JobError(f"The training in {folder} is gone on with: leave out --start, or give another --folder.")

    import torch
    import torch.distributed as dist

    from impasto.hardware import choose_device, choose_dtype, keep_big_blocks
    from impasto.nets.any_style import load_any_style
    from impasto.nets.catalogue import network
    from impasto.train.ahead import Ahead
    from impasto.train.any_style import HeldOut, Training
    from impasto.train.data import Folder, Source

    keep_big_blocks()
    torch.set_num_threads(options["threads"] or os.cpu_count() or 1)
    if "RANK" in os.environ:
        dist.init_process_group()
    device = choose_device("auto")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    source = Source(Folder(content_dir, held_out=100), Folder(style_dir, held_out=40), settings.seed)
    shape = load_any_style(start).shape if start else None
    dtype = choose_dtype("auto", device)
    # A processor that also trains has none to spare.
    workers = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1 if device.type != "cpu" else 0
    batches = Ahead(source, settings, workers) if workers > 0 else source
    training = Training(settings, batches, network("vgg16"), shape=shape, device=device, dtype=dtype)
    if start:
        training.start_from(load_any_style(start))
    card = f"A network for any style, trained on {len(source.photos)} photos and {len(source.styles)} styles."
    code = work(training, HeldOut.of(source), output, folder, card, options)
    if dist.is_initialized():
        end_process(code)
    return code
