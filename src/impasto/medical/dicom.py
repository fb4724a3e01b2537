"""DICOM: one file of one or many frames, or the folder of a series, by pydicom and its codecs.

What is written are derived objects (PS3.3 C.7.6.1, C.12.4): new UIDs, `DERIVED` in the Image Type, a Derivation
Description and the source's UIDs. They hold no patient data beyond the source's; all else in the header is kept.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64

from impasto.errors import UserError
from impasto.medical.scans import Part, Scan, damage_told

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

# Of the median distance between slices: how far one may be off, and from where on one is missing.
UNEVEN, MISSING = 0.02, 1.5
# What must be one in all slices of a series.
COMMON = {
    "Rows": "sizes", "Columns": "sizes", "PixelSpacing": "pixel spacings", "ImageOrientationPatient": "orientations",
    "Modality": "modalities", "PhotometricInterpretation": "photometric interpretations",
}  # fmt: skip
# What an image cannot be read and derived from without.
NEEDED = [
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation", "SOPClassUID",
    "SOPInstanceUID",
]  # fmt: skip
# They show or sign the source's pixels and would be false beside other ones.
STALE = ["IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence"]
# Shorter words are initials and codes.
SHORTEST_NAME, SHORTEST_NUMBER = 2, 4


def read_dicom(path: Path) -> Scan:
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if is_dicom(file)]
    if not files:
        raise UserError(f"{path} holds no DICOM files: name the folder of one series.")
    return scan_of(path, in_order(path, [read_file(file) for file in files]))


def is_dicom(file: Path) -> bool:
    """Whether a file of the folder is a DICOM image file; the folder's directory (DICOMDIR) is not."""
    if not file.is_file() or file.name == "DICOMDIR":
        return False
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def read_file(file: Path) -> FileDataset:
    from pydicom import dcmread

    if not file.is_file():
        raise UserError(f"{file} is no ordinary file; name a scan.")
    if not is_dicom(file):
        raise UserError(f"{file} is neither DICOM, NIfTI (.nii, .nii.gz) nor TIFF: convert it to one of them.")
    with damage_told(file):
        dataset = dcmread(file)
        dataset.decode()
        check_pixels(file, dataset)
    return dataset


def check_pixels(file: Path, dataset: Dataset) -> None:
    """UserError for what holds no grey pixels, or pixels that cannot be decoded here."""
    from pydicom.pixels import get_decoder

    if "PixelData" not in dataset:
        raise UserError(f"{file} ({dataset.get('Modality', 'no modality')}) holds no integer pixels: name an image.")
    for tag in NEEDED:
        if dataset.get(tag) is None:
            raise UserError(f"{file} does not tell its {tag}: write it anew with a DICOM tool.")
    if dataset.get("SamplesPerPixel", 1) != 1 or not dataset.PhotometricInterpretation.startswith("MONOCHROME"):
        raise UserError(f"{file} is a colour picture: intensities are harmonised, colours by `impasto stain`.")
    if "ModalityLUTSequence" in dataset:
        raise UserError(f"{file} has a Modality LUT in place of slope and intercept: write it out with real values.")
    if dataset.BitsAllocated not in (8, 16, 32):
        raise UserError(f"{file} has {dataset.BitsAllocated} bits a pixel: give an image of 8, 16 or 32.")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise UserError(f"{file} does not tell its transfer syntax: write it anew with a DICOM tool.")
    if syntax.is_encapsulated:
        try:
            ready = get_decoder(syntax).is_available
        except NotImplementedError:
            ready = False
        if not ready:
            raise UserError(
                f"{file} is compressed as {syntax.name} ({syntax}), for which no codec is here: install one for "
                "pydicom, or decompress the file first (gdcmconv --raw)."
            )


