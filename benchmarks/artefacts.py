"""Does the default leave artefacts? Forty results beside their own styles: borders, patterns, grey and black.

    python -m benchmarks.artefacts [FOLDER] [--pairs 40] [--size 512] [--iterations 60]

Every held-out photo is painted in two held-out styles. States, of results and of styles at the same size: the mean
scores of `border` and `checkerboard` are below the styles' own; no result is much darker or lighter than its style, or
much greyer. Pictures stay in FOLDER (default out/bench-artefacts) and are painted once; FOLDER/sheet-1.png and the
further ones, to be looked at, have a row a pair: photo, style, result.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import impasto
from benchmarks.data import eval_pairs
from benchmarks.painted import painted
from benchmarks.sheet import save_sheet
from benchmarks.verdict import verdict
from impasto.evaluation.artefacts import border_score, checkerboard_score
from impasto.evaluation.case import View, fitted
from impasto.picture import Picture, read_picture

# Which style a photo meets, by how far behind it in the order of names.
OFFSETS = (7, 3)
MOST_LIGHTNESS, LEAST_CHROMA = 0.15, 0.5
ROWS_A_SHEET, CELL_PX = 10, 400
SCORES = ("border", "checkerboard", "lightness", "chroma")


def paint(folder: Path, pairs: Sequence[tuple[Path, Path]], size: int, iterations: int) -> list[Path]:
    """The result of every pair."""
    with impasto.Session(size=size, iterations=iterations) as session:
        return [painted(session, folder, *pair) for pair in pairs]


def scores(view: View) -> tuple[float, ...]:
    """By `SCORES`; lightness and chroma are means of OKLab."""
    lightness, a, b = view.oklab
    return (
        border_score(view), checkerboard_score(view.luma), float(lightness.mean()), float(np.hypot(a, b).mean()),
    )  # fmt: skip


def beside_style(result: Picture, style: Picture) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores of a result, and of its style at the same size."""
    own = style.resized(*fitted(style, max(result.size_hw)))
    return scores(View(result.pixels)), scores(View(own.pixels))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/bench-artefacts"))
    for name, default in (("pairs", 40), ("size", 512), ("iterations", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    pairs = [pair for offset in OFFSETS for pair in eval_pairs(-(-asked.pairs // len(OFFSETS)), offset)][: asked.pairs]
    files = paint(asked.folder, pairs, asked.size, asked.iterations)
    rows = [(*pair, file) for pair, file in zip(pairs, files, strict=True)]
    for at in range(0, len(rows), ROWS_A_SHEET):
        save_sheet(asked.folder / f"sheet-{at // ROWS_A_SHEET + 1}.png", rows[at : at + ROWS_A_SHEET], CELL_PX)
    found: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
    print(f"{'result (its style)':42}", *(f"{name:>16}" for name in SCORES))
    for file, (_, style) in zip(files, pairs, strict=True):
        found.append(beside_style(read_picture(file), read_picture(style)))
        print(f"{file.stem:42}", *(f"{one:8.2f} ({two:5.2f})" for one, two in zip(*found[-1], strict=True)), flush=True)
    return verdict(figures(found))


def figures(found: Sequence[tuple[tuple[float, ...], tuple[float, ...]]]) -> dict[str, bool]:
    met = {}
    print()
    for at, name in enumerate(SCORES[:2]):
        ours, own = ([side[at] for side in sides] for sides in zip(*found, strict=True))
        below = sum(one < other for one, other in zip(ours, own, strict=True))
        for of, values in (("results", ours), ("styles", own)):
            told = statistics.mean(values), statistics.median(values), max(values)
            print(f"{name:12} {of:8} mean {told[0]:.2f}, median {told[1]:.2f}, worst {told[2]:.2f}")
        label = f"{name}: mean below the styles' own; in single pairs {below} of {len(found)}"
        met[label] = statistics.mean(ours) < statistics.mean(own)
    apart = max(abs(result[2] - style[2]) for result, style in found)
    met[f"lightness at most {MOST_LIGHTNESS} from the style's in every pair, worst {apart:.3f}"] = (
        apart <= MOST_LIGHTNESS
    )
    share = min(result[3] / style[3] for result, style in found if style[3] > 0.01)
    met[f"chroma at least {LEAST_CHROMA} of the style's in every pair, worst {share:.2f}"] = share >= LEAST_CHROMA
    return met


if __name__ == "__main__":
    sys.exit(main())
