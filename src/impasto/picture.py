"""Pictures: reading and writing files, and taking pictures from arrays, tensors and PIL.

Files are handled by libvips. Read: JPEG, PNG, WebP, TIFF, AVIF and GIF (of several frames or pages, the first).
Written: JPEG, PNG, WebP, TIFF and AVIF. The binary wheel of libvips lacks BMP, HEIC (HEVC), JPEG XL and JPEG 2000.
"""

import io
import math
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, UInt, UInt8

from impasto.errors import PictureError, RunError
from impasto.imaging.formats import AVIF, FORMATS, JPEG, PNG, Format, check_output
from impasto.imaging.libvips import blob, reason, tagged, to_numpy, vips
from impasto.imaging.metadata import USUAL_RESOLUTION, Resolution, clean_exif, clean_xmp, resolution_of
from impasto.imaging.profiles import convert, from_srgb, is_srgb, to_srgb
from impasto.imaging.resizing import clipped, fill_hidden, resize, unpremultiply
from impasto.imaging.values import interleave, planes_of, to_unit

DEFAULT_MAX_PIXELS: Final = 268_435_456
"""Pictures with more pixels than this (2**28) are refused unless the caller raises the limit."""

MIN_SIDE: Final = 16
"""Pictures with a side shorter than this, in pixels, are refused: the networks halve them several times."""

_READ_NAMES: Final = "JPEG, PNG, WebP, TIFF, AVIF or GIF"


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
            alpha = clipped(resize(alpha[None], *pixels.shape[-2:])[0])
        return replace(self, pixels=pixels, alpha=alpha)

    def resized(self, height: int, width: int) -> "Picture":
        """The picture at another size in pixels, colours weighted by their opacity: smaller by Lanczos, antialiased,
        larger by bicubic interpolation."""
        if (height, width) == self.size_hw:
            return self
        if self.alpha is None:
            return replace(self, pixels=clipped(resize(self.pixels, height, width)))
        planes = np.concatenate([self.pixels * self.alpha, self.alpha[None]])
        planes = clipped(resize(planes, height, width))
        # Lanczos can overshoot more in a colour than in the alpha it is weighted by.
        return replace(self, pixels=clipped(unpremultiply(planes[:3], planes[3])), alpha=planes[3])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file; see `write_picture`."""
        write_picture(self, path)

    def to_uint8(self) -> UInt8[np.ndarray, "h w c"]:
        """The sRGB pixels, channels last, 0..255, with the alpha as fourth channel where there is one."""
        return interleave(_planes(self), 255, np.uint8)

    def to_jpeg(self) -> bytes:
        """A JPEG of the sRGB pixels alone, without alpha and metadata: for pages that show the picture."""
        return _encode(Picture(pixels=self.pixels), JPEG)

    def _repr_png_(self) -> bytes:
        """PNG bytes, by which notebooks show the picture."""
        plain = Picture(pixels=self.pixels, alpha=self.alpha)
        return _encode(plain, PNG)


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
            return _decode(vips().Source.new_from_descriptor(file.fileno()), name, max_pixels)
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
    data = _encode(picture, FORMATS[path.suffix.lower()])
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
    to_unit(values, planes)
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
    return _decode(vips().Source.new_from_memory(file.getbuffer()), name, max_pixels)


def _assemble(
    pixels: Float32[np.ndarray, "c h w"], opacity: Float32[np.ndarray, "h w"] | None, **metadata: Any
) -> Picture:
    """A picture from grey or RGB colours and alpha."""
    if len(pixels) == 1:
        pixels = np.repeat(pixels, 3, axis=0)
    if opacity is not None and opacity.min() == 1:
        opacity = None
    if opacity is not None:
        pixels = fill_hidden(pixels, opacity)
    return Picture(pixels, opacity, **metadata)


def _planes(picture: Picture) -> list[Float32[np.ndarray, "h w"]]:
    return [*picture.pixels] if picture.alpha is None else [*picture.pixels, picture.alpha]


# Decoding and encoding.


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Errors of libvips within as one sentence."""
    try:
        yield
    except vips().Error as error:
        if error.message == "unable to load from source":
            raise PictureError(f"{name} is not a picture that can be read; give {_READ_NAMES}.") from error
        raise PictureError(
            f"{name} is damaged, cut short or of an unusual kind ({reason(error)}); "
            "get a whole copy of it, or save it anew as PNG."
        ) from error


