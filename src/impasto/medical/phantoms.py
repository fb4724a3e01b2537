"""Synthetic scans with known truth, for trying, testing and showing: a head in MR, nuclei in fluorescence.

Simple on purpose: tissues are ellipsoids of one intensity, nuclei are ellipses; noise is what the modality has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int32, UInt16

# Centre and half axes (z, y, x, of the half shape) of scalp, skull, grey matter, white matter and two ventricles.
HEAD = [
    (1, (0, 0, 0), (0.95, 0.92, 0.72)),
    (2, (0, 0, 0), (0.88, 0.84, 0.64)),
    (3, (0, 0, 0), (0.82, 0.78, 0.58)),
    (4, (0, 0, 0), (0.66, 0.62, 0.44)),
    (5, (0, -0.05, -0.12), (0.30, 0.26, 0.07)),
    (5, (0, -0.05, 0.12), (0.30, 0.26, 0.07)),
]
TISSUES = ("air", "scalp", "skull", "grey matter", "white matter", "fluid")
T1 = (0.0, 800.0, 120.0, 420.0, 650.0, 180.0)


def head_phantom(
    shape: tuple[int, int, int] = (24, 96, 96), *, tissues: Sequence[float] = T1, noise: float = 12.0, seed: int = 0
) -> tuple[Float64[np.ndarray, "z y x"], Int32[np.ndarray, "z y x"]]:
    """A T1-like head and the tissue of every voxel (an index into `TISSUES`).

    tissues: the intensity of each. noise: sigma of the Rician noise of magnitude images; the air's level is about that.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    labels = np.zeros(shape, np.int32)
    for tissue, centre, axes in HEAD:
        offset = (grid - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(axes, (3, 1, 1, 1))
        # A wavy surface, since nothing in a head is an ellipsoid.
        wave = 1 + 0.06 * np.sin(9 * np.arctan2(offset[1], offset[2]) + tissue) * (tissue in (3, 4))
        labels[np.square(offset).sum(0) < wave] = tissue
    # Tissue differs a little from place to place.
    signal = np.asarray(tissues)[labels] * (1 + 0.03 * smooth_noise(shape, rng))
    return np.hypot(signal + noise * rng.standard_normal(shape), noise * rng.standard_normal(shape)), labels


def smooth_noise(shape: Sequence[int], rng: np.random.Generator) -> Float64[np.ndarray, "*shape"]:
    """Noise of deviation about 1 without fine grain: a few waves."""
    grid = np.meshgrid(*(np.linspace(0, 1, size) for size in shape), indexing="ij")
    waves = [
        np.sin(2 * np.pi * sum(f * axis for f, axis in zip(rng.uniform(-4, 4, len(shape)), grid, strict=True)) + phase)
        for phase in rng.uniform(0, 2 * np.pi, 8)
    ]
    total: np.ndarray = np.sum(waves, axis=0) / 2
    return total


def nuclei_phantom(
    shape: tuple[int, int] = (256, 256), *, count: int = 40, offset: float = 100.0, gain: float = 900.0,
    gamma: float = 1.0, seed: int = 0,
) -> tuple[UInt16[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:  # fmt: skip
    """Fluorescent nuclei that do not touch, and their labels (1, 2, ...), as a microscope's 16-bit camera sees them.

    offset: of the camera. gain: brightness of the brightest nucleus above it. gamma: of the detector; 1 is linear,
    lower lifts the faint nuclei. Photon and read noise are added. The same seed gives the same nuclei.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    labels, light = np.zeros(shape, np.int32), np.zeros(shape)
    for _ in range(count * 20):
        if labels.max() == count:
            break
        centre, axes = rng.uniform(12, np.array(shape) - 12), rng.uniform(6, 10, 2)
        turn, bright = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
        down, right = y - centre[0], x - centre[1]
        u, v = np.cos(turn) * down + np.sin(turn) * right, np.cos(turn) * right - np.sin(turn) * down
        radius = np.sqrt((u / axes[0]) ** 2 + (v / axes[1]) ** 2)
        if labels[radius < 1.35].any():
            continue
        labels[radius < 1] = labels.max() + 1
        texture = 1 + 0.12 * np.sin(0.9 * u + 3 * turn) * np.sin(0.8 * v)
        light += bright * texture / (1 + np.exp(9 * (radius - 1)))
    photons = rng.poisson(400 * (0.02 + light)) / 400
    camera = offset + gain * photons**gamma + rng.normal(0, 4, shape)
    return np.clip(np.rint(camera), 0, 65535).astype(np.uint16), labels
