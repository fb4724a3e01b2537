"""Pictures: reading and writing files, and taking pictures from arrays, tensors and PIL.

Files are handled by libvips. Read: JPEG, PNG, WebP, TIFF, AVIF and GIF (of several frames or pages, the first).
Written: JPEG, PNG, WebP, TIFF and AVIF. The binary wheel of libvips lacks BMP, HEIC (HEVC), JPEG XL and JPEG 2000.
"""

import difflib
import io
import logging
import math
import os
import re
import secrets
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, UInt, UInt8

from impasto.errors import PictureError, RunError

DEFAULT_MAX_PIXELS: Final = 268_435_456
"""Pictures with more pixels than this (2**28) are refused unless the caller raises the limit."""

MIN_SIDE: Final = 16
"""Pictures with a side shorter than this, in pixels, are refused: the networks halve them several times."""

Resolution = tuple[float, float]
"""Pixels per millimetre, across and down."""

_READ_NAMES: Final = "JPEG, PNG, WebP, TIFF, AVIF or GIF"

# What libvips says when a file gives no resolution, and what programs take for "none" by custom (72 per inch).
_NO_RESOLUTION: Final = (1.0, 1.0)
_USUAL_RESOLUTION: Final = (72 / 25.4, 72 / 25.4)
_MM_PER_UNIT: Final = {"2": Fraction(254, 10), "3": Fraction(10)}

# Black point compensation is what other programs use by default; without it CMYK blacks come out dark grey.
_ICC_INTENT: Final = {"intent": "relative", "black_point_compensation": True}
# A profile that moves no colour by more than one 8-bit step (on a 16-bit scale) is taken for sRGB itself.
_SRGB_TOLERANCE: Final = 257

# Less than this, a fraction of a 16-bit step, shows nothing and is too little to divide by.
_LEAST_OPACITY: Final = 1e-6

# Rows of a large picture that are brought from file values to floats, or back, at a time.
_STRIP_ROWS: Final = 512

_EXIF_ORIENTATION: Final = 0x0112


@dataclass(frozen=True)
class _Format:
    """A format that can be written: its name, the options of the saver, and what it can hold."""

    name: str
    suffix: str
    options: Mapping[str, Any]
    holds_alpha: bool
    most_bits: int
    longest_side: int


_JPEG: Final = _Format("JPEG", ".jpg", {"Q": 95, "subsample_mode": "off", "optimize_coding": True}, False, 8, 65_500)
_PNG: Final = _Format("PNG", ".png", {}, True, 16, 10_000_000)
_WEBP: Final = _Format("WebP", ".webp", {"Q": 95, "smart_subsample": True}, True, 8, 16_383)
_TIFF: Final = _Format("TIFF", ".tif", {"compression": "deflate"}, True, 16, 10_000_000)
# An effort of 2 encodes several times faster than libvips' own choice, for files about a third larger.
_AVIF: Final = _Format("AVIF", ".avif", {"Q": 85, "subsample_mode": "off", "effort": 2}, True, 12, 16_384)

