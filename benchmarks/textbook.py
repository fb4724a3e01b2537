"""Least seconds to the objective that the textbook's run reaches, on ten pairs at 512 px.

    python -m benchmarks.textbook [--pairs 10] [--size 512] [--evaluations 150]

The textbook's run is `benchmarks.gatys_loop`: float32 by autograd, torch's L-BFGS with a history of 100, from the photo
that is clamped before each evaluation; its target is the objective at its last evaluation. Ours is the program at full
size only: coarse to fine is for the look, and is no sooner there (`benchmarks.fewer`). Both are given the pictures at
that size, timed from loaded pictures and network to a clamped 8-bit picture, one after the other on each pair, and
judged as such by the same float32 code.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from torch import Tensor

from benchmarks.data import eval_pairs
from benchmarks.gatys_loop import network, paint
from benchmarks.judge import TOWARDS_IT, Judge, as_saved, read
from benchmarks.verdict import verdict
from impasto.events import Step
from impasto.hardware import keep_big_blocks
from impasto.job import StyleJob
from impasto.nets.loaded import Loaded
from impasto.picture import Picture
from impasto.run import prepare_run

LEAST_RATIO = 8.0
MOST_ITERATIONS = 300
# Our own figures come of bfloat16, within a thousandth: the judge is asked about pictures from this much above the
# target on.
MARGIN = 0.003


class Textbook:
    """The textbook's run, its network loaded once."""

    def __init__(self) -> None:
        self.features = network()

    def run(self, photo: Tensor, style: Tensor, evaluations: int) -> tuple[float, Tensor]:
        """Seconds, and the 8-bit picture of the last evaluation."""
        last = photo

        def keep(count: int, picture: Tensor) -> None:
            nonlocal last
            if count == evaluations - 1:
                last = picture.clone()

        began = time.perf_counter()
        paint(self.features, photo, style, evaluations, keep)
        picture = as_saved(last.numpy())
        return time.perf_counter() - began, picture


class Ours:
    """The program's own run, until the judge finds a picture good enough; judging is not counted."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.loaded = judge, Loaded()

    def run(self, photo: Tensor, style: Tensor, target: float) -> tuple[float, int]:
        """Seconds and iterations to a picture at or under the target; infinite where there is none."""
        fields = TOWARDS_IT | {"pyramid_from": "off", "iterations": MOST_ITERATIONS}
        pictures = [Picture(picture.numpy()) for picture in (photo, style)]
        prepared = prepare_run(StyleJob.of(fields), photo=pictures[0], styles=pictures[1:], loaded=self.loaded)
        found: list[tuple[float, int]] = []
        judging = 0.0
        began = time.perf_counter()

        def look(step: Step) -> bool:
            nonlocal judging
            if step.entry.total > target * (1 + MARGIN):
                return True
            picture = np.round(step.preview().pixels * 255).astype(np.uint8)
            seconds = time.perf_counter() - began - judging
            if self.judge.objective(as_saved(picture / 255), photo, style) <= target:
                found.append((seconds, step.iteration + 1))
            judging = time.perf_counter() - began - seconds
            return not found

        prepared.run([look])
        return found[0] if found else (float("inf"), MOST_ITERATIONS)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--evaluations", type=int, default=150)
    asked = parser.parse_args()
    keep_big_blocks()
    judge, pairs = Judge(), eval_pairs(asked.pairs)
    textbook, ours = Textbook(), Ours(judge)
    # Both once for a moment, so that nothing is met for the first time within a timing.
    textbook.run(read(pairs[0][0], asked.size), read(pairs[0][1], asked.size), 2)
    ours.run(*(read(file, asked.size) for file in pairs[0]), 1e9)
    print(f"{'pair':42} {'objective':>9} {'textbook':>10} {'s each':>7} {'ours':>8} {'iterations':>10} {'ratio':>6}")
    ratios = []
    for files in pairs:
        photo, style = (read(file, asked.size) for file in files)
        seconds, picture = textbook.run(photo, style, asked.evaluations)
        target = judge.objective(picture, photo, style)
        own, iterations = ours.run(photo, style, target)
        ratios.append(seconds / own)
        name = f"{files[0].stem} + {files[1].stem}, {photo.shape[2]}x{photo.shape[1]}"
        times = f"{seconds:8.1f} s {seconds / asked.evaluations:7.2f} {own:6.1f} s {iterations:10}"
        print(f"{name:42} {target:9.2f} {times} {ratios[-1]:6.1f}", flush=True)
    print(f"ratio: mean {statistics.mean(ratios):.1f}, median {statistics.median(ratios):.1f}, worst {min(ratios):.1f}")
    return verdict({f"median ratio >= {LEAST_RATIO:.0f}": statistics.median(ratios) >= LEAST_RATIO})


if __name__ == "__main__":
    sys.exit(main())
