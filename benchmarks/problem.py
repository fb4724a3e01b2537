"""A pair's objective as the program takes it, to be gone down by any schedule: what `benchmarks.fewer` compares."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.judge import TOWARDS_IT
from impasto.colour import match_colour
from impasto.engines.objective import Objective, build_objective
from impasto.engines.optimize import Task, emphasis_of_content
from impasto.engines.optimizers import Optimizer
from impasto.job import StyleJob
from impasto.nets.loaded import Loaded
from impasto.nets.passes import NetworkPass
from impasto.run import Optimize, prepare_run

Size = tuple[int, int]
Trace = list[tuple[float, float]]
"""Evaluations so far, and the objective there, at full size."""


class Problem:
    """A pair's objective at full and at half size, and the pictures that it may begin from."""

    def __init__(self, photo: Path, style: Path, size: int, loaded: Loaded) -> None:
        self.fields = TOWARDS_IT | {"photo": str(photo), "styles": [str(style)], "size": size, "pyramid_from": "off"}
        self.loaded = loaded
        self.network, self.task = self.parts({})
        scale = self.task.stages[-1].scale
        self.full, self.half = (scale.height, scale.width), (scale.height // 2, scale.width // 2)
        self.objectives = {at: self.objective(at) for at in (self.full, self.half)}

    def parts(self, changed: dict[str, Any]) -> tuple[NetworkPass, Task]:
        """The network and the task of the same job with some fields changed."""
        engine = prepare_run(StyleJob.of(self.fields | changed), loaded=self.loaded).engine
        assert isinstance(engine, Optimize)
        return engine.network, engine.task

    def objective(self, size: Size, changed: dict[str, Any] | None = None) -> Objective:
        """At a size; changed: fields of the job that are to be others."""
        network, task = self.parts(changed) if changed else (self.network, self.task)
        return build_objective(network, task.aim, task.photo(*size), task.styles(*size))

    def photo(self, size: Size) -> Tensor:
        return self.task.photo(*size).clone()

    def start(self, name: str) -> Tensor:
        """The picture before the first evaluation, at full size."""
        photo = self.photo(self.full)
        match name:
            case "photo":
                return photo
            case "draft":
                return self.task.start(*self.full)
            case "colour-matched photo":
                style = self.task.styles(*self.full)[0]
                return torch.from_numpy(match_colour(photo[0].numpy(), style[0].numpy()))[None].float()
        raise ValueError(name)

    def run(
        self,
        picture: Tensor,
        optimizer: Optimizer,
        evaluations: int,
        content_first: bool = False,
        objective: Objective | None = None,
    ) -> tuple[Tensor, list[float]]:
        """The best picture, and the objective at each evaluation.

        content_first: as the program begins each scale. objective: another one than the picture's size has.
        """
        objective = objective or self.objectives[picture.shape[2], picture.shape[3]]
        best, least, totals = picture, math.inf, []
        for count in range(evaluations):
            objective.emphasis = emphasis_of_content(count, count / evaluations) if content_first else 1.0
            value, gradient = objective.evaluate(picture)
            totals.append(value.total)
            if value.total < least:
                best, least = picture, value.total
            picture = optimizer.step(picture, gradient, value.total, count / evaluations).clamp(0, 1)
        return best, totals


Schedule = Callable[[Problem, int], Trace]
"""Goes down a problem's objective for so many evaluations."""


def counted(totals: list[float], before: float = 0.0) -> Trace:
    return [(before + count, total) for count, total in enumerate(totals, 1)]


def enlarged(picture: Tensor, size: Size) -> Tensor:
    return F.interpolate(picture, size, mode="bicubic")
