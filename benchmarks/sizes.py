"""Does the same job look the same at any size? Held-out pairs at 256 and 512 px, 40 iterations each.

    python -m benchmarks.sizes [FOLDER]       pictures stay in FOLDER (default out/bench-sizes) and are painted once

Every result is made as small as the smallest: the mean OKLab difference to it, and the figures of the networks that
judge, which have to be within a tenth of one another. Artefact scores are of the results at their own size, beside
those of the style at the same size. The contact sheet, FOLDER/sheet.png, has a row a pair: photo, style, the result by
size.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import impasto
from benchmarks.data import eval_pairs
from benchmarks.verdict import verdict
from impasto.colour import srgb_to_oklab
from impasto.evaluation.artefacts import border_score, checkerboard_score
from impasto.evaluation.case import View, fitted
from impasto.picture import Picture, read_picture

SIZES, PAIRS, ITERATIONS = (256, 512), 2, 40
MOST_DIFFERENCE, MOST_CHANGE = 0.1, 0.1
SHEET_PX = 320


def paint(folder: Path) -> dict[tuple[str, int], Path]:
    """The file of every pair at every size."""
    files = {}
    with impasto.Session() as session:
        for size in SIZES:
            for photo, style in eval_pairs(PAIRS):
                file = folder / str(size) / f"{photo.stem}-{style.stem}.png"
                files[file.stem, size] = file
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    session.stylize(photo, style, size=size, iterations=ITERATIONS).save(file)
    return files


def difference(large: Picture, small: Picture) -> float:
    """Mean OKLab distance, the larger one made as small."""
    reduced = large.resized(*small.size_hw).pixels
    return float(np.linalg.norm(srgb_to_oklab(reduced) - srgb_to_oklab(small.pixels), axis=0).mean())


def artefacts(picture: Picture, style: Picture) -> list[float]:
    """Border and checkerboard of a result, and of its style at the same size."""
    own = style.resized(*fitted(style, max(picture.size_hw)))
    views = [View(picture.pixels), View(own.pixels)]
    return [score for view in views for score in (border_score(view), checkerboard_score(view.luma))]


def sheet(folder: Path, files: dict[tuple[str, int], Path]) -> None:
    rows = []
    for photo, style in eval_pairs(PAIRS):
        pictures = [photo, style, *(files[f"{photo.stem}-{style.stem}", size] for size in SIZES)]
        cells = [Image.open(file).convert("RGB") for file in pictures]
        row = Image.new("RGB", (SHEET_PX * len(cells), SHEET_PX), "white")
        for position, cell in enumerate(cells):
            cell.thumbnail((SHEET_PX - 8, SHEET_PX - 8), Image.Resampling.LANCZOS)
            row.paste(cell, (position * SHEET_PX, 0))
        rows.append(row)
    whole = Image.new("RGB", (rows[0].width, SHEET_PX * len(rows)))
    for position, row in enumerate(rows):
        whole.paste(row, (0, position * SHEET_PX))
    whole.save(folder / "sheet.png")


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/bench-sizes")
    files = paint(folder)
    sheet(folder, files)
    found = {size: impasto.evaluate(folder / str(size), size=SIZES[0]) for size in SIZES}
    print(f"{'pair':36} {'px':>5} {'dE':>6} {'border':>7} {'style own':>9} {'board dB':>8} {'style own':>9}")
    differences = []
    for photo, style in eval_pairs(PAIRS):
        name = f"{photo.stem}-{style.stem}"
        small = read_picture(files[name, SIZES[0]])
        for size in SIZES:
            picture = read_picture(files[name, size])
            apart = difference(picture, small)
            differences += [apart] if size != SIZES[0] else []
            border, board, own_border, own_board = artefacts(picture, read_picture(style))
            print(f"{name:36} {size:5} {apart:6.3f} {border:7.2f} {own_border:9.2f} {board:8.2f} {own_board:9.2f}")
    met = {
        f"mean dE {statistics.mean(differences):.3f} <= {MOST_DIFFERENCE}": statistics.mean(differences)
        <= MOST_DIFFERENCE
    }
    for name in (figure for figure in found[SIZES[0]].figures if "/" in figure):
        means = [one.mean(name).mean for one in found.values()]
        change = (max(means) - min(means)) / statistics.mean(means)
        told = ", ".join(f"{mean:.3f}" for mean in means)
        met[f"{name} {told}: within {MOST_CHANGE:.0%}"] = change <= MOST_CHANGE
    print()
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
