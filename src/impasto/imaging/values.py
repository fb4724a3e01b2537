"""Between the integers of files and floats in 0..1."""

from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt

from impasto.imaging.libvips import to_numpy

# Rows of a large picture that are brought from file values to floats, or back, at a time.
_STRIP_ROWS: Final = 512


def planes_of(image: Any) -> Float32[np.ndarray, "c h w"]:
    """The channels of a libvips image as float32 in 0..1, strip by strip from the top."""
    planes = np.empty((image.bands, image.height, image.width), dtype=np.float32)
    for top in range(0, image.height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, image.height - top)
        strip = to_numpy(image.crop(0, top, image.width, rows))
        to_unit(strip, planes[:, top : top + rows])
    return planes


def to_unit(values: np.ndarray, planes: Float32[np.ndarray, "c h w"]) -> None:
    """Bring file values (h, w, c) into planes, as float32 in 0..1."""
    top = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    for index, plane in enumerate(planes):
        np.divide(values[..., index], top, out=plane, dtype=np.float32)


def interleave(planes: list[Float32[np.ndarray, "h w"]], top: int, dtype: type) -> UInt[np.ndarray, "h w c"]:
    """Planes in 0..1 as integers in 0..top, rounded to the nearest, channels last."""
    height, width = planes[0].shape
    values: np.ndarray = np.empty((height, width, len(planes)), dtype=dtype)
    for index, plane in enumerate(planes):
        for row in range(0, height, _STRIP_ROWS):
            rows = slice(row, row + _STRIP_ROWS)
            values[rows, :, index] = np.rint(plane[rows] * np.float32(top))
    return values
