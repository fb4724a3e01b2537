"""`impasto export [MODEL] -o NET.onnx`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from impasto.errors import JobError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="NET.onnx", required=True, help="File to write."
)
@click.option(
    "--input", "given", type=click.Choice(["style", "code"]), default=None,
    help="What is given with each photo: a style picture (default), or its code.",
)  # fmt: skip
def export(model: Path | None, output: Path, given: str | None) -> None:
    """Write the fast engine's network, or that of MODEL, as an ONNX file (opset 17) that paints photos of any size.

    Inputs: photo (1, 3, h, w) in 0..1, sides from 32 px; style, likewise, or code (1, k); strength (1), 0 to 1. A
    network of one style has neither style nor code. Output: picture (1, 3, h, w).
    """
    if output.suffix != ".onnx":
        raise JobError(f"{output} must end in .onnx.")
    if output.is_dir() or not os.access(output.absolute().parent, os.W_OK):
        raise JobError(f"{output} cannot be written: choose a file in a folder that is there and can be written to.")

    from impasto.nets.any_style import SHIPPED, load_any_style
    from impasto.nets.export import OPSET, export_onnx

    network = load_any_style(model or SHIPPED)
    if network.encoder is None and given:
        raise JobError(f"{model} is of one style and is given none: leave out --input.")
    export_onnx(network, output, "code" if given == "code" else "style")
    inputs = "photo, strength" if network.encoder is None else f"photo, {given or 'style'}, strength"
    click.echo(f"{output}: opset {OPSET}; inputs {inputs}; output picture; {output.stat().st_size / 1e6:.1f} MB.")
