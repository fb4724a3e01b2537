"""Trains the network of `impasto.nets.any_style`: `Training` holds all that changes from step to step.

A training is told by its `Settings` and its step: whatever is drawn for a step comes from both alone. It can be killed
at any time and goes on from its last checkpoint to the same bits. Under `torchrun` every process takes a share of each
step's groups, and gradients are averaged.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from impasto.errors import JobError
from impasto.job import StyleJob
from impasto.nets.any_style import GRAIN_SIDE, STRIDE, AnyStyle, Shape, content_weight
from impasto.nets.cnn import Cnn
from impasto.nets.painter import stylize_fast
from impasto.nets.passes import ExplicitPass
from impasto.picture import Picture
from impasto.train import checkpoint
from impasto.train.data import Batch, Batches, Folder, Source
from impasto.train.objective import CONTENT_LAYER, STYLE_LAYERS, Grams, Objective, Targets
from impasto.train.settings import Settings

# Tells the random numbers of moves, and of where crops lie on the grain, from those of a batch's groups.
MOVED, PLACED = 1 << 20, 1 << 21
USUAL_STRENGTH = StyleJob.model_fields["strength"].default
SHEET_STRENGTHS = (0.4, USUAL_STRENGTH, 1.0)
COLUMNS = ["step", "size", "rate", "seconds", "content", "style", *STYLE_LAYERS, "skipped"]
# Steps by which a pace is told, and the share of a training's time that they take; the rest is for sheets and what is
# done every so many steps.
PACE_STEPS, STEPS_SHARE = 4, 0.8
HELD_OUT_COLUMNS = ["step", "strength", "content", "style", *STYLE_LAYERS]


class Training:
    """The network, its moving average and AdamW's moments, at a step.

    cnn: the network whose features are compared (VGG-16). dtype: of the arithmetic; parameters are float32.
    """

    def __init__(
        self,
        settings: Settings,
        source: Batches,
        cnn: Cnn,
        *,
        shape: Shape | None = None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.settings, self.source, self.device, self.dtype = settings, source, device, dtype
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = AnyStyle(shape).to(device)
        self.average = AnyStyle(shape).to(device).requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True
        )
        loss_pass = ExplicitPass(cnn, [*STYLE_LAYERS, CONTENT_LAYER], dtype=dtype, device=device)
        self.objective = Objective(loss_pass, settings.hard, settings.tv_weight)
        self.step = 0
        self.rank, self.processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        share, left_over = divmod(settings.groups, self.processes)
        if left_over:
            raise JobError(f"groups must be a multiple of the {self.processes} processes, not {settings.groups}.")
        self.groups = range(self.rank * share, (self.rank + 1) * share)

    def start_from(self, network: AnyStyle) -> None:
        """Begin with another network's weights, where names and shapes agree; the rest begins at random."""
        own, given = self.network.state_dict(), network.state_dict()
        fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
        for target in (self.network, self.average):
            target.load_state_dict(fitting, strict=False)

    def run_step(self) -> dict[str, float]:
        """One step; returns its distances, meaned over all samples of all processes."""
        settings, step = self.settings, self.step
        batch = self.source.batch(step, settings.size_at(step), self.groups).to(self.device)
        photos, corner = batch.photos[batch.photo_of], self.corner()
        with self.autocast():
            codes = batch.mix @ self.network.encode(batch.styles)
            pictures = self.network(photos, codes, batch.strength, corner)
        gradient, distances = self.judge(pictures.detach(), batch)
        if settings.steady:
            moving = self.unsteadiness(pictures.detach(), photos, codes, batch.strength, corner)
            gradient = gradient + settings.steady * moving
        self.optimizer.zero_grad()
        pictures.backward(gradient)
        self.average_gradients()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.param_groups[0]["lr"] = settings.rate_at(step)
        self.optimizer.step()
        self.step += 1
        decay = min(settings.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        return self.meaned(distances)

    def corner(self) -> tuple[int, int]:
        """Where this step's crops lie on the grain: anywhere. Networks that always saw one part of it painted the
        same figure at the same place of every photo."""
        rng = np.random.default_rng([self.settings.seed, self.step, PLACED])
        down, right = rng.integers(0, GRAIN_SIDE, 2).tolist()
        return down, right

    def autocast(self) -> torch.autocast:
        """What the networks are run in."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def judge(
        self, pictures: Float[Tensor, "n 3 h w"], batch: Batch
    ) -> tuple[Float[Tensor, "n 3 h w"], dict[str, Float[Tensor, " n"]]]:
        """The gradient of what painted pictures should come to, and their distances by name."""
        return self.objective(pictures, self.targets(batch))

    def targets(self, batch: Batch) -> Targets:
        grams, weights = self.style_grams(batch), self.content_weights(batch)
        return self.objective.targets(batch.photos, grams, batch.photo_of, batch.mix, weights)

    @torch.no_grad()
    def unsteadiness(
        self,
        pictures: Float[Tensor, "n 3 h w"],
        photos: Float[Tensor, "n 3 h w"],
        codes: Float[Tensor, "n k"],
        strength: Float[Tensor, " n"],
        corner: tuple[int, int],
    ) -> Float[Tensor, "n 3 h w"]:
        """The gradient of the mean squared difference to the pictures of the same photos moved by some pixels.

        What a network paints at the places of its own grid, rather than of the photo's, does not move with the photo.
        """
        down, right = np.random.default_rng([self.settings.seed, self.step, MOVED]).integers(0, STRIDE, 2).tolist()
        height, width = photos.shape[2:]
        moved = F.pad(photos, (right, 0, down, 0), mode="reflect")[..., :height, :width]
        with self.autocast():
            there = self.network(moved, codes, strength, (corner[0] - down, corner[1] - right))
        gradient = torch.zeros_like(pictures)
        difference = pictures[..., : height - down, : width - right] - there[..., down:, right:]
        gradient[..., : height - down, : width - right] = difference * (2 / pictures.numel())
        return gradient

    def style_grams(self, batch: Batch) -> Grams:
        return self.objective.grams(batch.styles)

    def content_weights(self, batch: Batch) -> Float[Tensor, " n"]:
        return content_weight(batch.strength)

    def average_gradients(self) -> None:
        if self.processes > 1:
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            means = (flat / self.processes).split([gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def meaned(self, distances: dict[str, Float[Tensor, " n"]]) -> dict[str, float]:
        names = ["content", *STYLE_LAYERS]
        means = torch.stack([distances[name].mean() for name in names])
        if self.processes > 1:
            dist.all_reduce(means)
        return with_style(dict(zip(names, (means / self.processes).tolist(), strict=True)))

    def save(self, file: Path, *, compact: bool = False) -> None:
        """Everything needed to go on to the same bits.

        compact: for keeping, at 6 bytes a parameter instead of 16. The weights themselves are left out, so that a
        training goes on from their moving average, and tensors are rounded to half precision.
        """
        tensors = checkpoint.with_prefix("average", self.average.state_dict())
        for name, moments in self.moments().items():
            tensors |= checkpoint.with_prefix(name, moments)
        if compact:
            # Squared gradients are too small for float16's exponents.
            types = {"average": torch.float16, "exp_avg": torch.bfloat16, "exp_avg_sq": torch.bfloat16}
            tensors = {name: tensor.to(types[name.partition(".")[0]]) for name, tensor in tensors.items()}
        else:
            tensors |= checkpoint.with_prefix("network", self.network.state_dict())
            tensors |= checkpoint.with_prefix("own", self.own_tensors())
        checkpoint.save_checkpoint(file, tensors, self.facts())

    def facts(self) -> dict[str, Any]:
        """What a checkpoint tells beside its tensors."""
        return {"step": self.step, "settings": self.settings.model_dump()}

    def own_tensors(self) -> dict[str, Tensor]:
        """What a kind of training keeps from step to step beside the network's."""
        return {}

    def take_own(self, tensors: dict[str, Tensor]) -> None:
        """Go on with those of a checkpoint."""

    def told(self) -> str:
        """What was done, for a model's card."""
        skipped = f"; {self.source.skipped} files could not be read" if self.source.skipped else ""
        return f"Trained by Impasto for {self.step} steps{skipped}.\nSettings: {self.settings.model_dump_json()}"

    def load(self, file: Path) -> dict[str, Any]:
        """Go on from a checkpoint, whose facts are returned: its step and tensors, by this training's own settings."""
        tensors, facts = checkpoint.load_checkpoint(file)
        self.step = int(facts["step"])
        average = checkpoint.without_prefix("average", tensors)
        checkpoint.set_tensors(self.average.state_dict(), average)
        checkpoint.set_tensors(self.network.state_dict(), checkpoint.without_prefix("network", tensors) or average)
        for name, moments in self.moments().items():
            checkpoint.set_tensors(moments, checkpoint.without_prefix(name, tensors))
        for state in self.optimizer.state.values():
            state["step"].fill_(self.step)
        self.take_own(checkpoint.without_prefix("own", tensors))
        return facts

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """AdamW's own tensors by parameter name, made with zeros where it has taken no step yet."""
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        for parameter in names:
            if not self.optimizer.state[parameter]:
                self.optimizer.state[parameter] = {
                    "step": torch.zeros((), device=self.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        return {
            kind: {name: self.optimizer.state[parameter][kind] for parameter, name in names.items()}
            for kind in ("exp_avg", "exp_avg_sq")
        }


def with_style(distances: dict[str, float]) -> dict[str, float]:
    """The distances with `style`, the mean of the style layers'."""
    return {**distances, "style": sum(distances[name] for name in STYLE_LAYERS) / len(STYLE_LAYERS)}


class HeldOut:
    """Fixed pairs that are never trained on: their figures and a contact sheet to look at."""

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.pairs = pairs

    @classmethod
    def of(cls, source: Source, pairs: int = 8, size: int = 256) -> HeldOut:
        """The first held-out photos, each with one of the held-out styles."""
        photos, styles = (held_out(folder, pairs, size) for folder in (source.photos, source.styles))
        return cls(list(zip(photos, styles, strict=False)))

    def look(self, training: Training, file: Path) -> list[dict[str, float]]:
        """Write the sheet, one row a pair: photo, style, and the picture at each strength; returns the figures."""
        network, rows, found = training.average, [], []
        for photo, style in self.pairs:
            photo, style = photo.to(training.device), style.to(training.device)
            code = network.encode(style)
            pictures = [stylize_fast(network, photo, code, strength) for strength in SHEET_STRENGTHS]
            rows.append(torch.cat([photo, fitted(style, photo), *pictures], 3))
            count = len(pictures)
            grams = training.objective.grams(style)
            of_photo = torch.zeros(count, dtype=torch.int64, device=training.device)
            targets = training.objective.targets(
                photo, grams, of_photo, photo.new_ones(count, 1), photo.new_ones(count)
            )
            found.append(training.objective(torch.cat(pictures), targets)[1])
        if rows:
            # Resizing rounds to a hair above 1.
            sheet = (torch.cat(rows, 2)[0].clamp(0, 1) * 255).round().byte().cpu()
            Picture.from_any(sheet).save(file)
        return [
            {"strength": strength}
            | with_style({name: sum(float(pair[name][at]) for pair in found) / len(found) for name in found[0]})
            for at, strength in enumerate(SHEET_STRENGTHS)
            if found
        ]


def fitted(style: Float[Tensor, "1 3 _ _"], photo: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
    """A style as it is shown beside a photo."""
    return F.interpolate(style, photo.shape[2:], mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def held_out(folder: Folder, count: int, size: int) -> list[Float[Tensor, "1 3 size size"]]:
    """The first held-out pictures of a folder that can be read."""
    pictures = (folder.get(file) for file in folder.held_out[:count])
    return [centre(picture, size) for picture in pictures if picture is not None]


def centre(picture: UInt8[Tensor, "3 h w"], size: int) -> Float[Tensor, "1 3 size size"]:
    """The middle of a picture, its shortest side brought to `size`, in 0..1."""
    side = min(picture.shape[1:])
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    square = picture[None, :, top : top + side, left : left + side].float() / 255
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def train(
    training: Training,
    folder: Path,
    pairs: HeldOut,
    *,
    sheet_every: int = 500,
    checkpoint_every_s: float = 300,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[dict[str, float]], None] = lambda distances: None,
) -> None:
    """Step until the settings' last step, or until `stop()`; logs, sheets and checkpoints go to `folder`.

    `training.safetensors` is the checkpoint, `compact.safetensors` one small enough to be kept, written at the end,
    `network.safetensors` the moving average in half precision, `log.csv` a line every 20 steps, `held_out.csv` and
    `sheet-STEP.png` the held-out pairs every `sheet_every` steps and at the end, `sheet.png` the last of them. The
    figures go to TensorBoard too where it is installed.

    pairs: what the sheets show. on_step: told each step's distances.
    """
    main_process = training.rank == 0
    folder.mkdir(parents=True, exist_ok=True)
    board = tensorboard(folder) if main_process else None
    lines: list[dict[str, float]] = []
    began = saved = time.monotonic()

    def save() -> None:
        if main_process:
            training.save(folder / "training.safetensors")
            training.average.save(folder / "network.safetensors")

    def look() -> None:
        sheet = folder / f"sheet-{training.step:06}.png"
        for row in pairs.look(training, sheet):
            append(folder / "held_out.csv", HELD_OUT_COLUMNS, {"step": training.step} | row)
            if board:
                for name in ("content", "style"):
                    board.add_scalar(f"held out at {row['strength']}/{name}", row[name], training.step)
        if sheet.exists():
            copy(sheet, folder / "sheet.png")

    looked = training.step
    while training.step < training.settings.steps and not stop():
        lines.append(training.run_step())
        step = training.step
        on_step(lines[-1])
        if main_process and len(lines) == 20:
            means = mean_of(lines)
            append(folder / "log.csv", COLUMNS, facts_of(training, time.monotonic() - began) | means)
            if board:
                for name, mean in means.items():
                    board.add_scalar(name, mean, step)
        if len(lines) == 20:
            lines.clear()
        if main_process and step % sheet_every == 0:
            look()
            looked = step
        if time.monotonic() - saved >= checkpoint_every_s:
            save()
            saved = time.monotonic()
    save()
    if main_process:
        if looked != training.step:
            look()
        training.save(folder / "compact.safetensors", compact=True)


def steps_within(training: Training, seconds: float) -> int:
    """How many steps a machine takes in a time, sheets and checkpoints counted in; tells by steps of `training`."""
    settings, paces = training.settings, list[float]()
    for size in settings.sizes:
        training.settings = settings.model_copy(update={"sizes": (size,)})
        took = list[float]()
        for _ in range(PACE_STEPS):
            began = time.monotonic()
            training.run_step()
            took.append(time.monotonic() - began)
        # The first ones also read photos and find memory.
        paces.append(min(took))
    return max(1, int(STEPS_SHARE * seconds * len(paces) / sum(paces)))


def tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard's, or None where that is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def facts_of(training: Training, seconds: float) -> dict[str, float]:
    last = training.step - 1
    settings = training.settings
    return {
        "step": training.step,
        "size": settings.size_at(last),
        "rate": settings.rate_at(last),
        "seconds": round(seconds, 1),
        "skipped": training.source.skipped,
    }


def mean_of(lines: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}


def append(file: Path, columns: list[str], row: dict[str, float]) -> None:
    """A line of a CSV file, under a header if it is the first."""
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns)
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def folders(content: Path, style: Path, seed: int) -> Source:
    """The two folders of a training, every 100th photo and every 40th style held out of it."""
    return Source(Folder(content, held_out=100), Folder(style, held_out=40), seed)
