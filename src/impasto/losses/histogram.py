"""Histograms of each channel, by optimal transport on a line (Risser, Wilmot & Barnes, 2017, section 4.1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, SampleLoss, Stats, sampled
from impasto.losses.transport import transport_1d

SAMPLES = 4096


class Histogram(SampleLoss):
    """Σ W₂²(channel, style's channel) / Σ mean square of the style's channels: each feature as often as in the style.

    Not which features go together; but, unlike `mean_std`, the whole distribution of each: contrasts and the share of
    flat areas are the style's. Equals ‖F − H(F)‖² where H gives F the style's histograms.
    """

    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        return {"samples": sampled(features, place, SAMPLES)}

    def reference(self, stats: Stats) -> Stats:
        return {"sorted": stats["samples"].flatten(1).sort(1).values}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        work = transport_1d(stats["samples"].flatten(1).sort(1).values, target["sorted"])
        return work.sum() / target["sorted"].square().mean(1).sum().clamp(min=1e-30)
