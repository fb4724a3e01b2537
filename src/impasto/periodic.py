"""Pictures whose opposite borders fit each other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32


def periodic(pixels: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "3 h w"]:
    """The picture without the jumps between its opposite borders (Moisan, JMIV 2011, "periodic plus smooth").

    What is taken away is the smooth picture that has these jumps and is as flat as can be elsewhere, so that everything
    away from the borders looks as it was. Values stay in 0..1.
    """
    values = pixels.astype(np.float64)
    height, width = pixels.shape[1:]
    jumps = np.zeros_like(values)
    across, down = values[:, :, -1] - values[:, :, 0], values[:, -1] - values[:, 0]
    jumps[:, :, 0] += across
    jumps[:, :, -1] -= across
    jumps[:, 0] += down
    jumps[:, -1] -= down
    rows, columns = (2 * np.cos(2 * np.pi * np.arange(length) / length) for length in (height, width))
    slopes = rows[:, None] + columns - 4
    # The mean, which no jump decides, stays the picture's.
    slopes[0, 0] = 1
    spectrum = np.fft.fft2(jumps) / slopes
    spectrum[:, 0, 0] = 0
    return (values - np.fft.ifft2(spectrum).real).clip(0, 1).astype(np.float32)
