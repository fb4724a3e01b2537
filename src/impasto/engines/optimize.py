"""The classical method: gradient descent on the picture itself (Gatys, Ecker & Bethge, CVPR 2016)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.engines.anchor import Anchor
from impasto.engines.objective import Aim, Objective, Value, build_objective, rows_at_once
from impasto.engines.optimizers import OPTIMIZERS, Optimizer, RowOptimizer
from impasto.engines.scales import Scale
from impasto.engines.state import Snapshot
from impasto.engines.surface import EVERYWHERE, Controls, mixed
from impasto.errors import RunError, UserError
from impasto.events import Entry, Listener, Step
from impasto.hardware import keep_big_blocks, return_big_blocks
from impasto.losses.base import is_finite
from impasto.nets.passes import NetworkPass
from impasto.picture import Picture

MOST_FAILURES = 5
# How many times as much content counts at the beginning of a scale, and when it has come down to what it is: after so
# many iterations, or after this share of the scale. Else the first steps towards the style wreck content that all later
# ones have to bring back: a tenth of the iterations (`benchmarks.fewer`).
CONTENT_FIRST, FIRST_ITERATIONS, FIRST_SHARE = 5.0, 20, 0.2
Rgb = Float[Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Stage:
    """How one scale is worked on.

    optimizer: a name of `OPTIMIZERS`. tile_px: longest side of a tile's core; None for the whole picture at once.
    in_place: the only picture kept is the one being changed, row by row as the gradient comes; for an optimizer that
    steps every value by itself. Then the last picture is the result, and there is no way back from a bad step.
    kept: type in which is held what grows with the picture beside it: the features that it is compared with place by
    place, and what an optimizer in place keeps between iterations. None for the type they are made in.
    """

    scale: Scale
    optimizer: str
    tile_px: int | None = None
    in_place: bool = False
    kept: torch.dtype | None = None

    @property
    def kept_in(self) -> str | None:
        """The name of that type."""
        return str(self.kept).removeprefix("torch.") if self.kept else None


@dataclass(frozen=True)
class Task:
    """What is optimised: sources give the pictures at any size (height, width).

    photo(h, w): the photo. styles(h, w): the style pictures for a result of that size. start(h, w): the picture
    before the first iteration, which may be changed; carry_detail: whether what a coarse scale changed is carried up
    onto the photo, so that the photo's finest detail, as much as `kept_detail` says, is there from the first iteration
    of each scale.
    spare_photo(h, w): the photo in memory that may be changed; asked for once the objective has seen the photo.
    controls(h, w): where on the picture what happens. budget_s: time that the scales share, each by its planned work;
    None for no limit.
    """

    photo: Callable[[int, int], Rgb]
    styles: Callable[[int, int], list[Rgb]]
    start: Callable[[int, int], Rgb]
    spare_photo: Callable[[int, int], Rgb]
    carry_detail: bool
    aim: Aim
    learning_rate: float | None
    stages: Sequence[Stage]
    controls: Callable[[int, int], Controls] = lambda height, width: EVERYWHERE
    budget_s: float | None = None

    @property
    def ends_s(self) -> list[float]:
        """When each scale is to make room for the next."""
        work = [stage.scale.iterations * stage.scale.height * stage.scale.width for stage in self.stages]
        budget_s = float("inf") if self.budget_s is None else self.budget_s
        return [budget_s * (part / sum(work)) for part in itertools.accumulate(work)]


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
        self.objective: Objective
        self.optimizer: Optimizer
        self.resume = self.checked(resume) if resume else None
        self.at: Snapshot

    def run(self) -> Outcome:
        first = self.resume.scale if self.resume else 0
        stopped_by: str | None = None
        for index in range(first, len(self.task.stages)):
            if index > first and not self.has_time_for(self.task.stages[index]):
                stopped_by = "time_budget"
                break
            self.enter(index)
            stopped_by = self.run_scale()
            if stopped_by is not None:
                break
        finest = self.task.stages[-1].scale
        picture = self.with_photo(self.carried_up(self.at.best, finest))
        snapshot = self.snapshot() if stopped_by in ("interrupted", "on_step") else None
        return Outcome(picture, stopped_by or "iterations", self.at.history, self.seconds, snapshot)

    def checked(self, resume: Snapshot) -> Snapshot:
        """UserError where the photo or the job is not the one that the snapshot was made of."""
        fits = resume.scale < len(self.task.stages) and resume.picture.shape[2:] == (
            self.task.stages[resume.scale].scale.height,
            self.task.stages[resume.scale].scale.width,
        )
        if not fits:
            raise UserError("The checkpoint is of a picture of another size: resume with the photo it was begun with.")
        return resume

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def iterations(self) -> int:
        """Of all scales: as planned, or, where time ends first, as many as it will be at this pace."""
        planned = sum(stage.scale.iterations for stage in self.task.stages)
        if self.task.budget_s is None:
            return planned
        pace = len(self.at.history) / max(1e-9, min(self.seconds, self.task.budget_s))
        return min(planned, max(len(self.at.history), round(pace * self.task.budget_s)))

    @property
    def stage(self) -> Stage:
        return self.task.stages[self.at.scale]

    def enter(self, index: int) -> None:
        """Make a scale ready: its objective, and the picture it begins with.

        The objective comes first: after it the photo's own memory may become the picture.
        """
        task, stage = self.task, self.task.stages[index]
        size = (stage.scale.height, stage.scale.width)
        # Tiles are there to hold little; windows of many sizes would leave gaps between blocks that are kept.
        (keep_big_blocks if stage.tile_px is None else return_big_blocks)()
        self.network.hold_little(stage.tile_px is not None)
        photo, styles, controls = task.photo(*size), task.styles(*size), task.controls(*size)
        self.objective = build_objective(self.network, task.aim, photo, styles, stage.tile_px, controls, stage.kept)
        del photo, styles
        if self.resume:
            self.at, self.resume = self.resume, None
            if stage.in_place:
                self.at.picture = self.at.best = self.at.good = task.spare_photo(*size).copy_(self.at.picture)
        elif index == 0:
            self.at = self.fresh(0, task.start(*size), [])
        else:
            coarse = self.at.best if index == 1 else self.at.coarse
            self.at = self.fresh(index, self.carried_up(self.at.best, stage.scale), self.at.history, coarse)
        if index:
            self.objective.anchor = Anchor.of(self.at.coarse, *size)
        self.optimizer = OPTIMIZERS[stage.optimizer](task.learning_rate)
        self.optimizer.seamless = controls.seamless
        self.optimizer.rate *= 0.5**self.at.failures
        self.optimizer.restore(self.at.optimizer)

    def fresh(self, scale: int, picture: Rgb, history: list[Entry], coarse: Tensor | None = None) -> Snapshot:
        """The state before the first iteration of a scale."""
        failures, nothing = self.at.failures if scale else 0, picture.new_empty(0)
        return Snapshot(
            scale, 0, picture, picture, float("inf"), picture, nothing, nothing if coarse is None else coarse, {},
            failures, self.seconds, history,
        )  # fmt: skip

    def carried_up(self, picture: Rgb, to: Scale) -> Float[Tensor, "1 3 rows columns"]:
        """A coarser scale's picture at a finer size."""
        height, width = picture.shape[2:]
        if (height, width) == (to.height, to.width):
            return picture
        change, target = picture, self.task.spare_photo(to.height, to.width)
        if self.task.carry_detail:
            photo, styles = self.task.photo(height, width), self.task.styles(height, width)
            kept = kept_detail(picture, photo, styles)
            change = picture - kept * photo
            target *= kept
        else:
            target.zero_()
        for channel in range(3):
            # One at a time, because a large picture's three would need as much again as the picture.
            finer = F.interpolate(change[:, channel : channel + 1], (to.height, to.width), mode="bicubic")
            target[:, channel : channel + 1] += finer
        return target.clamp_(0, 1)

    def has_time_for(self, stage: Stage) -> bool:
        """Whether one iteration on a finer scale would be over in time, to judge by the last one of this scale."""
        history = self.at.history
        if self.task.budget_s is None or len(history) < 2:
            return True
        pixels = stage.scale.height * stage.scale.width / (history[-1].height * history[-1].width)
        return self.seconds + pixels * (history[-1].seconds - history[-2].seconds) <= self.task.budget_s

    def run_scale(self) -> str | None:
        """Iterate on one scale; the reason where a listener stops the run."""
        step = self.step_in_place if self.stage.in_place else self.step
        self.entered_s = self.seconds
        while self.at.done < self.stage.scale.iterations and (self.at.done == 0 or self.seconds < self.end_s):
            self.objective.turn = self.at.done
            self.objective.emphasis = emphasis_of_content(self.at.done, self.progress)
            entry = step()
            self.at.done += 1
            reason = self.tell(entry)
            if reason is not None:
                return reason
        return None

    def step(self) -> Entry:
        """Evaluate the picture, keep the best, and take the step that follows, or the way back from a bad one."""
        at = self.at
        value, gradient = self.objective.evaluate(at.picture)
        finite = value.finite and is_finite(gradient)
        entry = self.note(value, at.picture if finite else None)
        if finite:
            at.good, at.good_gradient = at.picture, gradient
        else:
            self.retreat(value)
        total = value.total if finite else at.best_total
        at.picture = self.optimizer.step(at.good, at.good_gradient, total, self.progress).clamp_(0, 1)
        return entry

    def step_in_place(self) -> Entry:
        """The same on the only picture there is; after its last evaluation it stays as it is."""
        at, optimizer = self.at, self.optimizer
        assert isinstance(optimizer, RowOptimizer)
        measured = self.objective.measure(at.picture)
        if not measured.value.finite:
            raise self.not_finite(measured.value)
        entry = self.note(measured.value, at.picture)
        if at.done + 1 < self.stage.scale.iterations:
            optimizer.begin(at.picture, measured.value.total, self.stage.kept or at.picture.dtype)
            for top, gradient in self.objective.bands(at.picture, measured):
                for part in gradient.split(rows_at_once(at.picture), 2):
                    if not is_finite(part):
                        raise self.not_finite(measured.value)
                    rows = at.picture[:, :, top : top + part.shape[2]]
                    rows.add_(optimizer.move(part, top, self.progress)).clamp_(0, 1)
                    top += part.shape[2]
        return entry

    @property
    def end_s(self) -> float:
        """When this scale makes room for the next; the last one is stopped by the limit of the whole run."""
        last = self.at.scale + 1 == len(self.task.stages)
        return float("inf") if last else self.task.ends_s[self.at.scale]

    @property
    def progress(self) -> float:
        """Share of this scale's iterations, or of its time, that is done, 0..1."""
        by_count = self.at.done / self.stage.scale.iterations
        slice_s = self.task.ends_s[self.at.scale] - self.entered_s
        by_time = (self.seconds - self.entered_s) / slice_s if slice_s > 0 else 1.0
        return min(1.0, max(by_count, by_time))

    def note(self, value: Value, picture: Rgb | None) -> Entry:
        """Write a value into the history, and keep the picture, where it is a good one, if none was better."""
        at, scale = self.at, self.stage.scale
        if picture is not None and value.total < at.best_total:
            at.best, at.best_total = picture, value.total
        entry = Entry(
            len(at.history), at.scale, scale.height, scale.width, round(self.seconds, 4), value.total,
            value.content, value.style, value.losses,
        )  # fmt: skip
        at.history.append(entry)
        return entry

    def retreat(self, value: Value) -> None:
        at = self.at
        at.failures += 1
        if at.failures > MOST_FAILURES or at.best_total == float("inf"):
            raise self.not_finite(value)
        self.optimizer.retreat()

    def not_finite(self, value: Value) -> RunError:
        broken = [name for name, distance in value.losses.items() if not distance < float("inf")]
        place = f", in the tile of {value.place}" if value.place else ""
        halved = f", after {self.at.failures - 1} halved steps" if self.at.failures > 1 else ""
        return RunError(
            f"The objective is not finite at iteration {len(self.at.history) - 1} "
            f"({', '.join(broken) or 'its gradient'}{place}){halved}: "
            "use a smaller --learning-rate or --precision fp32."
        )

    def tell(self, entry: Entry) -> str | None:
        """Ask every listener whether to go on; each hears of every step, also of the last one."""
        step = Step(entry, self.at.history, self.iterations, len(self.task.stages), self.preview, self.snapshot)
        answers = [listener(step) for listener in self.listeners]
        reasons = ["on_step" if answer is False else answer for answer in answers]
        return next((reason for reason in reasons if isinstance(reason, str)), None)

    def preview(self) -> Picture:
        """The best picture of this scale so far."""
        best = self.at.best.clone() if self.stage.in_place else self.at.best
        return Picture(self.with_photo(best)[0].cpu().numpy())

    def with_photo(self, picture: Rgb) -> Rgb:
        """The picture with what is kept of the photo."""
        height, width = picture.shape[2:]
        keep = self.task.controls(height, width).keep
        return picture if keep is None else mixed(picture[0], self.task.photo(height, width)[0], keep)[None]

    def snapshot(self) -> Snapshot:
        return replace(self.at, optimizer=self.optimizer.state(), seconds=self.seconds)


