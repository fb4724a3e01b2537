"""What a file says about its picture beside the colours: resolution, EXIF, XMP."""

import re
import struct
from fractions import Fraction
from typing import Any, Final

Resolution = tuple[float, float]
"""Pixels per millimetre, across and down."""

# What libvips says when a file gives no resolution, and what programs take for "none" by custom (72 per inch).
_NO_RESOLUTION: Final = (1.0, 1.0)
USUAL_RESOLUTION: Final = (72 / 25.4, 72 / 25.4)
_MM_PER_UNIT: Final = {"2": Fraction(254, 10), "3": Fraction(10)}

_EXIF_ORIENTATION: Final = 0x0112


def resolution_of(image: Any) -> Resolution | None:
    """The resolution once the image is the right way up; WebP and AVIF files have it in their EXIF only."""
    fields = image.get_fields()
    found = (float(image.xres), float(image.yres))
    if found == _NO_RESOLUTION and "exif-ifd0-ResolutionUnit" in fields:
        unit = _MM_PER_UNIT.get(image.get("exif-ifd0-ResolutionUnit").split()[0], Fraction(1))
        across, down = (Fraction(image.get(f"exif-ifd0-{axis}Resolution").split()[0]) for axis in "XY")
        found = (float(across / unit), float(down / unit))
    if found == _NO_RESOLUTION or min(found) <= 0:
        return None
    sideways = "orientation" in fields and image.get("orientation") >= 5
    return found[::-1] if sideways else found


def clean_exif(exif: bytes | None) -> bytes | None:
    """The EXIF with orientation 1 and without its thumbnail; None where it makes no sense."""
    if exif is None:
        return None
    data = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, directory)
        entries = range(directory + 2, directory + 2 + 12 * count, 12)
        for entry in entries:
            if struct.unpack_from(f"{order}H", data, entry) == (_EXIF_ORIENTATION,):
                struct.pack_into(f"{order}HIHH", data, entry + 2, 3, 1, 1, 0)
        # The thumbnail is in the next directory: let there be none.
        struct.pack_into(f"{order}I", data, entries.stop, 0)
    except struct.error:
        return None
    return b"Exif\0\0" + bytes(data)


def clean_xmp(xmp: bytes | None) -> bytes | None:
    """The XMP with orientation 1, if it says any."""
    return None if xmp is None else re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
