"""Layers chosen by the program against those named by hand, at equal content.

    python -m benchmarks.layers [--pairs 20] [--size 256] [--iterations 60]

Each held-out pair is painted with the textbook's layers (content block4_conv2, style block1..5_conv1) at the default
weights. `auto`, and the textbook's style with content from block1_conv1, are painted again and again with other
content weights, until their relative content distance at block4_conv1 is the textbook's to within 2 %. Then ResNet-50,
which had no part in learning the layers, says which is nearer to the style.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import impasto
from benchmarks.data import eval_pairs
from benchmarks.judge import Judge, as_saved
from benchmarks.verdict import verdict
from impasto.evaluation.case import fitted, make_case
from impasto.evaluation.deep import DeepJudge
from impasto.evaluation.judges import judging_network
from impasto.learning.matching import Measured, at_equal_content
from impasto.picture import Picture, read_picture

JUDGE, TOLERANCE, MOST_RUNS = "resnet50-thin", 0.02, 12
SETTINGS: dict[str, dict[str, Any]] = {
    "auto": {"content_layers": "auto", "style_layers": "auto"},
    "block1_conv1": {"content_layers": "block1_conv1"},
}
# Of 20 pairs, and of as many as there are.
LEAST_BETTER = 14 / 20


@dataclass(frozen=True)
class Pair:
    """A photo and a style at the size of the runs, which paints and measures itself."""

    name: str
    photo: Picture
    style: Picture
    session: impasto.Session
    judges: tuple[Judge, DeepJudge]

    def measured(self, **fields: Any) -> Measured:
        return self.judged(as_saved(self.session.stylize(self.photo, self.style, **fields).picture.pixels))

    def judged(self, pixels: Tensor) -> Measured:
        case = make_case(Picture(pixels=pixels.numpy()), self.photo, [(self.style, 1.0)], None)
        content, style = self.judges
        return Measured(content.content_distance(pixels, as_saved(self.photo.pixels)), style.style(case))

    def at_content(self, wanted: float, start: float, fields: dict[str, Any]) -> tuple[Measured, float]:
        """The run whose content is nearest to the one wanted, and the content weight to begin with next time."""
        runs: list[Measured] = []

        def measure(weight: float) -> Measured:
            runs.append(self.measured(content_weight=weight, **fields))
            return runs[-1]

        match = at_equal_content(measure, wanted, start=start, tolerance=TOLERANCE, most_runs=MOST_RUNS)
        return min(runs, key=lambda run: abs(run.content - wanted)), match.weight


def pairs_of(count: int, size: int, session: impasto.Session) -> Iterator[Pair]:
    judges = Judge(), judging_network(JUDGE)
    for files in eval_pairs(count):
        photo, style = (picture.resized(*fitted(picture, size)) for picture in map(read_picture, files))
        yield Pair(" + ".join(file.stem for file in files), photo, style, session, judges)


def compare(pairs: Iterable[Pair]) -> list[dict[str, Measured]]:
    """The textbook, each setting at its content, and the photo unchanged, for every pair."""
    starts, rows = dict.fromkeys(SETTINGS, 1.0), []
    print(f"{'style distance':42} {'content':>8}", *(f"{name:>13}" for name in ("textbook", *SETTINGS, "photo")))
    for pair in pairs:
        found = {"textbook": pair.measured()}
        wanted = found["textbook"].content
        for name, fields in SETTINGS.items():
            found[name], starts[name] = pair.at_content(wanted, starts[name], fields)
        found["photo"] = pair.judged(as_saved(pair.photo.pixels))
        styles = (f"{one.style:13.4f}" for one in found.values())
        print(f"{pair.name:42} {wanted:8.4f}", *styles, flush=True)
        rows.append(found)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, default in (("pairs", 20), ("size", 256), ("iterations", 60), ("threads", os.cpu_count())):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with impasto.Session(look="classic", iterations=asked.iterations, threads=asked.threads) as session:
        rows = compare(pairs_of(asked.pairs, asked.size, session))
    ratio = math.exp(statistics.mean(math.log(row["auto"].style / row["textbook"].style) for row in rows))
    print(f"auto's style distance over the textbook's, geometric mean: {ratio:.3f}\n")
    better = {name: sum(row["auto"].style < row[name].style for row in rows) for name in ("textbook", "block1_conv1")}
    unequal = [
        f"{name} {row[name].content / row['textbook'].content:.2f}"
        for row in rows
        for name in SETTINGS
        if abs(row[name].content / row["textbook"].content - 1) > TOLERANCE
    ]
    least = math.ceil(LEAST_BETTER * len(rows))
    return verdict(
        {
            f"auto better than the textbook on {better['textbook']} of {len(rows)}, at least {least}": (
                better["textbook"] >= least
            ),
            f"auto better than block1_conv1 on {better['block1_conv1']} of {len(rows)}, all": (
                better["block1_conv1"] == len(rows)
            ),
            f"content equal to within {TOLERANCE:.0%}, unequal: {', '.join(unequal) or 'none'}": not unequal,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
