"""What is left of the photo's structure, without a network: SSIM and the correlation of edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.evaluation.case import Case
from impasto.losses.ssim import K1, K2, WINDOW, blurred

SOBEL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


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
    pair = torch.stack([edges(case.picture.luma).flatten(), edges(case.photo.luma).flatten()])
    pair = pair - pair.mean(1, keepdim=True)
    scale = float(pair.square().sum(1).prod().sqrt())
    return float(pair.prod(0).sum()) / scale if scale > 0 else 0.0


def edges(luma: Float[Tensor, "h w"]) -> Float[Tensor, "h2 w2"]:
    kernel = luma.new_tensor(SOBEL)
    across = F.conv2d(luma[None, None], torch.stack([kernel, kernel.T])[:, None])[0]
    return across.square().sum(0).sqrt()
