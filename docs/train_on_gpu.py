"""Trains the network for any style further on a GPU, for so many seconds: what the last part of the shipped one had.

    python docs/train_on_gpu.py PHOTOS STYLES OUT.safetensors --seconds 680 [--drawn DIR] [--start MODEL]

`impasto train-any` makes its batches on the processor. Here all pictures lie in the GPU's memory and are cropped and
varied there, so that no core is waited for, the learning rate falls with the clock, and steps of many small crops
alternate with steps of few large ones: about 110 ms for 128 samples of 256² or 36 of 512² on an H200. `--drawn` is a
folder that `docs/draw_styles.py` may still be filling. It needs `impasto weights fetch vgg16`.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from impasto.nets.any_style import SHIPPED, load_any_style
from impasto.nets.catalogue import network as feature_network
from impasto.train.any_style import Training
from impasto.train.data import Batch
from impasto.train.settings import Settings

Rng = np.random.Generator
# Side of the square that every picture lies in, px; what is beyond it is left out.
SIDE = 640
# Of the samples' styles: a photo, a drawn style; of all styles: half another one.
PHOTO, DRAWN, HALVED = 0.08, 0.42, 0.12
# Groups of four, and the least share of a picture's side that a crop covers, by the crops' side.
STEPS = {256: (32, 0.42), 512: (9, 0.6)}
WARM_UP = 150
# Hues are turned around the grey axis (Rodrigues' formula).
CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)


class OnGpu:
    """Batches of crops from pictures that all lie on the device: photos, then styles, then drawn ones as they come."""

    skipped = 0

    def __init__(self, photos: Path, styles: Path, capacity: int, device: torch.device, seed: int) -> None:
        self.device, self.seed, self.count = device, seed, 0
        self.pictures = torch.zeros(capacity, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.sizes = np.zeros((capacity, 2))
        with ThreadPoolExecutor() as pool:
            self.photos, self.styles = (self.add(pool.map(read, every(folder))) for folder in (photos, styles))

    def add(self, pictures: Iterable[np.ndarray]) -> range:
        first = self.count
        for pixels in pictures:
            height, width = pixels.shape[:2]
            there = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)
            self.pictures[self.count, :, :height, :width] = there
            self.sizes[self.count] = height, width
            self.count += 1
        return range(first, self.count)

    def watch(self, drawn: Path) -> None:
        """Add the drawn styles of a folder as they come, until it is full here."""
        seen: set[Path] = set()
        while self.count < len(self.pictures):
            for file in sorted(set(drawn.glob("*.jpg")) - seen)[: len(self.pictures) - self.count]:
                try:
                    self.add([read(file)])
                    seen.add(file)
                except OSError:  # Still being written.
                    continue
            time.sleep(2)

    def to_device(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    def batch(self, step: int, size: int, groups: range) -> Batch:
        rng, count, smallest = np.random.default_rng([self.seed, step]), 2 * len(groups), STEPS[size][1]
        photos = self.crops(rng, draw(rng, self.photos, count), size, smallest, turned=0)
        more = round(HALVED * count)
        styles = self.crops(rng, self.style_numbers(rng, count + more), size, 0.8 * smallest, turned=0.3)
        styles = self.varied(rng, styles)
        styles[:more, ..., size // 2 :] = styles[count:, ..., size // 2 :]
        styles = styles[:count]
        if rng.random() < 0.02 * count:  # The photo itself, which should come back.
            styles[-1] = photos[-1]
        mixes = [mix(rng) for _ in groups]
        photo_of = [2 * group + photo for group in range(len(groups)) for photo in (0, 1, 0, 1)]
        usual = rng.random(4 * len(groups)) < 0.5
        strengths = rng.uniform(np.where(usual, 0.5, 0.2), np.where(usual, 0.85, 1))
        return Batch(
            photos,
            styles.contiguous(),
            photo_of,
            torch.block_diag(*mixes).to(self.device),
            self.to_device(strengths, torch.float32),
        )

    def style_numbers(self, rng: Rng, count: int) -> np.ndarray:
        kind, numbers = rng.random(count), draw(rng, self.styles, count)
        numbers = np.where(kind < PHOTO, draw(rng, self.photos, count), numbers)
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
        matrices = np.stack([recolouring(rng) for _ in styles])
        styles = torch.einsum("nij,njhw->nihw", self.to_device(matrices, torch.float32), styles)
        flat = styles.flatten(2)
        mean = flat.mean(2, keepdim=True)
        some = (flat - mean)[..., ::7]
        covariance = torch.bmm(some, some.mT) / some.shape[2] + 1e-3 * torch.eye(3, device=self.device)
        root = torch.linalg.cholesky_ex(covariance)[0]
        to_next = torch.linalg.solve_triangular(root, root.roll(1, 0), upper=False, left=False)
        moved = (torch.bmm(to_next, flat - mean) + mean.roll(1, 0)).view_as(styles)
        taken = self.to_device(rng.random(len(styles)) < 0.15, torch.bool)[:, None, None, None]
        styles = torch.where(taken, moved, styles).clamp(1e-3, 1)
        toned = rng.random(len(styles)) < 0.4
        gamma, contrast, saturation = (
            self.to_device(np.where(toned, np.exp(rng.uniform(-k, k, len(styles))), 1), torch.float32).view(-1, 1, 1, 1)
            for k in (0.45, 0.3, 0.5)
        )
        styles = styles**gamma
        grey = styles.mean(1, keepdim=True)
        styles = grey + saturation * (styles - grey)
        middle = styles.mean((1, 2, 3), keepdim=True)
        return (middle + contrast * (styles - middle)).clamp(0, 1)


def every(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def read(file: Path) -> np.ndarray:
    """(h, w, 3) bytes, the middle of a picture that is longer than `SIDE`."""
    image = Image.open(file).convert("RGB")
    left, top = (max(0, (length - SIDE) // 2) for length in image.size)
    return np.array(image.crop((left, top, left + min(image.width, SIDE), top + min(image.height, SIDE))))


def draw(rng: Rng, numbers: range, count: int) -> np.ndarray:
    return rng.integers(numbers.start, numbers.stop, count)


def recolouring(rng: Rng) -> np.ndarray:
    """A third of the time the channels exchanged or all hues turned."""
    if rng.random() > 0.35:
        return np.eye(3)
    if rng.random() < 0.5:
        return np.eye(3)[rng.permutation(3)]
    angle = rng.uniform(-math.pi, math.pi)
    return math.sin(angle) * CROSS + math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) / 3


def mix(rng: Rng) -> Tensor:
    """The shares of a group's two styles in its four samples: one of them, now and then both."""
    rows = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    for row in rows:
        if rng.random() < 0.1:
            row[0] = rng.uniform(0.2, 0.8)
            row[1] = 1 - row[0]
    return torch.from_numpy(rows)


