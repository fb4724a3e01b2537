"""Layers chosen by the program, weighed by how strongly each pulls on the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from jaxtyping import Float
from torch import Tensor

from impasto.engines.objective import Aim, build_objective, resized_to
from impasto.losses import Kind
from impasto.nets.cnn import Cnn
from impasto.nets.layers import Conv, Flatten, LayerInfo, Pool
from impasto.nets.passes import NetworkPass

MOST_STYLE_LAYERS = 5
# A layer that hardly pulls is not raised above the others by more than this.
LEAST_PULL = 1e-3
# Balanced layers of style pull less than equal ones, nearly all of whose pull is the deepest one's. Beside them content
# counts for so much less that a little more of the photo is kept than beside equal ones.
CONTENT_SHARE = 0.3


def conv_blocks(cnn: Cnn) -> list[list[str]]:
    """The names of the convolutions between one pooling and the next."""
    flat = [index for index, info in enumerate(cnn.layers) if isinstance(info.row, Flatten)]
    maps: Sequence[LayerInfo] = cnn.layers[: flat[0]] if flat else cnn.layers
    groups = groupby(maps, key=lambda info: isinstance(info.row, Pool))
    names = [[info.name for info in group if isinstance(info.row, Conv)] for pools, group in groups if not pools]
    return [block for block in names if block]


def chosen_layers(cnn: Cnn) -> dict[Kind, list[str]]:
    """The layers to compare, from the network's structure: for VGG those of the textbook.

    Style: the first convolution of each block, up to five; where there are fewer than three blocks, convolutions spread
    evenly. Content: the second convolution, or the only one, of the last block but one.
    """
    blocks = conv_blocks(cnn)
    firsts, every = [block[0] for block in blocks], [name for block in blocks for name in block]
    if len(blocks) < 3:
        count = min(MOST_STYLE_LAYERS, len(every))
        firsts = [every[index * len(every) // count] for index in range(count)]
    block = blocks[max(0, len(blocks) - 2)]
    return {"content": [block[min(1, len(block) - 1)]], "style": firsts[:MOST_STYLE_LAYERS]}


def pulls(
    kind: Kind, network: NetworkPass, aim: Aim, photo: Float[Tensor, "1 3 h w"], styles: list[Float[Tensor, "1 3 _ _"]]
) -> dict[str, float]:
    """The size of the gradient that each of the aim's layers of a kind gives by itself, at weight 1.

    Of style at the photo, and of content at the first style resized to the photo: there both are far from agreeing.
    """
    objective = build_objective(network, replace(aim, tv_weight=0.0), photo, styles)
    picture = resized_to(styles[0], photo) if kind == "content" else photo
    found: dict[str, float] = {}
    for name in aim.content_layers if kind == "content" else aim.style_layers:
        for term in objective.terms:
            term.weight = term.share if (term.kind, term.layer) == (kind, name) else 0.0
        found[name] = float(objective.evaluate(picture)[1].norm())
    return found


def balanced(sizes: Mapping[str, float]) -> dict[str, float]:
    """Weights that make layers of these pulls pull alike; their mean is 1."""
    floor = LEAST_PULL * max(sizes.values(), default=0.0) + 1e-30
    weights = {name: 1 / max(size, floor) for name, size in sizes.items()}
    mean = sum(weights.values()) / max(1, len(weights))
    return {name: weight / mean for name, weight in weights.items()}
