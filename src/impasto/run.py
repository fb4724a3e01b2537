"""`run`: a job and its pictures in, a result out. Every door calls this and nothing below it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto import calibration, colour, losses
from impasto.engines.balance import CONTENT_SHARE, balanced, chosen_layers, pulls
from impasto.engines.engine import Engine
from impasto.engines.fast import FastEngine, code_of, own_style
from impasto.engines.objective import Aim
from impasto.engines.optimize import Optimization, Outcome, Stage, Task
from impasto.engines.photo import NARROWEST_PX, SMALL_PX, PhotoEngine
from impasto.engines.scales import Scale, plan_scales
from impasto.engines.state import Snapshot
from impasto.engines.surface import Controls
from impasto.errors import JobError, WeightsError
from impasto.events import Entry, Listener
from impasto.hardware import choose_device, choose_dtype, held_bytes, keep_big_blocks, peak_bytes, return_big_blocks
from impasto.job import StyleJob
from impasto.learned_layers import find_learned
from impasto.limits import limits
from impasto.losses.base import PlaceLoss, SampleLoss
from impasto.nets.cnn import Cnn
from impasto.nets.loaded import Loaded
from impasto.nets.module import ModuleNet
from impasto.nets.passes import AutogradPass, ExplicitPass, NetworkPass
from impasto.picture import Picture, read_picture, write_picture
from impasto.plan import Plan, Work, budget_of, make_plan
from impasto.regions import NOTHING
from impasto.sources import Sources, fitted, read_sources, to_tensor

Network = Cnn | ModuleNet
# Pulls are compared on a picture of this size; one much smaller would show nothing of a fine texture.
BALANCE_PX = 256
# A small draft is painted at this size and reduced, at most so many times.
DRAFT_PX, MOST_REDUCED = 512, 2.0


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

    def facts(self) -> dict[str, Any]:
        """What is told of the run in JSON: engine, iterations, why it stopped, losses, time and memory."""
        return {
            "engine": self.engine,
            "iterations": self.iterations,
            "stopped_by": self.stopped_by,
            "losses": self.losses,
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
        }

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
    """A job with its pictures and network loaded and checked; nothing is left that could be refused. To be run once.

    plan: what the run will do and take; None where little is to be known beforehand: the fast engine, a torch module.
    advice: one sentence, where a better result could be had.
    """

    job: StyleJob
    sources: Sources
    engine: Engine
    plan: Plan | None = None
    advice: str | None = None

    @property
    def notes(self) -> list[str]:
        """Sentences for the user: what was changed to fit or left out, and how a better result could be had."""
        return [*self.sources.notes, *([self.advice] if self.advice else [])]

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
    torch.set_num_threads(job.threads or os.cpu_count() or 1)
    device = choose_device(job.device)
    # What decoding a picture took is not to be held throughout the run.
    return_big_blocks()
    sources = read_sources(job, photo, styles, device)
    keep_big_blocks()
    loaded = loaded or Loaded()
    return prepare_photo(job, sources, network, loaded) if job.is_photo else prepare(job, sources, network, loaded)


def prepare(job: StyleJob, sources: Sources, network: Cnn | nn.Module | None, loaded: Loaded) -> Prepared:
    """The engine that paints."""
    if job.is_fast:
        return Prepared(job, sources, fast_engine(job, sources, loaded, sources.size))
    try:
        own = load_network(job, network, loaded)
    except WeightsError as error:
        if not job.may_be_draft:
            raise
        advice = f"Only a draft was painted, in one pass. {error}"
        return Prepared(job, sources, fast_engine(job, sources, loaded, sources.size), advice=advice)
    return prepare_optimize(job, sources, own, loaded)


def prepare_photo(job: StyleJob, sources: Sources, network: Cnn | nn.Module | None, loaded: Loaded) -> Prepared:
    """The engine that paints, on a small photo, and the one that takes over its colours."""
    small = sources.small(SMALL_PX, NARROWEST_PX)
    painting = prepare(job, small, network, loaded)
    small_photo, photo = (torch.from_numpy(np.ascontiguousarray(seen.photo.pixels)) for seen in (small, sources))
    keep = None if sources.regions.keep is None else torch.from_numpy(sources.regions.keep)
    return replace(painting, sources=sources, engine=PhotoEngine(painting.engine, small_photo, photo, keep))


def prepare_optimize(job: StyleJob, sources: Sources, network: Network, loaded: Loaded) -> Prepared:
    """The classical method, planned."""
    budget = budget_of(job.memory_budget, sources.device)
    aim = make_aim(job, sources, network)
    scales = plan_scales(*sources.size, job.coarsest, job.total_iterations)
    check_sizes(network, sources, scales, aim)
    ready = prepare_network(network, job, aim.layers, sources.device)
    aim = balance(job, sources, aim, ready)
    # What that took is not to be held beside the run.
    ready.hold_little(True)
    plan = plan_of(job, sources, aim, ready, scales, budget)
    stages = [planned.stage for planned in plan.stages] if plan else stages_of(job, scales)
    sources.spendable &= stages[-1].in_place
    in_photo = stages[0].in_place and begins_in_photo(job)
    start = sources.spare_photo_at if in_photo else starting_picture(job, sources, loaded, scales[0])
    task = Task(
        sources.photo_at, sources.styles_at, start, sources.spare_photo_at,
        job.start in ("content", "draft"), aim, job.learning_rate, stages, controls_of(job, sources, network),
        job.time_budget,
    )  # fmt: skip
    return Prepared(job, sources, Optimize(task, ready, limits(job)), plan)


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
    """Do a job: `prepare_run`, then `Prepared.run`; its notes are given as warnings."""
    prepared = prepare_run(job, photo=photo, styles=styles, network=network, loaded=loaded)
    for note in prepared.notes:
        warnings.warn(note, stacklevel=2)
    return prepared.run(listeners, resume)


def load_network(job: StyleJob, network: Cnn | nn.Module | None, loaded: Loaded) -> Network:
    if network is None:
        return loaded.backbone(job.backbone, job.pooling)
    return network if isinstance(network, Cnn) else ModuleNet(network)


def fast_engine(job: StyleJob, sources: Sources, loaded: Loaded, size: tuple[int, int]) -> FastEngine:
    """The fast engine with its network, and the styles as codes, for a picture of that height and width."""
    network = loaded.model(job.model, sources.device, choose_dtype(job.precision, sources.device))
    shares = [style.weight for style in job.styles] or [1.0] * len(sources.styles)
    code, grey = code_of(network, loaded, sources.styles, shares, max(size), job.style_scale)
    strength = job.strength * (own_style(sources.photo, sources.styles) if sources.styles else 1.0)
    return FastEngine(network, sources.photo_at(*size), code, strength, grey)


def make_aim(job: StyleJob, sources: Sources, network: Network) -> Aim:
    """What is worked towards; LayerError for layers that the network does not have."""
    shares, painted = style_shares(job, sources)
    # Where content does not count its layers need not be there.
    content_layers = layers_of("content", job, sources, network) if job.content_weight else {}
    style_layers = layers_of("style", job, sources, network)
    return Aim(
        job.content_loss, job.style_loss, content_layers, style_layers,
        job.content_weight, job.style_weight * painted, job.tv_weight, shares,
    )  # fmt: skip


def style_shares(job: StyleJob, sources: Sources) -> tuple[tuple[float, ...], float]:
    """How much each style counts, and the share of the picture that is painted.

    A style that is painted in a part of the picture counts as much as that part, so that it pulls on each pixel there
    as strongly as if it were the whole.
    """
    rest = len(sources.styles) - len(job.mask)
    weights = [style.weight for style in job.styles] or [1.0] * rest
    shares = [weight / sum(weights) for weight in weights] + [1.0] * len(job.mask)
    if sources.regions.styles is None:
        return tuple(shares), 1.0
    areas = [float(area.mean()) if area.max() > NOTHING else 0.0 for area in sources.regions.styles]
    counts = tuple(share * area for share, area in zip(shares, areas, strict=True))
    return counts, sum(counts)


def controls_of(job: StyleJob, sources: Sources, network: Network) -> Callable[[int, int], Controls]:
    """The task's controls; JobError where the loss or the network cannot do what they ask."""
    if job.seamless and not isinstance(network, Cnn):
        raise JobError("--seamless is for networks made by build_cnn; the layers of a torch module are not known.")
    if not isinstance(losses.load("style", job.style_loss), PlaceLoss):
        return sources.controls_at
    if job.mask:
        able = [name for name in losses.rows("style") if not isinstance(losses.load("style", name), PlaceLoss)]
        raise JobError(
            f"--style-loss {job.style_loss} lays the style picture itself over the whole photo and takes nothing of a "
            f"region by itself: with --mask use {', '.join(able)}."
        )
    return lambda height, width: replace(sources.controls_at(height, width), guides=None)


