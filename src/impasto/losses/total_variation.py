"""Total variation of the picture itself (Mahendran & Vedaldi, CVPR 2015, eq. 6 with β = 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# Rows worked on at once, so that what is needed on the way does not grow with the picture.
ROWS = 512


def total_variation(picture: Float[Tensor, "1 3 h w"], *, seamless: bool = False) -> Float[Tensor, ""]:
    """Mean squared difference between neighbours, down plus across; more weight on it gives smoother pictures.

    seamless: whether opposite borders are neighbours too.
    """
    if seamless:
        return (picture.roll(-1, 2) - picture).square().mean() + (picture.roll(-1, 3) - picture).square().mean()
    height, width = picture.shape[2:]
    bands = [picture[:, :, top : top + ROWS + 1] for top in range(0, height, ROWS)]
    down = torch.stack([band.diff(dim=2).square().sum() for band in bands]).sum()
    across = torch.stack([band[:, :, :ROWS].diff(dim=3).square().sum() for band in bands]).sum()
    return down / (3 * (height - 1) * width) + across / (3 * height * (width - 1))


def variation_gradient(
    picture: Float[Tensor, "n 3 h w"], top: int, bottom: int, *, seamless: bool = False
) -> Float[Tensor, "n 3 rows w"]:
    """The gradient of each picture's `total_variation` at the rows from `top` to `bottom`; reads one more row on each
    side."""
    if seamless:
        around = sum(picture.roll(step, axis) for axis in (2, 3) for step in (-1, 1))
        return ((4 * picture - around) * (2 / picture[0].numel()))[:, :, top:bottom]
    height, width = picture.shape[2:]
    first = max(0, top - 1)
    rows = picture[:, :, first : bottom + 1]
    gradient = torch.zeros_like(rows)
    for axis, count in ((2, 3 * (height - 1) * width), (3, 3 * height * (width - 1))):
        step = rows.diff(dim=axis) * (2 / count)
        length = step.shape[axis]
        gradient.narrow(axis, 1, length).add_(step)
        gradient.narrow(axis, 0, length).sub_(step)
    return gradient[:, :, top - first : bottom - first]
