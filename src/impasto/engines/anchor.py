"""What the coarsest scale has settled, held while finer ones are worked on: so a job looks the same at any size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Of the mean squared difference between the picture, made as small, and the coarse one; more leaves finer scales less
# freedom.
WEIGHT = 500.0


@dataclass(frozen=True)
class Anchor:
    """WEIGHT · mean squared difference to the coarse picture. down, across: what makes rows and columns as few."""

    coarse: Float[Tensor, "1 3 h w"]
    down: Float[Tensor, "h height"]
    across: Float[Tensor, "w width"]

    @classmethod
    def of(cls, coarse: Float[Tensor, "1 3 h w"], height: int, width: int) -> Anchor:
        """For a picture of height x width."""
        down, across = (
            shrinking(*lengths).to(coarse) for lengths in zip((height, width), coarse.shape[2:], strict=True)
        )
        return cls(coarse, down, across)

    def drift(self, picture: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 3 h w"]:
        """How far the picture, made as small, has gone from the coarse one."""
        return self.down @ (picture @ self.across.T) - self.coarse

    def distance(self, drift: Float[Tensor, "1 3 h w"]) -> float:
        return WEIGHT * float(drift.square().mean())

    def gradient(self, drift: Float[Tensor, "1 3 h w"], top: int, bottom: int) -> Float[Tensor, "1 3 rows width"]:
        """That of `distance` at the picture's rows from `top` to `bottom`."""
        return self.down[:, top:bottom].T @ (drift * (2 * WEIGHT / drift.numel())) @ self.across


def shrinking(length: int, to: int) -> Float[Tensor, "to length"]:
    """The matrix that makes `length` values to fewer: each the mean around its place, falling off linearly."""
    step = length / to
    places, wanted = torch.arange(length) + 0.5, (torch.arange(to) + 0.5) * step
    weights = (1 - (places - wanted[:, None]).abs() / step).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)
