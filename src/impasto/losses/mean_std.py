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

    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        values = features.float()
        sums = [total(values, guide), total(values.square(), guide), total(torch.ones_like(values[:1]), guide)]
        return {"sum": sums[0], "squares": sums[1], "count": sums[2][0]}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        wanted_mean, wanted_variance = moments(target)
        mean, variance = moments(stats)
        # The root's slope is infinite at 0, where dead channels are.
        floor = 1e-6 * wanted_variance.mean() + 1e-30
        wanted_std, std = (wanted_variance + floor).sqrt(), (variance + floor).sqrt()
        error = (mean - wanted_mean).square().sum() + (std - wanted_std).square().sum()
        return error / (wanted_mean.square().sum() + wanted_std.square().sum()).clamp(min=1e-30)


def total(values: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None) -> Float[Tensor, " c"]:
    """Sum over places, each counted as often as the guide says."""
    guided = values if guide is None else values * guide
    return guided.sum((1, 2), dtype=wide_type(values.device))


def wide_type(device: torch.device) -> torch.dtype:
    """For sums whose small differences count: in float64, where the device has it, tiles add up exactly."""
    return torch.float32 if device.type == "mps" else torch.float64


def moments(stats: Stats) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and variance of each channel from its sums."""
    mean = stats["sum"] / stats["count"]
    return mean, torch.relu(stats["squares"] / stats["count"] - mean.square())
