"""The classical method: gradient descent on the picture itself (Gatys, Ecker & Bethge, CVPR 2016)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.engines.objective import Aim, Evaluation, Objective, build_objective
from impasto.engines.optimizers import OPTIMIZERS, Optimizer
from impasto.engines.scales import Scale
from impasto.engines.state import Snapshot
from impasto.engines.surface import EVERYWHERE, Controls, mixed
from impasto.errors import RunError, UserError
from impasto.events import Entry, Listener, Step
from impasto.nets.passes import NetworkPass
from impasto.picture import Picture

MOST_FAILURES = 5
Rgb = Float[Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Task:
    """What is optimised: sources give the pictures at any size (height, width).

    photo(h, w): the photo. styles(h, w): the style pictures for a result of that size. start(h, w): the picture
    before the first iteration; carry_detail: whether what a coarse scale changed is carried up onto the photo, so
    that the photo's finest detail is there from the first iteration of each scale. controls(h, w): where on the
    picture what happens.
    """

    photo: Callable[[int, int], Rgb]
    styles: Callable[[int, int], list[Rgb]]
    start: Callable[[int, int], Rgb]
    carry_detail: bool
    aim: Aim
    optimizer: str
    learning_rate: float | None
    scales: Sequence[Scale]
    controls: Callable[[int, int], Controls] = lambda height, width: EVERYWHERE


@dataclass(frozen=True)
class Outcome:
    """The best picture found at the result's size, why the run stopped, and one history entry an iteration.

    snapshot: where a run that was stopped from outside stands; None where there is nothing left to go on with.
    """

    picture: Rgb
    stopped_by: str
    history: list[Entry]
    seconds: float
    snapshot: Snapshot | None


class Optimization:
    """A run of a task: `run` goes through the scales, from the beginning or from a snapshot."""

    def __init__(
        self, task: Task, network: NetworkPass, listeners: Sequence[Listener], resume: Snapshot | None
    ) -> None:
        self.task, self.network, self.listeners = task, network, listeners
        self.began = time.perf_counter() - (resume.seconds if resume else 0.0)
        self.iterations = sum(scale.iterations for scale in task.scales)
        self.optimizer: Optimizer = OPTIMIZERS[task.optimizer](task.learning_rate)
        self.objective: Objective
        self.at = self.checked(resume) if resume else self.first()

    def run(self) -> Outcome:
        stopped_by = None
        while stopped_by is None:
            stopped_by = self.run_scale()
            if stopped_by is None and self.at.scale + 1 == len(self.task.scales):
                stopped_by = "iterations"
            if stopped_by is None:
                self.next_scale()
        finest = self.task.scales[-1]
        picture = self.with_photo(self.carried_up(self.at.best, finest))
        snapshot = self.snapshot() if stopped_by in ("interrupted", "on_step") else None
        return Outcome(picture, stopped_by, self.at.history, self.seconds, snapshot)

    def checked(self, resume: Snapshot) -> Snapshot:
        """UserError where the photo or the job is not the one that the snapshot was made of."""
        fits = resume.scale < len(self.task.scales) and resume.picture.shape[2:] == (
            self.task.scales[resume.scale].height,
            self.task.scales[resume.scale].width,
        )
        if not fits:
            raise UserError("The checkpoint is of a picture of another size: resume with the photo it was begun with.")
        return resume

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def scale(self) -> Scale:
        return self.task.scales[self.at.scale]

    def first(self) -> Snapshot:
        scale = self.task.scales[0]
        start = self.task.start(scale.height, scale.width)
        return self.fresh(0, start, [])

    def fresh(self, scale: int, picture: Rgb, history: list[Entry]) -> Snapshot:
        """The state before the first iteration of a scale."""
        rate, failures = (self.at.rate, self.at.failures) if scale else (self.optimizer.rate, 0)
        return Snapshot(
            scale, 0, picture, picture, float("inf"), picture, torch.zeros_like(picture), {}, rate, failures,
            self.seconds, history,
        )  # fmt: skip

    def next_scale(self) -> None:
        index = self.at.scale + 1
        self.at = self.fresh(index, self.carried_up(self.at.best, self.task.scales[index]), self.at.history)

    def carried_up(self, picture: Rgb, to: Scale) -> Float[Tensor, "1 3 rows columns"]:
        """A coarser scale's picture at a finer size."""
        height, width = picture.shape[2:]
        if (height, width) == (to.height, to.width):
            return picture
        base, target = self.task.photo(height, width), self.task.photo(to.height, to.width)
        if not self.task.carry_detail:
            base, target = torch.zeros_like(base), torch.zeros_like(target)
        change = F.interpolate(picture - base, (to.height, to.width), mode="bicubic")
        return (target + change).clamp_(0, 1)

    def run_scale(self) -> str | None:
        """Iterate on one scale; the reason where a listener stops the run."""
        photo = self.task.photo(self.scale.height, self.scale.width)
        styles = self.task.styles(self.scale.height, self.scale.width)
        controls = self.task.controls(self.scale.height, self.scale.width)
        self.objective = build_objective(self.network, self.task.aim, photo, styles, controls=controls)
        self.optimizer.rate = self.at.rate
        self.optimizer.restore(self.at.optimizer)
        while self.at.done < self.scale.iterations:
            self.objective.turn = self.at.done
            evaluation = self.objective.evaluate(self.at.picture)
            entry = self.note(evaluation)
            self.advance(evaluation)
            reason = self.tell(entry)
            if reason is not None:
                return reason
        return None

    def note(self, evaluation: Evaluation) -> Entry:
        """Write an evaluation into the history and keep the best picture."""
        at = self.at
        if evaluation.finite and evaluation.total < at.best_total:
            at.best, at.best_total = at.picture, evaluation.total
        entry = Entry(
            len(at.history), at.scale, self.scale.height, self.scale.width, round(self.seconds, 4), evaluation.total,
            evaluation.content, evaluation.style, evaluation.losses,
        )  # fmt: skip
        at.history.append(entry)
        return entry

    def advance(self, evaluation: Evaluation) -> None:
        """Take the step that follows an evaluation, or the way back from one that is not finite."""
        at = self.at
        if evaluation.finite:
            at.good, at.good_gradient = at.picture, evaluation.gradient
        else:
            self.retreat(evaluation)
        proposed = self.optimizer.step(at.good, at.good_gradient, at.done / self.scale.iterations)
        at.picture = proposed.clamp_(0, 1)
        at.done += 1

    def retreat(self, evaluation: Evaluation) -> None:
        at = self.at
        at.failures += 1
        if at.failures > MOST_FAILURES or at.best_total == float("inf"):
            broken = [name for name, value in evaluation.losses.items() if not value < float("inf")]
            raise RunError(
                f"The objective is not finite at iteration {len(at.history) - 1} "
                f"({', '.join(broken) or 'its gradient'}), after {at.failures - 1} halved steps: "
                "use a smaller --learning-rate or --precision fp32."
            )
        self.optimizer.retreat()
        at.rate = self.optimizer.rate

    def tell(self, entry: Entry) -> str | None:
        """Ask every listener whether to go on; each hears of every step, also of the last one."""
        step = Step(entry, self.at.history, self.iterations, len(self.task.scales), self.preview, self.snapshot)
        answers = [listener(step) for listener in self.listeners]
        reasons = ["on_step" if answer is False else answer for answer in answers]
        return next((reason for reason in reasons if isinstance(reason, str)), None)

    def preview(self) -> Picture:
        """The best picture of this scale so far."""
        return Picture(self.with_photo(self.at.best)[0].cpu().numpy())

    def with_photo(self, picture: Rgb) -> Rgb:
        """The picture with what is kept of the photo."""
        height, width = picture.shape[2:]
        keep = self.task.controls(height, width).keep
        return picture if keep is None else mixed(picture[0], self.task.photo(height, width)[0], keep)[None]

    def snapshot(self) -> Snapshot:
        return replace(self.at, optimizer=self.optimizer.state(), seconds=self.seconds)
