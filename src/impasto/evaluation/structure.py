"""What is left of the photo's structure, without a network: SSIM and the correlation of edges."""

from __future__ import annotations

from impasto import edges
from impasto.evaluation.case import Case
from impasto.losses.ssim import K1, K2, WINDOW, blurred


def ssim(case: Case) -> float:
    """Mean structural similarity of luma to the photo (Wang et al., IEEE TIP 2004), Gaussian window of 11 px; 1 is
    the photo itself."""
    x, y = case.picture.luma[None], case.photo.luma[None]
    mean_x, mean_y, xx, yy, xy = (blurred(v, WINDOW) for v in (x, y, x * x, y * y, x * y))
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
    covariance, variances = xy - mean_x * mean_y, (xx - mean_x.square()) + (yy - mean_y.square())
    return float((luminance * (2 * covariance + K2**2) / (variances + K2**2)).mean())


def edge_correlation(case: Case) -> float:
    """Correlation of edge strength (Sobel, luma) with the photo's; 1 where edges are where the photo has them, 0 where
    they have nothing to do with it or there are none."""
    return edges.edge_correlation(case.picture.luma, case.photo.luma)
