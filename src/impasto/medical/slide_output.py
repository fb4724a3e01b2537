"""Whole slides in another stain: mapped in strips, written as OME-TIFF or OME-Zarr.

Never more than a few strips are in memory.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import numpy as np

from impasto.errors import RunError, UserError
from impasto.medical.normalizer import StainNormalizer, warn_of_cuts
from impasto.medical.ome_zarr import CHUNK, write_ome_zarr
from impasto.medical.pointwise import PointwiseMap
from impasto.medical.scans import replaced
from impasto.medical.slides import Slide, SlideFacts, Window, is_zarr, measure_slide

STRIP_ROWS: Final = CHUNK
TILE: Final = 256


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
