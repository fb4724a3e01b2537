"""What a run will do and take, decided before it starts: scales, tiles, optimizer, memory and, if known, time.

Memory is added up from the network's table (`impasto.nets.cost`) and the pictures that each way of working keeps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from impasto import losses
from impasto.engines.objective import Aim
from impasto.engines.optimize import Stage
from impasto.engines.optimizers import Lbfgs
from impasto.engines.scales import Scale
from impasto.engines.tiles import Tiling
from impasto.errors import JobError
from impasto.hardware import KEPT_BLOCKS, cgroup_limit, free_bytes, held_bytes, in_words
from impasto.losses.base import PlaceLoss
from impasto.losses.gram import CorrelationLoss
from impasto.nets.cost import Cost, Sizes, cost_of
from impasto.nets.layers import LayerInfo

MIB = 1 << 20
# What torch's libraries take when they first compute, and more for the many sizes of windows that tiles have.
FIRST_RUN_BYTES, WINDOWS_BYTES = 150 * MIB, 50 * MIB
SHARE_OF_FREE = 0.6
TILE_SIDES_PX = (2048, 1536, 1280, *range(1024, 255, -64))
STYLE_COPIES = 4 / 3
# Pictures kept through an iteration and, behind the activations, while a step is worked out.
KEPT_PICTURES = {"lbfgs": 8 + 2 * Lbfgs.memory, "adam": 6, "gd": 4}
STEP_PICTURES = {"lbfgs": 3, "adam": 4, "gd": 2}


@dataclass(frozen=True)
class Work:
    """What the plan must know of a job. held_bytes: what the process holds already.

    infos, channels: layers of its network and channels of its input. dtype: of the features. style_px: pixels of all
    styles for each pixel of the result. spends_photo: the photo's memory may become the picture's. maps: of masks,
    values for each pixel. seamless: the picture is continued by its other side, never cut. kernels: bytes of each
    convolution's, all kept for a whole picture, made one by one for a tile. scratch: bytes beside them.
    """

    aim: Aim
    infos: Sequence[LayerInfo]
    channels: int
    dtype: torch.dtype
    style_px: float
    held_bytes: int
    spends_photo: bool = False
    maps: float = 0
    seamless: bool = False
    kernels: Sequence[int] = ()
    scratch: int = 0

    @cached_property
    def cost(self) -> Cost:
        """For each pixel of a run of which nothing is cut off."""
        return self.cost_at(None)

    def cost_at(self, sizes: Sizes | None) -> Cost:
        """Of a run of a tile of those sizes."""
        layers, value_bytes = self.aim.layers, self.dtype.itemsize
        late = self.late if sizes else ()
        return cost_of(self.infos, layers, self.channels, value_bytes, sizes, self.in_place, late)

    @cached_property
    def late(self) -> set[str]:
        """Layers whose features tiles ask for on the way back alone."""
        unread = {info.name for info in self.infos} - set(self.aim.layers)
        # With a mask, losses do not tell their gradient themselves.
        return unread if self.maps else unread | self.in_place

    @cached_property
    def in_place(self) -> set[str]:
        """Layers whose losses add their gradient to what is there."""
        aim = self.aim
        told = isinstance(losses.load("style", aim.style_loss), CorrelationLoss)
        return set(aim.style_layers) - set(aim.content_layers) if told else set()

    def costs(self, tiling: Tiling) -> list[tuple[Cost, int]]:
        """Of tiles of each size, and how many there are."""
        if tiling.core_px is None:
            around = sum(tiling.halo_px) if self.seamless else 0
            return [(self.cost.times((tiling.height + around) * (tiling.width + around)), 1)]
        counts = Counter(tiling.sizes(tile) for tile in tiling.tiles())
        return [(self.cost_at(sizes), count) for sizes, count in counts.items()]

    @property
    def uncut(self) -> bool:
        """Whether the picture cannot be cut into tiles: it has no border, or a dense layer sees all of it at once."""
        return self.seamless or not all(info.receptive_field for info in self.infos)

    def place_losses(self) -> Iterator[tuple[str, PlaceLoss, int]]:
        """Layers that are compared place by place, the loss, and against how many pictures."""
        for kind, layers, count in (
            ("content", self.aim.content_layers, 1),
            ("style", self.aim.style_layers, len(self.aim.style_shares)),
        ):
            loss = losses.load(kind, getattr(self.aim, f"{kind}_loss"))  # type: ignore[arg-type]
            if isinstance(loss, PlaceLoss):
                for name in layers:
                    if name in self.cost.features:
                        yield name, loss, count

    def tiling(self, scale: Scale, tile_px: int | None) -> Tiling:
        margins = dict.fromkeys(self.cost.features, 0)
        for name, loss, _ in self.place_losses():
            margins[name] = max(margins[name], loss.halo)
        return Tiling(scale.height, scale.width, self.infos, margins, tile_px)


@dataclass(frozen=True)
class Planned:
    """A stage, the most memory the process holds in it, and how many seconds it takes where the machine is known."""

    stage: Stage
    peak_bytes: int
    tiles: int
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    stages: tuple[Planned, ...]
    budget_bytes: int

    @property
    def peak_bytes(self) -> int:
        return max(planned.peak_bytes for planned in self.stages)

    def facts(self) -> dict[str, Any]:
        """The plan as plain data."""
        stages = [
            {
                "width": planned.stage.scale.width,
                "height": planned.stage.scale.height,
                "iterations": planned.stage.scale.iterations,
                "optimizer": planned.stage.optimizer,
                "tiles": planned.tiles,
                "tile_px": planned.stage.tile_px,
                "kept": planned.stage.kept_in,
                "peak_bytes": planned.peak_bytes,
                "seconds": planned.seconds,
            }
            for planned in self.stages
        ]
        totals = {"peak_bytes": self.peak_bytes, "seconds": self.seconds, "budget_bytes": self.budget_bytes}
        return {"scales": stages, **totals}

    @property
    def seconds(self) -> float | None:
        found = [planned.seconds for planned in self.stages]
        return None if None in found else sum(seconds for seconds in found if seconds is not None)


def budget_of(asked: int | None, device: torch.device) -> int:
    """The most the process may hold on a device; JobError for more than its control group allows."""
    limit = cgroup_limit() if device.type == "cpu" else None
    if asked is not None and limit is not None and asked > limit:
        raise JobError(
            f"--memory-budget {in_words(asked)} is more than the {in_words(limit)} that this process's control group "
            f"(its container) allows: ask for {limit // MIB}MiB or less."
        )
    return asked if asked is not None else held_bytes(device) + int(SHARE_OF_FREE * free_bytes(device))


def make_plan(scales: Sequence[Scale], optimizer: str, work: Work, budget: int, rate: float | None) -> Plan:
    """For each scale the first way of working that fits the budget; JobError that says the least that would do.

    optimizer: that of the job, `auto` among them. rate: of `impasto.calibration`.
    """
    planned = []
    for scale in scales:
        ways = [planned_stage(stage, work, rate) for stage in ways_of(scale, optimizer, work.dtype, work.uncut)]
        fitting = next((way for way in ways if way.peak_bytes <= budget), None)
        if fitting is None:
            least = min(way.peak_bytes for way in ways)
            raise JobError(
                f"--memory-budget {in_words(budget)} is too small for {scale.width}x{scale.height} px"
                f"{f' with --optimizer {optimizer}' if optimizer != 'auto' else ''}: "
                f"{math.ceil(least / MIB)}MiB is the least that would do."
            )
        planned.append(fitting)
    return Plan(tuple(planned), budget)


def ways_of(scale: Scale, optimizer: str, dtype: torch.dtype, uncut: bool = False) -> Iterator[Stage]:
    """Ways of working on a scale, the best and largest first.

    dtype: of the features. uncut: the picture is not cut into tiles.
    """
    names = ("lbfgs", "adam") if optimizer == "auto" else (optimizer,)
    yield Stage(scale, names[0])
    if uncut:
        return
    sides = [side for side in TILE_SIDES_PX if side < max(scale.height, scale.width)] or TILE_SIDES_PX[-1:]
    for name in names:
        in_place = name != "lbfgs"
        for side in sides:
            yield Stage(scale, name, side, in_place, dtype if in_place else None)
    if names[-1] != "lbfgs" and dtype != torch.bfloat16:
        # The last resort, since it rounds: half the memory for whatever grows with the picture but the picture itself.
        for side in sides:
            yield Stage(scale, names[-1], side, True, torch.bfloat16)


def planned_stage(stage: Stage, work: Work, rate: float | None) -> Planned:
    scale, tiling = stage.scale, work.tiling(stage.scale, stage.tile_px)
    costs = work.costs(tiling)
    tiles, flops = sum(count for _, count in costs), sum(cost.flops * count for cost, count in costs)
    # The photo's and the styles' targets are one pass forward each.
    passes = scale.iterations * (2 if stage.tile_px is None else 3) + 1 + work.style_px
    seconds = passes * flops / rate if rate else None
    largest = max((cost for cost, _ in costs), key=lambda cost: cost.both_bytes)
    needed = needed_bytes(stage, tiling, largest, work)
    if stage.tile_px is None:
        needed = round(needed * KEPT_BLOCKS) + sum(work.kernels)
    else:
        needed += WINDOWS_BYTES + max(work.kernels, default=0)
    peak = work.held_bytes + FIRST_RUN_BYTES + work.scratch + needed
    return Planned(stage, peak, tiles, seconds)


def needed_bytes(stage: Stage, tiling: Tiling, tile: Cost, work: Work) -> int:
    """The most that a stage adds to what is held before it: while its targets are made, or in an iteration.

    tile: of the largest one.
    """
    pixels, kept_bytes = stage.scale.height * stage.scale.width, (stage.kept or work.dtype).itemsize
    picture, maps = 3 * 4 * pixels, 4 * pixels * work.maps
    places = list(work.place_losses())
    targets = pixels * kept_bytes * sum(work.cost.features[name] * count for name, _, count in places)
    compared = 4 * max((tile.features[name] * loss.maps for name, loss, _ in places), default=0)
    run = tile.both_bytes + compared
    # A style is resized channel by channel.
    making = STYLE_COPIES * picture * work.style_px + targets + tile.forward_bytes
    if stage.in_place:
        before, behind = tiling.halo_px
        band = 3 * 4 * (tiling.step_px + before + behind) * stage.scale.width
        moments = 2 * 3 * kept_bytes * pixels if stage.optimizer == "adam" else 0
        kept = (0 if work.spends_photo else picture) + moments + targets + maps
        return round(max(making, kept + 3 * band + run))
    kept = KEPT_PICTURES[stage.optimizer] * picture + targets + maps
    return round(max(making, kept + picture + run, kept + STEP_PICTURES[stage.optimizer] * picture))
