"""ICC profiles: colours to sRGB, and back to those of a file."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt

from impasto.imaging.libvips import blob, tagged, to_numpy, vips
from impasto.imaging.values import interleave

# Black point compensation is what other programs use by default; without it CMYK blacks come out dark grey.
_ICC_INTENT: Final = {"intent": "relative", "black_point_compensation": True}
# A profile that moves no colour by more than one 8-bit step (on a 16-bit scale) is taken for sRGB itself.
_SRGB_TOLERANCE: Final = 257


def to_srgb(colours: Any) -> tuple[Any, bytes | None]:
    """The colours in sRGB, or grey, and the profile that the result is to have.

    A profile for another kind of picture (an RGB profile in a CMYK file, say) says nothing, and is left out; but
    one for RGB counts for grey too. What libvips cannot make sense of counts as sRGB, as it does in viewers.
    """
    icc = blob(colours, "icc-profile-data")
    space = icc[16:20].decode("latin-1").strip() if icc is not None else ""
    if colours.interpretation == "cmyk":
        return convert(colours, {"embedded": True} if space == "CMYK" else {"input_profile": "cmyk"}), None
    if space == "GRAY" and colours.bands == 1:
        return convert(colours, {"embedded": True}), None
    if icc is None or space != "RGB":
        return colours, None
    if is_srgb(icc):
        return colours, icc
    if colours.bands == 1:
        colours = colours.bandjoin([colours, colours]).copy(interpretation="srgb")
    return convert(colours, {"embedded": True}), icc


def convert(colours: Any, profile: Mapping[str, Any]) -> Any:
    """16-bit sRGB from colours in a profile."""
    if colours.format == "float":
        colours = (colours * 65535).rint().cast("ushort")
    return colours.icc_transform("srgb", depth=16, **profile, **_ICC_INTENT)


@lru_cache(maxsize=4)
def is_srgb(icc: bytes) -> bool:
    """Whether an RGB profile is sRGB in all but name: then a detour would only add rounding errors."""
    lattice = np.moveaxis(np.indices((6, 6, 6), dtype=np.uint8) * 51, 0, -1).reshape(6, 36, 3)
    image = tagged(vips().Image.new_from_array(lattice, interpretation="srgb"), "icc-profile-data", icc)
    moved = convert(image, {"embedded": True}).numpy().astype(np.int32) - lattice.astype(np.int32) * 257
    return bool(np.abs(moved).max() <= _SRGB_TOLERANCE)


def from_srgb(pixels: Float32[np.ndarray, "3 h w"], icc: bytes, depth: int) -> UInt[np.ndarray, "h w 3"]:
    """The pixels as integers of that depth in a profile."""
    srgb = vips().Image.new_from_array(interleave([*pixels], 65535, np.uint16), interpretation="rgb16")
    independent = srgb.icc_import(input_profile="srgb", **_ICC_INTENT)
    return to_numpy(tagged(independent, "icc-profile-data", icc).icc_export(depth=depth, **_ICC_INTENT))