def in_order(folder: Path, datasets: list[FileDataset]) -> list[FileDataset]:
    """The slices of one series from its first place to its last, time after time; UserError for what is not whole."""
    series = {dataset.get("SeriesInstanceUID") for dataset in datasets}
    if len(series) > 1:
        raise UserError(f"{folder} holds files of {len(series)} series: put each into a folder of its own.")
    if len(datasets) == 1:
        return datasets
    if any("NumberOfFrames" in dataset and dataset.NumberOfFrames > 1 for dataset in datasets):
        raise UserError(f"{folder} holds {len(datasets)} files of many frames each: name one of them.")
    for tag, what in COMMON.items():
        if len({str(rounded(dataset.get(tag))) for dataset in datasets}) > 1:
            raise UserError(f"{folder} holds slices of different {what}: put each kind into a folder of its own.")
    if any(tag not in dataset for dataset in datasets for tag in ("ImagePositionPatient", "ImageOrientationPatient")):
        raise UserError(f"{folder} holds slices that do not tell where they lie: a series needs their positions.")
    times = defaultdict(list)
    for dataset in datasets:
        times[int(dataset.get("TemporalPositionIdentifier") or 0)].append(dataset)
    counts = {len(volume) for volume in times.values()}
    if len(counts) > 1:
        raise UserError(f"{folder} has volumes of {min(counts)} and of {max(counts)} slices: one is not whole.")
    return [dataset for time in sorted(times) for dataset in one_volume(folder, times[time])]


def rounded(value: Any) -> Any:
    """Several numbers without the noise of their last digits; all else as it is."""
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    return [round(float(number), 4) for number in value] if several else value


def one_volume(folder: Path, datasets: list[FileDataset]) -> list[FileDataset]:
    """The slices along their normal; UserError for a doubled or missing one, and for uneven spacing."""
    placed = sorted(((along_normal(dataset), Path(dataset.filename).name, dataset) for dataset in datasets), key=key)
    gaps = [after[0] - before[0] for before, after in pairwise(placed)]
    usual = float(np.median(gaps)) if gaps else 1.0
    for gap, (before, after) in zip(gaps, pairwise(placed), strict=True):
        between = f"between {before[1]} and {after[1]}"
        if gap <= UNEVEN * usual:
            raise UserError(f"{folder} has a doubled slice: {before[1]} and {after[1]} lie at one place; remove one.")
        if gap > MISSING * usual:
            raise UserError(f"{folder} misses a slice {between} ({gap:.4g} mm apart, not {usual:.4g}): get it.")
        if abs(gap - usual) > UNEVEN * usual:
            raise UserError(
                f"{folder} has inconsistent spacing: {gap:.4g} mm {between}, {usual:.4g} elsewhere; check the series."
            )
    return [dataset for _, _, dataset in placed]


def key(placed: tuple[float, str, Any]) -> tuple[float, str]:
    return placed[:2]


def along_normal(dataset: Dataset) -> float:
    """Where a slice lies along the normal of its plane, in mm (PS3.3 C.7.6.2.1.1)."""
    rows, columns = np.reshape(np.asarray(dataset.ImageOrientationPatient, np.float64), (2, 3))
    return float(np.cross(rows, columns) @ np.asarray(dataset.ImagePositionPatient, np.float64))


def scan_of(path: Path, datasets: list[FileDataset]) -> Scan:
    parts = [part for dataset in datasets for part in parts_of(dataset)]
    several = len(datasets) > 1
    depth = len({round(along_normal(dataset), 4) for dataset in datasets}) if several else len(parts)
    placed = tuple(Part(**(vars(part) | {"place": index % depth})) for index, part in enumerate(parts))
    shape = (depth, *parts[0].stored.shape)
    first = datasets[0]
    return Scan(
        str(path), "DICOM", shape, placed, partial(write_dicom, datasets, path.is_dir()), str(first.get("Modality")),
        geometry_of(datasets[:depth]), frozenset(words_of(first)), path.is_dir(),
    )  # fmt: skip


def parts_of(dataset: FileDataset) -> list[Part]:
    """One part a frame."""
    with damage_told(Path(dataset.filename)):
        pixels = dataset.pixel_array
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    signed = dataset.PixelRepresentation == 1
    bits = dataset.BitsStored - signed
    lowest, highest = (-(2.0**bits) if signed else 0.0), 2.0**bits - 1
    scales = [scale_of(dataset, frame) for frame in range(len(frames))]
    return [
        Part(frame, *scale, lowest, highest, padding=padding_of(dataset, frame))
        for frame, scale in zip(frames, scales, strict=True)
    ]


