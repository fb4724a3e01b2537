"""The study behind the default schedule: evaluations until the objective of the textbook's 150th, by setting.

    python -m benchmarks.fewer [--pairs 2] [--size 384] [--evaluations 150] [--only NAME ...]

All settings see the same objective by the same explicit pass, so that evaluations can be compared; one at half the size
counts a quarter. The textbook's optimizer is torch's L-BFGS, history 100, the picture clamped before each evaluation.
Seconds are left to `benchmarks.textbook`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from benchmarks.cheap_first import TO_BLOCK3, crops_first, from_half, moments_carried, other_first
from benchmarks.data import eval_pairs
from benchmarks.problem import Problem, Schedule, Size, Trace, counted, enlarged
from benchmarks.verdict import verdict
from impasto.engines.optimizers import Adam, Lbfgs, Optimizer
from impasto.nets.loaded import Loaded

LEVELS = 5
FIRST_BLOCKS = {
    "style_layers": [f"block{block}_conv1" for block in (1, 2, 3)], "content_layers": ["block3_conv1"],
}  # fmt: skip


class Loops(Lbfgs):
    """By two loops over lists of pairs (Nocedal & Wright, algorithm 7.4), which may be changed from outside."""

    def __init__(self, learning_rate: float | None = None) -> None:
        super().__init__(learning_rate)
        self.moves: list[Tensor] = []
        self.changes: list[Tensor] = []

    def step(self, picture: Tensor, gradient: Tensor, total: float, progress: float) -> Tensor:
        if self.last is not None:
            move, change = picture - self.last[0], gradient - self.last[1]
            if torch.sum(move * change) > 1e-10 * move.norm() * change.norm():
                self.take(move, change)
        self.last = (picture.clone(), gradient.clone(), gradient)
        if not self.moves:
            move = self.smoothed(gradient)
            return picture - self.rate * self.first_step * move / move.abs().mean()
        return picture - self.rate * self.direction(gradient)

    def take(self, move: Tensor, change: Tensor) -> None:
        self.moves = [*self.moves, move][-self.memory :]
        self.changes = [*self.changes, change][-self.memory :]

    def direction(self, gradient: Tensor) -> Tensor:
        pairs, result, along = list(zip(self.moves, self.changes, strict=True)), gradient.clone(), list[Tensor]()
        for move, change in reversed(pairs):
            along.append(torch.sum(move * result) / torch.sum(move * change))
            result -= along[-1] * change
        move, change = pairs[-1]
        result = self.smoothed(result) * (torch.sum(move * change) / torch.sum(change * self.smoothed(change)))
        for (move, change), share in zip(pairs, reversed(along), strict=True):
            result += (share - torch.sum(change * result) / torch.sum(move * change)) * move
        return result


class Plain(Lbfgs):
    """As books write it: begun from a multiple of the identity."""

    slope, first_step, default_rate, memory = 0.0, 1 / 255, 1.0, 20


class WithSlope(Plain):
    slope = -0.7


class Gentle(WithSlope):
    slope = -0.5


class Steep(WithSlope):
    slope = -1.0


class Bold(WithSlope):
    first_step = 8 / 255


class Short(Lbfgs):
    memory = 12


class Long(Lbfgs):
    memory = 40


class Pyramid(Lbfgs):
    """What L-BFGS on the coefficients of a bilinear pyramid comes to: each is begun from the identity."""

    def smoothed(self, x: Tensor) -> Tensor:
        size, total = list(x.shape[2:]), torch.zeros_like(x)
        for level in range(LEVELS):
            coarse = [-(-length // 2**level) for length in size]
            shape = [*x.shape[:2], *coarse]
            # The transpose of enlarging, which takes a gradient of the picture to one of the coefficients.
            coefficients = torch.ops.aten.upsample_bilinear2d_backward(x, size, shape, False)
            total += torch.ops.aten.upsample_bilinear2d(coefficients, size, False)
        return total


class Learned(Loops):
    """The gains of frequencies learned from the pairs seen: the root of |move|^2 over |change|^2 by octave."""

    def __init__(self, learning_rate: float | None = None) -> None:
        super().__init__(learning_rate)
        self.sums = torch.zeros(2, 12)

    def take(self, move: Tensor, change: Tensor) -> None:
        super().take(move, change)
        height, width = move.shape[2:]
        radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))
        octave = (radius.clamp(min=1 / 1024).log2() + 10).long().expand(3, -1, -1)
        for row, values in zip(self.sums, (move, change), strict=True):
            power = torch.fft.rfft2(values[0]).abs().square() / torch.sum(move * change)
            row.mul_(0.9).index_add_(0, octave.flatten(), power.flatten())
        gains = (self.sums[0] / self.sums[1]).nan_to_num(1.0).sqrt()
        self.gains = gains[octave[0]]


def of_torch(line_search: Literal["strong_wolfe"] | None, problem: Problem, evaluations: int) -> Trace:
    """torch's L-BFGS, history 100, from the photo; with no line search the textbook's optimizer."""
    objective, totals = problem.objectives[problem.full], list[float]()
    picture = problem.photo(problem.full).contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [picture], max_iter=evaluations, max_eval=evaluations, history_size=100, line_search_fn=line_search
    )

    def closure() -> float:
        with torch.no_grad():
            picture.clamp_(0, 1)
        value, gradient = objective.evaluate(picture.detach())
        picture.grad = gradient.contiguous()
        totals.append(value.total)
        return value.total

    optimizer.step(closure)
    return counted(totals)


textbook = partial(of_torch, None)


def whole(make: type[Optimizer], start: str = "photo", content_first: bool = False) -> Schedule:
    """All evaluations at full size."""

    def run(problem: Problem, most: int) -> Trace:
        return counted(problem.run(problem.start(start), make(), most, content_first)[1])

    return run


def pairs_carried(small: Loops, large: Loops, size: Size) -> None:
    large.moves = [enlarged(move, size) for move in small.moves]
    # A gradient is of sums: each of four pixels has a quarter of it.
    large.changes = [enlarged(change, size) / 4 for change in small.changes]


SETTINGS: dict[str, Schedule] = {
    "L-BFGS of the books": whole(Plain),
    "with a line search": partial(of_torch, "strong_wolfe"),
    "slope -0.5": whole(Gentle),
    "slope -0.7": whole(WithSlope),
    "slope -1": whole(Steep),
    "slope -0.7, bold first step": whole(Bold),
    "the same at rate 0.8": whole(Lbfgs),
    "the same, memory 12": whole(Short),
    "the same, memory 40": whole(Long),
    "the same, gains learned": whole(Learned),
    "the same, pyramid coefficients": whole(Pyramid),
    "the same, from the photo in the style's colours": whole(Lbfgs, "colour-matched photo"),
    "the same, blocks 1 to 3 first": other_first(FIRST_BLOCKS, TO_BLOCK3),
    "the same, average pooling first": other_first({"pooling": "avg"}, 1.0),
    "the same, crops first": crops_first,
    "the same, from half the size": from_half(Loops),
    "the same, curvature carried up": from_half(Loops, pairs_carried),
    "the same, content first": whole(Lbfgs, "photo", True),
    "the same, from the draft": whole(Lbfgs, "draft"),
    "both (default)": whole(Lbfgs, "draft", True),
    "both, blocks 1 to 3 first": other_first(FIRST_BLOCKS, TO_BLOCK3, "draft", True),
    "Adam, cosine": whole(Adam),
    "Adam, from half the size, moments carried up": from_half(Adam, moments_carried),
    "Adam, from the draft, content first": whole(Adam, "draft", True),
}
DEFAULT = "both (default)"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--only", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    asked = parser.parse_args()
    loaded = Loaded()
    shares: dict[str, list[float]] = {name: [] for name in asked.only}
    for photo, style in eval_pairs(asked.pairs):
        problem = Problem(photo, style, asked.size, loaded)
        trace = textbook(problem, asked.evaluations)
        target = min(total for _, total in trace)
        print(f"{photo.stem} + {style.stem}, textbook: {target:.2f} after {asked.evaluations}; {at_counts(trace)}")
        for name in asked.only:
            trace = SETTINGS[name](problem, asked.evaluations)
            reached = next((count for count, total in trace if total <= target), math.inf)
            shares[name].append(asked.evaluations / reached)
            print(f"  {name:47} reached after {reached:5.1f}; {at_counts(trace)}", flush=True)
    print("textbook's evaluations for one of ours, median and worst")
    for name, found in shares.items():
        print(f"  {name:47} {statistics.median(found):5.2f} {min(found):5.2f}")
    best = max(statistics.median(found) for found in shares.values())
    own = statistics.median(shares.get(DEFAULT, [0.0]))
    return verdict({"the default is within 5 % of the best": own >= max(0.95 * best, 1.0)})


def at_counts(trace: Trace) -> str:
    """The least objective until some counts of evaluations."""
    counts = [count for count in (5, 10, 20, 30, 40, 60, 80, 110, 150) if trace[0][0] <= count <= trace[-1][0]]
    return "  ".join(f"{count}: {min(total for at, total in trace if at <= count):.2f}" for count in counts)


if __name__ == "__main__":
    sys.exit(main())
