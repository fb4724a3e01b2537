"""Gram matrices: which features occur together, wherever they are (Gatys, Ecker & Bethge, CVPR 2016, eq. 3-5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats, is_finite


class GramSum(torch.autograd.Function):
    """F Fᵀ over all places. By hand, because autograd would multiply twice for what is one symmetric product."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = rows_of(features)
        gram = products(rows.all)
        if rows.between.numel():
            gram -= products(rows.between.reshape(-1, len(features)))
            if not is_finite(gram):
                # What is not finite may lie between, where it is not the map's.
                gram = products(features.permute(1, 2, 0).reshape(-1, len(features)))
        return gram

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gram_gradient(ctx.saved_tensors[0], gradients[0])


def products(rows: Float[Tensor, "n c"]) -> Float[Tensor, "c c"]:
    return (rows.T @ rows).float()


def gram_gradient(
    features: Float[Tensor, "c h w"], slope: Float[Tensor, "c c"], behind: Float[Tensor, "c h w"] | None = None
) -> Float[Tensor, "c h w"]:
    """The gradient of the features from that of their Gram sum; added to `behind` in the product itself, if given."""
    both = (slope + slope.T).to(features.dtype)
    rows = rows_of(features)
    if behind is not None:
        places = rows_of(behind)
        if places.is_view and len(places.all) == len(rows.all):
            spared = places.between.clone()
            places.all.addmm_(rows.all, both)
            places.between.copy_(spared)
            return behind
    own = rows.as_map(torch.mm(rows.all, both), features)
    return own if behind is None else behind.add_(own)


@dataclass(frozen=True)
class Rows:
    """A map's places as the rows of a matrix.

    all: the places one after the other, and those between the end of a line of the map and the beginning of its next
    where it is cut out of a wider one, so that nothing need be copied. between: the latter alone. is_view: whether it
    is the map's own memory, as it is with channels_last maps.
    """

    all: Float[Tensor, "n c"]
    between: Float[Tensor, "lines k c"]
    is_view: bool

    def as_map(self, values: Float[Tensor, "n c"], like: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
        """Values for all rows as a map of the same size; those between are left out."""
        channels, height, width = like.shape
        line = (width + self.between.shape[1]) * channels
        return values.as_strided((channels, height, width), (1, line, channels))


def rows_of(features: Float[Tensor, "c h w"]) -> Rows:
    channels, height, width = features.shape
    line = features.stride(1)
    is_view = (features.stride(0), features.stride(2)) == (1, channels) and line >= width * channels
    if not features.numel() or not is_view or line % channels:
        return Rows(features.permute(1, 2, 0).reshape(-1, channels), features.new_empty(0, 0, channels), False)
    places = line // channels
    count = (height - 1) * places + width
    first, gaps = features.storage_offset(), (height - 1, places - width, channels)
    between = features.as_strided(gaps, (line, channels, 1), first + width * channels)
    return Rows(features.as_strided((count, channels), (channels, 1)), between, True)


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

    def reference(self, stats: Stats) -> Stats:
        gram = stats["gram"] / stats["count"]
        return {"gram": gram, "size": gram.square().sum().clamp(min=1e-30)}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        # Of small pictures these matrices are the larger part: each pass over them counts.
        return F.mse_loss(stats["gram"] / stats["count"], target["gram"], reduction="sum") / target["size"]
