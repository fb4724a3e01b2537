"""`run`: a job and its pictures in, a result out. Every door calls this and nothing below it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impasto import colour, losses
from impasto.engines.balance import balanced, chosen_layers, pulls
from impasto.engines.objective import Aim
from impasto.engines.optimize import Optimization, Outcome, Task
from impasto.engines.scales import plan_scales
from impasto.engines.state import Snapshot
from impasto.engines.surface import Controls
from impasto.errors import JobError
from impasto.events import Entry, Listener
from impasto.hardware import choose_device, choose_dtype, keep_big_blocks, peak_bytes
from impasto.job import SMALLEST_SIDE_PX, StyleJob
from impasto.limits import limits
from impasto.losses.base import StatisticLoss
from impasto.nets.catalogue import network as known_network
from impasto.nets.cnn import Cnn
from impasto.nets.module import ModuleNet
from impasto.nets.passes import AutogradPass, ExplicitPass, NetworkPass
from impasto.periodic import periodic
from impasto.picture import Picture, read_picture, write_picture
from impasto.regions import NOTHING, Regions, read_regions

Network = Cnn | ModuleNet
TEXTURE_PX = 512
BALANCE_PX = 256


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
    def losses(self) -> dict[str, float]:
        """The distances, by kind and layer, at the best iteration of the last scale."""
        last = [entry for entry in self.history if entry.scale == self.history[-1].scale and math.isfinite(entry.total)]
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
    regions: Regions = field(default_factory=Regions)
    seamless: bool = False
    cache: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    cached_controls: dict[tuple[int, int], Controls] = field(default_factory=dict)

    def photo_at(self, height: int, width: int) -> Tensor:
        if (height, width) not in self.cache:
            photo = self.photo.resized(height, width)
            photo = photo.with_pixels(periodic(photo.pixels)) if self.seamless else photo
            self.cache[height, width] = to_tensor(photo, self.device)
        return self.cache[height, width]

    def styles_at(self, height: int, width: int) -> list[Tensor]:
        """Each style scaled so that its longest side is the result's times `style_scale`."""
        longest = max(height, width) * self.style_scale
        return [to_tensor(style.resized(*fitted(style, longest)), self.device) for style in self.styles]

    def controls_at(self, height: int, width: int) -> Controls:
        """Where on the picture what happens."""
        if (height, width) not in self.cached_controls:
            regions = self.regions.resized(height, width)
            shares = None if regions.styles is None else [self.on_device(share) for share in regions.styles]
            keep = None if regions.keep is None else self.on_device(regions.keep)
            self.cached_controls[height, width] = Controls(shares, keep, self.seamless)
        return self.cached_controls[height, width]

    def on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    @cached_property
    def size(self) -> tuple[int, int]:
        return self.photo.height, self.photo.width


def to_tensor(picture: Picture, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.pixels))[None].to(device)


def fitted(picture: Picture, longest: float) -> tuple[int, int]:
    """Height and width with the given longest side, neither under the smallest that networks read."""
    factor = longest / max(picture.height, picture.width)
    return max(SMALLEST_SIDE_PX, round(picture.height * factor)), max(SMALLEST_SIDE_PX, round(picture.width * factor))


@dataclass(frozen=True)
class Prepared:
    """A job with its pictures and network loaded and checked; nothing is left that could be refused."""

    job: StyleJob
    sources: Sources
    task: Task
    network: NetworkPass

    def run(self, listeners: Sequence[Listener] = (), resume: Snapshot | None = None) -> Result:
        """Run the engine. listeners: hear of every step, and may stop the run."""
        outcome = Optimization(self.task, self.network, [*listeners, *limits(self.job)], resume).run()
        return finish(self.job, self.sources, outcome)

    def snapshot(self, file: Path) -> Snapshot:
        """Where an interrupted run of the same job stood."""
        return Snapshot.load(file, self.sources.device)


def prepare_run(
    job: StyleJob,
    *,
    photo: Picture | None = None,
    styles: Sequence[Picture] | None = None,
    network: Cnn | nn.Module | None = None,
) -> Prepared:
    """Load what a job needs. photo, styles, network: those already loaded; the job's own files and backbone are read
    where they are absent. Raises UserError for what cannot be done as asked."""
    keep_big_blocks()
    torch.set_num_threads(job.threads or os.cpu_count() or 1)
    device = choose_device(job.device)
    sources = read_sources(job, photo, styles, device)
    loaded = load_network(job, network)
    task = make_task(job, sources, loaded)
    check_sizes(loaded, task)
    ready = prepare_network(loaded, job, task.aim.layers, device)
    return Prepared(job, sources, replace(task, aim=balance(job, sources, task.aim, ready)), ready)


def run(
    job: StyleJob,
    *,
    photo: Picture | None = None,
    styles: Sequence[Picture] | None = None,
    network: Cnn | nn.Module | None = None,
    listeners: Sequence[Listener] = (),
    resume: Snapshot | None = None,
) -> Result:
    """Do a job: `prepare_run`, then `Prepared.run`. What was changed to make masks fit is told as warnings."""
    prepared = prepare_run(job, photo=photo, styles=styles, network=network)
    for note in prepared.sources.regions.notes:
        warnings.warn(note, stacklevel=2)
    return prepared.run(listeners, resume)


