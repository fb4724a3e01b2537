"""Total variation of the picture itself (Mahendran & Vedaldi, CVPR 2015, eq. 6 with β = 2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def total_variation(picture: Float[Tensor, "1 3 h w"], *, seamless: bool = False) -> Float[Tensor, ""]:
    """Mean squared difference between neighbours, down plus across; more weight on it gives smoother pictures.

    seamless: whether opposite borders are neighbours too.
    """
    if seamless:
        down, across = picture.roll(-1, 2) - picture, picture.roll(-1, 3) - picture
    else:
        down = picture[:, :, 1:] - picture[:, :, :-1]
        across = picture[:, :, :, 1:] - picture[:, :, :, :-1]
    return down.square().mean() + across.square().mean()
