"""A simple detector of nuclei in stained tissue, independent of every stain method: dark blobs of about one size."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage, spatial

from impasto.medical.tissue import LUMA

NUCLEUS_RADIUS_PX: Final = 5.0
"""Usual radius of a nucleus at 20x (0.5 micrometres a pixel), in pixels."""

_LEAST_CONTRAST: Final = 0.25
_LEVELS: Final = 1024


def find_nuclei(pixels: UInt8[np.ndarray, "h w 3"], radius_px: float = NUCLEUS_RADIUS_PX) -> Int[np.ndarray, "n 2"]:
    """Centres (row, column) of dark blobs, by differences of Gaussians (Marr & Hildreth 1980).

    Looks at the rank of each pixel's brightness within the picture, so that a change of brightness that keeps the
    order of the pixels finds the same nuclei. radius_px: larger ignores smaller nuclei.
    """
    dark = _darkness_rank(pixels)
    blobs = ndimage.gaussian_filter(dark, radius_px / 2) - ndimage.gaussian_filter(dark, 3 * radius_px)
    highest = ndimage.maximum_filter(blobs, size=int(1.4 * radius_px) | 1)
    return np.argwhere((blobs == highest) & (blobs > _LEAST_CONTRAST))


def matched_share(before: Int[np.ndarray, "n 2"], after: Int[np.ndarray, "m 2"], within_px: float) -> float:
    """The share of centres with a counterpart within a distance, in the worse direction; 1 where there are none."""
    if len(before) == 0 and len(after) == 0:
        return 1.0
    if len(before) == 0 or len(after) == 0:
        return 0.0
    pairs = ((before, after), (after, before))
    return min(float((spatial.cKDTree(a).query(b)[0] <= within_px).mean()) for a, b in pairs)


def _darkness_rank(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    levels = np.rint((pixels @ LUMA) * np.float32((_LEVELS - 1) / 255)).astype(np.int64)
    counts = np.bincount(levels.ravel(), minlength=_LEVELS)
    middle = np.cumsum(counts) - counts / 2
    rank: Float[np.ndarray, "h w"] = (1 - middle / counts.sum()).astype(np.float32)[levels]
    return rank
