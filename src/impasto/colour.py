"""Colour arithmetic on NumPy arrays: sRGB, linear light, OKLab, and carrying colours from one picture to another.

Arrays are channels first, shaped (3, h, w), float32 or float64; results keep the dtype. sRGB and linear values lie
in 0..1. OKLab (Bjorn Ottosson, 2020) has lightness L in 0..1 and the opponent axes a and b in about -0.4..0.4.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float

_LINEAR_TO_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_OKLAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# The inverses are computed, since the published ones have ten digits only and would spoil float64 round trips.
_LMS_TO_LINEAR: Final = np.linalg.inv(_LINEAR_TO_LMS)
_OKLAB_TO_LMS: Final = np.linalg.inv(_LMS_TO_OKLAB)

_BT709_LUMA: Final = np.array([0.2126, 0.7152, 0.0722])

# Each step halves the interval in which the largest chroma lies: 2**-16 is well below one step of 16-bit sRGB.
_GAMUT_STEPS: Final = 16
# How far outside 0..1 counts as rounding error rather than as out of gamut: float32 comes to 3e-6, on ten million
# colours, most of them at the edge.
_GAMUT_SLACK: Final = 5e-6
# Variance along an axis of colour, relative to the largest one, below which the axis counts as absent.
_FLAT_AXIS: Final = 1e-6
# OKLab variance below which a picture has one colour only (a hundredth of an 8-bit step, squared).
_ONE_COLOUR: Final = 1e-9


def srgb_to_linear(rgb: Float[np.ndarray, "3 *n"]) -> Float[np.ndarray, "3 *n"]:
    """Linear light, 0..1, of sRGB values in 0..1 (IEC 61966-2-1)."""
    toe = rgb / 12.92
    power = np.power((np.maximum(rgb, 0.04045) + 0.055) / 1.055, 2.4)
    return np.where(rgb <= 0.04045, toe, power)


def linear_to_srgb(linear: Float[np.ndarray, "3 *n"]) -> Float[np.ndarray, "3 *n"]:
    """sRGB values, 0..1, of linear light in 0..1 (IEC 61966-2-1)."""
    toe = linear * 12.92
    power = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, toe, power)


def srgb_to_oklab(rgb: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 h w"]:
    """OKLab (L, a, b) of sRGB values in 0..1."""
    return _mix(_LMS_TO_OKLAB, np.cbrt(_mix(_LINEAR_TO_LMS, srgb_to_linear(rgb))))


def oklab_to_srgb(lab: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 h w"]:
    """sRGB values of OKLab colours; those outside the sRGB gamut come out outside 0..1 (see `into_gamut`)."""
    return linear_to_srgb(_oklab_to_linear(lab))


def to_grey(rgb: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "h w"]:
    """BT.709 luma, 0..1, of sRGB values in 0..1: the weighted sum of the values as they are, not linear light."""
    grey: np.ndarray = np.tensordot(_BT709_LUMA.astype(rgb.dtype), rgb, axes=1)
    return grey


def into_gamut(lab: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 h w"]:
    """sRGB values, 0..1, of OKLab colours, where colours outside the sRGB gamut lose chroma until they fit.

    Lightness (clipped to 0..1) and hue stay; clipping the channels instead would change both. Colours inside the
    gamut are not touched.
    """
    lab = np.concatenate([np.clip(lab[:1], 0, 1), lab[1:]])
    linear = _oklab_to_linear(lab)
    outside = ~_in_gamut(linear)
    if outside.any():
        linear[:, outside] = _oklab_to_linear(_reduce_chroma(lab[:, outside]))
    return linear_to_srgb(np.clip(linear, 0, 1))


def keep_colour(result: Float[np.ndarray, "3 h w"], photo: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 h w"]:
    """The result painted in the photo's own colours: OKLab lightness of `result`, a and b of `photo`.

    Both are sRGB in 0..1 and of one size, and so is what comes back. Colours that sRGB cannot show at their new
    lightness lose chroma until they fit (see `into_gamut`).
    """
    lab = srgb_to_oklab(photo)
    lab[0] = srgb_to_oklab(result)[0]
    return into_gamut(lab)


def match_colour(
    style: Float[np.ndarray, "3 hs ws"], photo: Float[np.ndarray, "3 hp wp"]
) -> Float[np.ndarray, "3 hs ws"]:
    """The style picture recoloured so that mean and covariance of its OKLab colours are those of the photo.

    The colours x become A (x - mean of style) + mean of photo, where A is the symmetric root of the photo's
    covariance times the inverse symmetric root of the style's (Gatys et al. 2016, "Preserving color in neural
    artistic style transfer"). Both are sRGB in 0..1, of any sizes. Axes of colour along which the style does not
    vary cannot be stretched and stay flat, so a grey style keeps a single line of colours. Colours that end
    outside the sRGB gamut lose chroma until they fit (see `into_gamut`), so the match is exact only without them.
    """
    lab = srgb_to_oklab(style)
    style_mean, style_covariance = _mean_and_covariance(lab)
    photo_mean, photo_covariance = _mean_and_covariance(srgb_to_oklab(photo))
    matrix = _symmetric_power(photo_covariance, 0.5) @ _symmetric_power(style_covariance, -0.5)
    shift = (photo_mean - matrix @ style_mean).astype(lab.dtype)
    return into_gamut(_mix(matrix, lab) + shift[:, None, None])


def _mix(matrix: Float[np.ndarray, "3 3"], colours: Float[np.ndarray, "3 *n"]) -> Float[np.ndarray, "3 *n"]:
    """The matrix applied to each colour, in the dtype of the colours."""
    mixed: np.ndarray = np.tensordot(matrix.astype(colours.dtype), colours, axes=1)
    return mixed


def _oklab_to_linear(lab: Float[np.ndarray, "3 *n"]) -> Float[np.ndarray, "3 *n"]:
    return _mix(_LMS_TO_LINEAR, _mix(_OKLAB_TO_LMS, lab) ** 3)


def _in_gamut(linear: Float[np.ndarray, "3 *n"]) -> Bool[np.ndarray, "*n"]:
    """Which colours lie in 0..1 up to rounding errors."""
    inside: np.ndarray = np.logical_and.reduce(np.abs(linear - 0.5) <= 0.5 + _GAMUT_SLACK, axis=0)
    return inside


def _reduce_chroma(lab: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
    """The colours with the largest part of their chroma that is in the sRGB gamut, found by bisection."""
    low = np.zeros_like(lab[0])
    high = np.ones_like(lab[0])
    for _ in range(_GAMUT_STEPS):
        middle = (low + high) / 2
        fits = _in_gamut(_oklab_to_linear(_scale_chroma(lab, middle)))
        low = np.where(fits, middle, low)
        high = np.where(fits, high, middle)
    return _scale_chroma(lab, low)


def _scale_chroma(lab: Float[np.ndarray, "3 n"], factor: Float[np.ndarray, " n"]) -> Float[np.ndarray, "3 n"]:
    return np.concatenate([lab[:1], lab[1:] * factor])


def _mean_and_covariance(
    lab: Float[np.ndarray, "3 h w"],
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "3 3"]]:
    """Mean and covariance of the colours, summed in float64 since float32 loses digits on large pictures."""
    colours = lab.reshape(3, -1)
    mean = colours.mean(axis=1, dtype=np.float64)
    centred = colours - mean[:, None]
    return mean, centred @ centred.T / colours.shape[1]


def _symmetric_power(covariance: Float[np.ndarray, "3 3"], power: float) -> Float[np.ndarray, "3 3"]:
    """The covariance raised to a power through its eigenvalues; axes without variance give zero."""
    values, vectors = np.linalg.eigh(covariance)
    present = values > max(_FLAT_AXIS * values[-1], _ONE_COLOUR)
    powers = np.where(present, np.where(present, values, 1.0) ** power, 0.0)
    result: np.ndarray = (vectors * powers) @ vectors.T
    return result
