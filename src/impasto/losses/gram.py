"""Gram matrices: which features occur together, wherever they are (Gatys, Ecker & Bethge, CVPR 2016, eq. 3-5)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats


class GramSum(torch.autograd.Function):
    """F Fᵀ over all places. By hand, because autograd would multiply twice for what is one symmetric product."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        flat = pixels_by_channels(features)
        ctx.save_for_backward(features)
        return (flat.T @ flat).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        both = (gradients[0] + gradients[0].T).to(features.dtype)
        rows = pixels_by_channels(features) @ both
        return rows.view(*features.shape[1:], features.shape[0]).permute(2, 0, 1)


def pixels_by_channels(features: Float[Tensor, "c h w"]) -> Float[Tensor, "n c"]:
    """One row a place; a view, not a copy, of channels_last memory."""
    return features.permute(1, 2, 0).reshape(-1, features.shape[0])


def gram_sum(features: Float[Tensor, "c h w"]) -> Float[Tensor, "c c"]:
    """Sum over places of the products of each two channels, in float32; differentiable once."""
    return GramSum.apply(features)  # type: ignore[no-any-return, no-untyped-call]


def correlation_stats(features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
    """The Gram sum and the number of places it was summed over, guided as by Gatys et al. (CVPR 2017, eq. 6-7)."""
    if guide is not None:
        return {"gram": gram_sum(features * guide.sqrt().to(features.dtype)), "count": guide.sum()}
    count = features.new_tensor(features.shape[1] * features.shape[2], dtype=torch.float32)
    return {"gram": gram_sum(features), "count": count}


class Gram(StatisticLoss):
    """‖G − Gₛ‖² / ‖Gₛ‖² with G = F Fᵀ / (h·w): texture and colour of the style, free to fall anywhere."""

    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        return correlation_stats(features, guide)

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        gram, wanted = stats["gram"] / stats["count"], target["gram"] / target["count"]
        return (gram - wanted).square().sum() / wanted.square().sum().clamp(min=1e-30)
