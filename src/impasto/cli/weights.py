"""`impasto weights list|fetch|import|verify`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from impasto.nets import weights as store
from impasto.nets.sources import SOURCES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def weights() -> None:
    """Network weights: list those known, fetch them, import files by hand, check the cached ones."""


@weights.command("list")
def list_() -> None:
    """Every known network's weights: whether they are here, their licence and what to cite."""
    for name, source in SOURCES.items():
        state = f"here: {store.path_of(name)}" if store.is_cached(name) else f"not here; impasto weights fetch {name}"
        click.echo(f"{name}\n  {source.description}\n  {state} ({source.download_mb} MB to fetch)")
        click.echo(f"  licence: {source.licence}\n  cite: {source.citation}")


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
def fetch(names: tuple[str, ...]) -> None:
    """Fetch weights into the cache; vgg16, the default network's, without a NAME. Those already there are left."""
    for name in names or ("vgg16",):
        there = store.is_cached(name)
        path = fetch_shown(name)
        click.echo(f"{name}: {'already here' if there else 'fetched'}, {path}")


def fetch_shown(name: str) -> Path:
    """Fetch with a progress bar on stderr."""
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        return store.fetch(name, on_progress=lambda done, total: bar.update(task, completed=done, total=total))


@weights.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
def import_(name: str, file: Path) -> None:
    """Take the weights called NAME from a FILE got by hand: the official one, or a safetensors of ours."""
    click.echo(f"{name}: imported, {store.import_file(name, file)}")


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
def verify(names: tuple[str, ...]) -> int:
    """Check cached weights against their hashes; those of every cached network without a NAME."""
    chosen = names or tuple(name for name in store.names() if store.is_cached(name))
    if not chosen:
        click.echo("No weights are cached: impasto weights fetch vgg16")
    found = {name: store.verify(name) for name in chosen}
    for name, verification in found.items():
        click.echo(f"{name}: {verification}")
    return 0 if all(v.ok for v in found.values()) else 1
