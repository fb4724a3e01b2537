"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz).

The header is written back byte for byte, extensions included, and only the voxels behind it are other ones: so
affine, slope, intercept, units and whatever else it says stay what they were.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from impasto.errors import UserError
from impasto.medical.scans import Part, Scan, limits_of


def read_nifti(path: Path) -> Scan:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        # Not mapped into memory: the file may be written over while its voxels are still needed.
        image = nibabel.load(path, mmap=False)
        data = image.dataobj
        stored = np.asarray(data.get_unscaled())
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} is no whole NIfTI file ({str(error).splitlines()[0]}): get a whole copy.") from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise UserError(f"{path} is {type(image).__name__}, not NIfTI: convert it to .nii.gz first.")
    if stored.dtype.names or stored.dtype.kind not in "iuf":
        raise UserError(f"{path} holds colours or complex numbers: only real intensities can be harmonised.")
    if stored.dtype.itemsize > 8 or stored.ndim < 2:
        raise UserError(f"{path} holds {stored.dtype} in {stored.ndim} dimensions: give a volume of numbers.")
    space = stored.shape[:3]
    place = (slice(None),) * len(space) + (None,) * (stored.ndim - len(space))
    part = Part(stored, float(data.slope), float(data.inter), *limits_of(stored.dtype), place)
    geometry = np.asarray(image.affine, np.float64).ravel()
    offset = int(data.offset)
    writer = partial(write_nifti, path, offset, stored.dtype)
    return Scan(str(path), "NIfTI", space, (part,), writer, geometry=geometry)


def write_nifti(
    source: Path, offset: int, dtype: np.dtype[np.generic], stored: Sequence[np.ndarray], path: Path, derivation: str
) -> None:
    """derivation: unused, since the header's only free text is kept too."""
    with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as file:
        header = file.read(offset)
    data = header + stored[0].astype(dtype).tobytes(order="F")
    # No time in the gzip header: the same job writes the same bytes.
    path.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
