"""Second derivatives of feature maps (Li, Xu, Nie & Liu, Laplacian-Steered Neural Style Transfer, 2017, eq. 4)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Box, Place, PlaceLoss, Stats


class Laplacian(PlaceLoss):
    """‖ΔF − ΔFₜ‖² / ‖ΔFₜ‖², Δ being the difference from the mean of the four neighbours.

    Keeps outlines and fine detail where they are and lets areas between them change freely. The paper compares the
    pictures; here it is the maps of any layer, and block1_conv1 is nearest to the paper. Borders repeat outwards.
    """

    halo = 1

    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        place = Place.all_of(target)
        return {"norm": laplacian(target, place).square().sum().clamp(min=1e-30)}

    def stats(
        self, features: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"], constants: Stats, place: Place
    ) -> Stats:
        return {"error": (laplacian(features, place) - laplacian(target, place)).square().sum()}

    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        return stats["error"] / constants["norm"]


def laplacian(values: Float[Tensor, "c rows columns"], place: Place) -> Float[Tensor, "c _ _"]:
    """At the owned places; the values cover the window."""
    owned, whole = place.owned, place.whole
    grown = (owned.top - 1, owned.bottom + 1, owned.left - 1, owned.right + 1)
    seen = Box(max(0, grown[0]), min(whole.bottom, grown[1]), max(0, grown[2]), min(whole.right, grown[3]))
    beyond = (seen.left - grown[2], grown[3] - seen.right, seen.top - grown[0], grown[1] - seen.bottom)
    x = F.pad(seen.relative_to(place.window).of(values).float()[None], beyond, mode="replicate")[0]
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return x[:, 1:-1, 1:-1] - around / 4
