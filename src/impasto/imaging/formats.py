"""The formats that can be written, and whether a file could be written at a place."""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from impasto.errors import PictureError


@dataclass(frozen=True)
class Format:
    """A format that can be written: its name, the options of the saver, and what it can hold."""

    name: str
    suffix: str
    options: Mapping[str, Any]
    holds_alpha: bool
    most_bits: int
    longest_side: int


JPEG: Final = Format("JPEG", ".jpg", {"Q": 95, "subsample_mode": "off", "optimize_coding": True}, False, 8, 65_500)
PNG: Final = Format("PNG", ".png", {}, True, 16, 10_000_000)
WEBP: Final = Format("WebP", ".webp", {"Q": 95, "smart_subsample": True}, True, 8, 16_383)
TIFF: Final = Format("TIFF", ".tif", {"compression": "deflate"}, True, 16, 10_000_000)
# An effort of 2 encodes several times faster than libvips' own choice, for files about a third larger.
AVIF: Final = Format("AVIF", ".avif", {"Q": 85, "subsample_mode": "off", "effort": 2}, True, 12, 16_384)

FORMATS: Final = {
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".png": PNG,
    ".webp": WEBP,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".avif": AVIF,
}
WRITE_SUFFIXES: Final = tuple(FORMATS)
_WRITE_NAMES: Final = ".jpg, .png, .webp, .tif or .avif"


def check_output(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    *,
    alpha: bool = False,
    size_hw: tuple[int, int] | None = None,
) -> None:
    """Find out before the work whether a result could be written to `path`; writes nothing.

    `inputs` are the files that must not be overwritten, `alpha` says whether the result has an alpha channel, and
    `size_hw` is its height and width in pixels where known. Raises PictureError for an unknown extension, a missing
    or read-only folder, a folder or special file in the way, an output that is one of the inputs (also through
    links), and for alpha or a size that the format cannot hold.
    """
    _check_format(Path(path), alpha, size_hw)
    check_place(path, inputs)


def check_place(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Find out whether a file of any format could be written to `path`, which is none of the inputs; writes nothing.

    Raises PictureError as `check_output` does, for all but the format.
    """
    path = Path(path)
    try:
        _check_place(path)
        for used in map(Path, inputs):
            if path.resolve() == used.resolve() or (path.exists() and used.exists() and path.samefile(used)):
                raise PictureError(f"{path} is also the input {used}; choose another name for the output.")
    except OSError as error:
        raise PictureError(f"{path} cannot be written ({error.strerror}); choose another place.") from None


def _check_format(path: Path, alpha: bool, size_hw: tuple[int, int] | None) -> None:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        nearest = difflib.get_close_matches(suffix, FORMATS, n=1, cutoff=0.5)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        what = f"ends in {path.suffix}, which cannot be written" if suffix else "has no extension"
        raise PictureError(f"{path} {what}; use {_WRITE_NAMES}{hint}.")
    format = FORMATS[suffix]
    if alpha and not format.holds_alpha:
        raise PictureError(
            f"{path} cannot hold the transparency of the picture, since {format.name} has none; "
            "write PNG, WebP, TIFF or AVIF."
        )
    if size_hw is not None and max(size_hw) > format.longest_side:
        raise PictureError(
            f"{path} cannot hold {size_hw[1]} x {size_hw[0]} pixels, since {format.name} ends at "
            f"{format.longest_side} a side; write PNG or TIFF."
        )


def _check_place(path: Path) -> None:
    """Find out whether a file could be written at a path; PictureError with the way out else."""
    folder = path.resolve().parent
    if path.is_dir():
        raise PictureError(f"{path} is a folder; add a file name.")
    # Also as it is spelled: `new/..` is a folder only where there is a `new`.
    for place in (path.parent, folder):
        if not place.is_dir():
            raise PictureError(f"{path} cannot be written, since the folder {place} does not exist; make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PictureError(f"{path} cannot be written, since the folder {folder} is read-only; choose another.")
    if path.exists() and not path.is_file():
        raise PictureError(f"{path} is no ordinary file; choose another name for the output.")
    if path.exists() and not os.access(path, os.W_OK):
        raise PictureError(f"{path} exists and is read-only; choose another name for the output.")
