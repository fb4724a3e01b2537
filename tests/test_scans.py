"""Scans: what is read, what is written back with other voxels, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

from impasto.errors import UserError
from impasto.medical.harmonization import harmonize
from impasto.medical.landmarks import Landmarks
from impasto.medical.phantoms import T1, head_phantom, nuclei_phantom
from impasto.medical.scans import Scan, read_mask, read_scan
from scan_files import PATIENT, SPACING_MM, dicom_series, dicom_slice, nifti, stack

OTHER = (0.0, 1500.0, 260.0, 900.0, 1250.0, 420.0)


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    return head_phantom((6, 40, 40), tissues=T1, seed=1)[0]


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory: pytest.TempPathFactory) -> Landmarks:
    volume = head_phantom((6, 40, 40), tissues=OTHER, seed=2)[0]
    return Landmarks.fit([read_scan(nifti(tmp_path_factory.mktemp("reference") / "r.nii", volume))])


def saved(scan: Scan, to: Landmarks, target: Path) -> list[np.ndarray]:
    """Harmonise and write a scan; returns its new voxels, which are not the old ones."""
    done = harmonize(scan, to)
    assert any((new != part.stored).any() for new, part in zip(done.stored, scan.parts, strict=True))
    done.save(target)
    return done.stored


def test_a_dicom_series_keeps_its_header_and_becomes_a_derived_one(
    tmp_path: Path, head: np.ndarray, landmarks: Landmarks
) -> None:
    source = dicom_series(tmp_path / "in", head, IconImageSequence=[])
    scan = read_scan(source)
    assert (scan.kind, scan.modality, scan.shape) == ("DICOM", "MR", (6, 40, 40))
    np.testing.assert_allclose(np.stack([part.values() for part in scan.parts]), head, atol=1.01)
    stored = saved(scan, landmarks, tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{number:04}.dcm" for number in range(1, 7)]
    assert not list(tmp_path.glob(".impasto-*"))
    before = {float(d.ImagePositionPatient[2]): d for d in map(pydicom.dcmread, source.iterdir())}
    after = [pydicom.dcmread(file) for file in files]
    assert len({d.SOPInstanceUID for d in after} | {d.SOPInstanceUID for d in before.values()}) == 12
    assert len({d.SeriesInstanceUID for d in after}) == 1
    changed: set[str] = set()
    for index, (new, pixels) in enumerate(zip(after, stored, strict=True)):
        old = before[index * SPACING_MM]
        assert np.array_equal(new.pixel_array, pixels)
        changed |= {e.keyword for e in new if e.tag not in old or e != old[e.tag]}
        assert {e.keyword for e in old if e.tag not in new} == {"IconImageSequence"}
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert list(new.ImageType) == ["DERIVED", "PRIMARY", "M"]
        assert "nyul" in new.DerivationDescription
        assert new.LargestImagePixelValue == pixels.max()
        assert not any(word in new.DerivationDescription for word in PATIENT.split("^"))
    assert changed == {
        "ImageType", "SOPInstanceUID", "SeriesInstanceUID", "DerivationDescription", "SourceImageSequence",
        "LargestImagePixelValue", "PixelData",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless",
             "MR_small_jpeg_ls_lossless"],
)  # fmt: skip
def test_every_transfer_syntax_gives_the_same_result(name: str, tmp_path: Path) -> None:
    scans = [read_scan(get_testdata_file(f"{file}.dcm")) for file in ("MR_small", name)]
    assert np.array_equal(scans[0].parts[0].stored, scans[1].parts[0].stored)
    to = Landmarks.fit(scans[:1], "all")
    to = to.model_copy(update={"values": [[1.5 * value for value in to.values[0]]]})
    done = harmonize(scans[1], to, mask="all")
    done.save(tmp_path / "out.dcm")
    again = pydicom.dcmread(tmp_path / "out.dcm")
    assert np.array_equal(again.pixel_array, done.stored[0])
    assert not again.file_meta.TransferSyntaxUID.is_compressed
    assert str(again.PatientName) == str(pydicom.dcmread(get_testdata_file(f"{name}.dcm")).PatientName)
    assert read_scan(tmp_path / "out.dcm").parts[0].stored.max() > 1.4 * scans[0].parts[0].stored.max()


def test_an_enhanced_object_has_a_scale_a_frame(tmp_path: Path, head: np.ndarray, landmarks: Landmarks) -> None:
    slopes = [1.0, 2.0, 4.0]
    frames = np.stack([np.rint(head[2 + index] / slope) for index, slope in enumerate(slopes)])
    dataset = dicom_slice(frames[0], tmp_path / "one.dcm", 0, "1.2.5")
    dataset.NumberOfFrames, dataset.PixelData = 3, frames.astype("<u2").tobytes()
    dataset.PerFrameFunctionalGroupsSequence = [frame_group(slope) for slope in slopes]
    pydicom.dcmwrite(tmp_path / "many.dcm", dataset, enforce_file_format=True)
    scan = read_scan(tmp_path / "many.dcm")
    assert scan.shape == (3, 40, 40)
    np.testing.assert_allclose(np.stack([part.values() for part in scan.parts]), head[2:5], atol=2.01)
    stored = saved(scan, landmarks, tmp_path / "out.dcm")
    again = pydicom.dcmread(tmp_path / "out.dcm")
    assert np.array_equal(again.pixel_array, np.stack(stored))
    assert again.PerFrameFunctionalGroupsSequence == dataset.PerFrameFunctionalGroupsSequence


def frame_group(slope: float) -> pydicom.Dataset:
    scale, group = pydicom.Dataset(), pydicom.Dataset()
    scale.RescaleSlope, scale.RescaleIntercept = slope, 0
    group.PixelValueTransformationSequence = [scale]
    return group


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["int16", ">i2", "float32"])
def test_a_nifti_header_is_kept_byte_for_byte(
    suffix: str, dtype: str, tmp_path: Path, head: np.ndarray, landmarks: Landmarks
) -> None:
    source = nifti(tmp_path / f"in{suffix}", head, dtype.strip(">"))
    if dtype.startswith(">"):
        image = nibabel.load(source, mmap=False)
        swapped = nibabel.Nifti1Image(np.asarray(image.dataobj.get_unscaled()), None, image.header.as_byteswapped(">"))
        swapped.to_filename(source)
    scan = read_scan(source)
    stored = saved(scan, landmarks, tmp_path / f"out{suffix}")
    old, new = nibabel.load(source), nibabel.load(tmp_path / f"out{suffix}")
    assert new.header == old.header
    assert new.header.extensions == old.header.extensions
    assert (new.dataobj.slope, new.dataobj.inter) == (old.dataobj.slope, old.dataobj.inter)
    np.testing.assert_array_equal(new.affine, old.affine)
    np.testing.assert_array_equal(np.asarray(new.dataobj.get_unscaled()), stored[0])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"},
                                     {"compression": "zstd", "tile": (32, 32)}, {"byteorder": ">"}])  # fmt: skip
def test_an_ome_tiff_keeps_description_resolution_and_layout(options: dict[str, object], tmp_path: Path) -> None:
    planes = np.stack([nuclei_phantom((64, 80), count=6, seed=seed)[0] for seed in range(4)]).reshape(2, 2, 64, 80)
    source = stack(tmp_path / "in.ome.tif", planes, "ZCYX", resolution=(5000, 5000), resolutionunit=3, **options)
    scan = read_scan(source)
    assert (scan.channels, scan.shape) == (2, (2, 64, 80))
    brighter = np.minimum(planes * 2, 60000)
    to = Landmarks.fit([read_scan(stack(tmp_path / "to.ome.tif", brighter, "ZCYX"))])
    stored = saved(scan, to, tmp_path / "out.ome.tif")
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(tmp_path / "out.ome.tif") as new:
        assert new.series[0].axes == old.series[0].axes == "ZCYX"
        assert np.array_equal(new.series[0].asarray(), np.stack(stored, 1))
        assert new.ome_metadata == old.ome_metadata
        assert new.byteorder == old.byteorder
        kept = [256, 257, 258, 259, 262, 270, 282, 283, 296, 305, 317, 322, 323]
        tags = [[[page.aspage().tags.valueof(code) for code in kept] for page in file.pages] for file in (old, new)]
        assert tags[0] == tags[1]


def test_an_imagej_stack_and_private_tags_stay(tmp_path: Path) -> None:
    planes = np.stack([nuclei_phantom((64, 64), count=6, seed=seed)[0] for seed in range(3)])
    source = tmp_path / "in.tif"
    tifffile.imwrite(
        source, planes, imagej=True, metadata={"axes": "ZYX", "spacing": 0.4, "unit": "um", "Labels": ["a", "b", "c"]}
    )
    to = Landmarks.fit([read_scan(stack(tmp_path / "to.ome.tif", planes * 2, "ZYX"))])
    stored = saved(read_scan(source), to, tmp_path / "out.tif")
    compressed = tmp_path / "compressed.tif"
    tifffile.imwrite(
        compressed, planes[0], compression="zlib", metadata=None, extratags=[(65000, 2, None, "mine", True)]
    )
    saved(read_scan(compressed), to, tmp_path / "out2.tif")
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.imagej_metadata == old.imagej_metadata
        assert np.array_equal(new.series[0].asarray(), stored[0])
    with tifffile.TiffFile(tmp_path / "out2.tif") as new:
        assert new.pages[0].tags[65000].value == "mine"


def test_padding_is_no_tissue_and_stays(tmp_path: Path, head: np.ndarray, landmarks: Landmarks) -> None:
    padded = head.copy()
    padded[:, :8] = 7990
    scan = read_scan(dicom_series(tmp_path / "in", padded, PixelPaddingValue=4000))
    plain = read_scan(dicom_series(tmp_path / "plain", head[:, 8:]))
    done, same = harmonize(scan, landmarks), harmonize(plain, landmarks)
    assert all((new[:8] == 4000).all() for new in done.stored)
    np.testing.assert_array_equal(done.maps[0].before, same.maps[0].before)


# What is refused. Each case breaks one thing in a sound series or file.


def rewrite(file: Path, **fields: object) -> None:
    dataset = pydicom.dcmread(file)
    for name, value in fields.items():
        setattr(dataset, name, value)
    pydicom.dcmwrite(file, dataset)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-700])


BROKEN_SERIES = {
    "missing slice": (lambda folder: (folder / "IM003.dcm").unlink(), "misses a slice between IM004.dcm and IM002.dcm"),
    "doubled slice": (lambda folder: shutil.copy(folder / "IM003.dcm", folder / "x.dcm"), "doubled slice: IM003.dcm"),
    "uneven": (
        lambda folder: rewrite(folder / "IM001.dcm", ImagePositionPatient=[-20, 5, 15.5]),
        "inconsistent spacing: 3.5 mm between IM002.dcm and IM001.dcm",
    ),
    "two series": (lambda folder: rewrite(folder / "IM001.dcm", SeriesInstanceUID="1.9"), "files of 2 series"),
    "orientation": (
        lambda folder: rewrite(folder / "IM001.dcm", ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
        "different orientations",
    ),
    "pixel spacing": (lambda folder: rewrite(folder / "IM001.dcm", PixelSpacing=[1, 1]), "different pixel spacings"),
    "half a volume": (
        lambda folder: rewrite(folder / "IM001.dcm", TemporalPositionIdentifier=2),
        "volumes of 1 and of 5 slices",
    ),
    "slope": (lambda folder: rewrite(folder / "IM001.dcm", RescaleSlope=0), "Rescale Slope of 0"),
    "cut short": (lambda folder: cut(folder / "IM001.dcm"), "damaged or cut short"),
    "nothing": (lambda folder: [file.unlink() for file in folder.iterdir()], "no DICOM files"),
}


@pytest.mark.parametrize("case", BROKEN_SERIES)
def test_a_series_that_is_not_whole_is_refused(case: str, tmp_path: Path, head: np.ndarray) -> None:
    folder = dicom_series(tmp_path / "in", head)
    spoil, message = BROKEN_SERIES[case]
    spoil(folder)
    with pytest.raises(UserError, match=message):
        read_scan(folder)


def test_volumes_over_time_are_no_doubled_slices(tmp_path: Path, head: np.ndarray, landmarks: Landmarks) -> None:
    folder = dicom_series(tmp_path / "in", head, TemporalPositionIdentifier=1)
    series = pydicom.dcmread(folder / "IM001.dcm").SeriesInstanceUID
    for index, pixels in enumerate(head):
        file, stored = folder / f"T{index}.dcm", np.rint((pixels + 10) / 2)
        dicom_slice(stored, file, index * SPACING_MM, series, TemporalPositionIdentifier=2)
    scan = read_scan(folder)
    assert scan.shape == (6, 40, 40)
    assert len(scan.parts) == 12
    assert [part.place for part in scan.parts] == [*range(6), *range(6)]
    mask = np.zeros(scan.shape, bool)
    mask[3, 10:30, 10:30] = True
    done = harmonize(scan, landmarks, mask=mask)
    changed = [bool((new != part.stored).any()) for new, part in zip(done.stored, scan.parts, strict=True)]
    assert changed == [place == 3 for place in [*range(6), *range(6)]]


def test_a_codec_that_is_not_here_is_named(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
    pydicom.dcmwrite(tmp_path / "in.dcm", dataset)
    with pytest.raises(UserError, match=r"compressed as High-Throughput JPEG 2000.*no codec"):
        read_scan(tmp_path / "in.dcm")


@pytest.mark.parametrize(
    ("name", "message"),
    [("SC_rgb_rle.dcm", "colour picture"), ("MR_truncated.dcm", "damaged or cut short"), ("rtplan.dcm", "no integer"),
     ("no_meta.dcm", "neither DICOM, NIfTI"), ("examples_palette.dcm", "colour picture"),
     ("liver_1frame.dcm", "bits a pixel")],
)  # fmt: skip
def test_dicom_files_that_hold_no_sound_grey_image(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_scan(get_testdata_file(name))


def test_a_stack_that_does_not_tell_its_axes(tmp_path: Path) -> None:
    planes = np.stack([nuclei_phantom((64, 64), count=6, seed=seed)[0] for seed in range(3)])
    bare = stack(tmp_path / "in.tif", planes)
    with pytest.raises(UserError, match=r"3 x 64 x 64 .* --axes ZYX or CYX"):
        read_scan(bare)
    assert read_scan(bare, axes="zyx").shape == (3, 64, 64)
    assert read_scan(bare, axes="CYX").channels == 3
    assert read_scan(bare, axes="TYX").shape == (64, 64)
    for wrong in ("YX", "ZXY", "QYX", "YYX", "ZCYX"):
        with pytest.raises(UserError, match="--axes"):
            read_scan(bare, axes=wrong)
    with pytest.raises(UserError, match="itself says that its axes are ZYX"):
        read_scan(stack(tmp_path / "in.ome.tif", planes, "ZYX"), axes="CYX")
    with pytest.raises(UserError, match="leave it out"):
        read_scan(get_testdata_file("MR_small.dcm"), axes="ZYX")


def spoilt_files(folder: Path, head: np.ndarray) -> dict[str, tuple[Path, str]]:
    planes = np.zeros((40, 40), np.float32)
    planes[3, 4:7] = np.nan
    holes = head.astype(np.float32)
    holes[1, 2, 3] = np.inf
    stack(folder / "nan.tif", planes)
    tifffile.imwrite(folder / "rgb.tif", np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    with tifffile.TiffWriter(folder / "two.tif") as out:
        out.write(np.zeros((40, 40), np.uint8))
        out.write(np.zeros((20, 40), np.uint8))
    with tifffile.TiffWriter(folder / "pyramid.ome.tif", ome=True) as out:
        out.write(np.zeros((64, 64), np.uint16), subifds=1)
        out.write(np.zeros((32, 32), np.uint16), subfiletype=1)
    (folder / "text.tif").write_text("not a picture")
    (folder / "text.nii").write_text("not a volume")
    (folder / "text.dcm").write_text("not a scan")
    (folder / "film.nd2").write_text("x")
    nifti(folder / "cut.nii", head)
    cut(folder / "cut.nii")
    stack(folder / "cut.tif", np.zeros((40, 40), np.uint16))
    cut(folder / "cut.tif")
    return {
        "nan": (folder / "nan.tif", "3 voxels that are NaN"),
        "infinite": (nifti(folder / "inf.nii.gz", holes, "float32"), "1 voxels that are NaN or infinite"),
        "colour": (folder / "rgb.tif", "colour picture"),
        "several": (folder / "two.tif", "2 pictures of different sizes"),
        "pyramid": (folder / "pyramid.ome.tif", "pyramid"),
        "no tiff": (folder / "text.tif", "no TIFF file"),
        "no nifti": (folder / "text.nii", "no whole NIfTI"),
        "no dicom": (folder / "text.dcm", "neither DICOM"),
        "a maker's": (folder / "film.nd2", "convert it to OME-TIFF"),
        "cut nifti": (folder / "cut.nii", "no whole NIfTI"),
        "cut tiff": (folder / "cut.tif", "cut short"),
        "nothing": (folder / "nothing.nii", "does not exist"),
    }


def test_files_that_are_no_sound_scan(tmp_path: Path, head: np.ndarray) -> None:
    for file, message in spoilt_files(tmp_path, head).values():
        with pytest.raises(UserError, match=message) as caught:
            read_scan(file)
        assert file.name in str(caught.value)


@pytest.mark.parametrize("kind", ["dcm", "nii", "nii.gz", "tif", "zlib.tif"])
def test_a_file_cut_anywhere_is_refused(kind: str, tmp_path: Path, head: np.ndarray) -> None:
    whole = tmp_path / f"whole.{kind}"
    if kind == "dcm":
        dicom_slice(np.rint(head[3]), whole, 0, "1.2.5")
    elif kind.startswith("nii"):
        nifti(whole, head)
    else:
        stack(whole, np.rint(head[3]).astype(np.uint16), compression="zlib" if "zlib" in kind else None)
    data = whole.read_bytes()
    short = tmp_path / f"short.{kind}"
    for share in np.linspace(0, 0.97, 24):
        short.write_bytes(data[: int(share * len(data))])
        with pytest.raises(UserError, match="short"):
            read_scan(short)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_dicom_cut_at_any_byte_of_its_header_is_refused(tmp_path: Path, head: np.ndarray) -> None:
    dicom_slice(np.rint(head[3]), tmp_path / "whole.dcm", 0, "1.2.5")
    data = (tmp_path / "whole.dcm").read_bytes()
    short = tmp_path / "short.dcm"
    for length in range(len(data) - head[3].size * 2):
        short.write_bytes(data[:length])
        with pytest.raises(UserError, match="short"):
            read_scan(short)


def read_or_refused(path: Path, spoilt: Path, places: range) -> tuple[list[Scan], list[str]]:
    """What is read, and what is said where nothing is, of a path with one byte of a file of it changed at a time."""
    data, read, refused = bytearray(spoilt.read_bytes()), list[Scan](), list[str]()
    for place in places:
        for bits in (0x01, 0x80):
            data[place] ^= bits
            spoilt.write_bytes(data)
            data[place] ^= bits
            try:
                read.append(read_scan(path))
            except UserError as error:
                refused.append(str(error))
    return read, refused


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("is_series", [False, True])
def test_dicom_with_any_byte_of_its_header_changed_is_read_or_refused(
    is_series: bool, tmp_path: Path, head: np.ndarray
) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for place in (0, 1):
        dicom_slice(np.rint(head[place]), folder / f"{place}.dcm", place * SPACING_MM, "1.2.5", place)
    spoilt = folder / "1.dcm"
    places = range(132, spoilt.stat().st_size - head[1].size * 2)
    read, refused = read_or_refused(folder if is_series else spoilt, spoilt, places)
    assert len(read) + len(refused) == 2 * len(places)
    assert {scan.shape for scan in read} == {(1 + is_series, 40, 40)}
    assert refused and all(str(folder) in message and len(message.splitlines()) == 1 for message in refused)


def test_a_file_with_any_byte_of_its_header_changed_is_read_or_refused(tmp_path: Path, head: np.ndarray) -> None:
    files = [nifti(tmp_path / "in.nii", head), stack(tmp_path / "in.tif", np.rint(head[3]).astype(np.uint16))]
    for file in files:
        read, refused = read_or_refused(file, file, range(352))
        assert len(read) + len(refused) == 2 * 352
        assert read and refused and all(str(file) in message for message in refused)


def test_dicom_without_a_needed_field(tmp_path: Path, head: np.ndarray) -> None:
    dicom_slice(np.rint(head[3]), tmp_path / "in.dcm", 0, "1.2.5")
    for name in ("Rows", "BitsStored", "PixelRepresentation", "SOPInstanceUID"):
        dataset = pydicom.dcmread(tmp_path / "in.dcm")
        delattr(dataset, name)
        dataset.save_as(tmp_path / "out.dcm")
        with pytest.raises(UserError, match=f"does not tell its {name}"):
            read_scan(tmp_path / "out.dcm")


def test_tiff_compressed_by_a_codec_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stack(tmp_path / "in.tif", np.zeros((40, 40), np.uint16), compression="lzw")

    def missing(*arguments: object, **options: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", missing)
    with pytest.raises(UserError, match=r"LZW.*pip install imagecodecs"):
        read_scan(source)


@pytest.mark.parametrize(
    ("target", "message"),
    [("Franziska.dcm", "names the patient"), ("scan-KEILBERG-2.dcm", "names the patient"),
     ("franziskakeilberg.dcm", "names the patient"), ("k48213/out.dcm", "names the patient"),
     ("out.nii", "must end in .dcm"), ("nowhere/out.dcm", "does not exist"), ("in.dcm", "is also an input"),
     ("out.dcm.gpg", "must end in .dcm")],
)  # fmt: skip
def test_output_paths_that_are_refused(target: str, message: str, tmp_path: Path, head: np.ndarray) -> None:
    from impasto.medical.scans import check_target

    dicom_slice(np.rint(head[3]), tmp_path / "in.dcm", 0, "1.2.5")
    with pytest.raises(UserError, match=message) as caught:
        check_target(read_scan(tmp_path / "in.dcm"), tmp_path / target, [tmp_path / "in.dcm"])
    assert "eilberg" not in str(caught.value).replace(str(tmp_path / target), "")


def test_a_series_goes_into_a_new_folder(tmp_path: Path, head: np.ndarray, landmarks: Landmarks) -> None:
    source = dicom_series(tmp_path / "in", head)
    done = harmonize(read_scan(source), landmarks)
    with pytest.raises(UserError, match="already there"):
        done.save(source)
    with pytest.raises(UserError, match="does not exist"):
        done.save(tmp_path / "a" / "b")
    (tmp_path / "out").mkdir()
    done.save(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_nothing_half_written_stays(
    tmp_path: Path, head: np.ndarray, landmarks: Landmarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = harmonize(read_scan(dicom_series(tmp_path / "in", head)), landmarks)
    monkeypatch.setattr(pydicom, "dcmwrite", full_disk(3))
    with pytest.raises(OSError, match="No space"):
        done.save(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def full_disk(after: int):
    written = []

    def write(*arguments: object, **options: object) -> None:
        written.append(1)
        if len(written) > after:
            raise OSError(28, "No space left on device")

    return write


def test_masks_must_lie_on_the_grid(tmp_path: Path, head: np.ndarray) -> None:
    scan = read_scan(dicom_series(tmp_path / "in", head))
    inside = (head > 300).astype(np.uint16)
    stored = read_mask(dicom_series(tmp_path / "mask", np.where(inside, 990, -10)), scan)
    assert np.array_equal(stored, inside)
    assert np.array_equal(read_mask(stack(tmp_path / "mask.tif", inside), scan), inside)
    volume = read_scan(nifti(tmp_path / "scan.nii", head))
    assert read_mask(nifti(tmp_path / "m.nii", inside, slope=1, inter=0), volume).sum() == inside.sum()
    refused = {
        "give the mask as NIfTI": (stack(tmp_path / "m.tif", inside), volume),
        "give the mask as DICOM": (tmp_path / "m.nii", scan),
        "on its grid": (stack(tmp_path / "small.tif", inside[:, 1:]), scan),
        "is empty": (stack(tmp_path / "empty.tif", np.zeros_like(inside)), scan),
    }
    for message, (file, of) in refused.items():
        with pytest.raises(UserError, match=message):
            read_mask(file, of)
    moved = nibabel.load(tmp_path / "m.nii")
    affine = moved.affine + [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    nibabel.Nifti1Image(inside, affine, dtype="uint16").to_filename(tmp_path / "moved.nii")
    with pytest.raises(UserError, match="does not lie where"):
        read_mask(tmp_path / "moved.nii", volume)


@pytest.mark.parametrize("share", [0.3, 0.66, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["bare", "imagej", "ome", "compressed"])
def test_a_stack_cut_short_is_refused_and_not_read_as_fewer_slices(tmp_path: Path, kind: str, share: float) -> None:
    options = {
        "bare": {"metadata": None}, "imagej": {"imagej": True}, "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
        "compressed": {"metadata": None, "compression": "deflate"},
    }  # fmt: skip
    planes = np.random.default_rng(0).integers(0, 50000, (8, 48, 48), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", planes, photometric="minisblack", **options[kind])
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="damaged or cut short|damaged, cut short"):
        read_scan(tmp_path / "x.tif", axes="ZYX")
