"""Whole slides, read in windows and measured from a spread sample.

Read by OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM and what else it knows; by libvips: tiled TIFF and OME-TIFF with
8-bit RGB; by zarr: OME-Zarr of the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from impasto.errors import PictureError, UserError
from impasto.medical.normalizer import Profile, StainNormalizer, evenly, sample_colours
from impasto.medical.ome_zarr import MAGNIFICATION
from impasto.medical.tiff import opened
from impasto.medical.tissue import Colours, estimate_white, tissue_mask
from impasto.picture import read_picture

Window = UInt8[np.ndarray, "h w 3"]

_SAMPLE_SIDE, _SAMPLE_WINDOWS, _SAMPLE_PIXELS = 64, 576, 200_000
_CHECK_SIDE, _CHECK_WINDOWS = 512, 12
_ASSOCIATED: Final = ("label", "macro")


@dataclass(frozen=True)
class SlideFacts:
    """What a slide's file says of it. `mpp` is micrometres a pixel (across, down), `objective` the magnification."""

    name: str
    height: int
    width: int
    mpp: tuple[float, float] | None
    objective: float | None
    patient: tuple[str, ...] = ()


@runtime_checkable
class Slide(Protocol):
    """A slide open for reading; windows may be read from several threads."""

    facts: SlideFacts

    def read(self, top: int, left: int, height: int, width: int) -> Window:
        """A window in full resolution, which must lie within the slide; PictureError where the file is damaged."""
        ...

    def associated(self, name: str) -> Window | None:
        """The picture of the label or of the whole glass (macro), None where the file has none."""
        ...


def open_slide(path: str | Path) -> Slide | None:
    """The slide in a file, or None for a picture that is no slide; PictureError for one that cannot be read."""
    path = Path(path)
    if path.is_dir() and is_zarr(path):
        return ZarrSlide(path)
    if not path.is_file():
        raise PictureError(f"{path} does not exist; check the path.")
    openslide = _openslide()
    vendor = openslide.OpenSlide.detect_format(str(path))
    if vendor not in (None, "generic-tiff"):
        return OpenSlideFile(path)
    if path.suffix.lower() in (".svs", ".ndpi", ".mrxs", ".scn", ".bif"):
        raise PictureError(f"{path} is damaged, cut short or no slide; get a whole copy.")
    return _tiff_slide(path) if path.suffix.lower() in (".tif", ".tiff", ".btf") else None


class OpenSlideFile:
    """A slide by OpenSlide."""

    def __init__(self, path: Path) -> None:
        openslide = _openslide()
        try:
            self._slide = openslide.OpenSlide(str(path))
        except openslide.OpenSlideError as error:
            raise PictureError(f"{path} cannot be read ({error}); get a whole copy.") from None
        given = self._slide.properties
        width, height = self._slide.dimensions
        mpp = _number(given.get("openslide.mpp-x")), _number(given.get("openslide.mpp-y"))
        patient = tuple(value for key, value in given.items() if "patient" in key.lower())
        self.facts = SlideFacts(
            str(path), height, width, mpp if mpp[0] and mpp[1] else None,  # type: ignore[arg-type]
            _number(given.get("openslide.objective-power")), patient,
        )  # fmt: skip

    def read(self, top: int, left: int, height: int, width: int) -> Window:
        try:
            pixels = np.asarray(self._slide.read_region((left, top), 0, (width, height)))
        except _openslide().OpenSlideError as error:
            raise PictureError(f"{self.facts.name} is damaged or cut short ({error}); get a whole copy.") from None
        window = np.ascontiguousarray(pixels[..., :3])
        # What the scanner left out is empty glass.
        window[pixels[..., 3] == 0] = 255
        return window

    def associated(self, name: str) -> Window | None:
        found = self._slide.associated_images.get(name)
        return None if found is None else np.ascontiguousarray(np.asarray(found.convert("RGB")))


class TiffSlide:
    """A tiled TIFF or OME-TIFF by libvips."""

    def __init__(self, path: Path, facts: SlideFacts) -> None:
        import pyvips

        self.facts = facts
        self._image = pyvips.Image.new_from_file(str(path), access="random", fail_on="error")

    def read(self, top: int, left: int, height: int, width: int) -> Window:
        import pyvips

        try:
            pixels: Window = self._image.crop(left, top, width, height).numpy()
        except pyvips.Error:
            raise PictureError(f"{self.facts.name} is damaged or cut short; get a whole copy.") from None
        return np.ascontiguousarray(pixels[..., :3])

    def associated(self, name: str) -> Window | None:
        return None