def plan_of(
    job: StyleJob, sources: Sources, aim: Aim, network: NetworkPass, scales: Sequence[Scale], budget: int
) -> Plan | None:
    if not isinstance(network, ExplicitPass):
        if job.memory_budget is not None:
            raise JobError("--memory-budget is for networks made by build_cnn: a torch module is not run in tiles.")
        return None
    # Drawing samples takes sums in float64 at each layer's size beside the maps.
    per_map = 4 if isinstance(losses.load("style", job.style_loss), SampleLoss) else 1
    work = Work(
        aim, network.infos, network.cnn.input_shape[0], network.dtype, sources.style_px, held_bytes(sources.device),
        spends_photo=sources.spendable and begins_in_photo(job),
        maps=sources.maps * per_map, seamless=job.seamless,
        kernels=[kernel.values_bytes for kernel in network.kernels],
        scratch=max((kernel.scratch_bytes for kernel in network.kernels), default=0),
    )  # fmt: skip
    return make_plan(scales, job.optimizer, work, budget, calibration.rate(sources.device, network.dtype))


def stages_of(job: StyleJob, scales: Sequence[Scale]) -> list[Stage]:
    """Every scale as a whole."""
    return [Stage(scale, "lbfgs" if job.optimizer == "auto" else job.optimizer) for scale in scales]


