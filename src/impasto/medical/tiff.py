"""TIFF stacks of microscopes: plain, ImageJ's and OME-TIFF, of any axes that the file tells or the caller names.

An uncompressed stack is copied and its voxels overwritten in the copy; a compressed one is written again page by
page with all its tags. Either way description (OME-XML, ImageJ), resolution and private tags stay.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto.errors import PictureError, UserError
from impasto.medical.scans import Part, Scan, limits_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

# tifffile's letters for axes that a file does not tell.
UNTOLD = set("QI")
KNOWN = set("TZCYX")
# Compressions that lose something: writing with them again would lose more.
LOSSLESS = {1, 5, 8, 32773, 32946, 34925, 50000}
# Tags that the writer makes itself.
STRUCTURE = {
    254, 256, 257, 258, 259, 262, 270, 273, 277, 278, 279, 282, 283, 284, 296, 305, 306, 317, 322, 323, 324, 325, 330,
    338, 339,
}  # fmt: skip


def tells_axes(path: Path) -> bool:
    """Whether the file tells what its axes are, or has only the two of a picture."""
    with opened(path) as tiff:
        return not UNTOLD & set(tiff.series[0].axes)


def read_tiff(path: Path, axes: str | None) -> Scan:
    with opened(path) as tiff:
        series = only_series(tiff, path)
        order = axes_of(series, axes, path)
        try:
            stored = series.asarray()
        except ImportError as error:
            raise UserError(f"{path} is compressed and its codec is not there: {error}.") from None
        except Exception as error:
            if "imagecodecs" in str(error):
                raise UserError(f"{path} is compressed, and {error}: pip install imagecodecs.") from None
            # Also where a damaged size asks for more memory than there is.
            raise UserError(f"{path} is damaged or cut short ({error}): get a whole copy.") from None
    if stored.dtype.kind not in "iuf":
        raise UserError(f"{path} holds {stored.dtype} values: only intensities can be harmonised.")
    space = tuple(size for size, axis in zip(stored.shape, order, strict=True) if axis in "ZYX")
    parts = parts_of(stored, order)
    return Scan(str(path), "TIFF", space, parts, partial(write_tiff, path, order.find("C"), stored.shape))


def opened(path: Path) -> TiffFile:
    """The file open for reading; PictureError where it is no TIFF, or something of it is missing."""
    from tifffile import TiffFile

    complaints, log = _Complaints(logging.ERROR), logging.getLogger("tifffile")
    log.addHandler(complaints)
    try:
        file = TiffFile(path)
        ends = [_end(part) for part in (*file.pages, *file.series)]
    except Exception as error:
        # Of no common class, as in `damage_told`.
        raise PictureError(f"{path} is damaged, cut short or no TIFF file ({error}): get a whole copy.") from None
    finally:
        log.removeHandler(complaints)
    if not complaints.said and ends and max(ends) <= file.filehandle.size:
        return file
    file.close()
    why = f" ({complaints.said[0]})" if complaints.said else ""
    raise PictureError(f"{path} is damaged or cut short{why}: get a whole copy.")


class _Complaints(logging.Handler):
    """What tifffile logs as an error: it goes on with the pages that it finds, and leaves out the others."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _end(part: Any) -> int:
    """Where in the file the voxels of a page, or of a series in one piece, come to an end."""
    if hasattr(part, "dataoffsets"):
        return max(map(sum, zip(part.dataoffsets, part.databytecounts, strict=True)), default=0)
    return 0 if part.dataoffset is None else int(part.dataoffset + part.nbytes)


def only_series(tiff: TiffFile, path: Path) -> TiffPageSeries:
    if not tiff.series:
        raise UserError(f"{path} holds no picture: get a whole copy.")
    series = tiff.series[0]
    if len(tiff.series) > 1:
        raise UserError(f"{path} holds {len(tiff.series)} pictures of different sizes: save the one that is meant.")
    if series.is_pyramidal:
        raise UserError(f"{path} is a pyramid: save the level that is meant as a stack of its own.")
    if series.is_multifile or any(page is None for page in series.pages):
        raise UserError(f"{path} is one part of a picture in several files: save the whole as one OME-TIFF.")
    return series