def _decode(source: Any, name: str, max_pixels: int) -> Picture:
    with _decoding(name):
        image = vips().Image.new_from_source(source, "", access="sequential", fail_on="error")
        _check_size(image.height, image.width, name, max_pixels)
        resolution = resolution_of(image)
        turned = image.get_typeof("orientation") and image.get("orientation") != 1
        profile = image.get_typeof("icc-profile-data")
        in_order = image.get("vips-loader").startswith(("jpegload", "pngload"))
        if turned or profile or image.hasalpha() or not in_order:
            # What is turned or gone through twice has to be there as a whole; the rest is decoded strip by strip.
            image = image.copy_memory().autorot()
        image = _full_range(image)
        if image.format == "float":
            _check_range(to_numpy(image), name)
        colours, alpha = _split_alpha(image, name)
        given = colours
        colours, icc = to_srgb(colours)
        wider = icc is not None and not is_srgb(icc) and given.bands == 3 and given.format != "float"
        return _assemble(
            planes_of(colours),
            planes_of(alpha)[0] if alpha is not None else None,
            icc=icc,
            own=to_numpy(given) if wider else None,
            exif=clean_exif(blob(image, "exif-data")),
            xmp=clean_xmp(blob(image, "xmp-data")),
            pixels_per_mm=resolution,
            depth=8 if image.format == "uchar" else 16,
            name=name,
        )


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


def _encode(picture: Picture, format: Format) -> bytes:
    """The bytes of the file."""
    bits = min(picture.depth, format.most_bits)
    try:
        values = _file_values(picture, bits)
        image = vips().Image.new_from_array(values, interpretation="srgb" if bits == 8 else "rgb16")
        across, down = picture.pixels_per_mm or USUAL_RESOLUTION
        image = image.copy(xres=across, yres=down)
        metadata = {"icc-profile-data": picture.icc, "exif-data": picture.exif, "xmp-data": picture.xmp}
        for field, found in metadata.items():
            if found is not None:
                image = tagged(image, field, found)
        options = {**format.options, "bitdepth": bits} if format is AVIF else format.options
        data: bytes = image.write_to_buffer(format.suffix, **options)
    except vips().Error as error:
        raise RunError(f"{picture.name} could not be encoded as {format.name} ({reason(error)}).") from error
    return data


def _file_values(picture: Picture, bits: int) -> UInt[np.ndarray, "h w c"]:
    """What the file is to hold, in its own profile: uint8 for 8 bits; for more, the upper ones of uint16."""
    top, dtype = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    if picture.icc is None or is_srgb(picture.icc):
        values = interleave(_planes(picture), top, dtype)
    else:
        values = _own_where_unchanged(picture, from_srgb(picture.pixels, picture.icc, 8 if bits == 8 else 16))
        if picture.alpha is not None:
            values = np.concatenate([values, interleave([picture.alpha], top, dtype)], axis=2)
    if bits == 12:
        # The encoder drops the lower four bits; we round.
        values = ((values.astype(np.uint32) * 4095 + 32767) // 65535 << 4).astype(np.uint16)
    return values


def _own_where_unchanged(picture: Picture, values: UInt[np.ndarray, "h w 3"]) -> UInt[np.ndarray, "h w 3"]:
    """The values, but the file's own wherever the pixels are those read: colours that sRGB lacks would be lost."""
    own = picture.own
    if own is None or picture.icc is None or own.shape != values.shape or own.dtype != values.dtype:
        return values
    image = vips().Image.new_from_array(own, interpretation="srgb" if own.dtype == np.uint8 else "rgb16")
    read = to_numpy(convert(tagged(image, "icc-profile-data", picture.icc), {"embedded": True}))
    planes = np.empty_like(picture.pixels)
    to_unit(read, planes)
    unchanged = (planes == picture.pixels).all(0)
    return np.where(unchanged[:, :, None], own, values)
