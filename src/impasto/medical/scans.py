"""Scans: voxels with the scale that makes real intensities of them, read from and written to the formats of the field.

DICOM (a file of one or many frames, or the folder of a series), NIfTI and TIFF stacks. What is written is the source
with other voxels: every other field of its headers is kept. The makers' formats CZI and LIF are read, and OME-TIFF is
written of them.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from impasto.errors import UserError
from impasto.imaging.formats import check_place

TIFF_SUFFIXES = (".tif", ".tiff")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
# Read by other programs only; Bio-Formats' converter makes OME-TIFF of them.
PROPRIETARY = (".nd2", ".oib", ".oif", ".lsm")
OME_SUFFIXES = (".ome.tif", ".ome.tiff")
# What may be written of each kind.
SUFFIXES = {
    "DICOM": (".dcm",), "NIfTI": NIFTI_SUFFIXES, "TIFF": TIFF_SUFFIXES, "CZI": OME_SUFFIXES, "LIF": OME_SUFFIXES,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Part:
    """Voxels that share one scale and one channel: a slice, a frame, a channel of a stack, or a whole volume.

    stored: as the file holds them; the real intensities are slope * stored + intercept. lowest, highest: what can be
    stored. place: where in the scan's grid they lie, as an index into an array of its shape; None stands for an axis
    that the grid lacks (time). padding: voxels that hold no measurement.
    """

    stored: Shaped[np.ndarray, "*grid"]
    slope: float
    intercept: float
    lowest: float
    highest: float
    place: Any = ...
    channel: int = 0
    padding: Bool[np.ndarray, "*grid"] | None = None

    @property
    def is_integer(self) -> bool:
        return bool(np.issubdtype(self.stored.dtype, np.integer))

    def values(self) -> Float64[np.ndarray, "*grid"]:
        """The real intensities."""
        return self.stored * np.float64(self.slope) + self.intercept

    def valid(self) -> Bool[np.ndarray, "*grid"]:
        """Which voxels hold a measurement."""
        return np.ones(self.stored.shape, bool) if self.padding is None else ~self.padding


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan. shape: of its grid in space, (z, y, x) or (y, x); NIfTI has its own order (i, j, k).

    kind: `DICOM`, `NIfTI`, `TIFF`, `CZI` or `LIF`. modality: as DICOM tells it (`MR`, `CT`, ...), else None. geometry:
    numbers that say where the grid lies in space, equal for scans on one grid; None where the file does not tell.
    identity: words that name the patient. is_folder: whether it is a series, one file a slice.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    writer: Callable[[Sequence[np.ndarray], Path, str], None] = field(repr=False)
    modality: str | None = None
    geometry: Float64[np.ndarray, " n"] | None = None
    identity: frozenset[str] = frozenset()
    is_folder: bool = False

    @property
    def channels(self) -> int:
        return 1 + max(part.channel for part in self.parts)

    def write(self, stored: Sequence[np.ndarray], path: Path, derivation: str) -> None:
        """Write the scan with other stored voxels, one array a part, whole or not at all.

        derivation: one sentence for a Derivation Description, where the format has one; DICOM objects get new UIDs.
        Raises UserError where `check_target` does.
        """
        check_target(self, path)
        with replaced(path) as partial:
            self.writer(stored, partial, derivation)

    def grid(self) -> Shaped[np.ndarray, "*grid"]:
        """The stored voxels on the grid; UserError for a scan of several channels or times."""
        whole = np.zeros(self.shape, self.parts[0].stored.dtype)
        try:
            for part in self.parts:
                whole[part.place] = part.stored
        except ValueError:
            raise UserError(f"{self.name} has several volumes: a mask must have one.") from None
        if self.channels > 1:
            raise UserError(f"{self.name} has {self.channels} channels: a mask must have one.")
        return whole


def read_scan(path: str | os.PathLike[str], *, axes: str | None = None) -> Scan:
    """The scan in a DICOM, NIfTI, TIFF, CZI or LIF file, or in the folder of a DICOM series.

    axes: order of a TIFF stack's axes, such as `ZYX` or `TCYX` (T time, Z depth, C channel), needed where the file
    does not tell it. Raises UserError for what cannot be read whole and without doubt: a damaged file, a codec that
    is not there, colour, NaN, axes that are not told, a series with a missing or doubled slice or uneven spacing.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path.")
    with damage_told(path):
        return checked(read_by_name(path, axes))


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """UserError where a header or its voxels cannot be understood.

    The libraries that read them and their codecs have errors of their own for it, of no common class: bytes missing in
    a length, a number that is no number, a kind of value there is none of.
    """
    try:
        yield
    except (UserError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or cut short ({text}): get a whole copy.") from None


def read_by_name(path: Path, axes: str | None) -> Scan:
    """By the reader of the format that the path's name tells; DICOM where it tells none."""
    name = path.name.lower()
    if name.endswith(PROPRIETARY):
        raise UserError(f"{path} is in a format of a microscope's maker: convert it to OME-TIFF (Bio-Formats) first.")
    if name.endswith(TIFF_SUFFIXES) and not path.is_dir():
        from impasto.medical.tiff import read_tiff

        return read_tiff(path, axes)
    if axes is not None:
        raise UserError(f"--axes is for TIFF stacks, and {path} is none: leave it out.")
    if name.endswith((".czi", ".lif")) and not path.is_dir():
        from impasto.medical.microscopes import read_czi, read_lif

        return read_czi(path) if name.endswith(".czi") else read_lif(path)
    if name.endswith(NIFTI_SUFFIXES) and not path.is_dir():
        from impasto.medical.nifti import read_nifti

        return read_nifti(path)
    from impasto.medical.dicom import read_dicom

    return read_dicom(path)


def checked(scan: Scan) -> Scan:
    """The scan, without NaN and infinite voxels; UserError with their count else."""
    bad = sum(int((~np.isfinite(part.stored)).sum()) for part in scan.parts if not part.is_integer)
    if bad:
        raise UserError(f"{scan.name} holds {bad} voxels that are NaN or infinite: replace them before.")
    return scan


def read_mask(path: str | os.PathLike[str], scan: Scan) -> Bool[np.ndarray, "*grid"]:
    """The voxels that are not 0 in a file that lies on the grid of a scan.

    The file is of the scan's own kind, or a TIFF stack of slices in the scan's order. Raises UserError where it is not
    on the same grid, or empty.
    """
    mask = read_scan(path, axes=("ZYX" if len(scan.shape) == 3 else None) if is_bare_stack(path) else None)
    if mask.kind not in (scan.kind, "TIFF") or (mask.kind == "TIFF" and scan.kind == "NIfTI"):
        raise UserError(f"{path} is {mask.kind} and {scan.name} {scan.kind}: give the mask as {scan.kind}.")
    if mask.shape != scan.shape:
        raise UserError(
            f"{path} has {by(mask.shape)} voxels and {scan.name} {by(scan.shape)}: give a mask on its grid."
        )
    if mask.geometry is not None and not (
        scan.geometry is not None and np.allclose(mask.geometry, scan.geometry, atol=1e-3)
    ):
        raise UserError(f"{path} does not lie where {scan.name} does: resample the mask onto the scan's grid.")
    inside: np.ndarray = mask.grid() != 0
    if not inside.any():
        raise UserError(f"{path} is empty: there is no voxel to map.")
    return inside


def is_bare_stack(path: str | os.PathLike[str]) -> bool:
    """Whether it is a TIFF of several pages that does not tell its axes: of a mask they can only be one thing."""
    from impasto.medical.tiff import tells_axes

    return Path(path).name.lower().endswith(TIFF_SUFFIXES) and Path(path).is_file() and not tells_axes(Path(path))


def by(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def check_target(scan: Scan, path: Path, inputs: Iterable[Path] = ()) -> None:
    """Find out before the work whether the scan could be written to a path; writes nothing.

    inputs: files and folders that must not be written over. Raises UserError, for a path that names the patient too.
    """
    suffixes = () if scan.is_folder else SUFFIXES[scan.kind]
    if suffixes and not path.name.lower().endswith(suffixes):
        raise UserError(f"{path} must end in {' or '.join(suffixes)}, since {scan.name} is {scan.kind}.")
    named = scan.identity & set(re.findall(r"[^\W_]+", str(path).casefold()))
    if named:
        raise UserError("The output path names the patient: choose a path without the name or number of a person.")
    if any(path.resolve() == used.resolve() for used in inputs):
        raise UserError(f"{path} is also an input; choose another name for the output.")
    if not scan.is_folder:
        check_place(path, ())
    elif path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} is already there: a series is written into a new folder.")
    elif not path.resolve().parent.is_dir():
        raise UserError(f"{path} cannot be made, since the folder {path.parent} does not exist; make it first.")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name beside the path to write under; moved to it when all is written, and removed if that fails."""
    target = path.resolve()
    partial = target.with_name(f".impasto-{secrets.token_hex(8)}-{target.name}")
    try:
        yield partial
        partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def limits_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The lowest and highest value that a dtype holds."""
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    return float(info.min), float(info.max)
