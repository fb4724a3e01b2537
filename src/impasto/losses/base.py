"""The contract of a loss: statistics that add up over disjoint regions, and a distance that reads their sum.

This alone makes one loss work on a whole picture, on tiles in bounded memory, or spread over machines: add `stats`
over the regions, then take `distance` once. All statistics are float32 at least, whatever the features' type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
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


@dataclass(frozen=True)
class Place:
    """Where given features lie: they cover `window` of the map `whole`, and answer for `owned` alone."""

    whole: Box
    window: Box
    owned: Box

    @classmethod
    def all_of(cls, features: Float[Tensor, "c h w"]) -> Place:
        box = Box.whole(features)
        return cls(box, box, box)


class StatisticLoss(ABC):
    """Compares what features are like, wherever they are: the target is the statistics of the style picture."""

    @abstractmethod
    def stats(self, features: Float[Tensor, "c h w"]) -> Stats:
        """Sums over the features given; differentiable."""

    @abstractmethod
    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        """How far the summed statistics are from the target's; 0 where they agree, about 1 where unrelated."""


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


Loss = StatisticLoss | PlaceLoss
