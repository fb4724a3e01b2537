"""Scans to test with: DICOM series, NIfTI and TIFF files made here, with headers full enough to lose something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = "Keilberg^Franziska"
SPACING_MM = 3.0


def dicom_slice(
    pixels: np.ndarray, file: Path, position_mm: float, series: str, number: int = 1, **fields: Any
) -> Dataset:
    """One MR slice (signed or unsigned 16-bit) with slope 2 and intercept -10; fields: what is to be different."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, "1.2.3", "1.2.4"
    dataset.Modality, dataset.PatientName, dataset.PatientID = "MR", PATIENT, "K48213"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [-20.0, 5.0, position_mm]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.9, 0.9], SPACING_MM
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -10
    dataset.WindowCenter, dataset.WindowWidth = 400, 800
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    dataset.add_new(0x00191001, "LO", "of the maker")
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in fields.items():
        setattr(dataset, name, value)
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return dataset


def dicom_series(folder: Path, volume: np.ndarray, **fields: Any) -> Path:
    """A series of real intensities (z, y, x); its files are named against the order of its slices."""
    folder.mkdir()
    series = generate_uid()
    stored = np.rint((volume + 10) / 2)
    for index, pixels in enumerate(stored):
        name = f"IM{len(volume) - index:03}.dcm"
        dicom_slice(pixels, folder / name, index * SPACING_MM, series, index + 1, **fields)
    return folder


def nifti(file: Path, volume: np.ndarray, dtype: str = "int16", *, slope: float = 0.5, inter: float = 3.0) -> Path:
    """A NIfTI file of real intensities, with an oblique affine, a description, an extension, slope and intercept."""
    affine = np.array([[0.0, -0.9, 0.1, 12], [0.9, 0.0, 0.0, -30], [0.0, 0.1, 3.0, 7], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.zeros(volume.shape, dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a head of test"
    image.header["cal_max"] = 900
    image.header.set_qform(affine, 1)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"kept as it is"))
    image.header.set_slope_inter(slope, inter)
    plain = file.with_name("plain.nii")
    image.to_filename(plain)
    header = bytearray(plain.read_bytes()[: int(nibabel.load(plain).dataobj.offset)])
    plain.unlink()
    header[112:120] = np.array([slope, inter], "<f4").tobytes()
    real = (volume - inter) / slope
    stored = np.rint(real).astype(dtype) if np.dtype(dtype).kind in "iu" else real.astype(dtype)
    data = bytes(header) + stored.tobytes(order="F")
    if file.suffix == ".gz":
        import gzip

        data = gzip.compress(data)
    file.write_bytes(data)
    return file


def stack(file: Path, planes: np.ndarray, axes: str | None = None, **options: Any) -> Path:
    """A TIFF stack: OME-TIFF for `.ome.tif` (axes told), else a bare one of pages that tell nothing."""
    if file.name.endswith(".ome.tif"):
        tifffile.imwrite(
            file, planes, metadata={"axes": axes, "PhysicalSizeX": 0.2}, photometric="minisblack", **options
        )
    else:
        tifffile.imwrite(file, planes, metadata=None, photometric="minisblack", **options)
    return file
