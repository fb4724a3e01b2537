"""Ways to begin by evaluations that cost less, or are of a smoother objective, for `benchmarks.fewer`.

An evaluation at full size counts one, others what they are of one's multiplications.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.problem import Problem, Schedule, Size, Trace, counted, enlarged
from impasto.engines.objective import Objective, build_objective
from impasto.engines.optimizers import Adam, Lbfgs, Optimizer

Kind = TypeVar("Kind", bound=Optimizer)

HALF_SIZE_EVALUATIONS = 20
OTHER_EVALUATIONS = 20
# The share of VGG-16's multiplications up to block5_conv1 that are done by block3_conv1.
TO_BLOCK3 = 0.39
# Crops of half the side, each a quarter of an evaluation, and half of one for the Gram matrices of another.
CROPS, CROP_EVALUATIONS, CROP_COST, CROP_GRID_PX = 8, 40, 0.375, 16


def nothing_carried(small: Any, large: Any, size: Size) -> None:
    """The optimizer at full size begins anew."""


def moments_carried(small: Adam, large: Adam, size: Size) -> None:
    assert small.first is not None and small.second is not None
    # A gradient is of sums: each of four pixels has a quarter of it.
    large.first = enlarged(small.first, size) / 4
    large.second = enlarged(small.second, size).clamp(min=0) / 16
    large.count = small.count


def from_half(make: Callable[[], Kind], carry: Callable[[Kind, Kind, Size], None] = nothing_carried) -> Schedule:
    """A few evaluations at half the size, the change carried up onto the photo; perhaps what the optimizer learned."""

    def run(problem: Problem, most: int) -> Trace:
        small, large = make(), make()
        best, _ = problem.run(problem.photo(problem.half), small, HALF_SIZE_EVALUATIONS)
        picture = problem.photo(problem.full) + enlarged(best - problem.photo(problem.half), problem.full)
        carry(small, large, problem.full)
        cost = HALF_SIZE_EVALUATIONS / 4
        return counted(problem.run(picture.clamp(0, 1), large, most - round(cost))[1], cost)

    return run


def other_first(changed: dict[str, Any], share: float, start: str = "photo", content_first: bool = False) -> Schedule:
    """L-BFGS on the objective of a job with some fields changed, then anew on the job's own.

    share: what an evaluation of the other one costs.
    """

    def run(problem: Problem, most: int) -> Trace:
        other = problem.objective(problem.full, changed)
        best, _ = problem.run(problem.start(start), Lbfgs(), OTHER_EVALUATIONS, content_first, other)
        cost = OTHER_EVALUATIONS * share
        return counted(problem.run(best, Lbfgs(), most - round(cost), content_first)[1], cost)

    return run


@dataclass(frozen=True)
class Crop:
    """A part of the picture, with the objective of that part of the photo and the whole style."""

    rows: slice
    columns: slice
    objective: Objective

    def of(self, picture: Tensor) -> Tensor:
        return picture[:, :, self.rows, self.columns]


def crops_of(problem: Problem, rng: np.random.Generator) -> list[Crop]:
    """Some of half the side, at random places of the grid of the network's pooling."""
    height, width = (length // 2 // CROP_GRID_PX * CROP_GRID_PX for length in problem.full)
    whole, styles = problem.photo(problem.full), problem.task.styles(*problem.full)
    crops = []
    for _ in range(CROPS):
        top, left = (
            int(rng.integers(0, (length - side) // CROP_GRID_PX + 1)) * CROP_GRID_PX
            for length, side in zip(problem.full, (height, width), strict=True)
        )
        rows, columns = slice(top, top + height), slice(left, left + width)
        photo = whole[:, :, rows, columns]
        crops.append(Crop(rows, columns, build_objective(problem.network, problem.task.aim, photo, styles)))
    return crops


def crops_first(problem: Problem, most: int) -> Trace:
    """Adam on random crops, then L-BFGS on the whole.

    How far the Gram matrices of one crop are from the style's tells the gradient of another: so the product of the two,
    unlike the square of one, is what it would be for the whole picture in the mean.
    """
    rng, adam = np.random.default_rng(0), Adam()
    crops, picture = crops_of(problem, rng), problem.start("photo")
    for count in range(CROP_EVALUATIONS):
        one, other = (crops[at] for at in rng.choice(CROPS, 2, replace=False))
        seen, own = (crop.objective.measure(crop.of(picture)) for crop in (one, other))
        slopes = [
            theirs if term.kind == "style" else its
            for term, theirs, its in zip(other.objective.terms, seen.slopes, own.slopes, strict=True)
        ]
        bands = other.objective.bands(other.of(picture), replace(own, slopes=slopes))
        gradient = torch.zeros_like(picture)
        gradient[:, :, other.rows, other.columns] = torch.cat([rows for _, rows in bands], 2)
        picture = adam.step(picture, gradient, own.value.total, count / CROP_EVALUATIONS).clamp(0, 1)
    cost = CROP_EVALUATIONS * CROP_COST
    return counted(problem.run(picture, Lbfgs(), most - round(cost))[1], cost)
