"""Synthetic tissue whose truth is known: stain vectors, nuclei, background. For tests, benchmarks and pictures.

The model: glass of colour `white`; tissue bands whose eosin density varies smoothly; nuclei, discs with soft edges and
a grain, that carry haematoxylin; each pixel's optical density is amounts (h, e) times the stain matrix (Beer-Lambert),
to which camera noise is added. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

ROSE: Final = np.array([[0.65, 0.70, 0.29], [0.08, 0.94, 0.33]])
"""Haematoxylin as Ruifrok & Johnston (2001) give it, with an eosin as scanners see it: the stain of one laboratory."""

PURPLE: Final = np.array([[0.72, 0.66, 0.21], [0.35, 0.90, 0.26]])
"""Another laboratory's: paler, and its eosin towards purple."""

_NUCLEUS_RADIUS_PX = (4.0, 6.5)


@dataclass(frozen=True, eq=False)
class SyntheticTissue:
    """A picture and its truth: the stain matrix (unit rows, haematoxylin first), nucleus centres, tissue mask."""

    pixels: UInt8[np.ndarray, "h w 3"]
    stains: Float[np.ndarray, "2 3"]
    nuclei: Float[np.ndarray, "n 2"]
    tissue: Bool[np.ndarray, "h w"]


def synthetic_tissue(
    height: int,
    width: int,
    *,
    stains: Float[np.ndarray, "2 3"] = ROSE,
    amounts: tuple[float, float] = (0.9, 0.35),
    white: tuple[float, float, float] = (244.0, 243.0, 245.0),
    coverage: float = 0.7,
    noise_levels: float = 1.5,
    seed: int = 0,
) -> SyntheticTissue:
    """A picture of tissue in a stain of one's choice.

    stains: directions of haematoxylin and eosin, scaled to unit length here. amounts: usual density of each; more is
    darker. coverage: share of the picture that is tissue, 0 for empty glass. noise_levels: standard deviation of the
    camera's noise in 8-bit levels. seed: another one lays the same kind of tissue out anew.
    """
    generator = np.random.default_rng(seed)
    matrix = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    field = _smooth(generator, height, width, 40)
    tissue = field > np.quantile(field, 1 - coverage) if coverage > 0 else np.zeros((height, width), bool)
    fibres = 0.75 + 0.2 * np.tanh(_smooth(generator, height, width, (1.5, 9.0)))
    fibres += 0.15 * np.tanh(_smooth(generator, height, width, 25.0))
    eosin = ndimage.gaussian_filter(tissue * fibres, 1.0) * amounts[1] * 1.4
    haematoxylin, centres = _nuclei(generator, tissue)
    # Nuclei hold little eosin, and cytoplasm a trace of haematoxylin.
    eosin = eosin * (1 - 0.95 * np.minimum(haematoxylin, 1))
    density = np.stack([amounts[0] * haematoxylin + 0.02 * tissue, eosin], axis=-1) @ matrix
    light = np.array(white) * 10**-density + generator.normal(0, noise_levels, (height, width, 3))
    return SyntheticTissue(np.clip(np.rint(light), 0, 255).astype(np.uint8), matrix, centres, tissue)


def _smooth(
    generator: np.random.Generator, height: int, width: int, scale_px: float | tuple[float, float]
) -> Float[np.ndarray, "h w"]:
    noise = generator.standard_normal((height, width))
    field: Float[np.ndarray, "h w"] = ndimage.gaussian_filter(noise, scale_px, mode="wrap")
    return field / max(float(field.std()), 1e-12)


def _nuclei(
    generator: np.random.Generator, tissue: Bool[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "n 2"]]:
    """How much haematoxylin each pixel holds, 0..1, and the centres of the nuclei: on a jittered lattice, apart."""
    height, width = tissue.shape
    pitch = 4.2 * _NUCLEUS_RADIUS_PX[1]
    amount, centres = np.zeros((height, width)), []
    for row in np.arange(pitch / 2, height - pitch / 2, pitch):
        for column in np.arange(pitch / 2, width - pitch / 2, pitch):
            y, x = np.array([row, column]) + generator.uniform(-0.2, 0.2, 2) * pitch
            radius, depth = generator.uniform(*_NUCLEUS_RADIUS_PX), generator.uniform(0.7, 1.0)
            if not tissue[int(y), int(x)] or generator.uniform() < 0.3:
                continue
            top, left = max(int(y) - 10, 0), max(int(x) - 10, 0)
            window = np.mgrid[top : min(int(y) + 11, height), left : min(int(x) + 11, width)]
            distance = np.hypot(window[0] - y, window[1] - x)
            disc = depth / (1 + np.exp((distance - radius) / 0.6))
            part = amount[top : top + disc.shape[0], left : left + disc.shape[1]]
            np.maximum(part, disc, out=part)
            centres.append((y, x))
    grain = 1 + 0.1 * ndimage.gaussian_filter(generator.standard_normal((height, width)), 0.8)
    return np.clip(amount * grain, 0, 1.2), np.array(centres).reshape(-1, 2)
