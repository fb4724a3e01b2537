"""Paint the example styles: `python examples/paint_styles.py [NAME ...] [-o FOLDER] [--size 768]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

NAMES = ("night", "ink", "glass", "dots", "woodcut", "planes", "watercolour", "mosaic")
SUPERSAMPLING = 2
QUALITY = 88
LARGEST_FILE = 350_000


def painter(name: str) -> ModuleType:
    """The module that paints a style."""
    return importlib.import_module(f"painters.{name}")


def size_of(name: str, longest: int) -> tuple[int, int]:
    """The width and height of a style whose longest side is given."""
    width, height = painter(name).ASPECT
    return round(width * longest / max(width, height)), round(height * longest / max(width, height))


def paint(name: str, longest: int = 768) -> Image.Image:
    """One style, painted larger and scaled down; the same call gives the same picture."""
    width, height = size_of(name, longest)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    picture = painter(name).paint((height * SUPERSAMPLING, width * SUPERSAMPLING), rng)
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)


def save(picture: Image.Image, target: Path) -> None:
    """As JPEG, at the best quality that keeps the file small."""
    for quality in range(QUALITY, 60, -3):
        picture.save(target, quality=quality, optimize=True)
        if target.stat().st_size <= LARGEST_FILE:
            return


def contact_sheet(folder: Path, columns: int = 4, cell: int = 240) -> Image.Image:
    """All the pictures of a folder, small, side by side."""
    rows = -(-len(NAMES) // columns)
    sheet = Image.new("RGB", (columns * (cell + 12) + 12, rows * (cell + 12) + 12), "#f4f1ea")
    for number, name in enumerate(NAMES):
        with Image.open(folder / f"{name}.jpg") as picture:
            picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
            left, top = (12 + (number % columns) * (cell + 12), 12 + (number // columns) * (cell + 12))
            sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
    return sheet


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Paint the example styles.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to paint (all): {', '.join(NAMES)}")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "styles", help="folder to write to")
    parser.add_argument("--size", type=int, default=768, help="pixels along the longest side")
    parser.add_argument("--sheet", action="store_true", help="also write contact-sheet.jpg, all styles side by side")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such style: {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or NAMES:
        start = time.perf_counter()
        target = options.output / f"{name}.jpg"
        save(paint(name, options.size), target)
        print(f"{target}: {target.stat().st_size // 1024} KB, {time.perf_counter() - start:.1f} s")
    if options.sheet:
        save(contact_sheet(options.output), options.output / "contact-sheet.jpg")


if __name__ == "__main__":
    main()
