"""Nearest neighbours among the style's features (Kolkin et al., Neural Neighbor Style Transfer, 2022, section 3.2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, SampleLoss, Stats, sampled
from impasto.losses.cosine import floor_of, rows_of, unit_rows

SAMPLES = 1024


class Nearest(SampleLoss):
    """Mean cosine distance of each feature to the nearest of the style's, both from the style's mean feature.

    Every place becomes like some place of the style, of which it may use few: crisp strokes and clean figures, less of
    the style's overall mixture. Neighbours are found layer by layer and anew each iteration, where the paper takes all
    layers together; a feature's patch is what it sees of the picture.
    """

    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        return {"samples": sampled(features, place, SAMPLES)}

    def reference(self, stats: Stats) -> Stats:
        rows = rows_of(stats["samples"])
        mean = rows.mean(0)
        floor = floor_of(rows - mean)
        return {"mean": mean, "floor": floor, "rows": unit_rows(rows - mean, floor)}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        rows = unit_rows(rows_of(stats["samples"]) - target["mean"], target["floor"])
        return (1 - (rows @ target["rows"].T).amax(1)).mean()
