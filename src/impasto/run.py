"""`run`: a job and its pictures in, a result out. Every door calls this and nothing below it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from impasto import colour
from impasto.engines.fast import FastEngine, code_of, own_style
from impasto.engines.objective import Aim
from impasto.engines.optimize import Optimization, Outcome, Task
from impasto.engines.scales import plan_scales
from impasto.engines.state import Snapshot
from impasto.errors import JobError, WeightsError
from impasto.events import Entry, Listener
from impasto.hardware import choose_device, choose_dtype, keep_big_blocks, peak_bytes
from impasto.job import SMALLEST_SIDE_PX, StyleJob
from impasto.limits import limits
from impasto.nets.cnn import Cnn
from impasto.nets.loaded import Loaded
from impasto.nets.module import ModuleNet
from impasto.nets.passes import AutogradPass, ExplicitPass, NetworkPass
from impasto.picture import Picture, read_picture, write_picture

Network = Cnn | ModuleNet


@dataclass(frozen=True)
class Result:
    """What a run made.

    history: one entry an iteration. stopped_by: `iterations`, `stop_loss`, `tolerance`, `time_budget`, `on_step` (the
    caller's own function) or `interrupted`. seconds: of the engine, pictures and network being loaded. peak_bytes: the
    most memory the process has held so far. snapshot: where a run stopped by `on_step` or `interrupted` stands, for
    `run(..., resume=...)`.
    """

    picture: Picture
    history: list[Entry]
    stopped_by: str
    job: StyleJob
    engine: str
    seconds: float
    peak_bytes: int
    snapshot: Snapshot | None = field(default=None, repr=False)

    @property
    def iterations(self) -> int:
        return len(self.history)

    @property
    def summary(self) -> str:
        """What was done, in a few words."""
        if self.engine == "fast":
            stopped = "" if self.stopped_by == "iterations" else f", in part: stopped by {self.stopped_by}"
            return f"painted in one pass in {self.seconds:.2f} s{stopped}"
        return f"{self.iterations} iterations in {self.seconds:.1f} s, stopped by {self.stopped_by}"

    @property
    def losses(self) -> dict[str, float]:
        """The distances, by kind and layer, at the best iteration of the last scale; none of the fast engine's."""
        last = [entry for entry in self.history if entry.scale == self.history[-1].scale and math.isfinite(entry.total)]
        if not last:
            return {}
        best = min(last, key=lambda entry: entry.total)
        return {"total": best.total, "content": best.content, "style": best.style, **best.losses}

    def save(self, file: str | Path) -> Path:
        """Write the picture, and the job beside it as `NAME.job.json`; returns the picture's path."""
        file = Path(file)
        write_picture(self.picture, file)
        file.with_suffix(".job.json").write_text(self.job.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return file

    def plot(self) -> Any:
        """The loss curves as a matplotlib figure; shows itself in a notebook."""
        from impasto.curves import loss_curves

        return loss_curves(self.history)

    def _repr_png_(self) -> bytes:
        return self.picture._repr_png_()


@dataclass(frozen=True)
class Sources:
    """The pictures of a job, read and at the result's size; styles are resized when a scale asks for them."""

    photo: Picture
    styles: tuple[Picture, ...]
    style_scale: float
    device: torch.device
    cache: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def photo_at(self, height: int, width: int) -> Tensor:
        if (height, width) not in self.cache:
            self.cache[height, width] = to_tensor(self.photo.resized(height, width), self.device)
        return self.cache[height, width]

    def styles_at(self, height: int, width: int) -> list[Tensor]:
        """Each style scaled so that its longest side is the result's times `style_scale`."""
        longest = max(height, width) * self.style_scale
        return [to_tensor(style.resized(*fitted(style, longest)), self.device) for style in self.styles]

    @cached_property
    def size(self) -> tuple[int, int]:
        return self.photo.height, self.photo.width


def to_tensor(picture: Picture, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.pixels))[None].to(device)


def fitted(picture: Picture, longest: float) -> tuple[int, int]:
    """Height and width with the given longest side, neither under the smallest that networks read."""
    factor = longest / max(picture.height, picture.width)
    return max(SMALLEST_SIDE_PX, round(picture.height * factor)), max(SMALLEST_SIDE_PX, round(picture.width * factor))


@runtime_checkable
class Engine(Protocol):
    """What makes the picture, everything that it needs being loaded."""

    @property
    def name(self) -> str: ...

    def run(self, listeners: Sequence[Listener], resume: Snapshot | None) -> Outcome: ...


@dataclass(frozen=True)
class Optimize:
    """The classical method, iteration by iteration."""

    task: Task
    network: NetworkPass
    limits: Sequence[Listener]
    name: str = field(default="optimize", init=False)

    def run(self, listeners: Sequence[Listener], resume: Snapshot | None) -> Outcome:
        return Optimization(self.task, self.network, [*listeners, *self.limits], resume).run()


@dataclass(frozen=True)
class Prepared:
    """A job with its pictures and network loaded and checked; nothing is left that could be refused.

    advice: one sentence, where a better result could be had.
    """

    job: StyleJob
    sources: Sources
    engine: Engine
    advice: str | None = None

    def run(self, listeners: Sequence[Listener] = (), resume: Snapshot | None = None) -> Result:
        """Run the engine. listeners: hear of every step, and may stop the run."""
        outcome = self.engine.run(listeners, resume)
        return finish(self.job, self.sources, self.engine.name, outcome)

    def snapshot(self, file: Path) -> Snapshot:
        """Where an interrupted run of the same job stood."""
        return Snapshot.load(file, self.sources.device)


def prepare_run(
    job: StyleJob,
    *,
    photo: Picture | None = None,
    styles: Sequence[Picture] | None = None,
    network: Cnn | nn.Module | None = None,
    loaded: Loaded | None = None,
) -> Prepared:
    """Load what a job needs. photo, styles, network: those already loaded; the job's own files and backbone are read
    where they are absent. loaded: what pictures share. Raises UserError for what cannot be done as asked."""
    keep_big_blocks()
    torch.set_num_threads(job.threads or os.cpu_count() or 1)
    device = choose_device(job.device)
    sources = read_sources(job, photo, styles, device)
    loaded = loaded or Loaded()
    if job.is_fast:
        return Prepared(job, sources, fast_engine(job, sources, loaded))
    try:
        own = load_network(job, network, loaded)
    except WeightsError as error:
        if not job.may_be_draft:
            raise
        return Prepared(
            job, sources, fast_engine(job, sources, loaded), f"Only a draft was painted, in one pass. {error}"
        )
    task = make_task(job, sources, own, loaded)
    check_sizes(own, task)
    return Prepared(job, sources, Optimize(task, prepare_network(own, job, task.aim.layers, device), limits(job)))


def run(
    job: StyleJob,
    *,
    photo: Picture | None = None,
    styles: Sequence[Picture] | None = None,
    network: Cnn | nn.Module | None = None,
    listeners: Sequence[Listener] = (),
    resume: Snapshot | None = None,
    loaded: Loaded | None = None,
) -> Result:
    """Do a job: `prepare_run`, then `Prepared.run`; advice is given as a warning."""
    prepared = prepare_run(job, photo=photo, styles=styles, network=network, loaded=loaded)
    if prepared.advice:
        warnings.warn(prepared.advice, stacklevel=2)
    return prepared.run(listeners, resume)


def read_sources(
    job: StyleJob, photo: Picture | None, styles: Sequence[Picture] | None, device: torch.device
) -> Sources:
    if photo is None:
        if not job.photo:
            raise JobError("The job names no photo: give one.")
        photo = read_picture(job.photo, max_pixels=job.max_pixels)
    if styles is None:
        styles = [read_picture(style.file, max_pixels=job.max_pixels) for style in job.styles]
    if not styles and not job.model:
        raise JobError("The job names no style picture: give at least one.")
    photo = at_size(photo, job.size)
    if job.match_colour:
        styles = [style.with_pixels(colour.match_colour(style.pixels, photo.pixels)) for style in styles]
    return Sources(photo, tuple(styles), job.style_scale, device)


def at_size(photo: Picture, size: int | None) -> Picture:
    """The photo with the given longest side, or as it is."""
    if size is None:
        return photo
    factor = size / max(photo.height, photo.width)
    height, width = round(photo.height * factor), round(photo.width * factor)
    if min(height, width) < SMALLEST_SIDE_PX:
        least = math.ceil(SMALLEST_SIDE_PX * max(photo.height, photo.width) / min(photo.height, photo.width))
        raise JobError(
            f"--size {size} would make {photo.name} {width}x{height} px, and no side may be under "
            f"{SMALLEST_SIDE_PX} px: use --size {least} or more."
        )
    if height * width > 268_435_456 * 4:
        raise JobError(f"--size {size} would make a picture of {width}x{height} px: use a smaller size.")
    return photo.resized(height, width)


def load_network(job: StyleJob, network: Cnn | nn.Module | None, loaded: Loaded) -> Network:
    if network is None:
        return loaded.backbone(job.backbone, job.pooling)
    return network if isinstance(network, Cnn) else ModuleNet(network)


def fast_engine(job: StyleJob, sources: Sources, loaded: Loaded) -> FastEngine:
    """The fast engine with its network, and the styles as codes."""
    network = loaded.model(job.model, sources.device, choose_dtype(job.precision, sources.device))
    shares = shares_of(job, sources)
    code, grey = code_of(network, loaded, sources.styles, shares, max(sources.size), job.style_scale)
    strength = job.strength * (own_style(sources.photo, sources.styles) if sources.styles else 1.0)
    return FastEngine(network, sources.photo_at(*sources.size), code, strength, grey)


def shares_of(job: StyleJob, sources: Sources) -> tuple[float, ...]:
    return tuple(style.weight for style in job.styles) or (1.0,) * len(sources.styles)


def make_task(job: StyleJob, sources: Sources, network: Network, loaded: Loaded) -> Task:
    """The job in the engine's terms; LayerError for layers that the network does not have."""
    content_layers, style_layers = (proper_names(names, network) for names in (job.content_layers, job.style_layers))
    aim = Aim(
        job.content_loss, job.style_loss, content_layers, style_layers,
        job.content_weight, job.style_weight, job.tv_weight, shares_of(job, sources),
    )  # fmt: skip
    scales = plan_scales(*sources.size, job.pyramid_from, job.total_iterations)
    start, carry_detail = starting_picture(job, sources, loaded), job.init in ("content", "draft")
    return Task(sources.photo_at, sources.styles_at, start, carry_detail, aim, job.optimizer, job.learning_rate, scales)


def starting_picture(job: StyleJob, sources: Sources, loaded: Loaded) -> Any:
    """The picture before the first iteration, at any size."""
    if job.init == "draft":
        engine = fast_engine(job, sources, loaded)
        return lambda height, width: replace(engine, photo=sources.photo_at(height, width)).run().picture
    if job.init == "content":
        return lambda height, width: sources.photo_at(height, width).clone()
    if job.init == "random":
        generator = torch.Generator().manual_seed(job.seed)
        return lambda height, width: torch.rand(1, 3, height, width, generator=generator).to(sources.device)
    own_style = job.init == "style"
    start = sources.styles[0] if own_style else read_picture(job.init, max_pixels=job.max_pixels)
    return lambda height, width: to_tensor(start.resized(height, width), sources.device).clone()


def proper_names(layers: Mapping[str, float], network: Network) -> dict[str, float]:
    """Layers by the names that the network gives them, `relu4_2` as `block4_conv2`; one named twice counts twice."""
    proper: dict[str, float] = {}
    for name, weight in layers.items():
        own = network.layer(name).name
        proper[own] = proper.get(own, 0.0) + weight
    return proper


def check_sizes(network: Network, task: Task) -> None:
    """LayerError, before any work, for pictures that are too small for a layer."""
    for scale in task.scales:
        network.check_size(scale.height, scale.width, task.aim.layers)
        for style in task.styles(scale.height, scale.width):
            network.check_size(style.shape[2], style.shape[3], task.aim.layers)


def prepare_network(network: Network, job: StyleJob, layers: Sequence[str], device: torch.device) -> NetworkPass:
    """The network on its device and in its precision; a plain module is run by autograd in its own precision."""
    if isinstance(network, Cnn):
        return ExplicitPass(network, layers, dtype=choose_dtype(job.precision, device), device=device)
    if job.precision == "bf16":
        raise JobError("--precision bf16 is for networks made by build_cnn; a torch module runs in its own precision.")
    network.module.to(device)
    return AutogradPass(network, layers, device=device)


def finish(job: StyleJob, sources: Sources, engine: str, outcome: Outcome) -> Result:
    pixels = outcome.picture[0].float().cpu().numpy()
    if job.keep_colour:
        pixels = colour.keep_colour(pixels, sources.photo.pixels)
    picture = sources.photo.with_pixels(pixels)
    return Result(
        picture, outcome.history, outcome.stopped_by, job, engine, outcome.seconds, peak_bytes(), outcome.snapshot
    )  # fmt: skip
