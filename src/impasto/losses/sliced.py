"""Sliced Wasserstein distance (Heitz, Vanhoey, Chambon & Belcour, CVPR 2021, eq. 5)."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, SampleLoss, Stats, sampled
from impasto.losses.transport import transport_1d

SAMPLES = 4096


class Sliced(SampleLoss):
    """W₂² of the features seen along many directions, over the mean square of the style's.

    Sees the whole distribution of features, which go together and how often: closer to the style's texture than
    `gram`. As many directions as channels, random and orthogonal, the same in every iteration.
    """

    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        return {"samples": sampled(features, place, SAMPLES)}

    def reference(self, stats: Stats) -> Stats:
        return {"sorted": projected(stats["samples"])}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        work = transport_1d(projected(stats["samples"]), target["sorted"])
        return work.sum() / target["sorted"].square().mean(1).sum().clamp(min=1e-30)


def projected(samples: Float[Tensor, "c rows columns"]) -> Float[Tensor, "c n"]:
    """The samples along each direction, sorted."""
    return (directions(samples.shape[0]).to(samples.device) @ samples.flatten(1)).sort(1).values


@cache
def directions(channels: int) -> Float[Tensor, "c c"]:
    """A random orthonormal basis, one direction a row; always the same one."""
    normal = torch.randn(channels, channels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis: Tensor = torch.linalg.qr(normal).Q
    return basis.T.float().contiguous()
