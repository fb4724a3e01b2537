"""2-Wasserstein distance between Gaussians fitted to the features (Dowson & Landau, 1982, eq. 4)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import StatisticLoss, Stats
from impasto.losses.gram import correlation_stats
from impasto.losses.mean_std import total, wide_type

# Added to both covariances, relative to their size: directions without variance have no root's slope otherwise.
RIDGE = 1e-3
# Of the products' size: where all features are alike, as in a region of one pixel, the covariance is rounding alone.
ROUNDING = 1e-6
ITERATIONS = 12


class Wasserstein(StatisticLoss):
    """(‖μ − μₛ‖² + tr(Σ + Σₛ − 2 (Σₛ^½ Σ Σₛ^½)^½)) / (‖μₛ‖² + tr Σₛ).

    As `gram`, which features go together; but strong pairs do not outweigh weak ones as they do in its squares, so
    fine texture comes along with the large figures, and flat areas stay cleaner.
    """

    def stats(self, features: Float[Tensor, "c h w"], guide: Float[Tensor, "h w"] | None = None) -> Stats:
        # Not in bf16, whose rounding would make eigenvalues of the covariance negative.
        values = features.float()
        return {**correlation_stats(values, guide), "sum": total(values, guide)}

    def reference(self, stats: Stats) -> Stats:
        mean, covariance = gaussian(stats)
        return {"mean": mean, "root": roots(covariance)[0], "trace": covariance.trace()}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        mean, covariance = gaussian(stats)
        common = TraceOfRoot.apply(target["root"] @ covariance @ target["root"])  # type: ignore[no-untyped-call]
        error = (mean - target["mean"]).square().sum() + covariance.trace() + target["trace"] - 2 * common
        distance: Tensor = error / (target["mean"].square().sum() + target["trace"]).clamp(min=1e-30)
        return distance


def gaussian(stats: Stats) -> tuple[Float[Tensor, " c"], Float[Tensor, "c c"]]:
    """Mean and covariance from the sums, the covariance with its ridge; float64, as small differences count."""
    wide = wide_type(stats["sum"].device)
    mean, products = (stats[name].to(wide) / stats["count"] for name in ("sum", "gram"))
    covariance = products - mean[:, None] * mean
    ridge = RIDGE * covariance.norm() + ROUNDING * products.norm()
    return mean, covariance + ridge * torch.eye(len(mean), dtype=wide, device=mean.device)


def roots(matrix: Float[Tensor, "c c"]) -> tuple[Float[Tensor, "c c"], Float[Tensor, "c c"]]:
    """Square root and inverse square root of a matrix whose eigenvalues are at least RIDGE² of its size.

    Coupled Newton-Schulz iterations, matrix products alone (Higham, Functions of Matrices, 2008, eq. 6.35), scaled so
    that the least and the largest eigenvalue come nearer to 1 alike (Chen & Chow, 2014): 12 do what takes 22. Of zeros,
    which have no inverse, both are zeros.
    """
    size = matrix.norm()
    if not size > 0:
        return matrix, matrix
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    root, inverse, least = matrix / size, identity, 0.9 * RIDGE
    for _ in range(ITERATIONS):
        scale = (3 / (1 + least + least**2)) ** 0.5
        factor = 1.5 * scale * identity - 0.5 * scale**3 * inverse @ root
        root, inverse = root @ factor, factor @ inverse
        least = scale * least * (3 - (scale * least) ** 2) / 2
    return root * size.sqrt(), inverse / size.sqrt()


class TraceOfRoot(torch.autograd.Function):
    """tr M^½, whose slope is M^-½ / 2: the iterations give both, so that nothing need be recorded through them."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        root, inverse = roots(matrix)
        ctx.save_for_backward(inverse)
        return root.trace()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        slope: Tensor = gradients[0] / 2 * inverse
        return slope