def train(training: Training, source: OnGpu, seconds: float, rate: float, out: Path) -> None:
    """Small crops in three of four steps, in the second half of the time large ones."""
    began = said = time.monotonic()
    settings = training.settings
    while (progress := (time.monotonic() - began) / seconds) < 1:
        size = 512 if (training.step % 4 == 3) != (progress >= 0.5) else 256
        now = rate * min(1, (training.step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))
        training.settings = settings.model_copy(update={"learning_rate": now, "sizes": (size,)})
        training.groups = range(STEPS[size][0])
        found = training.run_step()
        if time.monotonic() - said > 30:
            said = time.monotonic()
            told = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
            print(f"{said - began:5.0f} s, step {training.step}, {source.count} pictures, rate {now:.5f}: {told}")
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
    parser.add_argument("--capacity", type=int, default=12_000, help="pictures, 1.2 MB each")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    source = OnGpu(asked.photos, asked.styles, asked.capacity, device, asked.seed)
    if asked.drawn:
        threading.Thread(target=source.watch, args=(asked.drawn,), daemon=True).start()
    # The rate and the sizes are set anew for every step.
    settings = Settings(hard=2, steady=10, warm_up=0, fall=0, steps=sys.maxsize, seed=asked.seed)
    network = load_any_style(asked.start)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    training = Training(settings, source, feature_network("vgg16"), shape=network.shape, device=device, dtype=dtype)
    training.start_from(network)
    train(training, source, asked.seconds, asked.rate, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
