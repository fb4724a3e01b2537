"""Structural similarity (Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 2004), differentiable, as 1 − SSIM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Box, Place, PlaceLoss, Stats
from impasto.losses.gram import CorrelationLoss

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


class MapSsim(PlaceLoss):
    """1 − mean SSIM of feature maps: keeps shapes and contrasts in place, lets absolute strength drift.

    Gaussian window of 11 features (or the largest odd size that fits), only where it lies wholly on the map;
    the dynamic range is each target channel's own.
    """

    halo = WINDOW // 2
    maps = 20

    def constants(self, target: Float[Tensor, "c h w"]) -> Stats:
        span = target.amax((1, 2)).float() - target.amin((1, 2)).float()
        # A channel that is constant has no range of its own; a small one keeps its terms finite.
        floor = 1e-3 * span.amax() + 1e-12
        return {"range": torch.maximum(span, floor), "channels": span.new_tensor(len(span))}

    def stats(
        self, features: Float[Tensor, "c h w"], target: Float[Tensor, "c h w"], constants: Stats, place: Place
    ) -> Stats:
        size = window_size(place.whole)
        seen = where_window_fits(place, size)
        if seen.bottom <= seen.top or seen.right <= seen.left:
            zero = features.float().sum() * 0
            return {"dissimilarity": zero, "count": zero.detach()}
        needed = grown(seen, size // 2).relative_to(place.window)
        x, y = needed.of(features).float(), needed.of(target).float()
        mean_x, mean_y, xx, yy, xy = (blurred(v, size) for v in (x, y, x * x, y * y, x * y))
        c1, c2 = ((k * constants["range"]).square()[:, None, None] for k in (K1, K2))
        luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
        covariance = xy - mean_x * mean_y
        variances = (xx - mean_x.square()) + (yy - mean_y.square())
        similarity = luminance * (2 * covariance + c2) / (variances + c2)
        count = similarity.new_tensor(similarity.shape[1] * similarity.shape[2])
        return {"dissimilarity": (1 - similarity).sum(), "count": count}

    def distance(self, stats: Stats, constants: Stats) -> Float[Tensor, ""]:
        return stats["dissimilarity"] / (stats["count"] * constants["channels"])


def window_size(whole: Box) -> int:
    """11, or the largest odd number that fits on the map."""
    side = min(WINDOW, whole.bottom - whole.top, whole.right - whole.left)
    return side - 1 + side % 2


def where_window_fits(place: Place, size: int) -> Box:
    """The owned places around which a window of `size` lies wholly on the map."""
    margin, owned, whole = size // 2, place.owned, place.whole
    return Box(
        max(owned.top, whole.top + margin),
        min(owned.bottom, whole.bottom - margin),
        max(owned.left, whole.left + margin),
        min(owned.right, whole.right - margin),
    )


def grown(box: Box, margin: int) -> Box:
    return Box(box.top - margin, box.bottom + margin, box.left - margin, box.right + margin)


def blurred(values: Float[Tensor, "c h w"], size: int) -> Float[Tensor, "c rows columns"]:
    """Gaussian means over windows of `size` that lie wholly on `values`."""
    offsets = torch.arange(size, device=values.device) - size // 2
    kernel = torch.exp(-offsets.square() / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).to(values.dtype)
    rows = F.conv2d(values[:, None], kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


class CorrelationSsim(CorrelationLoss):
    """1 − SSIM between matching rows of the two channel-correlation (Gram) matrices; no window and no place.

    Each row of G = F Fᵀ / (h·w), what one channel goes with, is compared by luminance (its mean), contrast (its
    deviation) and structure (its correlation with the style's row), the dynamic range being the style row's own.
    Unlike `gram` every channel counts alike, weak ones too: finer grain, less of the strongest colours.
    """

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        x, y = stats["gram"] / stats["count"], target["gram"] / target["count"]
        span = y.amax(1) - y.amin(1)
        # A row that is constant, or a style without features, has no range of its own; any finite one does.
        span = torch.maximum(span, 1e-3 * torch.maximum(span.amax(), x.detach().abs().amax()) + 1e-30)
        # In units of the row's range, so that squares of large Grams neither overflow nor vanish.
        x, y = x / span[:, None], y / span[:, None]
        c1, c2 = K1**2, K2**2
        mean_x, mean_y = x.mean(1), y.mean(1)
        variance_x, variance_y = x.var(1, correction=0), y.var(1, correction=0)
        covariance = ((x - mean_x[:, None]) * (y - mean_y[:, None])).mean(1)
        deviations = (variance_x + 1e-12).sqrt() * (variance_y + 1e-12).sqrt()
        luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
        contrast = (2 * deviations + c2) / (variance_x + variance_y + c2)
        structure = (covariance + c2 / 2) / (deviations + c2 / 2)
        return 1 - (luminance * contrast * structure).mean()
