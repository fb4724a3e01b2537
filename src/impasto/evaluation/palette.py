"""How far the colours of a picture are from the style's, wherever they are."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from impasto.evaluation.case import Case

DIRECTIONS, QUANTILES, SAMPLES = 64, 256, 1 << 13
GOLDEN = (math.sqrt(5) - 1) / 2


def palette_distance(case: Case) -> float:
    """Sliced Wasserstein-2 distance to the colours of the styles in OKLab (Bonneel et al., JMIV 2015), by their shares.

    Scaled by √3, so that a palette moved by d as a whole is at distance d; 0.02 is about a just noticeable difference.
    """
    found = profile(case.picture.oklab)
    return sum(share * distance(found, profile(style.oklab)) for style, share in case.styles)


def distance(one: Float[np.ndarray, "directions quantiles"], other: Float[np.ndarray, "directions quantiles"]) -> float:
    return float(np.sqrt(3 * np.square(one - other).mean()))


def profile(lab: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "directions quantiles"]:
    """Quantiles of the colours along each direction."""
    colours = lab.reshape(3, -1)
    count = min(SAMPLES, colours.shape[1])
    # Steps of the golden ratio spread evenly over the picture, whatever its width.
    places = (np.arange(count) * GOLDEN % 1 * colours.shape[1]).astype(int)
    along = np.sort(directions() @ colours[:, places], axis=1)
    return along[:, np.linspace(0, count - 1, QUANTILES).round().astype(int)]


def directions() -> Float[np.ndarray, "directions 3"]:
    """Unit vectors spread evenly over a half sphere, along a golden spiral."""
    steps = np.arange(DIRECTIONS)
    height = (steps + 0.5) / DIRECTIONS
    radius, angle = np.sqrt(1 - height**2), 2 * np.pi * GOLDEN * steps
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
