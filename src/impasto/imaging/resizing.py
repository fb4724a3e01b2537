"""Planes at other sizes, and colours where nothing shows."""

from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from impasto.imaging.libvips import to_numpy, vips

# Less than this, a fraction of a 16-bit step, shows nothing and is too little to divide by.
_LEAST_OPACITY: Final = 1e-6


def resize(
    planes: Float32[np.ndarray, "c h w"], height: int, width: int, larger: str = "bicubic"
) -> Float32[np.ndarray, "c h2 w2"]:
    """The planes at another size: by Lanczos, antialiased, along a side that becomes smaller, by an interpolator of
    libvips along one that becomes larger. Lanczos and bicubic may overshoot their range."""
    resized = np.empty((len(planes), height, width), dtype=np.float32)
    # One by one, so that of a large picture no second copy is held.
    for plane, out in zip(planes, resized, strict=True):
        image = vips().Image.new_from_array(np.ascontiguousarray(plane))
        image = image.resize(min(1.0, width / image.width), vscale=min(1.0, height / image.height), kernel="lanczos3")
        if (image.height, image.width) != (height, width):
            image = _enlarged(image, height, width, larger)
        out[:] = to_numpy(image)[..., 0]
    return resized


def _enlarged(image: Any, height: int, width: int, interpolator: str) -> Any:
    """A libvips image at a larger size, centre on centre; its own `resize` lays all half a pixel low and to the right
    (libvips issue 943)."""
    matrix, by = [width / image.width, 0, 0, height / image.height], vips().Interpolate.new(interpolator)
    centred = {"idx": 0.5, "idy": 0.5, "odx": -0.5, "ody": -0.5}
    return image.affine(matrix, interpolate=by, oarea=[0, 0, width, height], extend="copy", **centred)


def clipped(planes: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The planes in 0..1, in their own memory."""
    return np.clip(planes, 0, 1, out=planes)


def fill_hidden(
    pixels: Float32[np.ndarray, "3 h w"], alpha: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "3 h w"]:
    """Pixels whose colours, where nothing shows, are spread from the visible pixels around."""
    shows = alpha > _LEAST_OPACITY
    if shows.all() or not shows.any():
        return pixels
    return np.where(shows, pixels, unpremultiply(pixels * alpha, alpha).clip(0, 1))


def unpremultiply(
    weighted: Float32[np.ndarray, "3 h w"], weight: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "3 h w"]:
    """Colours from colours times weight; where the weight is 0, from the same at half the size, and so on down.

    A weight of 0 throughout gives black.
    """
    known = weight > _LEAST_OPACITY
    colours: np.ndarray = np.divide(weighted, weight, out=np.zeros_like(weighted), where=known)
    if known.all() or not known.any():
        return colours
    coarse = unpremultiply(_halve(weighted), _halve(weight[None])[0])
    _, height, width = coarse.shape
    spread = resize(coarse, 2 * height, 2 * width, "bilinear")[:, : weight.shape[0], : weight.shape[1]]
    return np.where(known, colours, spread)


def _halve(planes: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h2 w2"]:
    """Sums of 2 x 2 blocks; an odd last row or column counts once."""
    count, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)))
    sums: np.ndarray = padded.reshape(count, (height + 1) // 2, 2, (width + 1) // 2, 2).sum(axis=(2, 4))
    return sums
