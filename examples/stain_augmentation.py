"""Does stain augmentation serve? A small classifier learns on one laboratory's stain and is tested on another's.

The tissue is synthetic, so that nothing but the stain differs between the laboratories: 64 px tiles with small, even
nuclei against large, uneven ones, in haematoxylin and eosin by Beer-Lambert's law. The classifier is trained on
laboratory A, without and with augmentation, and tested on held-out tiles of A and of B, five times from other seeds.

    python examples/stain_augmentation.py [--seeds 5]

The stains of laboratory B are in no bank. Two networks are tested on normalised tiles of B too, taken to A's stain
first: by the stains of both, as if they were known, and by `StainNormalizer`, which measures them from the tiles.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import t as student_t
from torch import Tensor, nn

from impasto.medical import FittedStains, StainAugment, StainNormalizer
from impasto.medical.stains import METHODS

SIDE_PX, TRAIN, TEST, EPOCHS, BATCH = 64, 512, 512, 12, 32


def laboratory(haematoxylin: list[float], eosin: list[float], strength: list[float]) -> FittedStains:
    vectors = np.array([haematoxylin, eosin])
    return FittedStains(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.array(strength))


A = laboratory([0.65, 0.70, 0.29], [0.10, 0.95, 0.18], [0.70, 0.35])
B = laboratory([0.55, 0.76, 0.36], [0.25, 0.88, 0.35], [0.45, 0.55])
BANK = [
    laboratory([0.72, 0.62, 0.30], [0.12, 0.97, 0.22], [0.55, 0.30]),
    laboratory([0.60, 0.72, 0.36], [0.20, 0.90, 0.30], [0.85, 0.45]),
    laboratory([0.58, 0.73, 0.30], [0.08, 0.93, 0.28], [0.50, 0.50]),
]
# Trainings whose networks are tested on normalised tiles too.
NORMALISED = ("no augmentation", "HED jitter, scale 0.2")


def tile(kind: int, stains: FittedStains, rng: np.random.Generator) -> np.ndarray:
    """A tile (3, h, w), uint8. kind: 0 for small, even nuclei, 1 for large, uneven ones."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(float)
    haematoxylin = np.full((SIDE_PX, SIDE_PX), 0.05)
    # Either kind may be crowded or sparse: how much there is of each stain must not tell the kind.
    size, spread = ((4.0, 0.08), (4.9, 0.30))[kind]
    covered, aim = 0.0, rng.uniform(0.10, 0.30) * SIDE_PX**2
    while covered < aim:
        axes = size * np.exp(rng.normal(0, spread, 2))
        turn, (v, u) = rng.uniform(0, np.pi), rng.uniform(0, SIDE_PX, 2)
        down, right = y - v, x - u
        radius = np.hypot((np.cos(turn) * right + np.sin(turn) * down) / axes[0],
                          (np.cos(turn) * down - np.sin(turn) * right) / axes[1])  # fmt: skip
        haematoxylin = np.maximum(haematoxylin, rng.uniform(0.6, 1) / (1 + np.exp(8 * (radius - 1))))
        covered += np.pi * axes[0] * axes[1]
    coarse = zoom(rng.random((9, 9)), SIDE_PX / 9, order=1)[:SIDE_PX, :SIDE_PX]
    eosin = rng.uniform(0.4, 1.0) * (0.4 + 0.6 * coarse) * (1 - 0.6 * haematoxylin)
    grain = 1 + 0.15 * gaussian_filter(rng.standard_normal((2, SIDE_PX, SIDE_PX)), (0, 1, 1)) / 0.28
    amounts = np.stack([haematoxylin, eosin]) * grain * (stains.strength * rng.uniform(0.85, 1.15, 2))[:, None, None]
    intensity = 10 ** -np.einsum("shw,sc->chw", amounts, stains.vectors)
    return np.clip(np.rint(255 * intensity + rng.normal(0, 2, intensity.shape)), 0, 255).astype(np.uint8)


def tiles(count: int, stains: FittedStains, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 2
    images = np.stack([tile(int(kind), stains, rng) for kind in kinds])
    return torch.from_numpy(images), torch.from_numpy(kinds)


def classifier() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 12), (12, 16), (16, 24)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2))


def trained(images: Tensor, kinds: Tensor, augment: Callable[[Tensor], Tensor], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = classifier()
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).view(-1, BATCH):
            batch = augment(images[chosen])
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            loss = F.cross_entropy(network(batch.float() / 255), kinds[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def normalised_to(reference: Tensor, images: Tensor, method: str) -> Tensor:
    """Tiles (n, 3, h, w) in the stain of the reference's tiles, both measured as one slide."""
    normalizer = StainNormalizer(method).fit(as_slide(reference))
    slide = as_slide(images)
    result = normalizer.transform(slide, normalizer.measure(slide))
    return torch.from_numpy(result).view(len(images), SIDE_PX, SIDE_PX, 3).permute(0, 3, 1, 2).contiguous()


def as_slide(images: Tensor) -> np.ndarray:
    """Tiles below each other, (n * h, w, 3)."""
    return images.permute(0, 2, 3, 1).reshape(-1, SIDE_PX, 3).numpy()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, kinds: Tensor) -> float:
    return float((network(images.float() / 255).argmax(1) == kinds).float().mean())


def interval(values: list[float]) -> str:
    """Mean and 95 % confidence interval over the seeds (Student's t)."""
    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):6.1%} ± {half:5.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many trainings each (at least 2)")
    seeds = parser.parse_args().seeds
    training, own, other = tiles(TRAIN, A, 0), tiles(TEST, A, 1), tiles(TEST, B, 2)
    known = StainAugment(scale=0, shift=0, bank=[A], source=B)(other[0])
    normalised = {"known stains": known}
    normalised |= {method: normalised_to(training[0], other[0], method) for method in METHODS}
    trainings: dict[str, Callable[[Tensor], Tensor]] = {
        "no augmentation": lambda batch: batch,
        "HED jitter, scale 0.2": StainAugment(scale=0.2),
        "HED jitter, scale 0.5": StainAugment(scale=0.5, shift=0.02),
        "bank of three laboratories": StainAugment(scale=0, shift=0, bank=[A, *BANK], source=A),
        "bank and jitter 0.2": StainAugment(bank=[A, *BANK], source=A),
    }
    print(f"{'trained on laboratory A with':28} {'B normalised by':16} {'tested on A':>16} {'tested on B':>16}")
    for name, augment in trainings.items():
        networks = [trained(*training, augment, seed) for seed in range(seeds)]
        on_own = interval([accuracy(network, *own) for network in networks])
        for how, images in {"-": other[0], **(normalised if name in NORMALISED else {})}.items():
            on_other = interval([accuracy(network, images, other[1]) for network in networks])
            print(f"{name:28} {how:16} {on_own:>16} {on_other:>16}", flush=True)


if __name__ == "__main__":
    main()