def emphasis_of_content(done: int, progress: float) -> float:
    """How many times as much content counts in the iteration after `done` ones, the share `progress` of a scale."""
    left = 1 - max(done / FIRST_ITERATIONS, progress / FIRST_SHARE)
    return 1 + (CONTENT_FIRST - 1) * max(0.0, left)


def kept_detail(picture: Rgb, photo: Rgb, styles: Sequence[Float[Tensor, "1 3 _ _"]]) -> float:
    """How much of the photo's finest detail a finer scale is to have, 0..1: as much as the picture has kept, or as
    brings it to what the most detailed of the styles has, whichever is more.

    All of it on a painting of little contrast would be grain, which the optimizer would hardly take away.
    """
    size = detail_in_common(photo, photo) + 1e-12
    slope = detail_in_common(picture, photo) / size
    painted = max(math.sqrt(detail_in_common(style, style) / size) for style in styles)
    return min(1.0, max(slope, painted))


def detail_in_common(one: Rgb, other: Rgb) -> float:
    """The mean product of the finest detail: what a pixel differs by from the mean of its neighbourhood.

    By channel, because a large picture's three would need as much again as the picture.
    """
    products = []
    for channel in range(3):
        fine, its = (
            x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            for x in (one[:, channel : channel + 1], other[:, channel : channel + 1])
        )
        products.append(float((fine * its).mean()))
    return sum(products) / 3
