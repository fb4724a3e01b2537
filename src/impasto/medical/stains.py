"""The methods: what each measures of tissue, and the map of colours that follows from two measurements.

A method is two functions. `measure(colours, white)` gives its statistics of tissue colours, as arrays by name;
`between(source, target)` gives the function of colours (n, 3) that carries the one appearance to the other. Such a
function sees one colour at a time, so no structure can be invented. Colours are RGB in 0..1 in sRGB, float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Float

from impasto.colour import linear_to_srgb, srgb_to_linear
from impasto.medical.learned import between_learned, measure_learned
from impasto.medical.tissue import NOISE, ColourMap, Colours, Statistics, Weight, light, mix, optical_density
from impasto.medical.transport import between_transport, measure_transport

# sRGB to XYZ by the white point of D65 (IEC 61966-2-1), for CIELAB.
_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array([[0.95047], [1.0], [1.08883]])
_TO_LAB: Final = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float64)
_LAB_TOE: Final = 6 / 29

_LEAST_STAIN: Final = 0.05
# Haematoxylin and eosin of Ruifrok & Johnston (2001), for pictures that show one stain only.
_USUAL_STAINS: Final = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
_SPARSITY: Final = 0.02
_DICTIONARY_ROUNDS: Final = 60


@dataclass(frozen=True)
class Method:
    """A row of the table of methods, with the one line that the help tells of it."""

    measure: Callable[[Colours, Float[np.ndarray, " 3"]], dict[str, np.ndarray]]
    between: Callable[[Statistics, Statistics], ColourMap]
    about: str


# Reinhard


def to_lab(colours: Colours) -> Colours:
    """CIELAB (D65) of sRGB colours."""
    xyz = mix(srgb_to_linear(colours.T).T, _TO_XYZ.T)
    root = np.where(xyz > _LAB_TOE**3, np.cbrt(xyz), xyz / (3 * _LAB_TOE**2) + 4 / 29)
    lab: Colours = mix(root, _TO_LAB.T) - np.array([16, 0, 0], colours.dtype)
    return lab


def from_lab(lab: Colours) -> Colours:
    """sRGB of CIELAB colours; outside 0..1 where sRGB cannot show them."""
    root = mix(lab + np.array([16, 0, 0], lab.dtype), np.linalg.inv(_TO_LAB).T)
    xyz = np.where(root > _LAB_TOE, root**3, 3 * _LAB_TOE**2 * (root - 4 / 29))
    return linear_to_srgb(mix(xyz, np.linalg.inv(_TO_XYZ).T).T).T


def measure_reinhard(colours: Colours, white: Float[np.ndarray, " 3"]) -> dict[str, np.ndarray]:
    lab = to_lab(colours.astype(np.float64))
    return {"lab_mean": lab.mean(axis=0), "lab_std": lab.std(axis=0)}


def between_reinhard(source: Statistics, target: Statistics) -> ColourMap:
    """Means and standard deviations in CIELAB (Reinhard et al., IEEE CG&A 2001, with CIELAB for their l-alpha-beta)."""
    scale = (target["lab_std"] + 1) / (source["lab_std"] + 1)
    shift = target["lab_mean"] - scale * source["lab_mean"]
    return partial(_scaled_lab, scale.astype(np.float32), shift.astype(np.float32))


def _scaled_lab(
    scale: Float[np.ndarray, " 3"], shift: Float[np.ndarray, " 3"], colours: Colours, weight: Weight
) -> Colours:
    result: np.ndarray = colours + weight[:, None] * (from_lab(to_lab(colours) * scale + shift) - colours)
    return result


# Stain matrices: Macenko and Vahadane


def macenko_vectors(density: Colours, angle_percentile: float = 1.0) -> Float[np.ndarray, "2 3"]:
    """Haematoxylin and eosin directions of a tissue sample (Macenko et al., ISBI 2009).

    density: one row a tissue pixel, -log10(I/I0), background already left out.
    angle_percentile: percent of extreme angles ignored at each end; higher is steadier, and less saturated.
    Returns unit rows, haematoxylin (which absorbs more red) first.
    """
    plane = np.linalg.eigh(np.cov(density.T))[1][:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    angles = np.arctan2(*(density @ plane).T[::-1])
    ends = np.percentile(angles, [angle_percentile, 100 - angle_percentile])
    vectors = np.stack([np.cos(ends), np.sin(ends)], axis=1) @ plane.T
    return _haematoxylin_first(vectors)


def vahadane_vectors(density: Colours) -> Float[np.ndarray, "2 3"]:
    """Haematoxylin and eosin directions by sparse non-negative factorisation (Vahadane et al., IEEE TMI 2016).

    Minimises ||V - C W||^2 / 2 + 0.02 |C| over C >= 0 and unit rows W >= 0, alternately, from Macenko's directions.
    density: as for `macenko_vectors`. Returns unit rows, haematoxylin first.
    """
    density = np.maximum(density, 0)
    vectors = unit(np.maximum(macenko_vectors(density), 0.01))
    for _ in range(_DICTIONARY_ROUNDS):
        amounts = _sparse_amounts(density, vectors)
        for k in range(2):
            rest = density - amounts @ vectors + np.outer(amounts[:, k], vectors[k])
            vectors[k] = unit(np.maximum(amounts[:, k] @ rest, 1e-6))
    return _haematoxylin_first(vectors)


def _sparse_amounts(density: Colours, vectors: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "n 2"]:
    """The non-negative lasso for two atoms, in closed form: both present, or the better one alone."""
    gain = density @ vectors.T - _SPARSITY
    overlap = float(vectors[0] @ vectors[1])
    both = (gain - overlap * gain[:, ::-1]) / max(1 - overlap**2, 1e-6)
    alone = np.where(gain == gain.max(axis=1, keepdims=True), np.maximum(gain, 0), 0)
    return np.where((both > 0).all(axis=1, keepdims=True), both, alone)


def measure_stains(
    vectors_of: Callable[[Colours], Float[np.ndarray, "2 3"]], colours: Colours, white: Float[np.ndarray, " 3"]
) -> dict[str, np.ndarray]:
    density = optical_density(colours, white).astype(np.float64)
    single = single_stain(colours, white)
    vectors = vectors_of(density) if single is None else _with_usual(single)
    most = np.percentile(density @ np.linalg.pinv(vectors), 99, axis=0)
    if single is not None:
        most[(vectors @ single).argmin()] = 0
    return {"white": white.astype(np.float64), "stains": vectors, "most": most}


def single_stain(colours: Colours, white: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"] | None:
    """The direction of the densities of tissue with one stain, whose rest is noise; None for two stains or more."""
    density = optical_density(colours, white).astype(np.float64)
    values, directions = np.linalg.eigh(density.T @ density / len(density))
    return None if values[1] > NOISE**2 else np.abs(directions[:, 2])


def _with_usual(single: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "2 3"]:
    """A stain beside the usual other one: the one of haematoxylin and eosin that it is less like."""
    other = _USUAL_STAINS[(_USUAL_STAINS @ single).argmin()]
    return _haematoxylin_first(np.stack([single, other]))


def between_stains(source: Statistics, target: Statistics) -> ColourMap:
    """Each stain's direction and 99th percentile carried over; what is neither stain (a third axis) stays as it is.

    A stain that one of the two lacks keeps its amount.
    """
    seen = (source["most"] > _LEAST_STAIN) & (target["most"] > _LEAST_STAIN)
    scale = np.where(seen, target["most"] / np.where(seen, source["most"], 1), 1)
    matrix = np.linalg.inv(with_third(source["stains"])) @ np.diag([*scale, 1.0]) @ with_third(target["stains"])
    return partial(_linear_density, matrix.astype(np.float32), source["white"].astype(np.float32))


def _linear_density(
    matrix: Float[np.ndarray, "3 3"], white: Float[np.ndarray, " 3"], colours: Colours, weight: Weight
) -> Colours:
    density = mix(optical_density(colours, white), matrix)
    result: np.ndarray = colours + weight[:, None] * (light(density, white) - colours)
    return result


def _haematoxylin_first(vectors: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    return vectors if vectors[0, 0] >= vectors[1, 0] else vectors[::-1].copy()


def unit(rows: np.ndarray) -> np.ndarray:
    result: np.ndarray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return result


def with_third(vectors: Float[np.ndarray, "*n 2 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """The two stains and the direction square to both."""
    third = unit(np.cross(vectors[..., 0, :], vectors[..., 1, :]))
    return np.concatenate([vectors, third[..., None, :]], axis=-2)


METHODS: dict[str, Method] = {
    "colour-transport": Method(
        measure_transport, between_transport, "optimal transport of densities, monotone in brightness (default)"
    ),
    "reinhard": Method(measure_reinhard, between_reinhard, "means and deviations in CIELAB"),
    "macenko": Method(
        partial(measure_stains, macenko_vectors), between_stains, "stain vectors from the extreme angles of density"
    ),
    "vahadane": Method(
        partial(measure_stains, vahadane_vectors), between_stains, "stain vectors by sparse factorisation"
    ),
    "learned": Method(
        measure_learned, between_learned, "a pointwise network steered by deep features of both appearances"
    ),
}
DEFAULT_METHOD: Final = "colour-transport"
