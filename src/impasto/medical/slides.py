"""Whole slides: read in windows, measured from a spread sample, mapped in strips, written as OME-TIFF or OME-Zarr.

Read by OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM and what else it knows; by libvips: tiled TIFF and OME-TIFF with
8-bit RGB; by zarr: OME-Zarr of the same. Never more than a few strips are in memory.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import UInt8

from impasto.errors import PictureError, RunError, UserError
from impasto.medical.normalizer import Profile, StainNormalizer, evenly, sample_colours, warn_of_cuts
from impasto.medical.ome_zarr import CHUNK, MAGNIFICATION, write_ome_zarr
from impasto.medical.pointwise import PointwiseMap
from impasto.medical.scans import replaced
from impasto.medical.tiff import opened
from impasto.medical.tissue import Colours, estimate_white, tissue_mask
from impasto.picture import read_picture

Window = UInt8[np.ndarray, "h w 3"]

STRIP_ROWS: Final = CHUNK
TILE: Final = 256
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


def transform_slide(
    slide: Slide,
    normalizer: StainNormalizer,
    output: str | Path,
    *,
    quality: int | None = 90,
    keep: Sequence[str] = (),
    on_rows: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write the slide in the reference's stain as a pyramidal OME-TIFF or OME-Zarr, whole or not at all.

    output: .ome.tif, or .ome.zarr, which is a folder and always lossless. quality: of an OME-TIFF's JPEG, 1..100,
    without loss of colour resolution from 90; None for lossless (deflate). keep: "label" and "macro" to write those
    pictures too, into an OME-TIFF; they may name the patient. Resolution and magnification are kept, all else that the
    file says is left out. on_rows is told how many rows are done.

    Raises UserError for other outputs and those that name the patient, PictureError for damaged files, RunError when
    writing fails.
    """
    output = Path(output)
    check_slide_output(output, slide)
    if keep and is_zarr(output):
        raise UserError(f"{output} is to hold the slide alone; leave out --keep, or write .ome.tif.")
    kept = [(name, picture) for name in keep if (picture := slide.associated(name)) is not None]
    missing = [name for name in keep if name not in dict(kept)]
    if missing:
        raise UserError(f"{slide.facts.name} has no {missing[0]} picture; leave out --keep {missing[0]}.")
    pointwise = normalizer.map_from(measure_slide(slide, normalizer))
    try:
        with replaced(output) as partial, ThreadPoolExecutor(normalizer.threads) as pool:
            cuts = list[float]()
            strips = _strips(slide, pointwise, pool, on_rows, cuts)
            if is_zarr(output):
                write_ome_zarr(slide.facts, strips, partial)
            else:
                _write_tiff(slide.facts, strips, partial, quality)
                _finish(partial, ome_xml(slide.facts, kept), kept)
            warn_of_cuts(sum(cuts) / (slide.facts.height * slide.facts.width), slide.facts.name)
    except OSError as error:
        raise RunError(
            f"{output} could not be written ({error.strerror}); make room or choose another place."
        ) from error


def is_zarr(path: Path) -> bool:
    """Whether a path is that of a Zarr folder, by its name."""
    return path.suffix.lower() == ".zarr"


def check_slide_output(output: Path, slide: Slide) -> None:
    """Raise UserError for an output of another format, or with the patient's name or number in its path."""
    if output.suffix.lower() not in (".tif", ".tiff", ".zarr"):
        raise UserError(f"{output} is to hold a whole slide; end its name in .ome.tif or .ome.zarr.")
    words = {word for text in slide.facts.patient for word in re.split(r"[\W_]+", text.lower()) if len(word) > 2}
    if words & set(re.split(r"[\W_]+", str(output).lower())):
        raise UserError("The output's path names the patient; choose a name that does not.")


def _write_tiff(facts: SlideFacts, strips: Iterator[Window], path: Path, quality: int | None) -> None:
    import pyvips

    failures = list[BaseException]()
    stream, source = _Stream(facts, strips, failures), pyvips.SourceCustom()
    source.on_read(stream.read)
    compression = {"compression": "deflate"} if quality is None else {"compression": "jpeg", "Q": quality}
    per_mm = [1000 / value for value in facts.mpp] if facts.mpp else [1.0, 1.0]
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential").copy(xres=per_mm[0], yres=per_mm[1])
        image.set_type(pyvips.GValue.gstr_type, "image-description", "slide")
        image.tiffsave(
            str(path), tile=True, tile_width=TILE, tile_height=TILE, pyramid=True, subifd=True, bigtiff=True,
            resunit="cm", **compression,
        )  # fmt: skip
    except pyvips.Error as error:
        if not failures:
            raise RunError(f"The slide could not be written ({str(error).strip()}); is there room?") from None
    if failures:
        raise failures[0]