def scale_of(dataset: FileDataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame, from the functional groups of an enhanced object or from the object itself."""
    groups = [*dataset.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1]]
    groups += dataset.get("SharedFunctionalGroupsSequence", [])
    holders = [
        group.PixelValueTransformationSequence[0] for group in groups if "PixelValueTransformationSequence" in group
    ]
    holder = (holders or [dataset])[0]
    slope, intercept = float(holder.get("RescaleSlope", 1)), float(holder.get("RescaleIntercept", 0))
    if slope <= 0 or not np.isfinite([slope, intercept]).all():
        raise UserError(f"{dataset.filename} has a Rescale Slope of {slope:g}: it must be above 0; correct the header.")
    return slope, intercept


def padding_of(dataset: Dataset, frame: np.ndarray) -> Bool[np.ndarray, "h w"] | None:
    """Which pixels the header declares to be padding."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    ends = sorted([dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)])
    inside: np.ndarray = (frame >= ends[0]) & (frame <= ends[1])
    return inside


def geometry_of(datasets: Sequence[Dataset]) -> Float64[np.ndarray, " n"] | None:
    """Positions, orientations and spacings of the slices; None where the header does not tell."""
    tags = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    if any(dataset.get(tag) is None for dataset in datasets for tag in tags):
        return None
    return np.array([float(number) for dataset in datasets for tag in tags for number in dataset[tag].value])


def words_of(dataset: Dataset) -> set[str]:
    """The words of the patient's name and number, in lower case, as they might stand in a path."""
    names = re.findall(r"[^\W_]+", str(dataset.get("PatientName") or "").casefold())
    numbers = re.findall(r"[^\W_]+", str(dataset.get("PatientID") or "").casefold())
    words = {word for word in names if len(word) >= SHORTEST_NAME and not word.isdigit()}
    words |= {first + second for first, second in pairwise(names)} | {
        second + first for first, second in pairwise(names)
    }
    return words | {word for word in numbers if len(word) >= SHORTEST_NUMBER}


def write_dicom(
    datasets: list[FileDataset], is_folder: bool, stored: Sequence[np.ndarray], path: Path, derivation: str
) -> None:
    """A file, or a folder of one file a slice, numbered in their order: source names could name the patient."""
    from pydicom import dcmwrite
    from pydicom.uid import generate_uid

    series = generate_uid(prefix=None)
    frames = iter(stored)
    if is_folder:
        path.mkdir()
    for number, dataset in enumerate(datasets, 1):
        pixels = np.stack([next(frames) for _ in range(int(dataset.get("NumberOfFrames") or 1))])
        target = path / f"{number:04}.dcm" if is_folder else path
        out = derived(dataset, pixels, series, derivation)
        syntax = out.file_meta.TransferSyntaxUID
        dcmwrite(target, out, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)


def derived(dataset: FileDataset, pixels: np.ndarray, series: str, derivation: str) -> FileDataset:
    """A derived object of a source and its new pixels; compressed and big-endian ones become explicit little endian."""
    from pydicom import Dataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

    out = copy.deepcopy(dataset)
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    out.SourceImageSequence = [source]
    out.SOPInstanceUID = out.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    out.SeriesInstanceUID = series
    out.ImageType = ["DERIVED", *list(dataset.get("ImageType") or ["", "PRIMARY"])[1:]]
    earlier = str(dataset.get("DerivationDescription") or "")
    out.DerivationDescription = f"{earlier}; {derivation}" if earlier else derivation
    for tag in STALE:
        if tag in out:
            delattr(out, tag)
    for tag, value in (("SmallestImagePixelValue", pixels.min()), ("LargestImagePixelValue", pixels.max())):
        if tag in out:
            setattr(out, tag, int(value))
    syntax = out.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or syntax == ExplicitVRBigEndian:
        out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    out.PixelData = data + b"\0" * (len(data) % 2)
    out["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    out["PixelData"].is_undefined_length = False
    return out
