"""Confidence by the bootstrap, and rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES, LEVEL = 10_000, 0.95


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % confidence interval, by the percentile bootstrap (Efron 1979) over pairs.

    low, high: None for a single pair, which tells nothing of others. below_zero: the share of resampled means there.
    """

    mean: float
    low: float | None
    high: float | None
    below_zero: float | None


def bootstrapped(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean of `values`, one a pair; the same values and seed give the same interval."""
    known = np.asarray(values, dtype=np.float64)
    if len(known) < 2:
        return Mean(float(known.mean()), None, None, None)
    chosen = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    means = known[chosen].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    below = float((means < 0).mean() + (means == 0).mean() / 2)
    return Mean(float(known.mean()), float(low), float(high), below)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's: 1 where both put the pictures in the same order, -1 in the opposite one; None where it has no
    meaning, for fewer than three pictures or a figure that never changes."""
    x, y = ranks(one), ranks(other)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def ranks(values: Sequence[float]) -> Float[np.ndarray, " n"]:
    """Places in ascending order; equal values share the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]