class ZarrSlide:
    """An OME-Zarr picture (NGFF 0.4 and 0.5) of 8-bit RGB; its finest scale."""

    def __init__(self, path: Path) -> None:
        try:
            import zarr
        except ImportError:
            raise UserError("OME-Zarr needs more packages: pip install 'impasto[medical]'.") from None
        try:
            group: Any = zarr.open_group(str(path), mode="r")
            attributes: Any = group.attrs.asdict()
            scales = attributes.get("ome", attributes)["multiscales"][0]
            self._array: Any = group[scales["datasets"][0]["path"]]
            axes = {axis["name"]: axis for axis in scales["axes"]}
        except (KeyError, IndexError, TypeError, ValueError, OSError):
            raise PictureError(f"{path} is no OME-Zarr picture, or cut short; get a whole copy.") from None
        sizes = dict(zip(axes, self._array.shape, strict=True))
        single = all(size == 1 for name, size in sizes.items() if name not in "cyx")
        if sizes.get("c") != 3 or not {"x", "y"} <= set(sizes) or not single or self._array.dtype != np.uint8:
            raise PictureError(
                f"{path} holds {self._array.dtype} values of axes {sizes}; give one plane of 8-bit RGB (c, y, x)."
            )
        self._axes = list(axes)
        objective = (scales.get("metadata") or {}).get(MAGNIFICATION)
        self.facts = SlideFacts(
            str(path), sizes["y"], sizes["x"], self._mpp(scales["datasets"][0], axes), _number(objective)
        )

    def _mpp(self, dataset: Any, axes: Any) -> tuple[float, float] | None:
        scaling = [t["scale"] for t in dataset.get("coordinateTransformations", ()) if t.get("type") == "scale"]
        if not scaling or any(axes[name].get("unit") != "micrometer" for name in "xy"):
            return None
        scale = dict(zip(self._axes, scaling[0], strict=True))
        return float(scale["x"]), float(scale["y"])

    def read(self, top: int, left: int, height: int, width: int) -> Window:
        place = {"y": slice(top, top + height), "x": slice(left, left + width), "c": slice(None)}
        try:
            part = np.asarray(self._array[tuple(place.get(name, 0) for name in self._axes)])
        except (RuntimeError, ValueError, OSError) as error:
            raise PictureError(f"{self.facts.name} is damaged ({error}); get a whole copy.") from None
        kept = [name for name in self._axes if name in place]
        return np.ascontiguousarray(np.transpose(part, [kept.index(name) for name in "yxc"]))

    def associated(self, name: str) -> Window | None:
        return None


def _tiff_slide(path: Path) -> TiffSlide | None:
    """A tiled TIFF of 8-bit RGB; None for other TIFFs, which are read as pictures. Refuses axes that are unclear."""
    with opened(path) as file:
        first = file.series[0]
        axes, page = first.axes, first.keyframe
        if axes not in ("YXS", "YX", "SYX"):
            raise PictureError(
                f"{path} has axes {axes} of {first.shape}, so that it is not clear which picture is meant; "
                "save one plane with axes YXS."
            )
        if not page.is_tiled or first.dtype != np.uint8 or axes != "YXS" or page.samplesperpixel != 3:
            return None
        mpp, objective = _ome_facts(file.ome_metadata) if file.is_ome else (_resolution_mpp(page), None)
        return TiffSlide(path, SlideFacts(str(path), first.shape[0], first.shape[1], mpp, objective))


def _ome_facts(xml: str | None) -> tuple[tuple[float, float] | None, float | None]:
    """Micrometres a pixel and magnification of OME-XML."""
    found = {
        key: _number(value)
        for key, value in re.findall(r'(PhysicalSize[XY]|NominalMagnification)="([^"]+)"', xml or "")
    }
    across, down = found.get("PhysicalSizeX"), found.get("PhysicalSizeY")
    return (across, down) if across and down else None, found.get("NominalMagnification")


def _resolution_mpp(page: Any) -> tuple[float, float] | None:
    """Micrometres a pixel by the resolution tags, where they are finer than any printer's."""
    across, down = page.get_resolution(unit="micrometer")
    return (1 / across, 1 / down) if across > 0.02 and down > 0.02 else None


def measure_slide(slide: Slide, normalizer: StainNormalizer) -> Profile:
    """The appearance of a slide from windows spread evenly over it, in full resolution."""
    return normalizer.profile_of([slide_sample(slide, normalizer.threads)], [slide.facts.name])


def slide_sample(slide: Slide, threads: int = 1) -> Colours:
    """Colours (n, 3) in 0..1 of windows spread evenly over the slide."""
    with ThreadPoolExecutor(threads) as pool:
        places = _places(slide, _SAMPLE_SIDE, _SAMPLE_WINDOWS)
        windows = list(pool.map(lambda place: slide.read(*place).reshape(-1, 3), places))
    return evenly(np.concatenate(windows), _SAMPLE_PIXELS).astype(np.float32) / np.float32(255)


def sample_of(path: Path) -> Colours:
    """Colours (n, 3) in 0..1 of a picture or slide in a file."""
    slide = open_slide(path)
    return sample_colours(read_picture(path), str(path)) if slide is None else slide_sample(slide)


def check_windows(slide: Slide) -> list[tuple[int, int, int, int]]:
    """The windows (top, left, height, width) of the slide with most tissue, for the check."""
    sample = slide_sample(slide)
    white = estimate_white(sample)

    def tissue(place: tuple[int, int, int, int]) -> float:
        window = slide.read(*place)[::4, ::4].reshape(-1, 3).astype(np.float32) / np.float32(255)
        return float(tissue_mask(window, white).mean())

    places = list(_places(slide, _CHECK_SIDE, 8 * _CHECK_WINDOWS))
    return sorted(sorted(places, key=tissue, reverse=True)[:_CHECK_WINDOWS])


def _places(slide: Slide, side: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows on an even lattice, at most so many, and no more than fit beside each other."""
    facts = slide.facts
    height, width = min(side, facts.height), min(side, facts.width)
    step = max(side, (facts.height * facts.width / most) ** 0.5)
    for top in _spread(facts.height - height, step):
        for left in _spread(facts.width - width, step):
            yield top, left, height, width


def _spread(room: int, step: float) -> list[int]:
    count = int(room // step) + 1
    return [int(room * (i + 0.5) / count) for i in range(count)] if count > 1 else [room // 2]


def is_zarr(path: Path) -> bool:
    """Whether a path is that of a Zarr folder, by its name."""
    return path.suffix.lower() == ".zarr"


def _number(text: str | float | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def _openslide() -> Any:
    try:
        import openslide
    except ImportError:
        raise UserError("Whole slides need more packages: pip install 'impasto[medical]'.") from None
    return openslide