_FORMATS: Final = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": _PNG,
    ".webp": _WEBP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": _AVIF,
}
WRITE_SUFFIXES: Final = tuple(_FORMATS)
_WRITE_NAMES: Final = ".jpg, .png, .webp, .tif or .avif"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, with what its file said about it. All arrays are checked when the picture is made.

    `pixels` are sRGB in 0..1, float32, channels first, turned the right way up. `alpha` is the opacity in 0..1, or
    None for an opaque picture. `icc` is the profile of an RGB photo, which the file gets again on writing; it is
    None for a photo without one, and for grey and CMYK photos, whose results are plain sRGB. `exif` (with its
    orientation set to 1, and without the thumbnail, which would show the photo instead of the result) and `xmp`
    are the bytes found in the file. `pixels_per_mm` is the resolution (across, down). `depth` is the bits a channel
    of the file; floats count as 16. `name` is for messages. `own` are the values found in a file whose profile is not
    sRGB: they are written again wherever `pixels` are still those that were read.

    Raises PictureError when an array has the wrong shape or dtype, or holds values outside 0..1, NaN included.
    """

    pixels: Float32[np.ndarray, "3 h w"]
    alpha: Float32[np.ndarray, "h w"] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    pixels_per_mm: Resolution | None = None
    depth: Literal[8, 16] = 8
    name: str = "picture"
    own: UInt[np.ndarray, "hf wf 3"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if len(shape) != 3 or shape[0] != 3 or self.pixels.size == 0:
            raise PictureError(f"{self.name} has pixels of shape {shape}; give an array of shape (3, h, w).")
        if self.alpha is not None and self.alpha.shape != shape[1:]:
            raise PictureError(
                f"{self.name} has alpha of shape {self.alpha.shape} on pixels of {shape}; give both one size."
            )
        for array in (self.pixels, self.alpha):
            if array is not None:
                if array.dtype != np.float32:
                    raise PictureError(f"{self.name} holds {array.dtype} values; give float32, or use from_any.")
                _check_range(array, self.name)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[2])

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @classmethod
    def from_any(cls, image: object, *, name: str = "picture", max_pixels: int = DEFAULT_MAX_PIXELS) -> "Picture":
        """A picture from whatever holds one.

        `image` may be a path (str or os.PathLike, see `read_picture`); a Picture; a PIL image (read as its file
        would be: profile, EXIF and orientation count, XMP is lost); a NumPy array shaped (h, w) or (h, w, c); or a
        torch tensor on any device shaped (h, w), (c, h, w) or (1, c, h, w). The c channels are grey, grey and
        alpha, RGB, or RGB and alpha; the values uint8, uint16, or floats in 0..1 (which count as 16 bits).
        `name` stands for anything but a path in messages.

        Raises PictureError for all else: other shapes and dtypes, values outside 0..1, a side shorter than
        MIN_SIDE, or more than `max_pixels` pixels.
        """
        if isinstance(image, Picture):
            _check_size(image.height, image.width, image.name, max_pixels)
            return image
        if isinstance(image, str | os.PathLike):
            return read_picture(image, max_pixels=max_pixels)
        if _is_instance(image, "PIL.Image", "Image"):
            return _from_pil(image, name, max_pixels)
        if _is_instance(image, "torch", "Tensor"):
            return _from_array(_tensor_to_array(image, name), name, max_pixels)
        if isinstance(image, np.ndarray):
            return _from_array(image, name, max_pixels)
        raise PictureError(
            f"{name} is a {type(image).__name__}; give a path, a Picture, a PIL image, an array or a tensor."
        )

    def with_pixels(self, pixels: Float32[np.ndarray, "3 h2 w2"]) -> "Picture":
        """Other pixels with the metadata of this picture; its alpha is resized where their size is another.

        The pixels are sRGB and clipped to 0..1. Raises PictureError for NaN and for other shapes.
        """
        pixels = np.clip(np.asarray(pixels, dtype=np.float32), 0, 1)
        alpha = self.alpha
        if alpha is not None and alpha.shape != pixels.shape[-2:]:
            alpha = _clipped(_resize(alpha[None], *pixels.shape[-2:])[0])
        return replace(self, pixels=pixels, alpha=alpha)

    def resized(self, height: int, width: int) -> "Picture":
        """The picture at another size in pixels, colours weighted by their opacity: smaller by Lanczos, antialiased,
        larger by bicubic interpolation."""
        if (height, width) == self.size_hw:
            return self
        if self.alpha is None:
            return replace(self, pixels=_clipped(_resize(self.pixels, height, width)))
        planes = np.concatenate([self.pixels * self.alpha, self.alpha[None]])
        planes = _clipped(_resize(planes, height, width))
        # Lanczos can overshoot more in a colour than in the alpha it is weighted by.
        return replace(self, pixels=_clipped(_unpremultiply(planes[:3], planes[3])), alpha=planes[3])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file; see `write_picture`."""
        write_picture(self, path)

    def to_uint8(self) -> UInt8[np.ndarray, "h w c"]:
        """The sRGB pixels, channels last, 0..255, with the alpha as fourth channel where there is one."""
        return _interleave(_planes(self), 255, np.uint8)

    def to_jpeg(self) -> bytes:
        """A JPEG of the sRGB pixels alone, without alpha and metadata: for pages that show the picture."""
        return _encode(Picture(pixels=self.pixels), _JPEG)

    def _repr_png_(self) -> bytes:
        """PNG bytes, by which notebooks show the picture."""
        plain = Picture(pixels=self.pixels, alpha=self.alpha)
        return _encode(plain, _PNG)


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """The picture in a file: JPEG, PNG, WebP, TIFF, AVIF or GIF; of several frames or pages, the first.

    Any kind of these comes out as sRGB the right way up: grey, palette, 1-bit and CMYK pictures, 16-bit and float
    ones (floats in 0..1, sRGB), and those with an ICC profile. CMYK without a profile is read by libvips' own.
    An alpha channel that is opaque throughout is left out. Colours under wholly transparent pixels are replaced by
    those of the visible pixels around, since what is hidden must not influence the result.

    Raises PictureError when there is no such file, it is no picture, is damaged or cut short, has a side shorter
    than MIN_SIDE, or more than `max_pixels` pixels (found out from its header, before decoding).
    """
    path = Path(path)
    name = str(path)
    try:
        # Anything else, such as a pipe, could block for ever.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise PictureError(f"{name} is no ordinary file; copy the picture into one.")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise PictureError(f"{name} is empty; get a whole copy of the picture.")
            return _decode(_vips().Source.new_from_descriptor(file.fileno()), name, max_pixels)
    except FileNotFoundError:
        raise PictureError(f"{name} does not exist; check the path.") from None
    except IsADirectoryError:
        raise PictureError(f"{name} is a folder; name a picture in it.") from None
    except OSError as error:
        raise PictureError(f"{name} cannot be read ({error.strerror}); check the path and its permissions.") from None


