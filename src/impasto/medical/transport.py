"""The method `colour-transport`: optimal transport of stain densities along a straight line of brightness."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Float

from impasto.medical.tissue import (
    LUMA,
    NOISE,
    ColourMap,
    Colours,
    Statistics,
    Weight,
    background_limit,
    effect,
    grey_luma,
    lightness,
    luma,
    mix,
    optical_density,
    weigh,
)

_SAMPLE: Final = 1024
_NEWTON_STEPS: Final = 3
_MEAN_STEPS: Final = 12
# How much of the way to a lighter reference brightness goes.
_WAY: Final = 0.9
# Over how much of the range of luma, from the background down, the curve of brightness turns to its slope.
_KNEE: Final = 0.2
# Luma below the background's over which saturated colours leave the greys of their lightness.
_MARGIN: Final = 0.1


def measure_transport(colours: Colours, white: Float[np.ndarray, " 3"]) -> dict[str, np.ndarray]:
    density = optical_density(colours, white).astype(np.float64)
    order = np.argsort(luma(colours), kind="stable")
    # Evenly spaced ranks of brightness stand for the whole, and make the measurement small enough for a profile.
    ranks = np.linspace(0, len(order) - 1, min(_SAMPLE, len(order))).round().astype(int)
    return {
        "white": white.astype(np.float64),
        "density_moments": density.T @ density / len(density),
        "mean": colours.mean(axis=0, dtype=np.float64),
        "sample": colours[order[ranks]].astype(np.float64),
    }


def between_transport(source: Statistics, target: Statistics) -> ColourMap:
    """Optimal transport of stain densities along a straight line of brightness, to the target's mean colour.

    Densities are carried by the linear optimal transport between their second moments about the glass, x -> x A with
    A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 (Olkin & Pukelsheim 1982), so that the glass stays where it is. Then each
    pixel moves along its ray of density until its luma is what a monotone curve through the limit of the background
    makes of its own (`brightened`): contrasts within the tissue shrink or grow nearly alike. Slope and channels are
    set so that the sample's mean is the target's; to a lighter target it goes nine tenths of the way only, since the
    glass cannot give way and the contrast of the tissue pays for every step.
    """
    white = source["white"].astype(np.float32)
    noise = NOISE**2 * np.eye(3)
    matrix = monge(source["density_moments"] + noise, target["density_moments"] + noise)
    sample = source["sample"].astype(np.float32)
    weight = effect(sample, white)
    limit = background_limit(white)
    lighter = max(0.0, float(luma((target["mean"] - source["mean"])[None])[0]))
    goal = target["mean"] - (1 - _WAY) * lighter
    slope = _slope(sample, limit, float(luma(goal[None])[0]))
    for _ in range(_MEAN_STEPS):
        carried = partial(_transport, matrix.astype(np.float32), limit, slope, white)
        mean = carried(sample, weight).mean(axis=0, dtype=np.float64)
        wanted, found = (np.log10(white / np.clip(colour, 0.01, None)) for colour in (goal, mean))
        matrix = matrix * np.clip(np.maximum(wanted, 1e-3) / np.maximum(found, 1e-3), 0.5, 2)
    return partial(_transport, matrix.astype(np.float32), limit, slope, white)


def monge(source: Float[np.ndarray, "3 3"], target: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    root, inverse = _power(source, 0.5), _power(source, -0.5)
    result: np.ndarray = inverse @ _power(root @ target @ root, 0.5) @ inverse
    return result


def _power(matrix: Float[np.ndarray, "3 3"], exponent: float) -> Float[np.ndarray, "3 3"]:
    values, vectors = np.linalg.eigh(matrix)
    result: np.ndarray = (vectors * values**exponent) @ vectors.T
    return result


def brightened(colours: Colours, limit: float, slope: float) -> Float[np.ndarray, " n"]:
    """Luma on the way to the target, which only depends on a pixel's own.

    Where the target is lighter (slope under 1) it is a line, which a flatter piece below the limit joins to the
    background: hardly any structure is that pale, so that all other tissue keeps one contrast, and more of it than by
    a line through the limit. Where the target is darker it is a hyperbola, which reaches black only where the source
    does.
    """
    own, grey = luma(colours), grey_luma(lightness(colours))
    limit_luma = grey_luma(np.array([limit], np.float32))[0]
    # Colours have less luma than the grey of their lightness: those at the limit must not move. (Of greys so dark that
    # `grey_luma` does not hold, nothing is taken.)
    seen = own + (grey - own) * np.clip(1 - (limit_luma - grey) / np.float32(_MARGIN), 0, 1)
    depth = np.maximum(limit_luma - seen, 0) / limit_luma
    if slope <= 1:
        # Its slope at the limit is slope**4, and never negative.
        depth_there = slope * (depth - (1 - slope**3) * _KNEE * (1 - np.exp(-depth / _KNEE)))
    else:
        depth_there = slope * depth / (1 + (slope - 1) * depth)
    result: np.ndarray = own + limit_luma * (depth - depth_there)
    return result


def _slope(sample: Colours, limit: float, wanted: float) -> float:
    """The slope with which the sample's mean luma becomes the wanted one, by bisection; at most 20-fold."""
    low, high = -3.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        mean = float(brightened(sample, limit, np.exp(middle)).mean())
        low, high = (middle, high) if mean > wanted else (low, middle)
    return float(np.exp((low + high) / 2))


def _transport(
    matrix: Float[np.ndarray, "3 3"],
    limit: float,
    slope: float,
    white: Float[np.ndarray, " 3"],
    colours: Colours,
    weight: Weight,
) -> Colours:
    density = np.maximum(mix(optical_density(colours, white), matrix), np.float32(1e-3)) * np.float32(np.log(10))
    wanted = np.maximum(brightened(colours, limit, slope), np.float32(0.5 / 255))
    share = white * LUMA
    # Newton's method on a falling convex function, from a point below the root: it climbs and never overshoots.
    along = np.maximum(np.log(share.sum() / wanted), 0) / weigh(density, share / share.sum())
    for _ in range(_NEWTON_STEPS):
        light = np.exp(-along[:, None] * density)
        along = along + (weigh(light, share) - wanted) / weigh(light * density, share)
    stained = white * np.exp(-np.maximum(along, 0)[:, None] * density)
    # Near the background only the brightness follows the curve, which is continuous there; the hue fades in.
    own = colours + (wanted - luma(colours))[:, None]
    result: np.ndarray = own + weight[:, None] * (stained - own)
    return result
