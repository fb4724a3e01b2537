"""Mean and deviation of each channel (Huang & Belongie, ICCV 2017, eq. 13)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats


class MeanStd(StatisticLoss):
    """(‖μ − μₛ‖² + ‖σ − σₛ‖²) / (‖μₛ‖² + ‖σₛ‖²): how strong each feature is, not which go together.

    Softer than `gram`: colours and roughness of the style, less of its figures.
    """

    def stats(self, features: Float[Tensor, "c h w"]) -> Stats:
        values = features.float()
        wide = wide_type(values.device)
        count = torch.tensor(values.shape[1] * values.shape[2], dtype=wide, device=values.device)
        squares = values.square().sum((1, 2), dtype=wide)
        return {"sum": values.sum((1, 2), dtype=wide), "squares": squares, "count": count}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        wanted_mean, wanted_variance = moments(target)
        mean, variance = moments(stats)
        # The root's slope is infinite at 0, where dead channels are.
        floor = 1e-6 * wanted_variance.mean() + 1e-30
        wanted_std, std = (wanted_variance + floor).sqrt(), (variance + floor).sqrt()
        error = (mean - wanted_mean).square().sum() + (std - wanted_std).square().sum()
        return error / (wanted_mean.square().sum() + wanted_std.square().sum()).clamp(min=1e-30)


def wide_type(device: torch.device) -> torch.dtype:
    """For sums whose small differences count: in float64, where the device has it, tiles add up exactly."""
    return torch.float32 if device.type == "mps" else torch.float64


def moments(stats: Stats) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and variance of each channel from its sums."""
    mean = stats["sum"] / stats["count"]
    return mean, torch.relu(stats["squares"] / stats["count"] - mean.square())
