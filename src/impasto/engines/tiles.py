"""Cutting a picture into tiles so that every feature is computed exactly, and counted exactly once.

A tile answers for its core, and reads a window: the core and a halo as wide as its features see. Cores begin at
multiples of the network's stride, so that poolings fall as they do on the whole picture. A feature belongs to the
tile in whose core its own place lies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from impasto.engines.halos import Stretch, needed, owned, stretches
from impasto.losses.base import Box, Place
from impasto.nets.cost import Sizes
from impasto.nets.layers import LayerInfo, Pool, out_size
from impasto.nets.passes import Part


@dataclass(frozen=True)
class Span:
    """A tile along one axis: the core and the window around it, in pixels, and what it has of each layer."""

    core_start: int
    core_end: int
    window_start: int
    window_end: int
    layers: Sequence[Stretch] = ()


@dataclass(frozen=True)
class Tile:
    """What is run at once: `window` of the picture, for the features of its core."""

    rows: Span
    columns: Span

    def __str__(self) -> str:
        core = self.core
        return f"rows {core.top}-{core.bottom - 1}, columns {core.left}-{core.right - 1}"

    @property
    def core(self) -> Box:
        return Box(self.rows.core_start, self.rows.core_end, self.columns.core_start, self.columns.core_end)

    @property
    def window(self) -> Box:
        return Box(self.rows.window_start, self.rows.window_end, self.columns.window_start, self.columns.window_end)

    def features(self, position: int) -> Box:
        """Those that it has of the layer at that position."""
        rows, columns = self.rows.layers[position], self.columns.layers[position]
        return Box(rows.start, rows.end, columns.start, columns.end)


@dataclass(frozen=True)
class Tiling:
    """How a picture of height x width is cut for the features of some layers of a network.

    infos: the network's layers up to the deepest that counts. margins: features around the owned ones that a layer's
    losses read (`PlaceLoss.halo`), by layer; its keys are the layers that count. core_px: the longest side of a
    core amid the picture, rounded to the stride; None for one tile of everything.
    """

    height: int
    width: int
    infos: Sequence[LayerInfo]
    margins: Mapping[str, int]
    core_px: int | None

    @property
    def counted(self) -> list[LayerInfo]:
        return [info for info in self.infos if info.name in self.margins]

    @property
    def stride(self) -> int:
        return max((info.stride for info in self.infos), default=1)

    @property
    def halo_px(self) -> tuple[int, int]:
        """Pixels needed before and behind a core; the first a multiple of the stride."""
        before = max((info.lead + self.margins[info.name] * info.stride for info in self.counted), default=0)
        behind = [
            info.receptive_field - 1 - info.lead + (self.margins[info.name] + 1) * info.stride for info in self.counted
        ]
        return -(-before // self.stride) * self.stride, max(behind, default=0)

    @property
    def step_px(self) -> int:
        """The most rows, and columns, of a core amid the picture."""
        if self.core_px is None:
            return max(self.height, self.width)
        return max(self.stride, self.core_px // self.stride * self.stride)

    def tiles(self) -> list[Tile]:
        columns = list(self.spans(self.width))
        return [Tile(rows, across) for rows in self.spans(self.height) for across in columns]

    def spans(self, length: int) -> Iterator[Span]:
        if self.core_px is None:
            # Whatever its layers see, dense ones all of it.
            yield Span(0, length, 0, length)
            return
        for start, end in itertools.pairwise(self.cuts(length)):
            wanted = needed(self.infos, self.margins, (start, end), length)
            yield Span(start, end, *wanted[0], tuple(stretches(self.infos, wanted)))

    def cuts(self, length: int) -> list[int]:
        """Where cores begin and end. The first and the last are longer by the halo that they do without, so that all
        windows are about as long: the longest decides how much memory tiles take. Those between are alike, since
        libraries keep something for every size that they have met."""
        halo = min(self.halo_px) // self.stride * self.stride
        count = max(1, math.ceil((length - 2 * halo) / self.step_px))
        inner = math.ceil((length - 2 * halo) / count / self.stride) * self.stride
        return [0, *(halo + inner * index for index in range(1, count)), length]

    def place(self, tile: Tile, layer: str, features: Float[Tensor, "c h w"]) -> Place:
        """Where the features of a layer that a tile reads lie on the layer's whole map."""
        if self.core_px is None:
            return Place.all_of(features)
        return self.cut_place(tile, next(at for at, info in enumerate(self.infos) if info.name == layer))

    def cut_place(self, tile: Tile, position: int) -> Place:
        """The same by the layer's position, of a picture that is cut."""
        info, core = self.infos[position], tile.core
        height, width = self.features_of(self.height, info), self.features_of(self.width, info)
        rows = owned((core.top, core.bottom), info.stride, self.height, height)
        columns = owned((core.left, core.right), info.stride, self.width, width)
        own, there, margin = Box(*rows, *columns), tile.features(position), self.margins[info.name]
        return Place(Box(0, height, 0, width), grown(own, margin, there), own)

    def passed(self, tile: Tile) -> Part:
        """What goes on of what comes of each pooling."""
        return {
            info.name: (rows.cut, columns.cut)
            for info, rows, columns in zip(self.infos, tile.rows.layers, tile.columns.layers, strict=False)
            if isinstance(info.row, Pool)
        }

    def read(self, tile: Tile) -> Part:
        """What losses read of the features that a tile has."""
        read = {}
        for position, info in enumerate(self.infos):
            if info.name in self.margins and tile.rows.layers:
                box = self.cut_place(tile, position).window.relative_to(tile.features(position))
                read[info.name] = slice(box.top, box.bottom), slice(box.left, box.right)
        return read

    def sizes(self, tile: Tile) -> Sizes:
        """How much of each layer a tile works out."""
        window, pairs = tile.window, list(zip(tile.rows.layers, tile.columns.layers, strict=True))
        made = [(rows.made_end - rows.made_start) * (columns.made_end - columns.made_start) for rows, columns in pairs]
        kept = [(rows.end - rows.start) * (columns.end - columns.start) for rows, columns in pairs]
        return Sizes((window.bottom - window.top) * (window.right - window.left), tuple(made), tuple(kept))

    def features_of(self, length: int, info: LayerInfo) -> int:
        """Features of a layer along a side of the picture."""
        for layer in self.infos[: self.infos.index(info) + 1]:
            length = out_size(length, layer.row)
        return length


def grown(box: Box, margin: int, there: Box) -> Box:
    """The box and what lies around it, of what there is; all of that if the box is empty."""
    if box.bottom <= box.top or box.right <= box.left:
        return there
    return Box(
        max(there.top, box.top - margin),
        min(there.bottom, box.bottom + margin),
        max(there.left, box.left - margin),
        min(there.right, box.right + margin),
    )
