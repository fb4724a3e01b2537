"""Listeners that stop a run: at a loss, at a plateau, at the end of a time budget.

Each is made from a job, and reads the step and its history only, so that a resumed run stops where it would have.
"""

from __future__ import annotations

import math

from impasto.events import Listener, Step
from impasto.job import StyleJob

# Over how many iterations a plateau is judged: L-BFGS's objective goes up now and then.
WINDOW = 20


def limits(job: StyleJob) -> list[Listener]:
    """What may stop this job before its iterations are done."""
    found: list[Listener] = []
    if job.stop_loss is not None:
        found.append(lambda step, loss=job.stop_loss: stop_loss(step, loss))  # type: ignore[misc]
    if job.tolerance is not None:
        found.append(lambda step, tolerance=job.tolerance: plateau(step, tolerance))  # type: ignore[misc]
    if job.time_budget is not None:
        found.append(lambda step, seconds=job.time_budget: time_budget(step, seconds))  # type: ignore[misc]
    return found


def on_finest_scale(step: Step) -> bool:
    return step.entry.scale + 1 == step.scales


def stop_loss(step: Step, total: float) -> str | None:
    """Once the objective is at or under `total`."""
    return "stop_loss" if on_finest_scale(step) and step.total <= total else None


def plateau(step: Step, tolerance: float) -> str | None:
    """When the best objective of the last 20 iterations is hardly under the best before them."""
    totals = [e.total for e in step.history if e.scale == step.entry.scale and math.isfinite(e.total)]
    if not on_finest_scale(step) or len(totals) <= WINDOW:
        return None
    return "tolerance" if min(totals) > min(totals[:-WINDOW]) * (1 - tolerance) else None


def time_budget(step: Step, seconds: float) -> str | None:
    """Before the iteration that would not be over in time."""
    now = step.entry.seconds
    # The first evaluation comes behind the start and the targets, which take about as long.
    before = step.history[-2].seconds if len(step.history) > 1 else now / 2
    return "time_budget" if now + (now - before) > seconds else None
