"""The contract of a loss: statistics that add up over disjoint regions, and a distance that reads their sum.

This alone makes one loss work on a whole picture, on tiles in bounded memory, or spread over machines: add `stats`
over the regions, then take `distance` once. All statistics are float32 at least, whatever the features' type.

A loss that must see features one by one reads samples of them (`sampled`), at places of the whole map that do not
depend on how it is cut. Each region fills in the samples that it owns and leaves zeros for the others, so that these
too add up to the whole's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Stats = dict[str, Tensor]
"""Sums by name; `count`, where there is one, is of places and does not depend on what the features are."""


@dataclass(frozen=True)
class Box:
    """Rows `top` to `bottom` and columns `left` to `right` of a feature map, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, features: Float[Tensor, "c h w"]) -> Float[Tensor, "c rows columns"]:
        return features[:, self.top : self.bottom, self.left : self.right]

    def relative_to(self, other: Box) -> Box:
        """This box in coordinates that begin at `other`'s corner."""
        return Box(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    @classmethod
    def whole(cls, features: Float[Tensor, "c h w"]) -> Box:
        return cls(0, features.shape[1], 0, features.shape[2])


COMMON = 128
"""Cells along each side of the grid by which places of a picture are named that are the same on every layer's map."""


class Guide:
    """How much each place of a whole map counts, 0..1, some of them more than 0."""

    def __init__(self, values: Float[Tensor, "h w"]) -> None:
        self.values = values
        self.paths: dict[int, Float[Tensor, " n"]] = {}

    def at_size(self, height: int, width: int) -> Guide:
        """The same for a map of another size."""
        if self.values.shape == (height, width):
            return self
        return Guide(F.interpolate(self.values[None, None], (height, width), mode="area")[0, 0])

    def places(self, count: int, turn: int) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Rows and columns of at most `count` places, drawn as often as they count, none twice; others each turn.

        Systematic sampling (Madow & Madow, 1944), along a path through strips that are as high as samples are apart, so
        that they spread evenly both ways.
        """
        count = max(1, min(count, int(self.area + 1e-6)))
        strip = max(1, round(math.sqrt(self.area / count)))
        path = self.path(strip)
        # The golden ratio's multiples spread over the distance between samples evenly, however few turns there are.
        start = (0.5 + turn * 0.6180339887498949) % 1
        at = (torch.arange(count, dtype=path.dtype) + start) * (path[-1] / count)
        index = torch.searchsorted(path, at.clamp(max=path[-1] * (1 - 1e-12)), right=True).to(self.values.device)
        of_strip = strip * self.values.shape[1]
        return index // of_strip * strip + index % strip, index % of_strip // strip

    @cached_property
    def area(self) -> float:
        """The sum relative to the largest: as many places can be drawn without one of them twice."""
        values = self.values.cpu()
        return float(values.sum(dtype=torch.float64)) / float(values.max())

    def path(self, strip: int) -> Float[Tensor, " n"]:
        """How much all places up to each count: strip after strip of rows, each column by column; on the CPU."""
        if strip not in self.paths:
            height, width = self.values.shape
            rows = F.pad(self.values.cpu().double(), (0, 0, 0, -height % strip))
            self.paths[strip] = rows.view(-1, strip, width).transpose(1, 2).flatten().cumsum(0)
        return self.paths[strip]


@dataclass(frozen=True)
class Place:
    """Where given features lie: they cover `window` of the map `whole`, and answer for `owned` alone.

    turn: number of the evaluation; losses that read samples take them elsewhere each turn. guide: how much each place
    of the whole map counts for such a loss; None where all count alike.
    """

    whole: Box
    window: Box
    owned: Box
    turn: int = 0
    guide: Guide | None = None

    @classmethod
    def all_of(cls, features: Float[Tensor, "c h w"]) -> Place:
        box = Box.whole(features)
        return cls(box, box, box)


@dataclass(frozen=True)
class Lattice:
    """Every `step`-th row and column of a whole map, from `top` and `left` on; at most `count` places, or nearly."""

    height: int
    width: int
    step: int
    top: int
    left: int

    @classmethod
    def over(cls, place: Place, count: int) -> Lattice:
        """About `count` places of the whole map, all of them where it has no more; others each turn."""
        height, width = place.whole.bottom, place.whole.right
        step = min(max(1, math.ceil(math.sqrt(height * width / count))), height, width)
        # The R2 sequence (Roberts, 2018) spreads over the step x step offsets evenly, however few turns there are.
        top, left = (int((0.5 + place.turn * share) % 1 * step) for share in (0.7548776662466927, 0.5698402909980532))
        return cls(height, width, step, top, left)

    def samples(self, values: Float[Tensor, "c rows columns"], place: Place) -> Float[Tensor, "c _ _"]:
        """The owned ones of `values`, which cover `place.window`, and zeros where other regions own them; float32."""
        rows = self.along(self.top, self.height, place.owned.top, place.owned.bottom)
        columns = self.along(self.left, self.width, place.owned.left, place.owned.right)
        first_row, first_column = self.top + rows[0] * self.step, self.left + columns[0] * self.step
        owned = values[
            :,
            first_row - place.window.top : place.owned.bottom - place.window.top : self.step,
            first_column - place.window.left : place.owned.right - place.window.left : self.step,
        ]
        return F.pad(owned.float(), (columns[0], columns[1], rows[0], rows[1]))

    def along(self, start: int, length: int, first: int, end: int) -> tuple[int, int]:
        """How many places of the lattice lie before and behind a range of rows or columns."""
        before, through, all_of = (max(0, -(-(x - start) // self.step)) for x in (first, end, length))
        return before, all_of - through


def sampled(
    values: Float[Tensor, "c rows columns"], place: Place, count: int
) -> Float[Tensor, "c sample_rows sample_columns"]:
    """About `count` of the whole map's features, evenly spread over it, or as its guide says; float32.

    values: features that cover `place.window`. Zeros stand for the samples that other regions own.
    """
    if place.guide is None:
        return Lattice.over(place, count).samples(values, place)
    return taken(values, place, *place.guide.places(count, place.turn))


def sampled_together(
    values: Float[Tensor, "c rows columns"], place: Place, count: int
) -> Float[Tensor, "c sample_rows sample_columns"]:
    """As `sampled`, at places of the picture that are the same for maps of every size: samples of hypercolumns.

    A place of the picture is a cell of a grid of COMMON x COMMON over it.
    """
    height, width = place.whole.bottom, place.whole.right
    guide = place.guide or everywhere(values.device)
    rows, columns = guide.at_size(COMMON, COMMON).places(count, place.turn)
    return taken(values, place, (2 * rows + 1) * height // (2 * COMMON), (2 * columns + 1) * width // (2 * COMMON))


@cache
def everywhere(device: torch.device) -> Guide:
    """All cells of the common grid count alike."""
    return Guide(torch.ones(COMMON, COMMON, device=device))


def taken(
    values: Float[Tensor, "c rows columns"], place: Place, rows: Int64[Tensor, " n"], columns: Int64[Tensor, " n"]
) -> Float[Tensor, "c n 1"]:
    """Features at rows and columns of the whole map, and zeros where other regions own them; float32."""
    owned, window = place.owned, place.window
    inside = (rows >= owned.top) & (rows < owned.bottom) & (columns >= owned.left) & (columns < owned.right)
    own = values[:, rows[inside] - window.top, columns[inside] - window.left].float()
    return own.new_zeros(len(own), len(rows)).index_add(1, inside.nonzero()[:, 0], own)[:, :, None]


def is_finite(values: Tensor) -> bool:
    """Whether all values are: their sum is finite only then, and takes a twentieth of the time of looking at each."""
    return bool(values.sum().isfinite())


class StatisticLoss(ABC):
    """Compares what features are like, wherever they are: the target is the statistics of the style picture."""

    @abstractmethod
    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        """Sums over the features given; differentiable. guide: how much each place counts, 0..1; None: all alike."""

    def reference(self, stats: Stats) -> Stats:
        """What `distance` needs to know of the target, from its summed statistics; made once."""
        return stats

    @abstractmethod
    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        """How far the summed statistics are from the target's; 0 where they agree, about 1 where unrelated."""


class SampleLoss(ABC):
    """As a `StatisticLoss`, of features seen one by one: the target is samples of the style picture's."""

    joint: bool = False
    """Whether the features of all layers at a place are taken together; `stats` are then by `sampled_together`."""

    @abstractmethod
    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        """Samples of the owned features (`sampled`); features cover `place.window`; differentiable."""

    def reference(self, stats: Stats) -> Stats:
        """What `distance` needs to know of the target, from its samples; made once."""
        return stats

    @abstractmethod
    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        """How far the samples are from the target's; 0 where they agree, about 1 where unrelated."""


class PlaceLoss(ABC):
    """Compares features place by place: the target is a feature map of the same size."""

    halo: int = 0
    """Features beyond the owned ones, on each side, that `stats` must see."""

    maps: int = 4
    """Float32 maps, each as large as the features, that `stats` and its way back hold at once."""

    @abstractmethod
    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        """What `stats` and `distance` need to know of the whole target."""

    @abstractmethod
    def stats(
        self,
        features: Float[Tensor, "c h w"],
        target: Float[Tensor, "c h w"],
        constants: Stats,
        place: Place,
    ) -> Stats:
        """Sums over the owned features; features and target cover `place.window`; differentiable."""

    @abstractmethod
    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        """How far the features are from the target; 0 where they agree, about 1 where unrelated."""


Loss = StatisticLoss | SampleLoss | PlaceLoss
