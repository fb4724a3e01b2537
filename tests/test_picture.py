"""Pictures read and written as real files: values, colours, transparency and metadata come out right."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from impasto.errors import PictureError
from impasto.imaging.formats import check_output
from impasto.picture import Picture, read_picture, write_picture

WRITTEN = [".jpg", ".png", ".webp", ".tif", ".avif"]
HOLD_ALPHA = [".png", ".webp", ".tif", ".avif"]
HOLD_EXIF = [".jpg", ".png", ".webp", ".avif"]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a tiff:Orientation=\"6\"/></x:xmpmeta>"


def smooth(height: int = 40, width: int = 60, low: float = 0.2, high: float = 0.8) -> np.ndarray:
    """A picture (h, w, 3) in low..high without fine detail, so that lossy formats keep it closely."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(4 * x + 2 * y), np.cos(3 * y - x), np.sin(5 * x * y + 1)]
    return np.stack([low + (high - low) * (wave + 1) / 2 for wave in waves], axis=-1)


def bytes_of(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def as_file(picture: Picture) -> np.ndarray:
    """The pixels as (h, w, 3) in 0..1, to compare with what PIL says."""
    return np.moveaxis(picture.pixels, 0, -1)


def icc_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A small version 2 display profile."""
    text = b"test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1, 0.8249),
    } | tags
    table, body, offset = b"", b"", 132 + 12 * len(tags)
    for signature, data in tags.items():
        data += bytes(-len(data) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1, 0.8249)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


# The D50 primaries of Adobe RGB (1998).
ADOBE_PRIMARIES = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
ADOBE_RGB = icc_profile(
    b"RGB ",
    {name + b"XYZ": xyz(*column) for name, column in zip((b"r", b"g", b"b"), ADOBE_PRIMARIES.T, strict=True)}
    | {name + b"TRC": gamma(563 / 256) for name in (b"r", b"g", b"b")},
)
SRGB_PRIMARIES = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
LINEAR_GREY = icc_profile(b"GRAY", {b"kTRC": gamma(1)})


def built_in_profile(name: str) -> bytes:
    image = pyvips.Image.black(4, 4, bands=3).copy(interpretation="srgb")
    return bytes(image.icc_transform(name, input_profile="srgb").get("icc-profile-data"))


def exif_with(order: str, orientation: int, thumbnail: bytes) -> bytes:
    """EXIF with an orientation, an artist, 300 pixels an inch, and a thumbnail in its second directory."""
    artist, after = b"Ann\0", 8 + 2 + 5 * 12 + 4
    entries = [
        (0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)),
        (0x011A, 5, 1, struct.pack(f"{order}I", after)),
        (0x011B, 5, 1, struct.pack(f"{order}I", after)),
        (0x0128, 3, 1, struct.pack(f"{order}HH", 2, 0)),
        (0x013B, 2, 4, artist),
    ]
    second = [
        (0x0201, 4, 1, struct.pack(f"{order}I", after + 8 + 2 + 2 * 12 + 4)),
        (0x0202, 4, 1, struct.pack(f"{order}I", len(thumbnail))),
    ]

    def directory(rows: list[tuple[int, int, int, bytes]], following: int) -> bytes:
        body = b"".join(struct.pack(f"{order}HHI", *row[:3]) + row[3] for row in rows)
        return struct.pack(f"{order}H", len(rows)) + body + struct.pack(f"{order}I", following)

    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    resolution = struct.pack(f"{order}II", 300, 1)
    return b"Exif\0\0" + start + directory(entries, after + 8) + resolution + directory(second, 0) + thumbnail


def full_photo(depth: int = 8, alpha: bool = False, icc: bytes | None = None) -> Picture:
    """A picture with all kinds of metadata."""
    values = smooth().astype(np.float32)
    return Picture(
        np.ascontiguousarray(np.moveaxis(values, -1, 0)),
        alpha=np.tile(np.linspace(0.25, 1, 60, dtype=np.float32), (40, 1)) if alpha else None,
        icc=icc,
        exif=exif_with("<", 1, b""),
        xmp=XMP,
        pixels_per_mm=(10.0, 10.0),
        depth=16 if depth == 16 else 8,
        name="photo",
    )


# Values.


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".gif"])
def test_reads_what_pil_wrote(tmp_path: Path, suffix: str) -> None:
    values = smooth()
    path = tmp_path / f"photo{suffix}"
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".webp", ".avif") else {}
    Image.fromarray(bytes_of(values)).save(path, **options)
    picture = read_picture(path)
    assert picture.size_hw == (40, 60)
    assert (picture.pixels.dtype, picture.depth, picture.alpha) == (np.float32, 8, None)
    with Image.open(path) as image:
        np.testing.assert_allclose(as_file(picture), np.asarray(image.convert("RGB")) / 255, atol=0.03)
    tolerance = 0.12 if suffix == ".gif" else 0.04
    np.testing.assert_allclose(as_file(picture), values, atol=tolerance)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_pil_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"result{suffix}"
    Picture.from_any(bytes_of(smooth())).save(path)
    with Image.open(path) as image:
        assert image.mode == "RGB"
        np.testing.assert_allclose(np.asarray(image) / 255, smooth(), atol=0.04)


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(16, 24), st.integers(16, 24), st.integers(1, 4)),
    ),
    suffix=st.sampled_from([".png", ".tif"]),
)
def test_lossless_formats_keep_every_value(
    values: np.ndarray, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / f"picture{suffix}"
    picture = Picture.from_any(values)
    picture.save(path)
    again = read_picture(path)
    assert again.depth == picture.depth == values.dtype.itemsize * 8
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    if picture.alpha is None:
        assert again.alpha is None
    else:
        np.testing.assert_array_equal(again.alpha, picture.alpha)
    visible = (picture.alpha if picture.alpha is not None else np.ones(picture.size_hw)) > 0
    colours = values[..., :1] if values.shape[2] <= 2 else values[..., :3]
    written = pyvips.Image.new_from_file(str(path)).numpy()
    assert written.dtype == values.dtype
    np.testing.assert_array_equal(written[..., :3][visible], np.broadcast_to(colours, (*values.shape[:2], 3))[visible])


def test_rounds_to_the_nearest() -> None:
    levels = np.repeat(np.array([0.0, 0.49, 0.51, 254.4, 254.6, 255.0], dtype=np.float32) / 255, 16)
    picture = Picture(np.tile(levels, (3, 16, 1)))
    np.testing.assert_array_equal(picture.to_uint8()[0, ::16, 0], [0, 0, 1, 254, 255, 255])


@pytest.mark.parametrize(("bits", "suffix"), [(10, ".avif"), (12, ".avif")])
def test_deep_avif_has_its_full_range(tmp_path: Path, bits: int, suffix: str) -> None:
    values = np.zeros((32, 32, 3), dtype=np.uint16)
    values[:, 16:] = 65535
    path = tmp_path / f"deep{suffix}"
    pyvips.Image.new_from_array(values, interpretation="rgb16").write_to_file(path, bitdepth=bits, lossless=True)
    picture = read_picture(path)
    assert picture.depth == 16
    assert picture.pixels.min() == 0 and picture.pixels.max() == 1


def test_avif_of_a_16_bit_picture_has_12_bits(tmp_path: Path) -> None:
    picture = full_photo(depth=16)
    picture.save(tmp_path / "deep.avif")
    image = pyvips.Image.new_from_file(tmp_path / "deep.avif")
    assert image.get("bits-per-sample") == 12
    np.testing.assert_allclose(read_picture(tmp_path / "deep.avif").pixels, picture.pixels, atol=0.04)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_formats_of_8_bits_take_16_bit_pictures(tmp_path: Path, suffix: str) -> None:
    full_photo(depth=16).save(tmp_path / f"x{suffix}")
    assert read_picture(tmp_path / f"x{suffix}").depth == 8


@pytest.mark.parametrize("size", [(16, 800), (800, 16)])
@pytest.mark.parametrize("suffix", WRITTEN)
def test_panoramas(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    path = tmp_path / f"wide{suffix}"
    Picture.from_any(smooth(*size)).save(path)
    assert read_picture(path).size_hw == size


# Kinds of files.


def test_jpeg_has_full_colour_resolution(tmp_path: Path) -> None:
    full_photo().save(tmp_path / "x.jpg")
    assert pyvips.Image.new_from_file(tmp_path / "x.jpg").get("jpeg-chroma-subsample") == "4:4:4"


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", ".png"),
        ("1", ".tif"),
        ("L", ".png"),
        ("L", ".jpg"),
        ("L", ".tif"),
        ("P", ".png"),
        ("P", ".gif"),
        ("P", ".tif"),
        ("RGB", ".tif"),
        ("YCbCr", ".jpg"),
    ],
)
def test_kinds_of_files_read_as_pil_reads_them(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"kind{suffix}"
    Image.fromarray(bytes_of(smooth())).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")) / 255
    np.testing.assert_allclose(as_file(read_picture(path)), expected, atol=2 / 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha(tmp_path: Path, suffix: str) -> None:
    grey = bytes_of(smooth())[..., 0]
    opacity = np.full_like(grey, 128)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opacity)]).save(tmp_path / f"la{suffix}")
    picture = read_picture(tmp_path / f"la{suffix}")
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.alpha, 128 / 255)
    np.testing.assert_allclose(as_file(picture), np.repeat(grey[..., None], 3, -1) / 255, atol=1e-6)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 10, 20))
    image.save(tmp_path / "p.png", transparency=0)
    picture = read_picture(tmp_path / "p.png")
    assert picture.alpha is not None
    assert picture.alpha[:, :10].min() == 1 and picture.alpha[:, 10:].max() == 0


def test_16_bit_grey(tmp_path: Path) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160
    Image.fromarray(values).save(tmp_path / "deep.png")
    picture = read_picture(tmp_path / "deep.png")
    assert picture.depth == 16
    np.testing.assert_array_equal(np.rint(picture.pixels[1] * 65535), values)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_float_tiff(tmp_path: Path, bands: int) -> None:
    values = np.random.default_rng(0).random((20, 30, bands), dtype=np.float32)
    kind = "b-w" if bands == 1 else "srgb"
    pyvips.Image.new_from_array(values, interpretation=kind).write_to_file(tmp_path / "float.tif")
    picture = read_picture(tmp_path / "float.tif")
    assert picture.depth == 16
    np.testing.assert_array_equal(as_file(picture), np.broadcast_to(values[..., :3], (20, 30, 3)))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("profile", [False, True])
def test_cmyk(tmp_path: Path, suffix: str, profile: bool) -> None:
    """White, black and the four inks come out about as they print."""
    inks = [(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0)]
    expected = np.array([(1, 1, 1), (0.03, 0, 0.06), (0, 0.65, 0.9), (0.9, 0, 0.5), (1, 0.95, 0)])
    image = Image.new("CMYK", (16 * len(inks), 16))
    for index, ink in enumerate(inks):
        image.paste(ink, (16 * index, 0, 16 * index + 16, 16))
    options: dict[str, Any] = {"quality": 100} if suffix == ".jpg" else {}
    if profile:
        cmyk = pyvips.Image.black(4, 4, bands=3).copy(interpretation="srgb")
        cmyk = cmyk.icc_transform("cmyk", input_profile="srgb")
        options["icc_profile"] = bytes(cmyk.get("icc-profile-data"))
    image.save(tmp_path / f"inks{suffix}", **options)
    picture = read_picture(tmp_path / f"inks{suffix}")
    np.testing.assert_allclose(as_file(picture)[8, 8::16], expected, atol=0.12)
    assert picture.icc is None
    picture.save(tmp_path / "result.jpg")
    with Image.open(tmp_path / "result.jpg") as result:
        assert result.mode == "RGB" and "icc_profile" not in result.info


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    path = tmp_path / f"moving{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    picture = read_picture(path)
    assert picture.size_hw == (20, 20)
    np.testing.assert_allclose(picture.pixels.mean(axis=(1, 2)), [1, 0, 0], atol=0.02)


def test_first_page_of_a_tiff(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (20, 20), colour) for colour in ((0, 255, 0), (0, 0, 255))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    picture = read_picture(tmp_path / "pages.tif")
    assert picture.size_hw == (20, 20) and picture.pixels[1].min() == 1


@pytest.mark.parametrize("name", ["photo[1].png", "phötø 照片.png", "a,b=c.png"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    full_photo().save(tmp_path / name)
    assert read_picture(tmp_path / name).size_hw == (40, 60)


# Orientation.


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), dtype=np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    turns = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}
    stored = Image.fromarray(upright)
    for turn in turns[orientation]:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    stored.save(path, exif=exif, **({"quality": 95} if suffix not in (".png", ".tif") else {}))
    picture = read_picture(path)
    assert picture.size_hw == (32, 48)
    for y, x in ((4, 4), (4, 40), (28, 4), (28, 40)):
        np.testing.assert_allclose(picture.pixels[:, y, x], upright[y, x] / 255, atol=0.05)
    picture.save(tmp_path / f"result{suffix}")
    again = read_picture(tmp_path / f"result{suffix}")
    assert again.size_hw == (32, 48)
    np.testing.assert_allclose(again.pixels[:, 4, 4], [1, 0, 0], atol=0.05)


def test_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(bytes_of(smooth())).save(tmp_path / "x.jpg", exif=exif, dpi=(254, 508))
    assert read_picture(tmp_path / "x.jpg").pixels_per_mm == pytest.approx((20, 10))


# Profiles.


def decode_adobe(values: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 of Adobe RGB values in 0..1, from the definitions of both."""
    linear = values ** (563 / 256) @ ADOBE_PRIMARIES.T @ np.linalg.inv(SRGB_PRIMARIES).T
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_adobe_rgb_is_converted_to_srgb_and_back(tmp_path: Path, suffix: str) -> None:
    values = smooth(low=0.4, high=0.6)
    path, result = tmp_path / f"adobe{suffix}", tmp_path / f"result{suffix}"
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".webp", ".avif") else {}
    Image.fromarray(bytes_of(values)).save(path, icc_profile=ADOBE_RGB, **options)
    picture = read_picture(path)
    assert picture.icc == ADOBE_RGB
    tolerance = 0.005 if suffix in (".png", ".tif") else 0.08
    np.testing.assert_allclose(as_file(picture), decode_adobe(bytes_of(values) / 255), atol=tolerance)
    picture.save(result)
    with Image.open(result) as image, Image.open(path) as photo:
        assert image.info["icc_profile"] == ADOBE_RGB
        step = 1 if suffix in (".png", ".tif") else 8
        np.testing.assert_allclose(np.asarray(image).astype(int), np.asarray(photo).astype(int), atol=step)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_that_stay_keep_the_files_own_values(tmp_path: Path, dtype: type) -> None:
    """Also colours that sRGB does not have; those of changed pixels are converted."""
    values = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (40, 60, 3), dtype=dtype, endpoint=True)
    image = pyvips.Image.new_from_array(values, interpretation="srgb" if dtype == np.uint8 else "rgb16").copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", ADOBE_RGB)
    image.write_to_file(tmp_path / "photo.png")
    picture = read_picture(tmp_path / "photo.png")
    pixels = picture.pixels.copy()
    pixels[:, :, 30:] = 0.5
    picture.with_pixels(pixels).save(tmp_path / "result.png")
    result = pyvips.Image.new_from_file(tmp_path / "result.png").numpy()
    assert np.array_equal(result[:, :30], values[:, :30])
    assert abs(result[:, 30:] / np.iinfo(dtype).max - 0.5).max() < 0.02
    assert picture.resized(20, 30).with_pixels(pixels[:, ::2, ::2]).size_hw == (20, 30)


