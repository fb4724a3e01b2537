"""Where a picture has edges, and whether another has them there too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SOBEL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


def edges(luma: Float[Tensor, "h w"]) -> Float[Tensor, "h2 w2"]:
    """Edge strength (Sobel) of all pixels but those at the border."""
    kernel = luma.new_tensor(SOBEL)
    across = F.conv2d(luma[None, None], torch.stack([kernel, kernel.T])[:, None])[0]
    return across.square().sum(0).sqrt()


def edge_correlation(one: Float[Tensor, "h w"], other: Float[Tensor, "h w"]) -> float:
    """Correlation of the edge strengths of two lumas: 1 where edges are in the same places and proportional, 0 where
    they have nothing to do with each other or there are none."""
    pair = torch.stack([edges(one).flatten(), edges(other).flatten()])
    pair = pair - pair.mean(1, keepdim=True)
    scale = float(pair.square().sum(1).prod().sqrt())
    return float(pair.prod(0).sum()) / scale if scale > 0 else 0.0
