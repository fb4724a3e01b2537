"""Pictures that are refused: one sentence that names the file and the way out, and nothing on stderr."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from PIL import Image

from impasto.errors import PictureError
from impasto.picture import MIN_SIDE, Picture, read_picture


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def huge_png(side: int) -> bytes:
    """The few kilobytes that a black 1-bit PNG of any size begins with."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(2_000_000))) + chunk(b"IEND", b"")


def assert_refused(path: Path, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PictureError, match=words) as caught:
        read_picture(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message and message.endswith(".") and len(message) < 300
    assert capfd.readouterr().err == ""


def test_missing_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert_refused(tmp_path / "none.png", "does not exist; check the path", capfd)


def test_missing_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert_refused(tmp_path / "file" / "x.png", "cannot be read", capfd)


def test_directory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert_refused(tmp_path, "is a folder; name a picture", capfd)


def test_pipe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert_refused(tmp_path / "pipe.png", "no ordinary file", capfd)


def test_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / f"{'x' * 300}.png")


def test_empty_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.png").touch()
    assert_refused(tmp_path / "empty.png", "is empty; get a whole copy", capfd)


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n" * 100,
        b"1,2,3\n4,5,6\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>',
        bytes(999),
    ],
    ids=["text", "csv", "svg", "zeros"],
)
@pytest.mark.parametrize("suffix", [".png", ".csv", ".svg"])
def test_no_picture(tmp_path: Path, content: bytes, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert_refused(path, "not a picture that can be read; give JPEG, PNG", capfd)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".avif"])
def test_truncated_file(tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(noise()).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert_refused(path, "damaged, cut short.*get a whole copy", capfd)


def test_damaged_png(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "damaged.png"
    Image.fromarray(noise()).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert_refused(path, "damaged", capfd)


@pytest.mark.parametrize(("height", "width"), [(MIN_SIDE - 1, 100), (100, MIN_SIDE - 1), (1, 1)])
def test_too_small(tmp_path: Path, height: int, width: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(noise(height, width)).save(path)
    assert_refused(path, f"{width} x {height} pixels; both sides must have 16", capfd)
    with pytest.raises(PictureError, match="both sides"):
        Picture.from_any(noise(height, width))


def test_smallest_size_is_taken(tmp_path: Path) -> None:
    Image.fromarray(noise(MIN_SIDE, MIN_SIDE)).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").size_hw == (MIN_SIDE, MIN_SIDE)


def test_decompression_bomb_is_refused_from_its_header(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It would be found damaged if it were decoded, since most of its pixels are missing."""
    path = tmp_path / "bomb.png"
    path.write_bytes(huge_png(50_000))
    assert path.stat().st_size < 10_000
    assert_refused(path, "50000 x 50000 pixels, more than the limit of 268435456; .*--max-pixels", capfd)


@pytest.mark.parametrize("kind", ["file", "array", "pil", "picture"])
def test_limit_of_pixels_is_the_callers(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(noise()).save(path)
    source = {"file": path, "array": noise(), "pil": Image.open(path), "picture": read_picture(path)}[kind]
    Picture.from_any(source, max_pixels=40 * 60)
    with pytest.raises(PictureError, match="--max-pixels"):
        Picture.from_any(source, max_pixels=40 * 60 - 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -0.1])
@pytest.mark.parametrize("profile", [False, True])
def test_float_tiff_out_of_bounds(
    tmp_path: Path, value: float, profile: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    values = np.full((20, 20, 3), 0.5, dtype=np.float32)
    values[3, 4, 1] = value
    image = pyvips.Image.new_from_array(values, interpretation="srgb").copy()
    if profile:
        source = pyvips.Image.black(4, 4, bands=3).copy(interpretation="srgb")
        icc = source.icc_transform("p3", input_profile="srgb").get("icc-profile-data")
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    image.write_to_file(tmp_path / "x.tif")
    assert_refused(tmp_path / "x.tif", "in 0..1" if not np.isfinite(value) else "scale floats to 0..1", capfd)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_tiff_of_other_integers(tmp_path: Path, dtype: type, capfd: pytest.CaptureFixture[str]) -> None:
    image = pyvips.Image.new_from_array(np.full((20, 20, 3), 5, dtype=dtype), interpretation="srgb")
    image.write_to_file(tmp_path / "x.tif")
    assert_refused(tmp_path / "x.tif", "8 or 16 bits a channel", capfd)


def test_tiff_of_many_channels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = pyvips.Image.new_from_array(np.zeros((20, 20, 7), dtype=np.uint8), interpretation="multiband")
    image.write_to_file(tmp_path / "x.tif")
    assert_refused(tmp_path / "x.tif", "7 channels", capfd)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [3, 4])
def test_arrays_of_nan_and_infinity(value: float, dtype: type, channels: int) -> None:
    array = np.full((20, 20, channels), 0.5, dtype=dtype)
    array[-1, -1, -1] = value
    with pytest.raises(PictureError, match="sketch holds NaN or infinite"):
        Picture.from_any(array, name="sketch")
    with pytest.raises(PictureError, match="NaN or infinite"):
        Picture.from_any(torch.from_numpy(array).movedim(-1, 0))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0])
def test_arrays_out_of_bounds(value: float) -> None:
    array = np.full((20, 20, 3), 0.5)
    array[0, 0, 0] = value
    with pytest.raises(PictureError, match="scale floats to 0..1"):
        Picture.from_any(array)


@pytest.mark.parametrize("shape", [(20,), (3, 20, 20), (20, 20, 5), (20, 20, 0), (1, 20, 20, 3)])
def test_arrays_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="has shape .* give"):
        Picture.from_any(np.zeros(shape))


@pytest.mark.parametrize("shape", [(20,), (20, 20, 3), (5, 20, 20), (2, 3, 20, 20), (1, 1, 3, 20, 20)])
def test_tensors_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="shape"):
        Picture.from_any(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.bool_, np.complex64, object])
def test_arrays_of_other_types(dtype: type) -> None:
    with pytest.raises(PictureError, match="give uint8, uint16, or floats"):
        Picture.from_any(np.zeros((20, 20, 3), dtype=dtype))


@pytest.mark.parametrize("thing", [None, 5, [[1, 2], [3, 4]], b"bytes"])
def test_other_things(thing: object) -> None:
    with pytest.raises(PictureError, match=f"thing is a {type(thing).__name__}; give a path"):
        Picture.from_any(thing, name="thing")


@pytest.mark.parametrize("mode", ["HSV", "I", "LAB", "RGBa"])
def test_pil_images_of_odd_modes(mode: str) -> None:
    image = Image.new("RGBA", (20, 20)) if mode == "RGBa" else Image.new("RGB", (20, 20))
    odd = image.convert("L").convert(mode) if mode == "I" else image.convert(mode)
    with pytest.raises(PictureError, match="picture .*"):
        Picture.from_any(odd)


# In a process of its own: while testing, shapes in signatures are checked before the picture sees its arrays.
CHECKS = """
import numpy as np
from impasto.errors import PictureError
from impasto.picture import Picture

pixels = np.full((3, 20, 20), 0.5, dtype=np.float32)
mistakes = [
    lambda: Picture(pixels[:2]),
    lambda: Picture(pixels, alpha=np.ones((10, 20), dtype=np.float32)),
    lambda: Picture(pixels.astype(np.float64)),
    lambda: Picture(pixels * 3),
    lambda: Picture(pixels).with_pixels(pixels * np.float32("nan")),
    lambda: Picture(pixels).with_pixels(pixels[0]),
]
for mistake in mistakes:
    try:
        mistake()
        print("taken")
    except PictureError as error:
        print(error)
"""


def test_pictures_are_checked_when_made() -> None:
    done = subprocess.run([sys.executable, "-c", CHECKS], capture_output=True, text=True, check=True)
    wanted = ["give an array of shape (3, h, w)", "give both one size", "give float32", "scale floats", "NaN", "shape"]
    for line, part in zip(done.stdout.splitlines(), wanted, strict=True):
        assert part in line
