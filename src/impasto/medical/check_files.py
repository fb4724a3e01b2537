"""The check of two files: pictures as a whole, slides in the windows that show most tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from impasto.errors import PictureError
from impasto.medical.check import Report, check
from impasto.medical.normalizer import picture_pixels
from impasto.medical.nuclei import NUCLEUS_RADIUS_PX
from impasto.medical.slides import Slide, check_windows, open_slide
from impasto.picture import read_picture

_NUCLEUS_RADIUS_UM = 2.5
_LOSSY = (".jpg", ".jpeg", ".webp", ".avif")


def check_files(before: Path, after: Path, *, reference: Path | None = None, radius_px: float | None = None) -> Report:
    """Compare two files as `check` does. radius_px: of a nucleus; default 2.5 micrometres, or 5 px where not known."""
    first, second = open_slide(before), open_slide(after)
    if (first is None) != (second is None):
        raise PictureError(f"{before} and {after} are a slide and a picture; check two of one kind.")
    wanted = None if reference is None else _reference(reference)
    if first is None or second is None:
        pixels = [picture_pixels(read_picture(path)) for path in (before, after)]
        lossy = after.suffix.lower() in _LOSSY
        return check(*pixels, reference=wanted, radius_px=radius_px or NUCLEUS_RADIUS_PX, lossy=lossy)
    sizes = [(slide.facts.width, slide.facts.height) for slide in (first, second)]
    if sizes[0] != sizes[1]:
        raise PictureError(f"The slides have {sizes[0]} and {sizes[1]} pixels; the check needs the same slide twice.")
    known = _NUCLEUS_RADIUS_UM / first.facts.mpp[0] if first.facts.mpp else NUCLEUS_RADIUS_PX
    windows = check_windows(first)
    pixels = [np.concatenate([slide.read(*place) for place in windows]) for slide in (first, second)]
    return check(*pixels, reference=wanted, radius_px=radius_px or known, lossy=True)


def _reference(path: Path) -> UInt8[np.ndarray, "h w c"] | np.ndarray:
    slide: Slide | None = open_slide(path)
    if slide is None:
        return picture_pixels(read_picture(path))
    return np.concatenate([slide.read(*place) for place in check_windows(slide)])
