"""`StainNormalizer`: the appearance of a reference given to other pictures of stained tissue, pixel by pixel."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import numpy as np
from jaxtyping import Float

from impasto.errors import PictureError, RunError, UserError
from impasto.medical.pointwise import PointwiseMap
from impasto.medical.stains import DEFAULT_METHOD, METHODS, single_stain
from impasto.medical.tissue import (
    MIN_TISSUE_PIXELS,
    Colours,
    TooLittleTissue,
    effect,
    estimate_white,
    tissue_mask,
)
from impasto.picture import Picture

if TYPE_CHECKING:
    from impasto.medical.check import Report

SAMPLE_PIXELS: Final = 40_000
"""Pixels of a picture that are looked at to measure it, evenly spread."""

_PROFILE_KIND, _PROFILE_VERSION = "impasto stain profile", 1
_NEAR_LIMIT: Final = 2 / 255


class StainWarning(UserWarning):
    """Something about a stained picture that its user should know; the result stands."""


@dataclass(frozen=True)
class Profile:
    """A stain's appearance as one method measures it.

    `white` is the colour of the empty glass (RGB in 0..1 in sRGB), `tissue_share` the part of the pixels looked at
    that is tissue, `statistics` what the method measured of them, by name.
    """

    method: str
    white: Float[np.ndarray, " 3"]
    tissue_share: float
    statistics: dict[str, np.ndarray]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON, whole or not at all."""
        data = {
            "kind": _PROFILE_KIND,
            "version": _PROFILE_VERSION,
            "method": self.method,
            "white": _rounded(self.white),
            "tissue_share": round(self.tissue_share, 6),
            "statistics": {name: _rounded(values) for name, values in self.statistics.items()},
        }
        write_text(Path(path), json.dumps(data) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Profile:
        """The profile in a JSON file. Raises UserError for any other file."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); check the path.") from None
        except ValueError:
            raise UserError(f"{path} is no stain profile; make one with impasto stain fit.") from None
        if not isinstance(data, dict) or data.get("kind") != _PROFILE_KIND:
            raise UserError(f"{path} is no stain profile; make one with impasto stain fit.")
        if data.get("version") != _PROFILE_VERSION or data.get("method") not in METHODS:
            raise UserError(f"{path} is a stain profile of another version; fit it again.")
        try:
            return cls._checked(data)
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path} is a damaged stain profile; fit it again.") from None

    @classmethod
    def _checked(cls, data: dict[str, Any]) -> Profile:
        """The profile of a JSON object; KeyError, TypeError or ValueError where something is missing or impossible."""
        white = np.array(data["white"], np.float32)
        statistics = {name: np.array(values, np.float64) for name, values in data["statistics"].items()}
        probe = np.full((MIN_TISSUE_PIXELS, 3), 0.5, np.float32)
        probe[::2, 1] = 0.3
        wanted = METHODS[data["method"]].measure(probe, np.ones(3, np.float32))
        for name, example in wanted.items():
            shape = statistics[name].shape
            if (
                shape[-1:] != example.shape[-1:]
                or len(shape) != example.ndim
                or not np.isfinite(statistics[name]).all()
            ):
                raise ValueError(name)
        if white.shape != (3,) or not (white > 0).all():
            raise ValueError("white")
        return cls(str(data["method"]), white, float(data["tissue_share"]), statistics)


class StainNormalizer:
    """Gives the stain of a reference to other pictures.

    method: a row of `METHODS`. threads: how many transform at once; default as many as there are cores.

    Only values are mapped, each pixel by its own colour, so nothing can appear that was not there. The empty glass
    (background) comes back as it was, to the last bit, and so does a picture without tissue, with a StainWarning.
    Everything is deterministic, and a tile comes out as it does within the whole when both are given one `source`.

        normalizer = StainNormalizer().fit("reference.png")
        slide = normalizer.measure(overview)
        result = normalizer.transform(tile, source=slide)
    """

    def __init__(self, method: str = DEFAULT_METHOD, *, threads: int | None = None) -> None:
        if method not in METHODS:
            raise UserError(f"There is no stain method {method!r}; choose one of {', '.join(METHODS)}.")
        if threads is not None and threads < 1:
            raise UserError(f"threads is {threads}; give 1 or more.")
        self.method = method
        self.threads = threads or os.cpu_count() or 1
        self.target: Profile | None = None
        self._last: tuple[Profile, PointwiseMap] | None = None

    def fit(self, *references: object) -> StainNormalizer:
        """Take the appearance of one or more reference pictures; each counts the same.

        A reference is anything `transform` takes. Raises TooLittleTissue for one without tissue.
        """
        if not references:
            raise UserError("No reference was given; give one picture or more.")
        samples = [sample_colours(reference, name_of(reference, "reference")) for reference in references]
        self.target = self.profile_of(samples, [name_of(reference, "reference") for reference in references])
        return self

    def use(self, profile: Profile) -> StainNormalizer:
        """Take the appearance of a saved profile; the method becomes the profile's."""
        self.method, self.target, self._last = profile.method, profile, None
        return self

    def measure(self, image: object) -> Profile:
        """The appearance of a picture. Raises TooLittleTissue where there is none to measure."""
        name = name_of(image, "picture")
        return self.profile_of([sample_colours(image, name)], [name])

    def profile_of(self, samples: Sequence[Colours], names: Sequence[str]) -> Profile:
        """The appearance of pixels (n, 3) drawn from one or more pictures, each counting the same."""
        whites = [estimate_white(sample) for sample in samples]
        masks = [tissue_mask(sample, white) for sample, white in zip(samples, whites, strict=True)]
        for mask, sample, name in zip(masks, samples, names, strict=True):
            if mask.sum() < MIN_TISSUE_PIXELS:
                raise too_little(sample, name)
        white = np.mean(whites, axis=0).astype(np.float32)
        size = min(int(mask.sum()) for mask in masks)
        tissue = [
            # Each relative to its own glass, so that two scanners' lamps do not look like two stains.
            np.clip(evenly(sample[mask], size if len(samples) > 1 else len(sample)) * (white / own), 0, 1)
            for sample, mask, own in zip(samples, masks, whites, strict=True)
        ]
        share = float(np.mean([mask.mean() for mask in masks]))
        # Rounded as in its file, so that a profile that was saved gives the same result to the last bit.
        measured = METHODS[self.method].measure(np.concatenate(tissue), white)
        statistics = {name: np.array(_rounded(values)) for name, values in measured.items()}
        if single_stain(np.concatenate(tissue), white) is not None:
            warnings.warn(f"{names[0]} shows one stain only; the other is guessed.", StainWarning, stacklevel=3)
        return Profile(self.method, np.array(_rounded(white), np.float32), share, statistics)

    @overload
    def transform(self, image: object, source: Profile | None = None, *, report: Literal[False] = False) -> Any: ...

    @overload
    def transform(
        self, image: object, source: Profile | None = None, *, report: Literal[True]
    ) -> tuple[Any, Report]: ...

    def transform(self, image: object, source: Profile | None = None, *, report: bool = False) -> Any:
        """The picture in the reference's stain.

        image: an array (h, w, 3|4) of uint8, uint16 or floats in 0..1, which comes back as such an array; or a path,
        PIL image, tensor or Picture, which comes back as a Picture. Alpha stays.
        source: what `measure` found of the whole that the image is a part of; without it the image is measured.
        report: also return the `Report` of the check of the result against the image.

        Raises UserError before `fit`, and for arrays of other shapes and types, NaN and values outside 0..1.
        """
        if self.target is None:
            raise UserError("The normalizer has no reference yet; call fit first.")
        picture = None if isinstance(image, np.ndarray) else Picture.from_any(image)
        pixels: np.ndarray = image if picture is None else picture_pixels(picture)  # type: ignore[assignment]
        check_pixels(pixels, name_of(image, "picture"))
        result = self._transformed(pixels, source, name_of(image, "picture"))
        back = result if picture is None else picture.with_pixels(channels_first(result))
        if not report:
            return back
        from impasto.medical.check import check

        return back, check(pixels, result)

    def _transformed(self, pixels: np.ndarray, source: Profile | None, name: str) -> np.ndarray:
        try:
            source = source or self.measure(pixels)
        except TooLittleTissue as error:
            warnings.warn(f"{error} It is left as it was.", StainWarning, stacklevel=4)
            return pixels.copy()
        result, cut = self.map_from(source)(pixels)
        warn_of_cuts(cut, name)
        return result

    def map_from(self, source: Profile) -> PointwiseMap:
        """The map of colours from an appearance to the reference's; the last one is kept for the next tile."""
        if self.target is None or source.method != self.target.method:
            raise UserError("The source was measured by another method than the reference; measure it again.")
        if self._last is None or self._last[0] is not source:
            self._last = source, PointwiseMap(faded(source, self.target), self.threads)
        return self._last[1]


def faded(source: Profile, target: Profile) -> Callable[[Colours], Colours]:
    """The method's map, with no effect on background and full effect on tissue."""
    carried = METHODS[source.method].between(source.statistics, target.statistics)

    def colour_map(colours: Colours) -> Colours:
        weight = effect(colours, source.white)
        changed = weight > 0
        result = colours.copy()
        result[changed] = carried(colours[changed], weight[changed])
        return result

    return colour_map


def warn_of_cuts(share: float, name: str) -> None:
    """Tell that this share of the pixels did not fit into the range, if any."""
    if share > 0:
        message = f"{name}: {100 * share:.2g} % of the pixels were cut to black or full colour; try another method."
        warnings.warn(message, StainWarning, stacklevel=5)


def sample_colours(image: object, name: str) -> Colours:
    """Evenly spread pixels of a picture, (n, 3) in 0..1, those that are transparent left out."""
    pixels = image if isinstance(image, np.ndarray) else picture_pixels(Picture.from_any(image))
    check_pixels(pixels, name)
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    flat = pixels.reshape(-1, pixels.shape[-1])
    seen = flat[flat[:, 3] >= top / 2] if flat.shape[1] == 4 else flat
    colours = evenly(seen, SAMPLE_PIXELS)[:, :3].astype(np.float32) / np.float32(top)
    extreme = (colours > 1 - _NEAR_LIMIT).sum(axis=1) + (colours < _NEAR_LIMIT).sum(axis=1)
    dark = (colours.min(axis=1) < 0.5) & (colours.max(axis=1) > 0.1)
    if len(colours) and (saturated := float((dark & (extreme > 0)).mean())) > 0.05:
        message = f"{name}: {saturated:.0%} of the pixels are tissue at the limits of the range, its colours lost."
        warnings.warn(message, StainWarning, stacklevel=4)
    return np.ascontiguousarray(colours)


def check_pixels(pixels: np.ndarray, name: str) -> None:
    """Raise PictureError for an array that is no colour picture, channels last."""
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1):
        raise PictureError(f"{name} is a grey picture; stains need colours (h, w, 3).")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.size == 0:
        raise PictureError(f"{name} has shape {pixels.shape}; give (h, w, 3) or (h, w, 4), channels last.")
    if pixels.shape[0] in (3, 4) and pixels.shape[1] > 4:
        raise PictureError(f"{name} has shape {pixels.shape}, whose axes are ambiguous; give channels last.")
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise PictureError(f"{name} holds {pixels.dtype} values; give uint8, uint16, or floats in 0..1.")
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise PictureError(f"{name} holds NaN or infinite values; give values in 0..1.")
        if low < 0 or high > 1:
            raise PictureError(f"{name} holds values from {low:g} to {high:g}; scale floats to 0..1, or give uint8.")


