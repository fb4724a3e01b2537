"""Pictures and slides of synthetic tissue for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from impasto.medical.synthetic import PURPLE, SyntheticTissue, synthetic_tissue

SIZE = 320


def rose(seed: int = 1, **options: Any) -> SyntheticTissue:
    """One laboratory's tissue."""
    return synthetic_tissue(SIZE, SIZE + 80, seed=seed, **options)


def purple(seed: int = 2, **options: Any) -> SyntheticTissue:
    """Another's."""
    options = {"amounts": (0.6, 0.2), **options}
    return synthetic_tissue(SIZE, SIZE + 80, stains=PURPLE, seed=seed, **options)


def write_svs(path: Path, pixels: np.ndarray, *, mpp: bool = True) -> None:
    """A slide as Aperio scanners lay it out, with thumbnail, label and macro pictures, uncompressed."""
    described = "Aperio Image Library v11\r\n{w}x{h} (256x256)|AppMag = 20" + ("|MPP = 0.5" if mpp else "")
    height, width = pixels.shape[:2]
    common = {"photometric": "rgb", "metadata": None, "software": None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(256, 256), description=described.format(w=width, h=height), **common)
        small = f"Aperio Image Library v11\r\n{width}x{height} -> {width // 4}x{height // 4}"
        file.write(np.ascontiguousarray(pixels[::4, ::4]), rowsperstrip=16, description=small, **common)
        for name, kind, colour in (("label", 1, 200), ("macro", 9, 90)):
            picture = np.full((64, 96, 3), colour, np.uint8)
            file.write(picture, description=f"Aperio Image Library v11\r\n{name} 96x64", subfiletype=kind, **common)
