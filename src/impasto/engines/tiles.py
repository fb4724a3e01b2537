"""Cutting a picture into tiles so that every feature is computed exactly, and counted exactly once.

A tile answers for its core, and reads a window: the core and a halo as wide as its features see. Cores begin at
multiples of the network's stride, so that poolings fall as they do on the whole picture. A feature belongs to the
tile in whose core its own place lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Box, Place
from impasto.nets.layers import LayerInfo, out_size


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels: the core and the window around it."""

    core_start: int
    core_end: int
    window_start: int
    window_end: int


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


@dataclass(frozen=True)
class Tiling:
    """How a picture of height x width is cut for the features of some layers of a network.

    infos: the network's layers up to the deepest that counts. margins: features around the owned ones that a layer's
    losses read (`PlaceLoss.halo`), by layer; its keys are the layers that count. core_px: a core's longest side,
    rounded to the stride; None for one tile of everything.
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
    def least_px(self) -> int:
        """The shortest side from which every layer makes a feature."""
        return max((info.receptive_field for info in self.infos), default=1)

    @property
    def step_px(self) -> int:
        """Rows, and columns, from one core to the next."""
        if self.core_px is None:
            return max(self.height, self.width)
        return max(self.stride, self.core_px // self.stride * self.stride)

    def tiles(self) -> list[Tile]:
        return [Tile(rows, columns) for rows in self.spans(self.height) for columns in self.spans(self.width)]

    def spans(self, length: int) -> Iterator[Span]:
        if self.core_px is None:
            # Whatever its layers see, dense ones all of it.
            yield Span(0, length, 0, length)
            return
        step = self.step_px
        before, behind = self.halo_px
        for start in range(0, length, step):
            end = min(start + step, length)
            window_end = min(length, end + behind)
            # At the picture's end a core can be narrow; the window must still be wide enough for the deepest layer.
            latest_start = (window_end - self.least_px) // self.stride * self.stride
            yield Span(start, end, max(0, min(start - before, latest_start)), window_end)

    def place(self, tile: Tile, layer: str, features: Float[Tensor, "c h w"]) -> Place:
        """Where a tile's features of a layer lie on the layer's whole map."""
        if self.core_px is None:
            return Place.all_of(features)
        info = next(info for info in self.infos if info.name == layer)
        whole = Box(0, self.features_of(self.height, info), 0, self.features_of(self.width, info))
        top, left = tile.rows.window_start // info.stride, tile.columns.window_start // info.stride
        rows = owned(tile.rows, info.stride, self.height, whole.bottom)
        columns = owned(tile.columns, info.stride, self.width, whole.right)
        return Place(whole, Box(top, top + features.shape[1], left, left + features.shape[2]), Box(*rows, *columns))

    def features_of(self, length: int, info: LayerInfo) -> int:
        """Features of a layer along a side of the picture."""
        for layer in self.infos[: self.infos.index(info) + 1]:
            length = out_size(length, layer.row)
        return length


def owned(span: Span, stride: int, length: int, features: int) -> tuple[int, int]:
    """First and last but one of the features whose place lies in a core; the last core has all that remain."""
    start = -(-span.core_start // stride)
    end = features if span.core_end == length else -(-span.core_end // stride)
    return min(start, features), min(end, features)
