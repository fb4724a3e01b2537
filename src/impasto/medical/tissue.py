"""What in a picture of stained tissue is background, tissue and ink. Every answer looks at one pixel's colour only.

Colours are rows (n, 3), RGB, float32 in 0..1 in sRGB; white is the colour of the empty glass (I0), the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from impasto.colour import srgb_to_linear
from impasto.errors import UserError

Colours = Float[np.ndarray, "n 3"]
Weight = Float[np.ndarray, " n"]
Statistics = Mapping[str, np.ndarray]
ColourMap = Callable[[Colours, Weight], Colours]

MIN_TISSUE_PIXELS: Final = 100
"""Fewer pixels of tissue than this are no ground for statistics."""

BACKGROUND_LIGHTNESS: Final = 85.0
"""CIE lightness from which a pixel is background; where the glass itself is darker than 95, ten below the glass."""

NOISE: Final = 0.02
"""Optical density below which a stain cannot be told from noise."""

FADE: Final = 8.0
"""Lightness below the background's over which a map comes into full effect, so that it draws no new edge."""

# Dim glass is taken for it only where much of the picture has just about its colour.
_DIM_SHARE, _DIM_LEAST, _DIM_SPREAD, _DIM_MIN = 0.95, 0.05, 5 / 255, 120 / 255

# Bright and nearly colourless pixels are glass; where there are too few, the white that Macenko et al. took.
_GLASS_MIN, _GLASS_CHROMA, _GLASS_SHARE = 220 / 255, 25 / 255, 0.01
_USUAL_WHITE: Final = np.full(3, 240 / 255, np.float32)

# Darkest optical density that can be told from black in 8 bits.
_DARKEST: Final = 0.5 / 255
# Stains of tissue absorb green at least about as much as red; green, blue and black inks do not.
_LEAST_GREEN: Final = 0.8
_BLACK_DENSITY: Final = 1.3
LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


class TooLittleTissue(UserError):  # noqa: N818 - what it is, rather than that it is one
    """A picture without tissue, or with too little of it for statistics."""


def weigh(colours: Colours, weights: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " n"]:
    """The weighted sum of each row.

    Not by matrix multiplication, whose rounding depends on where in the array a row stands: then a tile would differ
    from the whole by a level here and there.
    """
    a, b, c = weights.astype(colours.dtype)
    result: np.ndarray = colours[:, 0] * a + colours[:, 1] * b + colours[:, 2] * c
    return result


def mix(colours: Colours, matrix: Float[np.ndarray, "3 3"]) -> Colours:
    """Each row times the matrix, by `weigh`."""
    mixed = np.empty_like(colours)
    for column in range(3):
        mixed[:, column] = weigh(colours, matrix[:, column])
    return mixed


def optical_density(colours: Colours, white: Float[np.ndarray, " 3"]) -> Colours:
    """-log10(I / I0) of each channel; negative where a pixel is brighter than the glass."""
    density: Colours = np.log10(white / np.maximum(colours, np.float32(_DARKEST)))
    return density


def light(density: Colours, white: Float[np.ndarray, " 3"]) -> Colours:
    """What optical densities leave of the glass's light: the way back from `optical_density`."""
    left: Colours = white * np.exp(density * np.float32(-np.log(10)))
    return left


def luma(colours: Colours) -> Float[np.ndarray, " n"]:
    """BT.709 luma, 0..1."""
    return weigh(colours, LUMA)


def lightness(colours: Colours) -> Float[np.ndarray, " n"]:
    """CIE L* in 0..100 (D65)."""
    relative = luma(srgb_to_linear(colours.T).T)
    root = np.cbrt(relative)
    return np.where(relative > 216 / 24389, 116 * root - 16, relative * np.float32(24389 / 27))


def estimate_white(colours: Colours) -> Float[np.ndarray, " 3"]:
    """The colour of the empty glass; 240 of 255 where less than 1 % of the pixels show it."""
    low = colours.min(axis=1)
    glass = colours[(low >= _GLASS_MIN) & (colours.max(axis=1) - low <= _GLASS_CHROMA)]
    if len(glass) < max(1, _GLASS_SHARE * len(colours)):
        return _dim_white(colours)
    # The upper quartile: pixels at the edges of tissue are glass too, and dimmer.
    result: np.ndarray = np.percentile(glass, 75, axis=0).astype(np.float32)
    return result


def _dim_white(colours: Colours) -> Float[np.ndarray, " 3"]:
    """The glass of a slide in dim light: its brightest pixels, where many are of one colour; else the usual white."""
    bright = luma(colours)
    top = colours[bright >= _DIM_SHARE * np.percentile(bright, 99)] if len(colours) else colours
    if len(top) < _DIM_LEAST * len(colours) or len(top) == 0:
        return _USUAL_WHITE
    low, middle, high = np.percentile(top, [25, 50, 75], axis=0)
    even = (high - low).max() <= _DIM_SPREAD and middle.max() - middle.min() <= _GLASS_CHROMA
    return middle.astype(np.float32) if even and middle.min() >= _DIM_MIN else _USUAL_WHITE


def background_limit(white: Float[np.ndarray, " 3"]) -> float:
    """CIE lightness from which a pixel counts as background."""
    return min(BACKGROUND_LIGHTNESS, float(lightness(white[None])[0]) - 10)


def grey_luma(lightness: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Luma of the greys of CIE lightnesses above 8, where both scales are powers: sRGB's 1/2.4 of CIE's cube."""
    grey: Float[np.ndarray, " n"] = 1.055 * ((lightness + 16) / 116) ** (3 / 2.4) - 0.055
    return grey


def effect(colours: Colours, white: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " n"]:
    """How much a map changes each pixel: exactly 0 on background, 1 in tissue, a smooth step between."""
    step = np.clip((background_limit(white) - lightness(colours)) / np.float32(FADE), 0, 1)
    smooth: Float[np.ndarray, " n"] = step * step * (3 - 2 * step)
    return smooth


def tissue_mask(colours: Colours, white: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, " n"]:
    """Which pixels are stained tissue: neither background nor green, blue or black ink."""
    density = optical_density(colours, white)
    stained = density[:, 1] >= _LEAST_GREEN * density[:, 0]
    coloured = colours.max(axis=1) - colours.min(axis=1) > np.float32(2.5 / 255)
    mask: Bool[np.ndarray, " n"] = (
        (lightness(colours) < background_limit(white))
        & stained
        & coloured
        & (density.min(axis=1) < np.float32(_BLACK_DENSITY))
    )
    return mask
