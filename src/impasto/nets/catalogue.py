"""The known networks: VGG-16 and VGG-19 of Simonyan & Zisserman (2014), by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from impasto.errors import UserError, nearest
from impasto.nets import weights
from impasto.nets.cnn import Cnn, build_cnn, load_cnn
from impasto.nets.layers import Conv, Dense, Pool, Preprocess, Row, conv, dense, flatten, preprocess

# Oxford's own weights read BGR in 0..255 less the mean colour of ImageNet, torchvision's RGB in 0..1 standardised.
CAFFE = preprocess("BGR", 255.0, mean=(103.939, 116.779, 123.68))
TORCHVISION = preprocess("RGB", 1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Known:
    """A network of the catalogue: how many convolutions each of its five blocks has, and what it reads."""

    convs: tuple[int, ...]
    input: Preprocess


CATALOGUE: dict[str, Known] = {
    "vgg16": Known((2, 2, 3, 3, 3), CAFFE),
    "vgg16-torchvision": Known((2, 2, 3, 3, 3), TORCHVISION),
    "vgg19": Known((2, 2, 4, 4, 4), TORCHVISION),
}


def vgg_table(known: Known, pooling: Literal["max", "avg"] = "max", head: bool = False) -> list[Row]:
    """The rows of a VGG; `head` adds the three dense layers, named as in Keras."""
    table: list[Row] = [known.input]
    for block, convs in enumerate(known.convs):
        table += [conv(min(64 * 2**block, 512), 3)] * convs + [Pool(pooling, 2)]
    if head:
        table += [
            flatten(),
            dense(4096, name="fc1"),
            dense(4096, name="fc2"),
            dense(1000, "linear", name="predictions"),
        ]
    return table


def network(
    name: str = "vgg16", *, pooling: Literal["max", "avg"] | None = None, head: bool = False, seed: int = 0
) -> Cnn:
    """A network of the catalogue with its trained weights from the cache, or one that `Cnn.save` wrote to a file.

    pooling: `avg` gives smoother pictures, `max` more contrasted ones; None leaves the network as it is (`max`).
    head: with the dense layers; where the weights' source has none, they are seeded random and the network's name
        says so.
    Raises WeightsError where the weights are not in the cache, UserError for an unknown name.
    """
    if name not in CATALOGUE:
        if Path(name).suffix == ".safetensors":
            return with_pooling(load_cnn(name), pooling) if pooling else load_cnn(name)
        near = nearest(name, CATALOGUE)
        raise UserError(
            f"There is no network {name!r}: did you mean {near!r}? A file of your own ends in .safetensors."
        )
    cnn = build_cnn(vgg_table(CATALOGUE[name], pooling or "max", head), seed=seed, name=name)
    return with_weights(cnn, weights.load(name))


def with_weights(cnn: Cnn, tensors: dict[str, Tensor]) -> Cnn:
    """The network with trained weights where `tensors` has them; the name tells which layers stay random."""
    random = [
        layer.name
        for layer in cnn.layers
        if isinstance(layer.row, Conv | Dense) and f"{layer.name}.weight" not in tensors
    ]
    if random:
        cnn.name += f" with random {', '.join(random)}"
    for name in cnn.parameters:
        if name in tensors:
            cnn.parameters[name] = tensors[name].float()
    return cnn


def with_pooling(cnn: Cnn, pooling: Literal["max", "avg"]) -> Cnn:
    """The same network with every pooling of the given mode."""
    table: Sequence[Row] = [Pool(pooling, row.size, row.name) if isinstance(row, Pool) else row for row in cnn.table]
    rows, columns, depth = cnn.input_shape
    return Cnn(table, (rows, columns, depth), cnn.parameters, cnn.name)