def write_picture(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Write the picture in the format of the path's extension: JPEG, PNG, WebP, TIFF or AVIF.

    The file has the profile, EXIF, XMP, resolution and alpha of the picture, as far as the format holds them (TIFF
    files get no EXIF). It has 16 bits a channel for a picture of that depth in PNG and TIFF, 12 in AVIF, else 8;
    values are rounded to the nearest. PNG and TIFF are lossless; JPEG and WebP have quality 95, AVIF 85, JPEG and
    AVIF at full colour resolution.

    The file is there whole or not at all: it is written beside its place and then moved there, and a file that was
    there before stays until then. Raises PictureError where `check_output` does, RunError when writing fails.
    """
    path = Path(path)
    check_output(path, (), alpha=picture.alpha is not None, size_hw=picture.size_hw)
    data = _encode(picture, _FORMATS[path.suffix.lower()])
    # Through a link, so that the link stays and the file it names is replaced.
    target = path.resolve()
    partial = target.with_name(f".impasto-{secrets.token_hex(8)}")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror}); make room or choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)


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
    if suffix not in _FORMATS:
        nearest = difflib.get_close_matches(suffix, _FORMATS, n=1, cutoff=0.5)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        what = f"ends in {path.suffix}, which cannot be written" if suffix else "has no extension"
        raise PictureError(f"{path} {what}; use {_WRITE_NAMES}{hint}.")
    format = _FORMATS[suffix]
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


def _check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise PictureError(
            f"{name} has {width} x {height} pixels, more than the limit of {max_pixels}; "
            "make it smaller, or raise the limit with --max-pixels."
        )
    if min(height, width) < MIN_SIDE:
        raise PictureError(f"{name} has {width} x {height} pixels; both sides must have {MIN_SIDE} or more.")


def _check_range(values: np.ndarray, name: str) -> None:
    low, high = float(values.min()), float(values.max())
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise PictureError(f"{name} holds NaN or infinite values; give values in 0..1.")
    if low < 0 or high > 1:
        raise PictureError(f"{name} holds values from {low:g} to {high:g}; scale floats to 0..1, or give uint8.")


# Arrays, tensors and PIL images.


def _is_instance(image: object, module: str, kind: str) -> bool:
    """Whether `image` is of a class of a package that is not imported for this: if it is not there, it is not."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(image, getattr(loaded, kind))


def _tensor_to_array(tensor: Any, name: str) -> np.ndarray:
    """The tensor as an array, channels last; half precision, some of which NumPy lacks, becomes float32."""
    if tensor.ndim == 4 and len(tensor) == 1:
        tensor = tensor[0]
    if tensor.ndim not in (2, 3):
        raise PictureError(
            f"{name} is a tensor of shape {tuple(tensor.shape)}; give (h, w), (c, h, w) or (1, c, h, w)."
        )
    tensor = tensor.detach().cpu()
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def _from_array(array: np.ndarray, name: str, max_pixels: int) -> Picture:
    """A picture of an array, channels last."""
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or not 1 <= values.shape[2] <= 4:
        raise PictureError(
            f"{name} has shape {array.shape}; give (h, w), or (h, w, c) with c from 1 to 4 "
            "(channels first for a tensor)."
        )
    if values.dtype not in (np.uint8, np.uint16) and values.dtype.kind != "f":
        raise PictureError(f"{name} holds {values.dtype} values; give uint8, uint16, or floats in 0..1.")
    _check_size(values.shape[0], values.shape[1], name, max_pixels)
    colours = values.shape[2] - (1 if values.shape[2] in (2, 4) else 0)
    depth = 8 if values.dtype == np.uint8 else 16
    if values.dtype.kind == "f":
        _check_range(values, name)
    planes = np.empty((values.shape[2], *values.shape[:2]), dtype=np.float32)
    _to_unit(values, planes)
    alpha = planes[colours] if colours < len(planes) else None
    return _assemble(planes[:colours], alpha, name=name, depth=depth)


def _from_pil(image: Any, name: str, max_pixels: int) -> Picture:
    """A picture of a PIL image, by way of a file in memory, so that it comes out just as its file would."""
    _check_size(image.height, image.width, name, max_pixels)
    lossless = "PNG" if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else "TIFF"
    kept = {key: image.info[key] for key in ("icc_profile", "dpi", "transparency") if key in image.info}
    file = io.BytesIO()
    try:
        if exif := image.getexif():
            kept["exif"] = exif.tobytes()
        image.save(file, lossless, **kept)
    except (OSError, KeyError, ValueError) as error:
        raise PictureError(f"{name} is a PIL image that cannot be read ({error}); convert it to RGB.") from error
    return _decode(_vips().Source.new_from_memory(file.getbuffer()), name, max_pixels)


def _assemble(
    pixels: Float32[np.ndarray, "c h w"], opacity: Float32[np.ndarray, "h w"] | None, **metadata: Any
) -> Picture:
    """A picture from grey or RGB colours and alpha."""
    if len(pixels) == 1:
        pixels = np.repeat(pixels, 3, axis=0)
    if opacity is not None and opacity.min() == 1:
        opacity = None
    if opacity is not None:
        pixels = _fill_hidden(pixels, opacity)
    return Picture(pixels, opacity, **metadata)


def _to_unit(values: np.ndarray, planes: Float32[np.ndarray, "c h w"]) -> None:
    """Bring file values (h, w, c) into planes, as float32 in 0..1."""
    top = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    for index, plane in enumerate(planes):
        np.divide(values[..., index], top, out=plane, dtype=np.float32)


def _planes(picture: Picture) -> list[Float32[np.ndarray, "h w"]]:
    return [*picture.pixels] if picture.alpha is None else [*picture.pixels, picture.alpha]


def _interleave(planes: list[Float32[np.ndarray, "h w"]], top: int, dtype: type) -> UInt[np.ndarray, "h w c"]:
    """Planes in 0..1 as integers in 0..top, rounded to the nearest, channels last."""
    height, width = planes[0].shape
    values: np.ndarray = np.empty((height, width, len(planes)), dtype=dtype)
    for index, plane in enumerate(planes):
        for row in range(0, height, _STRIP_ROWS):
            rows = slice(row, row + _STRIP_ROWS)
            values[rows, :, index] = np.rint(plane[rows] * np.float32(top))
    return values


# Resizing, and colours where nothing shows.


def _resize(
    planes: Float32[np.ndarray, "c h w"], height: int, width: int, larger: str = "bicubic"
) -> Float32[np.ndarray, "c h2 w2"]:
    """The planes at another size: by Lanczos, antialiased, along a side that becomes smaller, by an interpolator of
    libvips along one that becomes larger. Lanczos and bicubic may overshoot their range."""
    resized = np.empty((len(planes), height, width), dtype=np.float32)
    # One by one, so that of a large picture no second copy is held.
    for plane, out in zip(planes, resized, strict=True):
        image = _vips().Image.new_from_array(np.ascontiguousarray(plane))
        image = image.resize(min(1.0, width / image.width), vscale=min(1.0, height / image.height), kernel="lanczos3")
        if (image.height, image.width) != (height, width):
            image = _enlarged(image, height, width, larger)
        out[:] = _to_numpy(image)[..., 0]
    return resized


def _enlarged(image: Any, height: int, width: int, interpolator: str) -> Any:
    """A libvips image at a larger size, centre on centre; its own `resize` lays all half a pixel low and to the right
    (libvips issue 943)."""
    matrix, by = [width / image.width, 0, 0, height / image.height], _vips().Interpolate.new(interpolator)
    centred = {"idx": 0.5, "idy": 0.5, "odx": -0.5, "ody": -0.5}
    return image.affine(matrix, interpolate=by, oarea=[0, 0, width, height], extend="copy", **centred)


def _clipped(planes: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The planes in 0..1, in their own memory."""
    return np.clip(planes, 0, 1, out=planes)


def _fill_hidden(
    pixels: Float32[np.ndarray, "3 h w"], alpha: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "3 h w"]:
    """Pixels whose colours, where nothing shows, are spread from the visible pixels around."""
    shows = alpha > _LEAST_OPACITY
    if shows.all() or not shows.any():
        return pixels
    return np.where(shows, pixels, _unpremultiply(pixels * alpha, alpha).clip(0, 1))


def _unpremultiply(
    weighted: Float32[np.ndarray, "3 h w"], weight: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "3 h w"]:
    """Colours from colours times weight; where the weight is 0, from the same at half the size, and so on down.

    A weight of 0 throughout gives black.
    """
    known = weight > _LEAST_OPACITY
    colours: np.ndarray = np.divide(weighted, weight, out=np.zeros_like(weighted), where=known)
    if known.all() or not known.any():
        return colours
    coarse = _unpremultiply(_halve(weighted), _halve(weight[None])[0])
    _, height, width = coarse.shape
    spread = _resize(coarse, 2 * height, 2 * width, "bilinear")[:, : weight.shape[0], : weight.shape[1]]
    return np.where(known, colours, spread)


def _halve(planes: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h2 w2"]:
    """Sums of 2 x 2 blocks; an odd last row or column counts once."""
    count, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)))
    sums: np.ndarray = padded.reshape(count, (height + 1) // 2, 2, (width + 1) // 2, 2).sum(axis=(2, 4))
    return sums


# Decoding and encoding.


@cache
def _vips() -> Any:
    """The pyvips module, set up for us; imported late, since it is not needed for arrays."""
    import pyvips

    # Warnings of libvips about odd files go through this logger, and would land on stderr without a handler.
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    # We do nothing twice, so that kept operations would only cost memory (and confuse files that change).
    pyvips.cache_set_max(0)
    # Loaders that libvips holds to be unsafe with files from strangers.
    pyvips.block_untrusted_set(True)
    return pyvips


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Errors of libvips within as one sentence."""
    try:
        yield
    except _vips().Error as error:
        if error.message == "unable to load from source":
            raise PictureError(f"{name} is not a picture that can be read; give {_READ_NAMES}.") from error
        raise PictureError(
            f"{name} is damaged, cut short or of an unusual kind ({_reason(error)}); "
            "get a whole copy of it, or save it anew as PNG."
        ) from error


def _reason(error: Exception) -> str:
    """The last line of what libvips says, which comes closest to the cause, without the name of its part."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^\w+: +", "", lines[-1]).rstrip(".") if lines else "no reason given"


def _decode(source: Any, name: str, max_pixels: int) -> Picture:
    with _decoding(name):
        image = _vips().Image.new_from_source(source, "", access="sequential", fail_on="error")
        _check_size(image.height, image.width, name, max_pixels)
        resolution = _resolution(image)
        turned = image.get_typeof("orientation") and image.get("orientation") != 1
        profile = image.get_typeof("icc-profile-data")
        in_order = image.get("vips-loader").startswith(("jpegload", "pngload"))
        if turned or profile or image.hasalpha() or not in_order:
            # What is turned or gone through twice has to be there as a whole; the rest is decoded strip by strip.
            image = image.copy_memory().autorot()
        image = _full_range(image)
        if image.format == "float":
            _check_range(_to_numpy(image), name)
        colours, alpha = _split_alpha(image, name)
        given = colours
        colours, icc = _to_srgb(colours)
        wider = icc is not None and not _is_srgb(icc) and given.bands == 3 and given.format != "float"
        return _assemble(
            _planes_of(colours),
            _planes_of(alpha)[0] if alpha is not None else None,
            icc=icc,
            own=_to_numpy(given) if wider else None,
            exif=_clean_exif(_blob(image, "exif-data")),
            xmp=_clean_xmp(_blob(image, "xmp-data")),
            pixels_per_mm=resolution,
            depth=8 if image.format == "uchar" else 16,
            name=name,
        )


def _planes_of(image: Any) -> Float32[np.ndarray, "c h w"]:
    """The channels of a libvips image as float32 in 0..1, strip by strip from the top."""
    planes = np.empty((image.bands, image.height, image.width), dtype=np.float32)
    for top in range(0, image.height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, image.height - top)
        strip = _to_numpy(image.crop(0, top, image.width, rows))
        _to_unit(strip, planes[:, top : top + rows])
    return planes


def _to_numpy(image: Any) -> np.ndarray:
    """The values (h, w, c) of a libvips image, which leaves the channel axis out where there is one only."""
    values: np.ndarray = image.numpy().reshape(image.height, image.width, image.bands)
    return values


def _full_range(image: Any) -> Any:
    """AVIF values of 10 or 12 bits, which libvips shifts up to 16 bits, stretched so that white is 65535."""
    if image.format != "ushort" or not image.get("vips-loader").startswith("heif"):
        return image
    bits = image.get("bits-per-sample")
    top = ((1 << bits) - 1) << (16 - bits)
    return (image * (65535 / top)).rint().cast("ushort")


def _split_alpha(image: Any, name: str) -> tuple[Any, Any | None]:
    """The channels of colour and the one of alpha, or None."""
    if image.format not in ("uchar", "ushort", "float"):
        raise PictureError(f"{name} holds {image.format} values; save it with 8 or 16 bits a channel, or as floats.")
    count = image.bands - (1 if image.hasalpha() else 0)
    if count not in ((4,) if image.interpretation == "cmyk" else (1, 3)):
        raise PictureError(f"{name} has {image.bands} channels; save it as grey, RGB or CMYK.")
    return image.extract_band(0, n=count), image.extract_band(count) if image.hasalpha() else None


def _to_srgb(colours: Any) -> tuple[Any, bytes | None]:
    """The colours in sRGB, or grey, and the profile that the result is to have.

    A profile for another kind of picture (an RGB profile in a CMYK file, say) says nothing, and is left out; but
    one for RGB counts for grey too. What libvips cannot make sense of counts as sRGB, as it does in viewers.
    """
    icc = _blob(colours, "icc-profile-data")
    space = icc[16:20].decode("latin-1").strip() if icc is not None else ""
    if colours.interpretation == "cmyk":
        return _convert(colours, {"embedded": True} if space == "CMYK" else {"input_profile": "cmyk"}), None
    if space == "GRAY" and colours.bands == 1:
        return _convert(colours, {"embedded": True}), None
    if icc is None or space != "RGB":
        return colours, None
    if _is_srgb(icc):
        return colours, icc
    if colours.bands == 1:
        colours = colours.bandjoin([colours, colours]).copy(interpretation="srgb")
    return _convert(colours, {"embedded": True}), icc


def _convert(colours: Any, profile: Mapping[str, Any]) -> Any:
    """16-bit sRGB from colours in a profile."""
    if colours.format == "float":
        colours = (colours * 65535).rint().cast("ushort")
    return colours.icc_transform("srgb", depth=16, **profile, **_ICC_INTENT)


@lru_cache(maxsize=4)
def _is_srgb(icc: bytes) -> bool:
    """Whether an RGB profile is sRGB in all but name: then a detour would only add rounding errors."""
    vips = _vips()
    lattice = np.moveaxis(np.indices((6, 6, 6), dtype=np.uint8) * 51, 0, -1).reshape(6, 36, 3)
    image = _tagged(vips.Image.new_from_array(lattice, interpretation="srgb"), "icc-profile-data", icc)
    moved = _convert(image, {"embedded": True}).numpy().astype(np.int32) - lattice.astype(np.int32) * 257
    return bool(np.abs(moved).max() <= _SRGB_TOLERANCE)


def _encode(picture: Picture, format: _Format) -> bytes:
    """The bytes of the file."""
    vips = _vips()
    bits = min(picture.depth, format.most_bits)
    try:
        values = _file_values(picture, bits)
        image = vips.Image.new_from_array(values, interpretation="srgb" if bits == 8 else "rgb16")
        across, down = picture.pixels_per_mm or _USUAL_RESOLUTION
        image = image.copy(xres=across, yres=down)
        metadata = {"icc-profile-data": picture.icc, "exif-data": picture.exif, "xmp-data": picture.xmp}
        for field, blob in metadata.items():
            if blob is not None:
                image = _tagged(image, field, blob)
        options = {**format.options, "bitdepth": bits} if format is _AVIF else format.options
        data: bytes = image.write_to_buffer(format.suffix, **options)
    except vips.Error as error:
        raise RunError(f"{picture.name} could not be encoded as {format.name} ({_reason(error)}).") from error
    return data


def _file_values(picture: Picture, bits: int) -> UInt[np.ndarray, "h w c"]:
    """What the file is to hold, in its own profile: uint8 for 8 bits; for more, the upper ones of uint16."""
    top, dtype = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    if picture.icc is None or _is_srgb(picture.icc):
        values = _interleave(_planes(picture), top, dtype)
    else:
        values = _own_where_unchanged(picture, _from_srgb(picture.pixels, picture.icc, 8 if bits == 8 else 16))
        if picture.alpha is not None:
            values = np.concatenate([values, _interleave([picture.alpha], top, dtype)], axis=2)
    if bits == 12:
        # The encoder drops the lower four bits; we round.
        values = ((values.astype(np.uint32) * 4095 + 32767) // 65535 << 4).astype(np.uint16)
    return values


def _from_srgb(pixels: Float32[np.ndarray, "3 h w"], icc: bytes, depth: int) -> UInt[np.ndarray, "h w 3"]:
    """The pixels as integers of that depth in a profile."""
    srgb = _vips().Image.new_from_array(_interleave([*pixels], 65535, np.uint16), interpretation="rgb16")
    independent = srgb.icc_import(input_profile="srgb", **_ICC_INTENT)
    return _to_numpy(_tagged(independent, "icc-profile-data", icc).icc_export(depth=depth, **_ICC_INTENT))


def _own_where_unchanged(picture: Picture, values: UInt[np.ndarray, "h w 3"]) -> UInt[np.ndarray, "h w 3"]:
    """The values, but the file's own wherever the pixels are those read: colours that sRGB lacks would be lost."""
    own = picture.own
    if own is None or picture.icc is None or own.shape != values.shape or own.dtype != values.dtype:
        return values
    image = _vips().Image.new_from_array(own, interpretation="srgb" if own.dtype == np.uint8 else "rgb16")
    read = _to_numpy(_convert(_tagged(image, "icc-profile-data", picture.icc), {"embedded": True}))
    planes = np.empty_like(picture.pixels)
    _to_unit(read, planes)
    unchanged = (planes == picture.pixels).all(0)
    return np.where(unchanged[:, :, None], own, values)


# Metadata.


def _blob(image: Any, field: str) -> bytes | None:
    return bytes(image.get(field)) if field in image.get_fields() else None


def _tagged(image: Any, field: str, blob: bytes) -> Any:
    """A copy of the image that has the metadata."""
    tagged = image.copy()
    tagged.set_type(_vips().GValue.blob_type, field, blob)
    return tagged


def _resolution(image: Any) -> Resolution | None:
    """The resolution once the image is the right way up; WebP and AVIF files have it in their EXIF only."""
    fields = image.get_fields()
    found = (float(image.xres), float(image.yres))
    if found == _NO_RESOLUTION and "exif-ifd0-ResolutionUnit" in fields:
        unit = _MM_PER_UNIT.get(image.get("exif-ifd0-ResolutionUnit").split()[0], Fraction(1))
        across, down = (Fraction(image.get(f"exif-ifd0-{axis}Resolution").split()[0]) for axis in "XY")
        found = (float(across / unit), float(down / unit))
    if found == _NO_RESOLUTION or min(found) <= 0:
        return None
    sideways = "orientation" in fields and image.get("orientation") >= 5
    return found[::-1] if sideways else found


def _clean_exif(exif: bytes | None) -> bytes | None:
    """The EXIF with orientation 1 and without its thumbnail; None where it makes no sense."""
    if exif is None:
        return None
    data = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, directory)
        entries = range(directory + 2, directory + 2 + 12 * count, 12)
        for entry in entries:
            if struct.unpack_from(f"{order}H", data, entry) == (_EXIF_ORIENTATION,):
                struct.pack_into(f"{order}HIHH", data, entry + 2, 3, 1, 1, 0)
        # The thumbnail is in the next directory: let there be none.
        struct.pack_into(f"{order}I", data, entries.stop, 0)
    except struct.error:
        return None
    return b"Exif\0\0" + bytes(data)


def _clean_xmp(xmp: bytes | None) -> bytes | None:
    """The XMP with orientation 1, if it says any."""
    return None if xmp is None else re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