def begins_in_photo(job: StyleJob) -> bool:
    """Whether a picture that is changed in place begins in the photo's memory: as the photo, also where the program
    chooses, since whoever has so little memory has none for a draft beside it."""
    return (job.init == "auto" or job.start == "content") and not job.start_noise


def starting_picture(job: StyleJob, sources: Sources, loaded: Loaded, coarsest: Scale) -> Any:
    """The picture before the first iteration, at any size, a draft best at that of the coarsest scale."""
    if job.start_noise:
        plain = starting_picture(job.with_changes(start_noise=0), sources, loaded, coarsest)
        noise = starting_picture(job.with_changes(start_noise=0, init="random"), sources, loaded, coarsest)
        return lambda height, width: torch.lerp(plain(height, width), noise(height, width), job.start_noise)
    if job.start == "draft":
        factor = min(MOST_REDUCED, max(1.0, DRAFT_PX / max(coarsest.height, coarsest.width)))
        engine = fast_engine(job, sources, loaded, (round(coarsest.height * factor), round(coarsest.width * factor)))
        return partial(drafted, engine)
    if job.start == "content":
        return sources.spare_photo_at
    if job.start == "random":
        generator = torch.Generator().manual_seed(job.seed)
        return lambda height, width: torch.rand(1, 3, height, width, generator=generator).to(sources.device)
    own_style = job.start == "style"
    start = sources.styles[0] if own_style else read_picture(job.start, max_pixels=job.max_pixels)
    return lambda height, width: to_tensor(start.resized(height, width), sources.device).clone()


