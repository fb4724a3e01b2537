"""Gram matrices: which features occur together, wherever they are (Gatys, Ecker & Bethge, CVPR 2016, eq. 3-5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats

# Values of a part of a map that is copied at once; few enough for the caches.
COPIED_AT_ONCE = 1 << 20


class GramSum(torch.autograd.Function):
    """F Fᵀ over all places. By hand, because autograd would multiply twice for what is one symmetric product."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        gram = torch.zeros(len(features), len(features), device=features.device)
        for _, flat in strips(features):
            gram.add_(flat.T @ flat)
        return gram

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gram_gradient(ctx.saved_tensors[0], gradients[0])


def gram_gradient(
    features: Float[Tensor, "c h w"], slope: Float[Tensor, "c c"], behind: Float[Tensor, "c h w"] | None = None
) -> Float[Tensor, "c h w"]:
    """The gradient of the features from that of their Gram sum; added to `behind` in the product itself, if given."""
    both = (slope + slope.T).to(features.dtype)
    channels, height, width = features.shape
    if behind is None:
        result = features.new_empty(height, width, channels)
        for rows, flat in strips(features):
            torch.mm(flat, both, out=result[rows].view(-1, channels))
        return result.permute(2, 0, 1)
    places, product = behind.permute(1, 2, 0), None
    for rows, flat in strips(features):
        if places[rows].is_contiguous():
            places[rows].view(-1, channels).addmm_(flat, both)
        else:
            # The first strip is the highest.
            product = torch.empty_like(flat) if product is None else product[: len(flat)]
            places[rows] += torch.mm(flat, both, out=product).view(-1, width, channels)
    return behind


def strips(features: Float[Tensor, "c h w"]) -> Iterator[tuple[slice, Float[Tensor, "n c"]]]:
    """Rows of the map, and one row a place of theirs; all at once where channels_last memory needs no copy.

    A strip's values are there until the next one is asked for.
    """
    channels, height, width = features.shape
    places = features.permute(1, 2, 0)
    if places.is_contiguous():
        yield slice(0, height), places.reshape(-1, channels)
        return
    at_once = max(1, min(height, COPIED_AT_ONCE // max(1, width * channels)))
    copied = features.new_empty(at_once, width, channels)
    for top in range(0, height, at_once):
        rows = slice(top, min(top + at_once, height))
        yield rows, copied[: rows.stop - top].copy_(places[rows]).view(-1, channels)


def gram_sum(features: Float[Tensor, "c h w"]) -> Float[Tensor, "c c"]:
    """Sum over places of the products of each two channels, in float32; differentiable once."""
    return GramSum.apply(features)  # type: ignore[no-any-return, no-untyped-call]


def correlation_stats(features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
    """The Gram sum and the number of places it was summed over, guided as by Gatys et al. (CVPR 2017, eq. 6-7)."""
    if guide is not None:
        return {"gram": gram_sum(features * guide.sqrt().to(features.dtype)), "count": guide.sum()}
    count = features.new_tensor(features.shape[1] * features.shape[2], dtype=torch.float32)
    return {"gram": gram_sum(features), "count": count}


class CorrelationLoss(StatisticLoss):
    """Compares Gram matrices; what they change with the features it tells itself, without a graph."""

    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        return correlation_stats(features, guide)

    def gradient(
        self, features: Float[Tensor, "c h w"], slopes: Stats, behind: Float[Tensor, "c h w"] | None
    ) -> Float[Tensor, "c h w"]:
        """Of unguided features, given the slopes along `stats`; added to `behind` in its place, if there is one."""
        return gram_gradient(features, slopes["gram"], behind)


class Gram(CorrelationLoss):
    """‖G − Gₛ‖² / ‖Gₛ‖² with G = F Fᵀ / (h·w): texture and colour of the style, free to fall anywhere."""

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        gram, wanted = stats["gram"] / stats["count"], target["gram"] / target["count"]
        return (gram - wanted).square().sum() / wanted.square().sum().clamp(min=1e-30)
