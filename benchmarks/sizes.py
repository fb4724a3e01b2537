"""Does the same job look the same at any size? The largest held-out photos at 256, 512, 1024 and 2048 px.

    python -m benchmarks.sizes [FOLDER] [--pairs 6] [--iterations 60]

Pictures stay in FOLDER (default out/bench-sizes) and are painted once. Every result is made as small as the smallest:
the mean OKLab difference to it, and the figures of the networks that judge, whose means have to be within a tenth of
one another. Artefact scores are of the results at their own size, beside those of the style at the same size. The
contact sheet, FOLDER/sheet.png, has a row a pair: photo, style, the result by size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import impasto
from benchmarks.artefacts import beside_style
from benchmarks.data import eval_pairs
from benchmarks.painted import painted
from benchmarks.sheet import save_sheet
from benchmarks.verdict import verdict
from impasto.colour import srgb_to_oklab
from impasto.picture import Picture, read_picture

SIZES = (256, 512, 1024, 2048)
MOST_DIFFERENCE, MOST_CHANGE = 0.06, 0.1
CELL_PX = 400

Pairs = Sequence[tuple[Path, Path]]


def large_pairs(count: int) -> Pairs:
    """Those with the largest photos, which the large sizes enlarge least."""
    pairs = eval_pairs(20)
    return sorted(pairs, key=lambda pair: max(Image.open(pair[0]).size), reverse=True)[:count]


def paint(folder: Path, pairs: Pairs, iterations: int) -> dict[tuple[str, int], Path]:
    """The file of every pair at every size."""
    files = {}
    with impasto.Session(iterations=iterations) as session:
        for size in SIZES:
            for photo, style in pairs:
                file = painted(session, folder / str(size), photo, style, size=size)
                files[file.stem, size] = file
    return files


def difference(large: Picture, small: Picture) -> float:
    """Mean OKLab distance, the larger one made as small."""
    reduced = large.resized(*small.size_hw).pixels
    return float(np.linalg.norm(srgb_to_oklab(reduced) - srgb_to_oklab(small.pixels), axis=0).mean())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/bench-sizes"))
    for name, default in (("pairs", 6), ("iterations", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    pairs = large_pairs(asked.pairs)
    files = paint(asked.folder, pairs, asked.iterations)
    names = [f"{photo.stem}-{style.stem}" for photo, style in pairs]
    rows = [(*pair, *(files[name, size] for size in SIZES)) for name, pair in zip(names, pairs, strict=True)]
    save_sheet(asked.folder / "sheet.png", rows, CELL_PX)
    found = {size: impasto.evaluate(asked.folder / str(size), size=SIZES[0]) for size in SIZES}
    print(f"{'pair':36} {'px':>5} {'dE':>6} {'border':>7} {'style own':>9} {'board dB':>8} {'style own':>9}")
    differences = []
    for name, (_, style) in zip(names, pairs, strict=True):
        small = read_picture(files[name, SIZES[0]])
        for size in SIZES:
            picture = read_picture(files[name, size])
            apart = difference(picture, small)
            differences += [apart] if size != SIZES[0] else []
            (border, board, *_), (own_border, own_board, *_) = beside_style(picture, read_picture(style))
            print(f"{name:36} {size:5} {apart:6.3f} {border:7.2f} {own_border:9.2f} {board:8.2f} {own_board:9.2f}")
    print(f"\ndE mean {statistics.mean(differences):.3f}, median {statistics.median(differences):.3f}", end=", ")
    print(f"worst {max(differences):.3f}")
    met = {f"mean dE at most {MOST_DIFFERENCE}": statistics.mean(differences) <= MOST_DIFFERENCE}
    for name in (figure for figure in found[SIZES[0]].figures if "/" in figure):
        means = [one.mean(name).mean for one in found.values()]
        change = (max(means) - min(means)) / statistics.mean(means)
        told = ", ".join(f"{mean:.3f}" for mean in means)
        met[f"{name} {told}: within {MOST_CHANGE:.0%}"] = change <= MOST_CHANGE
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
