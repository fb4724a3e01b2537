"""Squared differences place by place."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, PlaceLoss, Stats


class Mse(PlaceLoss):
    """‖F − Fₜ‖² / ‖Fₜ‖² (Gatys et al. 2016, eq. 1, made relative).

    For content: keeps every feature where it is. For style, on the style picture resized to the photo: the plainest
    form, which lays the style picture's own shapes over the photo.
    """

    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        return {"norm": target.float().square().sum().clamp(min=1e-30)}

    def stats(
        self, features: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"], constants: Stats, place: Place
    ) -> Stats:
        owned = place.owned.relative_to(place.window)
        return {"error": (owned.of(features).float() - owned.of(target).float()).square().sum()}

    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        return stats["error"] / constants["norm"]
