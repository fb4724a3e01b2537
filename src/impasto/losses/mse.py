"""Squared differences place by place."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, PlaceLoss, Stats

PART_ROWS = 64


class SquaredError(torch.autograd.Function):
    """Σ (F − Fₜ)² in float32, differentiable once. By hand, because autograd goes over the differences more often."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor) -> Tensor:
        difference = torch.empty_like(features, dtype=torch.float32).copy_(features).sub_(target)
        ctx.save_for_backward(difference)
        ctx.dtype = features.dtype
        length: Tensor = torch.linalg.vector_norm(difference)
        return length.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return (difference * (2 * gradients[0])).to(ctx.dtype), None


class Mse(PlaceLoss):
    """‖F − Fₜ‖² / ‖Fₜ‖² (Gatys et al. 2016, eq. 1, made relative).

    For content: keeps every feature where it is. For style, on the style picture resized to the photo: the plainest
    form, which lays the style picture's own shapes over the photo.
    """

    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        # In parts, because all of a large picture's features in float32 would be twice what is kept of them.
        parts = [part.float().square().sum() for part in target.split(PART_ROWS, 1)]
        return {"norm": torch.stack(parts).sum().clamp(min=1e-30)}

    def stats(
        self, features: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"], constants: Stats, place: Place
    ) -> Stats:
        owned = place.owned.relative_to(place.window)
        # torch gives `apply` no types.
        return {"error": SquaredError.apply(owned.of(features), owned.of(target))}  # type: ignore[no-untyped-call]

    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        return stats["error"] / constants["norm"]
