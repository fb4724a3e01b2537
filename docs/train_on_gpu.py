"""Trains the network for any style further on a GPU, for so many seconds: what the last part of the shipped one had.

    python docs/train_on_gpu.py PHOTOS STYLES OUT.safetensors --seconds 680 [--drawn DIR] [--start MODEL] [--experts 16]

`impasto train-any` makes its batches on the processor. Here all pictures lie in the GPU's memory and are cropped and
varied there, so that no core is waited for, the learning rate falls with the clock, and steps of many small crops
alternate with steps of few large ones: about 110 ms for 128 samples of 256² or 36 of 512² on an H200. `--drawn` is a
folder that `docs/draw_styles.py` may still be filling, if it leaves this some cores: drawing on nearly all of 16 made
steps four times as long. It needs `impasto weights fetch vgg16`.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.nets.any_style import SHIPPED, AnyStyle, load_any_style
from impasto.nets.catalogue import network as feature_network
from impasto.train.any_style import Training
from impasto.train.data import TONES, Batch, Folder, Source, Variety, in_tone, mix_of, read_uint8, recolouring
from impasto.train.settings import Settings

Rng = np.random.Generator
# Side of the square that every picture lies in, and a picture's own shortest side at the most, px; what is beyond the
# square is left out.
SIDE, SHORTEST = 640, 512
# Chances for a style: as in `impasto train-any`, to be a drawn one, to be given another's colours.
VARIETY, DRAWN, COLOURS_OF_ANOTHER = Variety(), 0.42, 0.15
# Drawn styles that are brought to the device at a time.
AT_A_TIME = 64
# Steps from one look at the distances to the next: to read them is to wait for the GPU.
TOLD_STEPS = 16
# Groups of four, and the least share of a picture's side that a crop covers, by the crops' side.
STEPS = {256: (32, 0.42), 512: (9, 0.6)}


class OnGpu:
    """Batches of crops from pictures that all lie on the device: photos, then styles, then drawn ones as they come."""

    skipped = 0

    def __init__(self, photos: Path, styles: Path, capacity: int, device: torch.device, seed: int) -> None:
        self.device, self.seed, self.count = device, seed, 0
        self.pictures = torch.zeros(capacity, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.sizes = np.zeros((capacity, 2))
        with ThreadPoolExecutor() as pool:
            self.photos, self.styles = (self.add(pool.map(read, Folder(at).files)) for at in (photos, styles))

    def add(self, pictures: Iterable[Tensor]) -> range:
        """Without waiting for the device, which may have steps in its queue."""
        first = self.count
        for picture in pictures:
            height, width = picture.shape[1:]
            self.pictures[self.count, :, :height, :width] = self.to_device(picture.numpy(), torch.uint8)
            self.sizes[self.count] = height, width
            self.count += 1
        return range(first, self.count)

    def watch(self, drawn: Path) -> None:
        """Add the drawn styles of a folder as they come, until it is full here."""
        seen: set[Path] = set()
        with ThreadPoolExecutor(2) as pool:
            while self.count < len(self.pictures):
                room = min(AT_A_TIME, len(self.pictures) - self.count)
                # The last ones may still be being written.
                files = sorted(set(drawn.glob("*.jpg")) - seen)[:-AT_A_TIME][:room]
                if not files:
                    # Files come by the second, and looking takes time from the training's own thread.
                    time.sleep(2)
                    continue
                self.add(pool.map(read, files))
                seen.update(files)

    def to_device(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    def batch(self, step: int, size: int, groups: range) -> Batch:
        rng, count, smallest = np.random.default_rng([self.seed, step]), 2 * len(groups), STEPS[size][1]
        photos = self.crops(rng, draw(rng, self.photos, count), size, smallest, turned=0)
        more = round(VARIETY.mosaic * count)
        styles = self.crops(rng, self.style_numbers(rng, count + more), size, 0.8 * smallest, turned=VARIETY.turn)
        styles = self.varied(rng, styles)
        styles[:more, ..., size // 2 :] = styles[count:, ..., size // 2 :]
        styles = styles[:count]
        if rng.random() < VARIETY.same * count:
            styles[-1] = photos[-1]
        usual = rng.random(4 * len(groups)) < 0.5
        strengths = torch.from_numpy(rng.uniform(np.where(usual, 0.5, 0.2), np.where(usual, 0.85, 1))).float()
        return Batch.of_groups(photos, styles, [mix_of(rng, Source.between) for _ in groups], strengths)

    def style_numbers(self, rng: Rng, count: int) -> np.ndarray:
        kind, numbers = rng.random(count), draw(rng, self.styles, count)
        numbers = np.where(kind < VARIETY.photo, draw(rng, self.photos, count), numbers)
        drawn = range(self.styles.stop, self.count)
        return np.where(kind > 1 - DRAWN, draw(rng, drawn, count), numbers) if drawn else numbers

    def crops(self, rng: Rng, numbers: np.ndarray, size: int, smallest: float, turned: float) -> Tensor:
        """A part of each picture, mirrored by chance and turned by quarters: the means of twice as many samples."""
        count, sizes = len(numbers), self.sizes[numbers]
        side = sizes.min(1) * np.exp(rng.uniform(math.log(smallest), 0, count))
        stretch = np.exp(rng.uniform(-0.15, 0.15, count))
        lengths = np.minimum(np.stack([side * stretch, side / stretch], 1), sizes)
        down, right = ((rng.uniform(0, 1, (count, 2)) * (sizes - lengths) + lengths / 2) / SIDE * 2 - 1).T
        rows, columns = (lengths / SIDE).T
        quarters = np.where(rng.random(count) < turned, rng.integers(1, 4, count), 0)
        cos, sin = np.round(np.cos(quarters * np.pi / 2)), np.round(np.sin(quarters * np.pi / 2))
        flip = np.where(rng.random(count) < 0.5, -1, 1)
        theta = np.stack([columns * cos * flip, -columns * sin, right, rows * sin * flip, rows * cos, down], 1)
        grid = F.affine_grid(
            self.to_device(theta.reshape(count, 2, 3), torch.float32),
            [count, 3, 2 * size, 2 * size],
            align_corners=False,
        )
        whole = self.pictures[self.to_device(numbers, torch.int64)].float() / 255
        return F.avg_pool2d(F.grid_sample(whole, grid, padding_mode="border", align_corners=False), 2)

    def varied(self, rng: Rng, styles: Tensor) -> Tensor:
        """Recoloured, given the colours of the next one, toned, each by chance."""
        count = len(styles)
        changed = rng.random(count) < VARIETY.colours
        matrices = np.stack([recolouring(rng).numpy() if change else np.eye(3) for change in changed])
        styles = torch.einsum("nij,njhw->nihw", self.to_device(matrices, torch.float32), styles)
        taken = self.to_device(rng.random(count) < COLOURS_OF_ANOTHER, torch.bool)[:, None, None, None]
        styles = torch.where(taken, in_colours_of_the_next(styles), styles)
        toned = rng.random(count) < VARIETY.tone
        tones = [np.where(toned, np.exp(rng.uniform(-most, most, count)), 1) for most in TONES]
        return in_tone(styles, *(self.to_device(tone, torch.float32).view(-1, 1, 1, 1) for tone in tones)).clamp(0, 1)


def in_colours_of_the_next(styles: Tensor) -> Tensor:
    """Each with the mean colour and covariance of the one behind it in the batch."""
    flat = styles.flatten(2)
    mean = flat.mean(2, keepdim=True)
    some = (flat - mean)[..., ::7]
    covariance = torch.bmm(some, some.mT) / some.shape[2] + 1e-3 * torch.eye(3, device=styles.device)
    root = torch.linalg.cholesky_ex(covariance)[0]
    to_next = torch.linalg.solve_triangular(root, root.roll(1, 0), upper=False, left=False)
    return (torch.bmm(to_next, flat - mean) + mean.roll(1, 0)).view_as(styles)


def read(file: Path) -> Tensor:
    """(3, h, w) bytes, the middle of a picture that is longer than `SIDE`."""
    picture = read_uint8(file, SHORTEST)
    top, left = (max(0, (length - SIDE) // 2) for length in picture.shape[1:])
    return picture[:, top : top + SIDE, left : left + SIDE]


def draw(rng: Rng, numbers: range, count: int) -> np.ndarray:
    return rng.integers(numbers.start, numbers.stop, count)


class OnGpuTraining(Training):
    """A training whose distances are read now and then."""

    def meaned(self, distances: dict[str, Tensor]) -> dict[str, float]:
        return super().meaned(distances) if self.step % TOLD_STEPS == 0 else {}


def with_experts(network: AnyStyle, experts: int) -> AnyStyle:
    """The same network with more layers to mix each of its own of, which have no share in any style yet."""
    more = AnyStyle(replace(network.shape, experts=experts))
    tensors = more.state_dict()
    for name, given in network.state_dict().items():
        own = tensors[name]
        if own.shape != given.shape:
            if ".shares." in name:
                own.zero_()
            own = own[: len(given)]
        own.copy_(given)
    return more


def train(training: Training, source: OnGpu, seconds: float, out: Path) -> None:
    """Small crops in three of four steps, in the second half of the time large ones."""
    began = said = time.monotonic()
    settings = training.settings
    while (progress := (time.monotonic() - began) / seconds) < 1:
        size = 512 if (training.step % 4 == 3) != (progress >= 0.5) else 256
        # As many steps as there will be at this pace, so that the learning rate falls with the clock.
        steps = max(1, round(training.step / progress))
        training.settings = settings.model_copy(update={"steps": steps, "sizes": (size,)})
        training.groups = range(STEPS[size][0])
        found = training.run_step()
        if found and time.monotonic() - said > 30:
            said = time.monotonic()
            told = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
            print(f"{said - began:5.0f} s, step {training.step}, {source.count} pictures: {told}", flush=True)
            training.average.save(out)
    training.average.save(out)
    print(f"{training.step} steps")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("styles", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--start", type=Path, default=SHIPPED)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--steady", type=float, default=5)
    parser.add_argument("--experts", type=int, help="default: as many as it has")
    parser.add_argument("--capacity", type=int, default=20_000, help="pictures, 1.2 MB each")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    source = OnGpu(asked.photos, asked.styles, asked.capacity, device, asked.seed)
    if asked.drawn:
        threading.Thread(target=source.watch, args=(asked.drawn,), daemon=True).start()
    settings = Settings(learning_rate=asked.rate, warm_up=150, fall=1, hard=2, steady=asked.steady, seed=asked.seed)
    network = load_any_style(asked.start)
    if asked.experts:
        network = with_experts(network, asked.experts)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    training = OnGpuTraining(
        settings, source, feature_network("vgg16"), shape=network.shape, device=device, dtype=dtype
    )
    training.start_from(network)
    train(training, source, asked.seconds, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