def _strips(
    slide: Slide,
    pointwise: PointwiseMap,
    pool: ThreadPoolExecutor,
    on_rows: Callable[[int], object],
    cuts: list[float],
) -> Iterator[Window]:
    """The slide's strips from top to bottom, mapped; the next is under way while one is being written.

    cuts: gets the numbers of pixels that were cut to the limits of the range.
    """
    facts = slide.facts

    def one(top: int, left: int) -> Window:
        window = slide.read(top, left, min(STRIP_ROWS, facts.height - top), min(4 * STRIP_ROWS, facts.width - left))
        mapped, cut = pointwise(window)
        cuts.append(cut * window.shape[0] * window.shape[1])
        return mapped

    def start(top: int) -> list[Any]:
        return [pool.submit(one, top, left) for left in range(0, facts.width, 4 * STRIP_ROWS)]

    under_way = start(0)
    for top in range(0, facts.height, STRIP_ROWS):
        following = start(top + STRIP_ROWS) if top + STRIP_ROWS < facts.height else []
        yield np.concatenate([task.result() for task in under_way], axis=1)
        on_rows(min(top + STRIP_ROWS, facts.height))
        under_way = following


class _Stream:
    """The strips as the bytes of an uncompressed PNG file, which libvips reads from top to bottom."""

    def __init__(self, facts: SlideFacts, strips: Iterator[Window], failures: list[BaseException]) -> None:
        self.parts, self.failures = _png(facts.height, facts.width, strips), failures
        self.buffer = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end or after a failure, which is kept for the caller."""
        try:
            while not self.buffer:
                self.buffer = memoryview(next(self.parts))
        except StopIteration:
            return b""
        except BaseException as error:  # noqa: BLE001 - it is raised again where libvips was called
            self.failures.append(error)
            return b""
        part, self.buffer = self.buffer[:size], self.buffer[size:]
        return bytes(part)


def _png(height: int, width: int, strips: Iterator[Window]) -> Iterator[bytes]:
    """A PNG file of 8-bit RGB, its pixels stored as they are (libvips can stream no plainer format)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))

    yield b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    packer = zlib.compressobj(0)
    for strip in strips:
        # Each row begins with the number of its filter, 0 for none.
        rows = np.zeros((len(strip), 1 + 3 * width), np.uint8)
        rows[:, 1:] = strip.reshape(len(strip), -1)
        if data := packer.compress(rows.data):
            yield chunk(b"IDAT", data)
    yield chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b"")


def ome_xml(facts: SlideFacts, kept: Sequence[tuple[str, Window]] = ()) -> str:
    """OME-XML (schema 2016-06) of the slide and of the pictures kept with it."""
    objective = f' NominalMagnification="{facts.objective:g}"' if facts.objective else ""
    size = f' PhysicalSizeX="{facts.mpp[0]:.8g}" PhysicalSizeXUnit="µm" PhysicalSizeY="{facts.mpp[1]:.8g}" ' \
           'PhysicalSizeYUnit="µm"' if facts.mpp else ""  # fmt: skip
    images = [("slide", facts.height, facts.width, size)]
    images += [(name, picture.shape[0], picture.shape[1], "") for name, picture in kept]
    parts = [
        f'<Image ID="Image:{i}" Name={quoteattr(name)}>'
        + ('<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0:0"/>' if i == 0 else "")
        + f'<Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="3" '
        f'SizeZ="1" SizeT="1" Interleaved="true"{physical}><Channel ID="Channel:{i}:0" SamplesPerPixel="3"/>'
        f'<TiffData IFD="{i}" PlaneCount="1"/></Pixels></Image>'
        for i, (name, height, width, physical) in enumerate(images)
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="'
        'http://www.openmicroscopy.org/Schemas/OME/2016-06 http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd">'
        f'<Instrument ID="Instrument:0"><Objective ID="Objective:0:0"{objective}/></Instrument>{"".join(parts)}</OME>'
    )


def _finish(path: Path, description: str, kept: Sequence[tuple[str, Window]]) -> None:
    """Add the pictures kept with the slide, and then the description, which closes the file to tifffile."""
    import tifffile

    if kept:
        with tifffile.TiffWriter(path, append=True, bigtiff=True) as file:
            for _, picture in kept:
                file.write(picture, photometric="rgb", metadata=None, compression="deflate")
    tifffile.tiffcomment(path, description.encode())


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