def axes_of(series: TiffPageSeries, given: str | None, path: Path) -> str:
    """The letter of each axis; UserError where they are not told, told twice differently, or colour."""
    told = str(series.axes)
    if "S" in told:
        raise UserError(f"{path} is a colour picture: intensities are harmonised, colours by `impasto stain`.")
    if not UNTOLD & set(told):
        if given is not None and given.upper() != told:
            raise UserError(f"--axes {given}: {path} itself says that its axes are {told}; leave --axes out.")
        if set(told) - KNOWN:
            raise UserError(f"{path} has the axes {told}: save a stack of T, Z, C, Y and X only.")
        return told
    shape = " x ".join(map(str, series.shape))
    if given is None:
        raise UserError(f"{path} does not tell what its {shape} values are along: say it, such as --axes ZYX or CYX.")
    order = given.upper()
    if len(order) != len(series.shape) or len(set(order)) != len(order) or set(order) - KNOWN or order[-2:] != "YX":
        raise UserError(f"--axes {given} does not fit {path} of {shape}: name each axis once (T, Z, C), Y and X last.")
    return order


def parts_of(stored: np.ndarray, order: str) -> tuple[Part, ...]:
    """One part a channel."""
    place = tuple(slice(None) if axis in "ZYX" else None for axis in order if axis != "C")
    planes = np.moveaxis(stored, order.index("C"), 0) if "C" in order else stored[None]
    limits = limits_of(stored.dtype)
    return tuple(Part(plane, 1.0, 0.0, *limits, place, channel) for channel, plane in enumerate(planes))


def write_tiff(
    source: Path, channel_axis: int, shape: tuple[int, ...], stored: Sequence[np.ndarray], path: Path, derivation: str
) -> None:
    """derivation: unused, since the description of the source is kept."""
    whole = stored[0] if channel_axis < 0 else np.stack(stored, channel_axis)
    whole = np.ascontiguousarray(whole.reshape(shape))
    with opened(source) as tiff:
        series = tiff.series[0]
        if series.dataoffset is not None:
            shutil.copyfile(source, path)
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.seek(series.dataoffset)
                file.write(whole.astype(series.dtype.newbyteorder(tiff.byteorder)).tobytes())
        else:
            write_pages(tiff, series, whole, path)


def write_pages(tiff: TiffFile, series: TiffPageSeries, whole: np.ndarray, path: Path) -> None:
    """Every page again, with its own tags."""
    from tifffile import TiffWriter

    with TiffWriter(path, bigtiff=tiff.is_bigtiff, byteorder=tiff.byteorder) as out:
        for frame, plane in zip(series.pages, whole.reshape(-1, *whole.shape[-2:]), strict=True):
            page = frame.aspage()
            kept = page.compression in LOSSLESS
            out.write(
                plane,
                photometric=page.photometric,
                compression=page.compression if kept else "zlib",
                predictor=page.predictor if kept else None,
                tile=(page.tilelength, page.tilewidth) if page.is_tiled else None,
                rowsperstrip=None if page.is_tiled else page.rowsperstrip,
                subfiletype=page.subfiletype,
                description=page.tags[270].value if 270 in page.tags else None,
                software=page.tags[305].value if 305 in page.tags else False,
                datetime=page.tags[306].value if 306 in page.tags else None,
                resolution=page.resolution if 282 in page.tags else None,
                resolutionunit=page.resolutionunit if 296 in page.tags else None,
                extratags=other_tags(tiff, page),
                metadata=None,
                contiguous=False,
            )


def other_tags(tiff: TiffFile, page: TiffPage) -> list[tuple[int, int, int, Any, bool]]:
    """The tags that are no business of the writer, with their bytes as they stand in the file."""
    tags = []
    for tag in page.tags:
        if tag.code not in STRUCTURE:
            tiff.filehandle.seek(tag.valueoffset)
            tags.append((tag.code, int(tag.dtype), tag.count, tiff.filehandle.read(tag.valuebytecount), False))
    return tags
