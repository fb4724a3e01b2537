"""Sharpness and noise, against the style's: a painting may be soft or grainy, but as its style is."""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.evaluation.case import Case

BLUR_PX = 11
# The second derivative in both directions, which smooth shading and straight edges leave at 0.
IMMERKAER = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def sharpness_against_style(case: Case) -> float:
    """How much sharper than the style, -1..1: 0 as sharp, below 0 softer."""
    found = blur(case.picture.luma)
    return sum(share * (blur(style.luma) - found) for style, share in case.styles)


def noise_against_style(case: Case) -> float:
    """How much noisier than the style, in steps of 8 bits: 0 as noisy, below 0 smoother."""
    found = noise(case.picture.luma)
    return 255 * sum(share * (found - noise(style.luma)) for style, share in case.styles)


def blur(luma: Float[Tensor, "h w"]) -> float:
    """The blur effect, 0 sharp to 1 without edges (Crete et al., SPIE 2007): how little further blurring changes."""
    return max(blur_across(luma), blur_across(luma.T))


def blur_across(luma: Float[Tensor, "h w"]) -> float:
    kernel = luma.new_tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None]
    edge = BLUR_PX // 2
    blurred = F.avg_pool2d(luma[None, None], (1, BLUR_PX), 1)
    sharp_edges = F.conv2d(luma[None, None, :, edge:-edge], kernel).abs()
    lost = (sharp_edges - F.conv2d(blurred, kernel).abs()).clamp(min=0)
    total = float(sharp_edges.sum())
    return 1 - float(lost.sum()) / total if total > 0 else 1.0


def noise(luma: Float[Tensor, "h w"]) -> float:
    """Standard deviation of noise (Immerkær, CVIU 1996); fine texture counts as noise."""
    response = F.conv2d(luma[None, None], luma.new_tensor(IMMERKAER)[None, None])
    return math.sqrt(math.pi / 2) / 6 * float(response.abs().mean())
