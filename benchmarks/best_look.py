"""Which settings the look `best` should have: each candidate at several content weights, on held-out pairs.

    python -m benchmarks.best_look [FOLDER] [--pairs 20] [--size 256] [--iterations 100] [--only NAME ...]

Every candidate but `classic` is painted with each content weight of `WEIGHTS`, so that it is a curve of style distance
over content distance, by each of the networks that judge (none was optimised against). What is compared is the style
distance where the curve has the content distance that `classic` has: read off between the weights, in logarithms, or at
the curve's end where it does not go that far (such pairs are counted). Pictures stay in FOLDER (default
out/bench-best-look) and are painted once. States: the settings of `best` are nearer the style than those of `classic`
at that equal content, on average by both networks and in most pairs.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import impasto
from benchmarks.data import eval_pairs
from benchmarks.painted import painted
from benchmarks.verdict import verdict
from impasto.evaluation.deep import NEEDED
from impasto.evaluation.evaluate import Evaluation

WEIGHTS = (2.5, 5.0)
CLASSIC_WEIGHT = 5.0
# Each over the look `classic`, but for `best`, which is that look.
CANDIDATES: dict[str, dict[str, Any]] = {
    "classic": {},
    "best": {"look": "best"},
    "from the draft": {"init": "draft"},
    "auto layers": {"style_layers": "auto", "content_layers": "auto"},
    "average pooling": {"pooling": "avg"},
    "wasserstein": {"style_loss": "wasserstein"},
    "moments": {"style_loss": "moments"},
    "nearest": {"style_loss": "nearest"},
    "remd": {"style_loss": "remd"},
    "histogram": {"style_loss": "histogram"},
}


def paint(folder: Path, names: list[str], asked: argparse.Namespace) -> None:
    with impasto.Session(size=asked.size, iterations=asked.iterations) as session:
        jobs = [(name, weight) for name in names for weight in weights_of(name)]
        for (photo, style), (name, weight) in itertools.product(eval_pairs(asked.pairs), jobs):
            fields = {"look": "classic", **CANDIDATES[name], "content_weight": weight}
            painted(session, place(folder, name, weight), photo, style, **fields)


def weights_of(name: str) -> tuple[float, ...]:
    return (CLASSIC_WEIGHT,) if name == "classic" else WEIGHTS


def place(folder: Path, name: str, weight: float) -> Path:
    return folder / f"{name.replace(' ', '-')}-{weight:g}"


@dataclass(frozen=True)
class Curve:
    """A candidate's results, one evaluation a content weight."""

    found: list[Evaluation]

    def points(self, network: str, pair: int) -> list[tuple[float, float]]:
        """Logarithms of content and style distance."""
        values = ((one.values(f"content/{network}"), one.values(f"style/{network}")) for one in self.found)
        return sorted((math.log(contents[pair]), math.log(styles[pair])) for contents, styles in values)

    def style_at(self, network: str, pair: int, content: float) -> float:
        """The logarithm of the style distance where that of the content distance is `content`."""
        contents, styles = zip(*self.points(network, pair), strict=True)
        return float(np.interp(content, contents, styles))

    def reaches(self, network: str, pair: int, content: float) -> bool:
        points = self.points(network, pair)
        return points[0][0] <= content <= points[-1][0]


def compare(curve: Curve, classic: Curve, network: str) -> tuple[float, int, int]:
    """Style distance as a multiple of the classic one at equal content, the geometric mean over pairs; in how many
    pairs it is less; in how many pairs the curve does not go as far."""
    (own,) = classic.found
    contents = [math.log(value) for value in own.values(f"content/{network}")]
    styles = [math.log(value) for value in own.values(f"style/{network}")]
    ratios = [
        curve.style_at(network, pair, at) - style for pair, (at, style) in enumerate(zip(contents, styles, strict=True))
    ]
    beyond = sum(not curve.reaches(network, pair, at) for pair, at in enumerate(contents))
    return math.exp(statistics.mean(ratios)), sum(ratio < 0 for ratio in ratios), beyond


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/bench-best-look"))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    asked = parser.parse_args()
    names = list(dict.fromkeys(["classic", "best", *asked.only]))
    paint(asked.folder, names, asked)
    curves = {
        name: Curve(
            [impasto.evaluate(place(asked.folder, name, weight), size=asked.size) for weight in weights_of(name)]
        )
        for name in names
    }
    met = {}
    print(f"{'':20} {'content by weight ' + ', '.join(f'{weight:g}' for weight in WEIGHTS):>36}", end="")
    print("  style at equal content, pairs better, pairs beyond the curve")
    for name, curve in curves.items():
        for network in NEEDED:
            contents = ", ".join(f"{one.mean(f'content/{network}').mean:.3f}" for one in curve.found)
            ratio, wins, beyond = compare(curve, curves["classic"], network)
            print(f"{name:20} {network:20} {contents:24} {ratio:7.3f} {wins:3} of {asked.pairs} {beyond:3}", flush=True)
            if name == "best":
                met[f"{network}: {name} nearer the style than classic"] = ratio < 1 and wins > asked.pairs / 2
    print()
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
