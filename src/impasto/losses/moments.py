"""Central moments of each channel (Zellinger et al., ICLR 2017, eq. 9; for style: Kalischek et al., CVPR 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats
from impasto.losses.mean_std import total

# Of each order relative to the one before: more would put the rare strong features that make the high moments
# everywhere as speckles.
DECAY = 1 / 4


class Moments(StatisticLoss):
    """Σₖ ‖cₖ − cₖ,ₛ‖² / 4ᵏ⁻¹‖mₛᵏ‖²: means and the central moments 2 to 4 of each channel.

    Twice mₛ, the fourth root of the style's mean fourth power, stands for the interval that the papers bound features
    to; it makes the orders comparable. Beside mean and deviation, lopsidedness and rare strong features.
    """

    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        values = features.float()
        square = values.square()
        powers = [values, square, square * values, square.square()]
        count = total(torch.ones_like(values[:1]), guide)[0]
        return {"powers": torch.stack([total(power, guide) for power in powers]), "count": count}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        errors = (central(stats) - central(target)).square().sum(1)
        fourth = target["powers"][3] / target["count"]
        sizes = torch.stack([fourth.pow(order / 2).sum() for order in range(1, 5)])
        decay = DECAY ** torch.arange(4, device=errors.device)
        return (decay * errors / sizes.clamp(min=1e-30)).sum()


def central(stats: Stats) -> Float[Tensor, "4 c"]:
    """Mean and central moments 2 to 4 of each channel from the sums of its powers."""
    mean, second, third, fourth = stats["powers"] / stats["count"]
    return torch.stack(
        [
            mean,
            second - mean**2,
            third - 3 * mean * second + 2 * mean**3,
            fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4,
        ]
    )