def drafted(engine: FastEngine, height: int, width: int) -> Float[Tensor, "1 3 h w"]:
    """What the fast engine paints, at that size."""
    return F.interpolate(engine.run().picture, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def layers_of(kind: losses.Kind, job: StyleJob, sources: Sources, network: Network) -> dict[str, float]:
    """The layers asked for, by the network's names, or those that the program chooses, before they are balanced."""
    asked = job.content_layers if kind == "content" else job.style_layers
    if isinstance(asked, Mapping):
        return proper_names(asked, network)
    if not isinstance(network, Cnn):
        raise JobError(f"--{kind}-layers auto is for networks made by build_cnn: name the module's layers.")
    learned = find_learned(job.backbone, network)
    if learned is None:
        return dict.fromkeys(chosen_layers(network)[kind], 1.0)
    factors = learned.factors(kind, sources.photo, sources.styles[0])
    return {name: factor for name, factor in factors.items() if factor}


def balance(job: StyleJob, sources: Sources, aim: Aim, network: NetworkPass) -> Aim:
    """The aim with the layers that the program chose multiplied by their balance, content counting as beside them."""
    if job.content_layers == "auto":
        aim = replace(aim, content_layers=weighed("content", sources, aim, network))
    if job.style_layers == "auto":
        content_weight = aim.content_weight * CONTENT_SHARE
        aim = replace(aim, style_layers=weighed("style", sources, aim, network), content_weight=content_weight)
    return aim


def weighed(kind: losses.Kind, sources: Sources, aim: Aim, network: NetworkPass) -> Mapping[str, float]:
    """A kind's layers multiplied by their balance; a layer alone has none to be balanced with."""
    factors = aim.content_layers if kind == "content" else aim.style_layers
    if len(factors) < 2:
        return factors
    weights = balanced(small_pulls(kind, sources, aim, network))
    return {name: factor * weights[name] for name, factor in factors.items()}


def small_pulls(kind: losses.Kind, sources: Sources, aim: Aim, network: NetworkPass) -> dict[str, float]:
    """How strongly each layer of the aim pulls, on a small version of the pictures; of a network that `build_cnn` made.

    The other kind's layers are left out, for one of them may be a dense layer, which reads pictures of one size only.
    """
    assert isinstance(network, ExplicitPass)
    aim = replace(aim, content_weight=1.0, style_weight=1.0)
    aim = replace(aim, style_layers={}) if kind == "content" else replace(aim, content_layers={})
    size = sources.small_size(BALANCE_PX, BALANCE_PX // 4)
    return pulls(kind, network.narrowed(aim.layers), aim, sources.photo_at(*size), sources.styles_at(*size))


def pulls_of(
    job: StyleJob, network: Cnn, photo: Picture | None = None, styles: Sequence[Picture] | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """How strongly each of a job's layers pulls, for content and for style; pictures as in `prepare_run`."""
    prepared = prepare_run(job, photo=photo, styles=styles, network=network)
    assert isinstance(prepared.engine, Optimize)
    task, ready = prepared.engine.task, prepared.engine.network
    content, style = (small_pulls(kind, prepared.sources, task.aim, ready) for kind in ("content", "style"))
    return content, style


def aim_of(job: StyleJob, network: Cnn | None = None) -> Aim:
    """What a job of the classical method works towards, its layers chosen."""
    engine = prepare_run(job, network=network).engine
    assert isinstance(engine, Optimize)
    return engine.task.aim


def proper_names(layers: Mapping[str, float], network: Network) -> dict[str, float]:
    """Layers by the names that the network gives them, `relu4_2` as `block4_conv2`; one named twice counts twice."""
    proper: dict[str, float] = {}
    for name, weight in layers.items():
        own = network.layer(name).name
        proper[own] = proper.get(own, 0.0) + weight
    return proper


def check_sizes(network: Network, sources: Sources, scales: Sequence[Scale], aim: Aim) -> None:
    """LayerError, before any work, for pictures that are too small for a layer."""
    for scale in scales:
        longest = max(scale.height, scale.width) * sources.style_scale
        for size in ((scale.height, scale.width), *(fitted(style, longest) for style in sources.styles)):
            network.check_size(*size, aim.layers)


def prepare_network(network: Network, job: StyleJob, layers: Sequence[str], device: torch.device) -> NetworkPass:
    """The network on its device and in its precision; a plain module is run by autograd in its own precision."""
    if isinstance(network, Cnn):
        ready = ExplicitPass(network, layers, dtype=choose_dtype(job.precision, device), device=device)
        # Each scale keeps them, or not.
        ready.hold_little(True)
        return ready
    if job.precision == "bf16":
        raise JobError("--precision bf16 is for networks made by build_cnn; a torch module runs in its own precision.")
    network.module.to(device)
    return AutogradPass(network, layers, device=device)


def finish(job: StyleJob, sources: Sources, engine: str, outcome: Outcome) -> Result:
    pixels = outcome.picture[0].float().cpu().numpy()
    if job.keep_colour:
        # Of a seamless picture, the photo that was made to fit.
        photo = sources.photo_at(*sources.size)[0].cpu().numpy()
        coloured = colour.keep_colour(pixels, photo)
        keep = sources.regions.keep
        # Where the photo was kept, to the last bit.
        pixels = coloured if keep is None else np.where(keep == 1, pixels, coloured)
    picture = sources.photo.with_pixels(pixels)
    return Result(
        picture, outcome.history, outcome.stopped_by, job, engine, outcome.seconds, peak_bytes(), outcome.snapshot
    )  # fmt: skip