def too_little(colours: Colours, name: str) -> TooLittleTissue:
    """Why there is nothing to measure."""
    dark = colours[colours.max(axis=1) < 0.8]
    if len(dark) >= MIN_TISSUE_PIXELS and np.percentile(dark.max(axis=1) - dark.min(axis=1), 99) <= 3 / 255:
        return TooLittleTissue(f"{name} is a grey picture; stains need colours.")
    return TooLittleTissue(f"{name} shows no stained tissue; choose another picture.")


def picture_pixels(picture: Picture) -> np.ndarray:
    """Channels last; in 8 bits where the file had them, so that the table of colours serves."""
    if picture.depth == 8:
        return picture.to_uint8()
    planes = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha[None]])
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def channels_first(pixels: np.ndarray) -> Float[np.ndarray, "3 h w"]:
    """Colours in 0..1, float32, channels first."""
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    colours = pixels[..., :3].astype(np.float32) / np.float32(top)
    return np.ascontiguousarray(np.moveaxis(colours, -1, 0))


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    partial = path.with_name(f".impasto-{secrets.token_hex(8)}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror}); choose another place.") from error
    finally:
        partial.unlink(missing_ok=True)


def name_of(image: object, otherwise: str) -> str:
    """What a picture is called in messages."""
    if isinstance(image, Picture):
        return image.name
    return str(image) if isinstance(image, str | os.PathLike) else otherwise


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread, always the same."""
    if len(rows) <= most:
        return rows
    # An odd golden-section stride meets every column of a picture, which a regular one may not.
    return rows[(np.arange(most, dtype=np.int64) * 2_654_435_761) % len(rows)]


def _rounded(values: np.ndarray) -> Any:
    """As nested lists, to seven digits: more than 16 bits of colour hold."""
    return np.array([float(f"{value:.7g}") for value in values.ravel().tolist()]).reshape(values.shape).tolist()