@pytest.mark.parametrize("name", ["srgb", "p3"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_with_a_profile_survive_reading_and_writing(tmp_path: Path, name: str, dtype: type) -> None:
    """Exactly so for sRGB under any name; else within one step of 8 bits."""
    top = np.iinfo(dtype).max
    low, high = (0.0, 1.0) if name == "srgb" else (0.3, 0.55)
    values = np.random.default_rng(1).uniform(low * top, high * top, (40, 60, 3)).astype(dtype)
    image = pyvips.Image.new_from_array(values, interpretation="srgb" if dtype == np.uint8 else "rgb16").copy()
    icc = built_in_profile(name)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    image.write_to_file(tmp_path / "photo.png")
    read_picture(tmp_path / "photo.png").save(tmp_path / "result.png")
    result = pyvips.Image.new_from_file(tmp_path / "result.png")
    assert result.get("icc-profile-data") == icc
    error = np.abs(result.numpy().astype(int) - values).max()
    assert error <= (0 if name == "srgb" else {8: 1, 16: 257}[np.dtype(dtype).itemsize * 8])


def test_profile_with_transparency(tmp_path: Path) -> None:
    rgba = np.dstack([bytes_of(smooth(low=0.4, high=0.6)), np.full((40, 60), 77, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "x.png", icc_profile=ADOBE_RGB)
    read_picture(tmp_path / "x.png").save(tmp_path / "y.png")
    with Image.open(tmp_path / "y.png") as image:
        np.testing.assert_allclose(np.asarray(image).astype(int), rgba.astype(int), atol=1)


def test_grey_profile(tmp_path: Path) -> None:
    grey = Image.new("L", (20, 20), 128)
    grey.save(tmp_path / "g.png", icc_profile=LINEAR_GREY)
    picture = read_picture(tmp_path / "g.png")
    np.testing.assert_allclose(picture.pixels, 0.7366, atol=0.002)
    assert picture.icc is None


def test_rgb_profile_counts_for_a_grey_picture(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 30).save(tmp_path / "g.jpg", quality=100, icc_profile=ADOBE_RGB)
    expected = decode_adobe(np.full((1, 3), 30 / 255))
    np.testing.assert_allclose(read_picture(tmp_path / "g.jpg").pixels[:, 5, 5], expected[0], atol=0.005)


def test_damaged_profile_counts_as_srgb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(bytes_of(smooth())).save(tmp_path / "x.png", icc_profile=ADOBE_RGB[:200])
    picture = read_picture(tmp_path / "x.png")
    np.testing.assert_array_equal(picture.to_uint8(), bytes_of(smooth()))
    picture.save(tmp_path / "y.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "y.png").pixels, picture.pixels)
    assert capfd.readouterr().err == ""


def test_profile_of_another_kind_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(bytes_of(smooth())).save(tmp_path / "x.tif", icc_profile=LINEAR_GREY)
    picture = read_picture(tmp_path / "x.tif")
    assert picture.icc is None
    np.testing.assert_array_equal(picture.to_uint8(), bytes_of(smooth()))


# Transparency.


@pytest.mark.parametrize("suffix", HOLD_ALPHA)
def test_alpha_is_read_and_written(tmp_path: Path, suffix: str) -> None:
    picture = full_photo(alpha=True)
    picture.save(tmp_path / f"x{suffix}")
    again = read_picture(tmp_path / f"x{suffix}")
    assert again.alpha is not None and picture.alpha is not None
    np.testing.assert_allclose(again.alpha, picture.alpha, atol=0.02)
    np.testing.assert_allclose(again.pixels, picture.pixels, atol=0.04)


def test_opaque_alpha_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(bytes_of(smooth())).convert("RGBA").save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").alpha is None


def test_hidden_colours_are_replaced_by_visible_ones_around() -> None:
    rgba = np.zeros((41, 67, 4), dtype=np.uint8)
    rgba[...] = (0, 255, 0, 0)
    rgba[:, :20] = (200, 0, 0, 255)
    rgba[:, -20:] = (0, 0, 200, 255)
    picture = Picture.from_any(rgba)
    assert picture.pixels[1].max() == 0, "the hidden green shows"
    np.testing.assert_allclose(picture.pixels[:, 20, 22], [200 / 255, 0, 0], atol=0.2)
    np.testing.assert_allclose(picture.pixels[:, 20, 44], [0, 0, 200 / 255], atol=0.2)
    np.testing.assert_array_equal(picture.to_uint8()[:, :20], rgba[:, :20])
    np.testing.assert_array_equal(picture.to_uint8()[..., 3], rgba[..., 3])


def test_wholly_transparent_pictures_are_taken() -> None:
    picture = Picture.from_any(np.zeros((20, 20, 4), dtype=np.uint8))
    assert picture.alpha is not None and picture.alpha.max() == 0


def test_associated_alpha_of_tiff(tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(np.full((20, 20, 4), (200, 100, 50, 128), np.uint8), interpretation="srgb")
    image.write_to_file(tmp_path / "x.tif", premultiply=True)
    picture = read_picture(tmp_path / "x.tif")
    np.testing.assert_allclose(picture.pixels[:, 5, 5] * 255, [200, 100, 50], atol=1.5)


# Metadata.


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("order", ["<", ">"])
def test_metadata_of_the_photo_is_in_the_result(tmp_path: Path, suffix: str, order: str) -> None:
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 16)).save(thumbnail, "JPEG")
    photo = tmp_path / "photo.jpg"
    Image.fromarray(bytes_of(smooth())).save(
        photo, exif=exif_with(order, 6, thumbnail.getvalue()), icc_profile=ADOBE_RGB, xmp=XMP, dpi=(300, 300)
    )
    assert thumbnail.getvalue() in photo.read_bytes()
    result = tmp_path / f"result{suffix}"
    read_picture(photo).save(result)
    assert thumbnail.getvalue()[20:200] not in result.read_bytes()
    again = read_picture(result)
    assert again.size_hw == (60, 40)
    assert again.icc == ADOBE_RGB
    assert again.xmp == XMP.replace(b'"6"', b'"1"')
    assert again.pixels_per_mm == pytest.approx((300 / 25.4, 300 / 25.4), rel=1e-3)
    with Image.open(result) as image:
        assert image.size == (40, 60)
        exif = image.getexif()
        assert exif.get(0x0112, 1) == 1
        if suffix in HOLD_EXIF:
            assert exif[0x013B] == "Ann"


def test_damaged_exif_is_left_out(tmp_path: Path) -> None:
    exif = exif_with("<", 6, b"")
    photo = tmp_path / "photo.jpg"
    Image.fromarray(bytes_of(smooth())).save(photo, exif=exif[:14] + b"\xff\xff\xff\xff" + exif[18:])
    picture = read_picture(photo)
    assert picture.exif is None
    picture.save(tmp_path / "result.jpg")


def test_no_resolution_is_none(tmp_path: Path) -> None:
    Image.fromarray(bytes_of(smooth())).save(tmp_path / "x.webp")
    assert read_picture(tmp_path / "x.webp").pixels_per_mm is None


# Other sources.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays(dtype: type, channels: int | None) -> None:
    shape = (20, 30) if channels is None else (20, 30, channels)
    values = np.random.default_rng(0).uniform(0.1, 0.9, shape)
    top = 1 if dtype not in (np.uint8, np.uint16) else np.iinfo(dtype).max
    array = (values * top).astype(dtype)
    picture = Picture.from_any(array)
    assert picture.depth == (8 if dtype == np.uint8 else 16)
    assert (picture.alpha is not None) == (channels in (2, 4))
    grey = channels in (None, 1, 2)
    colours = array.reshape(20, 30, -1)[..., :1] if grey else array[..., :3]
    expected = np.broadcast_to(colours.astype(np.float32) / np.float32(top), (20, 30, 3))
    np.testing.assert_allclose(as_file(picture), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (3, 20, 30), (4, 20, 30), (1, 3, 20, 30)])
def test_tensors(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    values = 0.1 + 0.9 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    tensor = (values * 255).to(dtype) if dtype == torch.uint8 else values.to(dtype).requires_grad_()
    picture = Picture.from_any(tensor)
    assert picture.size_hw == (20, 30)
    expected = tensor.detach().reshape(-1, 20, 30)[:3].float() / (255 if dtype == torch.uint8 else 1)
    np.testing.assert_allclose(picture.pixels, expected.expand(3, 20, 30).numpy(), rtol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_pil_images_come_out_as_their_files_do(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((smooth()[..., 0] * 65535).astype(np.uint16))
    else:
        image = Image.fromarray(bytes_of(smooth())).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    image.save(path)
    picture, from_file = Picture.from_any(image), read_picture(path)
    assert picture.depth == from_file.depth
    np.testing.assert_array_equal(picture.pixels, from_file.pixels)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_pil_images_are_turned_upright(mode: str) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(bytes_of(smooth())).convert(mode).save(file, "JPEG", exif=exif)
    with Image.open(file) as image:
        assert Picture.from_any(image).size_hw == (60, 40)


def test_pil_profile_counts() -> None:
    file = io.BytesIO()
    Image.fromarray(bytes_of(smooth(low=0.4, high=0.6))).save(file, "PNG", icc_profile=ADOBE_RGB)
    with Image.open(file) as image:
        assert Picture.from_any(image).icc == ADOBE_RGB


def test_paths_and_pictures(tmp_path: Path) -> None:
    picture = full_photo()
    picture.save(tmp_path / "x.png")
    assert Picture.from_any(str(tmp_path / "x.png")).name == str(tmp_path / "x.png")
    assert Picture.from_any(tmp_path / "x.png").size_hw == (40, 60)
    assert Picture.from_any(picture) is picture


def test_picture_module_needs_no_torch() -> None:
    code = "import sys, impasto.picture; assert not {'torch', 'pyvips', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Other sizes and pixels.


def test_resizing_down_does_not_alias() -> None:
    stripes = np.zeros((3, 64, 64), dtype=np.float32)
    stripes[:, :, ::2] = 1
    small = Picture(stripes).resized(16, 24)
    assert small.size_hw == (16, 24)
    np.testing.assert_allclose(small.pixels[:, :, 2:-2], 0.5, atol=0.05)


@pytest.mark.parametrize("size", [(20, 30), (80, 120), (33, 47)])
def test_resizing_keeps_the_picture(size: tuple[int, int]) -> None:
    resized = full_photo(alpha=True).resized(*size)
    assert resized.size_hw == size and resized.alpha is not None
    np.testing.assert_allclose(resized.pixels.mean(axis=(1, 2)), smooth().mean(axis=(0, 1)), atol=0.02)
    y = (np.arange(size[0]) + 0.5) * 40 / size[0] - 0.5
    column = np.interp(y, np.arange(40), smooth()[:, 30, 0])
    x = int(31 * size[1] / 60)
    np.testing.assert_allclose(resized.pixels[0, 2:-2, x], column[2:-2], atol=0.05)


@settings(deadline=None)
@given(*[st.integers(8, 90)] * 4)
def test_resizing_leaves_everything_where_it_is(height: int, width: int, new_height: int, new_width: int) -> None:
    def slopes(rows: int, columns: int) -> np.ndarray:
        down, right = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
        return np.stack([*np.meshgrid(right, down), np.full((rows, columns), 0.5)]).astype(np.float32)

    resized = Picture(slopes(height, width)).resized(new_height, new_width).pixels
    # What the last places are made of is continued beyond the border, and is flatter there.
    rows, columns = (min(new // 3, 4 * new // old + 4) for old, new in ((height, new_height), (width, new_width)))
    inside = (slice(None), slice(rows, new_height - rows), slice(columns, new_width - columns))
    off = np.abs(resized - slopes(new_height, new_width))[inside]
    assert (off[0] * new_width).max() < 0.1 and (off[1] * new_height).max() < 0.1, "in pixels of the result"
    np.testing.assert_allclose(off[2], 0, atol=1e-5)


@settings(deadline=None)
@given(*[st.integers(8, 60)] * 2, *[st.integers(60, 130)] * 2)
def test_enlarging_is_the_same_from_either_end(height: int, width: int, new_height: int, new_width: int) -> None:
    pixels = np.random.default_rng(0).random((3, height, width), dtype=np.float32)
    turned = np.ascontiguousarray(pixels[:, ::-1, ::-1])
    one, two = (Picture(array).resized(new_height, new_width).pixels for array in (pixels, turned))
    np.testing.assert_allclose(one, two[:, ::-1, ::-1], atol=0.04)


def test_resizing_does_not_let_hidden_colours_bleed() -> None:
    pixels = np.zeros((3, 40, 40), dtype=np.float32)
    pixels[0, :, :21], pixels[1, :, 21:] = 1, 1
    alpha = np.zeros((40, 40), dtype=np.float32)
    alpha[:, :21] = 1
    small = Picture(pixels, alpha).resized(17, 17)
    assert small.pixels[1].max() < 1e-3
    assert small.alpha is not None and 0 < small.alpha[8, 8] < 1


def test_with_pixels_keeps_the_metadata_and_resizes_the_alpha() -> None:
    photo = full_photo(depth=16, alpha=True, icc=ADOBE_RGB)
    result = photo.with_pixels(np.full((3, 20, 30), 1.5, dtype=np.float32))
    assert result.alpha is not None and result.alpha.shape == (20, 30)
    assert result.pixels.max() == 1, "values beyond 1 are clipped"
    assert (result.icc, result.exif, result.xmp) == (photo.icc, photo.exif, photo.xmp)
    assert (result.depth, result.pixels_per_mm, result.name) == (16, (10.0, 10.0), "photo")
    same = photo.with_pixels(photo.pixels)
    assert same.alpha is photo.alpha


def test_notebooks_show_a_png() -> None:
    with Image.open(io.BytesIO(full_photo(alpha=True)._repr_png_())) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (60, 40), "RGBA")


# Writing.


def test_written_over_an_existing_file_as_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    full_photo().save(path)
    assert read_picture(path).size_hw == (40, 60)
    assert [*tmp_path.iterdir()] == [path]


def test_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "place" / "real.png")
    full_photo().save(link)
    assert link.is_symlink()
    assert read_picture(tmp_path / "place" / "real.png").size_hw == (40, 60)


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    full_photo().save(tmp_path / "x.png")
    (tmp_path / "plain").touch()
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


FULL_DISK = """
import resource, signal, sys
import numpy as np
from impasto.errors import RunError
from impasto.picture import Picture
noise = Picture.from_any(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    noise.save(sys.argv[1])
except RunError as error:
    print(error)
else:
    sys.exit("no error")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files, which Windows cannot")
@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, suffix: str, existing: bool) -> None:
    path = tmp_path / f"result{suffix}"
    if existing:
        path.write_bytes(b"as it was")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert str(path) in done.stdout and done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert [*tmp_path.iterdir()] == ([path] if existing else [])
    if existing:
        assert path.read_bytes() == b"as it was"


# Outputs that are refused beforehand.


@pytest.mark.parametrize("suffix", [*WRITTEN, ".jpeg", ".tiff", ".PNG"])
def test_good_outputs_pass(tmp_path: Path, suffix: str) -> None:
    check_output(tmp_path / f"x{suffix}", [tmp_path / "photo.jpg"], size_hw=(100, 100))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.jpgg", r"\.jpgg.*did you mean \.jpg\?"),
        ("x.tuff", r"\.tuff.*did you mean \.tiff\?"),
        ("x.gif", r"\.gif, which cannot be written.*\.png"),
        ("x", r"no extension.*\.jpg"),
        ("missing/x.png", "missing does not exist"),
        ("folder.png", "is a folder"),
    ],
)
def test_bad_outputs_are_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match=words) as caught:
        check_output(tmp_path / name, [])
    assert name.split("/")[-1] in str(caught.value)


def test_special_files_are_refused_as_outputs(tmp_path: Path) -> None:
    (tmp_path / "null.png").symlink_to("/dev/null")
    with pytest.raises(PictureError, match="no ordinary file"):
        check_output(tmp_path / "null.png", [])


def test_read_only_places_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Access is faked, since everything is open to root."""
    (tmp_path / "x.png").touch()
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path / "x.png")
    with pytest.raises(PictureError, match="exists and is read-only"):
        check_output(tmp_path / "x.png", [])
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(PictureError, match="folder .* is read-only"):
        check_output(tmp_path / "new.png", [])


@pytest.mark.parametrize("kind", ["same", "relative", "symlink", "hardlink", "missing"])
def test_output_over_an_input_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, output = tmp_path / "photo.png", tmp_path / "other.png"
    photo.touch()
    monkeypatch.chdir(tmp_path)
    match kind:
        case "same":
            output = photo
        case "relative":
            output = Path("photo.png")
        case "symlink":
            output.symlink_to(photo)
        case "hardlink":
            output.hardlink_to(photo)
        case "missing":
            photo.unlink()
            output = photo
    with pytest.raises(PictureError, match="also the input"):
        check_output(output, [tmp_path / "style.jpg", photo])


def test_jpeg_cannot_hold_transparency(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="write PNG, WebP, TIFF or AVIF"):
        check_output(tmp_path / "x.jpg", [], alpha=True)
    with pytest.raises(PictureError, match="write PNG, WebP, TIFF or AVIF"):
        write_picture(full_photo(alpha=True), tmp_path / "x.jpg")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_383), (".avif", 16_384), (".jpg", 65_500)])
def test_longest_sides(tmp_path: Path, suffix: str, side: int) -> None:
    """The limits in the table are those of the encoders, and are known beforehand."""
    line = np.zeros((3, 1, side), dtype=np.float32)
    Picture(line).save(tmp_path / f"x{suffix}")
    with pytest.raises(PictureError, match="write PNG or TIFF"):
        check_output(tmp_path / f"y{suffix}", [], size_hw=(side + 1, 16))
