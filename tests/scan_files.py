"""Scans to test with: DICOM series, NIfTI and TIFF files made here, with headers full enough to lose something."""

from __future__ import annotations

import struct
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


def czi(file: Path, planes: np.ndarray, *, scenes: int = 1) -> Path:
    """A Zeiss file of (c, z, y, x), uint8 or uint16, or of RGB (1, 1, y, x, 3), by the maker's own library."""
    from pylibCZIrw import czi as pyczi

    with pyczi.create_czi(str(file)) as document:
        for scene in range(scenes):
            for c, z in np.ndindex(planes.shape[:2]):
                plane = planes[c, z] if planes.ndim == 5 else planes[c, z, ..., None]
                place = {"C": c, "Z": z, "T": 0}
                document.write(plane, plane=place, scene=scene, location=(scene * 200, 0))
        document.write_metadata("test", channel_names=dict(enumerate(["DAPI", "GFP", "Cy5"][: len(planes)])),
                                scale_x=2e-7, scale_y=2e-7, scale_z=1e-6)  # fmt: skip
    return file


def lif(file: Path, planes: np.ndarray, *, pictures: int = 1) -> Path:
    """A Leica file (LIF 2) of (c, z, y, x), by the published description of the format."""
    (channels, depth, height, width), size = planes.shape, planes.itemsize
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * size}" NameOfMeasuredQuantity="" Min="0" '
        f'Max="1" Unit="" LUTName="Green" IsLUTInverted="0" BytesInc="{c * width * height * size}" BitInc="0"/>'
        for c in range(channels)
    )
    steps = [
        (1, width, 2e-7, size),
        (2, height, 2e-7, size * width),
        (3, depth, 1e-6, size * width * height * channels),
    ]
    dimensions = "".join(
        f'<DimensionDescription DimID="{axis}" NumberOfElements="{count}" Origin="0" Length="{(count - 1) * step}" '
        f'Unit="m" BitInc="0" BytesInc="{stride}"/>'
        for axis, count, step, stride in steps
    )
    elements = "".join(
        f'<Element Name="picture{i}" UniqueID="{i}"><Data><Image><ImageDescription><Channels>{described}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{planes.nbytes}" MemoryBlockID="MemBlock_{i}"/></Element>'
        for i in range(pictures)
    )
    header = (
        f'<LMSDataContainerHeader Version="2"><Element Name="test.lif"><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    data = np.ascontiguousarray(planes.swapaxes(0, 1)).tobytes()
    with file.open("wb") as out:
        out.write(struct.pack("<IIBI", 0x70, len(header) + 5, 0x2A, len(header) // 2) + header)
        for i in range(pictures):
            name = f"MemBlock_{i}".encode("utf-16-le")
            out.write(struct.pack("<IIBQBI", 0x70, len(name) + 14, 0x2A, len(data), 0x2A, len(name) // 2) + name + data)
    return file
