"""`impasto doctor`: what the machine has and lacks, and how fast it is."""

from __future__ import annotations

import platform
import sys

import click

from impasto import __version__


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def doctor() -> None:
    """Tell what this machine has and what is missing, and measure its speed.

    The speed is kept in the cache folder, so that --dry-run can tell how long a run will take.
    """
    import torch

    from impasto import calibration
    from impasto.hardware import cgroup_limit, choose_device, choose_dtype, free_bytes, has_bf16_units, in_words
    from impasto.nets import weights

    device = choose_device("auto")
    limit = cgroup_limit()
    click.echo(
        f"impasto {__version__}, Python {platform.python_version()} on {sys.platform}, torch {torch.__version__}"
    )
    click.echo(f"device: {device.type}, {torch.get_num_threads()} threads")
    click.echo(f"bfloat16 units: {'yes' if has_bf16_units(device) else 'no, so float32 is used'}")
    bound = f", and this process may hold {in_words(limit)} at most" if limit is not None else ""
    click.echo(f"memory: {in_words(free_bytes(device))} free{bound}")
    click.echo(f"cache: {weights.cache_folder()}")
    for name in weights.names():
        state = "here" if weights.is_cached(name) else f"not here: impasto weights fetch {name}"
        click.echo(f"weights {name}: {state}")
    dtype = choose_dtype("auto", device)
    measured = calibration.calibrate(device, dtype)
    click.echo(f"speed: {measured / 1e9:.0f} GFLOP/s in an iteration, {calibration.NAMES[dtype]}; kept for --dry-run")