def read_sources(
    job: StyleJob, photo: Picture | None, styles: Sequence[Picture] | None, device: torch.device
) -> Sources:
    def read(file: str) -> Picture:
        return read_picture(file, max_pixels=job.max_pixels)

    if photo is None:
        photo = read(job.photo) if job.photo else no_photo(job)
    if styles is None:
        styles = [read(style.file) for style in job.styles]
    styles = [*styles, *([read(job.mask_rest)] if job.mask_rest else [])]
    photo = at_size(photo, job.size)
    regions = read_regions(job, photo, len(styles))
    styles = [*styles, *(read(mask.style) for mask in job.mask)]
    if not styles:
        raise JobError("The job names no style picture: give at least one.")
    if job.match_colour:
        styles = [style.with_pixels(colour.match_colour(style.pixels, photo.pixels)) for style in styles]
    return Sources(photo, tuple(styles), job.style_scale, device, regions, job.seamless)


def no_photo(job: StyleJob) -> Picture:
    """What stands for the photo where a texture is made of the style alone: its size."""
    if job.content_weight:
        raise JobError("The job names no photo: give one.")
    if job.keep_colour or job.match_colour:
        raise JobError("The job names no photo whose colours could be had: leave out keep_colour and match_colour.")
    side = job.size or TEXTURE_PX
    return Picture(np.full((3, side, side), 0.5, np.float32), name="the texture")


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


def load_network(job: StyleJob, network: Cnn | nn.Module | None) -> Network:
    if network is None:
        return known_network(job.backbone, pooling=job.pooling)
    return network if isinstance(network, Cnn) else ModuleNet(network)


def make_task(job: StyleJob, sources: Sources, network: Network) -> Task:
    """The job in the engine's terms; LayerError for layers that the network does not have."""
    shares, painted = style_shares(job, sources)
    # Where content does not count its layers need not be there.
    content_layers = layers_of("content", job.content_layers, network) if job.content_weight else {}
    style_layers = layers_of("style", job.style_layers, network)
    aim = Aim(
        job.content_loss, job.style_loss, content_layers, style_layers,
        job.content_weight, job.style_weight * painted, job.tv_weight, shares,
    )  # fmt: skip
    scales = plan_scales(*sources.size, job.pyramid_from, job.total_iterations)
    return Task(
        sources.photo_at, sources.styles_at, starting_picture(job, sources), job.init == "content", aim,
        job.optimizer, job.learning_rate, scales, controls_of(job, sources, network),
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
    if isinstance(losses.load("style", job.style_loss), StatisticLoss):
        return sources.controls_at
    if job.mask:
        able = [name for name in losses.rows("style") if isinstance(losses.load("style", name), StatisticLoss)]
        raise JobError(f"--style-loss {job.style_loss} cannot be kept to a mask: use {', '.join(able)}.")
    return lambda height, width: replace(sources.controls_at(height, width), guides=None)


def starting_picture(job: StyleJob, sources: Sources) -> Any:
    """The picture before the first iteration, at any size."""
    if job.start_noise:
        plain = starting_picture(job.with_changes(start_noise=0), sources)
        noise = starting_picture(job.with_changes(start_noise=0, init="random"), sources)
        return lambda height, width: torch.lerp(plain(height, width), noise(height, width), job.start_noise)
    if job.init == "content":
        return lambda height, width: sources.photo_at(height, width).clone()
    if job.init == "random":
        generator = torch.Generator().manual_seed(job.seed)
        return lambda height, width: torch.rand(1, 3, height, width, generator=generator).to(sources.device)
    own_style = job.init == "style"
    start = sources.styles[0] if own_style else read_picture(job.init, max_pixels=job.max_pixels)
    return lambda height, width: to_tensor(start.resized(height, width), sources.device).clone()


def layers_of(kind: losses.Kind, asked: Mapping[str, float] | str, network: Network) -> dict[str, float]:
    """The layers asked for, by the network's names, or those that the program chooses."""
    if isinstance(asked, Mapping):
        return proper_names(asked, network)
    if not isinstance(network, Cnn):
        raise JobError(f"--{kind}-layers auto is for networks made by build_cnn: name the module's layers.")
    return dict.fromkeys(chosen_layers(network)[kind], 1.0)


def balance(job: StyleJob, sources: Sources, aim: Aim, network: NetworkPass) -> Aim:
    """The aim with the weights of layers that the program chose."""
    if job.content_layers == "auto":
        aim = replace(aim, content_layers=balanced(small_pulls("content", sources, aim, network)))
    if job.style_layers == "auto":
        aim = replace(aim, style_layers=balanced(small_pulls("style", sources, aim, network)))
    return aim


def small_pulls(kind: losses.Kind, sources: Sources, aim: Aim, network: NetworkPass) -> dict[str, float]:
    """How strongly each layer of the aim pulls, on a small version of the pictures."""
    size = fitted(sources.photo, min(BALANCE_PX, max(sources.size)))
    return pulls(kind, network, aim, sources.photo_at(*size), sources.styles_at(*size))


def pulls_of(job: StyleJob, network: Cnn) -> tuple[dict[str, float], dict[str, float]]:
    """How strongly each of a job's layers pulls, for content and for style."""
    prepared = prepare_run(job, network=network)
    content, style = (
        small_pulls(kind, prepared.sources, prepared.task.aim, prepared.network) for kind in ("content", "style")
    )
    return content, style


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


def finish(job: StyleJob, sources: Sources, outcome: Outcome) -> Result:
    pixels = outcome.picture[0].float().cpu().numpy()
    if job.keep_colour:
        coloured = colour.keep_colour(pixels, sources.photo.pixels)
        keep = sources.regions.keep
        # Where the photo was kept, to the last bit.
        pixels = coloured if keep is None else np.where(keep == 1, pixels, coloured)
    picture = sources.photo.with_pixels(pixels)
    return Result(
        picture, outcome.history, outcome.stopped_by, job, "optimize", outcome.seconds, peak_bytes(), outcome.snapshot
    )  # fmt: skip
