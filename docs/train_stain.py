"""Trains the network of the stain method `learned`.

    python docs/train_stain.py SLIDE [-o FILE] [--steps 8000] [--without nothing|deep|all]

It learns from pairs of samples of colours whose truth is known. Amounts of stains are drawn at random, from synthetic
tissue, and from the left half of SLIDE (so that the right half can judge); they are shown in the stains, response and
noise of a laboratory drawn at random, beside a reference: other amounts in those of a second laboratory. The truth is
the first amounts as the second laboratory shows them. --without trains counterparts: `deep` is given moments of colours
alone, `all` is one constant correction.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from impasto.medical import learned
from impasto.medical.slides import open_slide
from impasto.medical.stains import unit, vahadane_vectors, with_third
from impasto.medical.synthetic import ROSE, synthetic_tissue
from impasto.medical.tissue import MIN_TISSUE_PIXELS, NOISE, estimate_white, optical_density, tissue_mask
from impasto.medical.transport import monge

SAMPLE, BATCH, RATE = 768, 24, 2e-3
FEATURES, SIDE, WIDTH, HIDDEN = 32, 32, 24, 128
WHITE = np.full(3, 240 / 255, np.float32)
# 99th percentile of haematoxylin and eosin, in densities, that amounts of 1 stand for.
STRENGTHS = np.array([0.95, 0.75])
TILE = 128
CARD = """Pointwise network of the stain method `learned`.
Data: stain amounts of synthetic tissue, drawn at random, and of the left half of CMU-1-Small-Region (OpenSlide test
data, CC0), shown in the stains of laboratories drawn at random.
Training: {steps} steps of {batch} pairs of samples of {sample} colours, by docs/train_stain.py.
Loss: mean absolute difference of colours, and a tenth of that of densities, to the known truth; {loss:.4f} at the end.
Figures on tiles held out: python -m benchmarks.learned_stain, kept in benchmarks/RESULTS.md.
Limits: haematoxylin and eosin only. No medical device.
Licence: Apache-2.0."""


@dataclass(frozen=True)
class Laboratories:
    """Drawn at random. matrix: density (R, G, B) of haematoxylin, of eosin, and of what is neither; response and
    crosstalk are the scanner's: densities to a power, then mixed between channels."""

    matrix: np.ndarray
    response: np.ndarray
    crosstalk: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, count: int) -> Laboratories:
        stains = unit(np.clip(ROSE + rng.normal(0, 0.11, (count, 2, 3)), 0.015, None))
        # The eosin of half of them is towards purple.
        purple = rng.uniform(0, 0.35, (count, 1)) * (rng.random((count, 1)) < 0.5)
        stains[:, 1] = unit(stains[:, 1] + purple * stains[:, 0])
        matrix = with_third(stains)
        matrix[:, :2] *= (STRENGTHS * np.exp(rng.normal(0, 0.35, (count, 2))))[..., None]
        linear = rng.random((count, 1, 1)) < 0.5
        response = np.exp(rng.normal(0, 0.08, (count, 1, 1)) * ~linear)
        return cls(matrix, response, np.eye(3) + rng.normal(0, 0.03, (count, 3, 3)) * ~linear)

    def density(self, amounts: np.ndarray) -> np.ndarray:
        shown: np.ndarray = np.clip(amounts @ self.matrix, 0, None) ** self.response @ self.crosstalk
        return np.clip(shown, 0, None)


def drawn_amounts(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, SAMPLE, 3): nuclei, stroma, blood and pale tissue in random shares, each of a spread of its own; some
    pixels, at edges, hold two of them."""
    shares = rng.dirichlet([1.0, 2.0, 0.3, 0.4], count)
    kind = (rng.random((count, SAMPLE, 1)) > np.cumsum(shares, 1)[:, None]).sum(-1).clip(0, 3)
    usual = np.array([[0.9, 0.16], [0.05, 0.56], [0.03, 1.2], [0.02, 0.21]]) * np.exp(
        rng.normal(0, 0.18, (count, 4, 2))
    )
    usual[:, 1:, 0] *= rng.uniform(0.2, 2.5, (count, 1))
    usual[:, 0, 1] *= rng.uniform(0, 3, count)
    spread = np.array([[0.28, 0.6], [0.7, 0.32], [0.5, 0.2], [0.6, 0.4]])[kind] * rng.uniform(0.3, 1.2, (count, 1, 1))
    amounts = usual[np.arange(count)[:, None], kind] * np.exp(rng.normal(0, 1, (count, SAMPLE, 2)) * spread)
    mixed = rng.random((count, SAMPLE, 1)) * (rng.random((count, SAMPLE, 1)) < 0.35)
    amounts = amounts * (1 - mixed) + amounts[:, rng.permutation(SAMPLE)] * mixed
    return np.concatenate([amounts, rng.normal(0, 0.02, (count, SAMPLE, 1))], axis=2)


def synthetic_amounts(count: int) -> list[np.ndarray]:
    """Of tissue by the generator, of other seeds than any test's."""
    pools = []
    for seed in range(10_000, 10_000 + count):
        rng = np.random.default_rng(seed)
        tissue = synthetic_tissue(160, 160, noise_levels=0, coverage=rng.uniform(0.3, 1), seed=seed,
                                  amounts=(0.9 * rng.uniform(0.7, 1.3), 0.35 * rng.uniform(0.7, 1.3)))  # fmt: skip
        colours = as_colours(tissue.pixels[tissue.tissue])
        pools.append(amounts_of(optical_density(colours, np.array([244, 243, 245], np.float32) / 255), tissue.stains))
    return [pool / [*STRENGTHS, 1] for pool in pools]


def as_colours(pixels: np.ndarray) -> np.ndarray:
    """8-bit pixels as rows of colours."""
    return pixels.reshape(-1, 3).astype(np.float32) / 255


def slide_amounts(file: Path) -> list[np.ndarray]:
    """Of the tiles in the left half of a slide that show tissue."""
    slide = open_slide(file)
    if slide is None:
        raise SystemExit(f"{file} is no slide.")
    pixels = slide.read(0, 0, slide.facts.height, slide.facts.width // 2)
    white = estimate_white(as_colours(pixels)[::50])
    densities = []
    for top in range(0, pixels.shape[0] - TILE, TILE):
        for left in range(0, pixels.shape[1] - TILE, TILE):
            colours = as_colours(pixels[top : top + TILE, left : left + TILE])
            tissue = colours[tissue_mask(colours, white)]
            if len(tissue) > 0.3 * TILE**2:
                densities.append(optical_density(tissue, white).astype(np.float64))
    stains = vahadane_vectors(np.concatenate(densities)[::23])
    pools = [amounts_of(density, stains) for density in densities]
    return [pool / [*np.percentile(np.concatenate(pools)[:, :2], 99, axis=0), 1] for pool in pools]


def amounts_of(density: np.ndarray, stains: np.ndarray) -> np.ndarray:
    return np.asarray(density @ np.linalg.inv(with_third(stains)))


class Source:
    """Batches of (source, reference, truth) densities (BATCH, SAMPLE, 3) over the glass, tissue only."""

    def __init__(self, pools: Sequence[Sequence[np.ndarray]], seed: int) -> None:
        self.pools, self.rng = pools, np.random.default_rng(seed)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        first, second = (Laboratories.drawn(self.rng, BATCH) for _ in range(2))
        kinds = self.rng.integers(len(self.pools) + 1, size=(2, BATCH))
        # Half of the references show the same kind of tissue, as those that people choose do.
        kinds[1] = np.where(self.rng.random(BATCH) < 0.5, kinds[0], kinds[1])
        own, other = (self.amounts(side) for side in kinds)
        source, truth = self.of_tissue(self.seen(first.density(own)), second.density(own))
        (reference,) = self.of_tissue(self.seen(second.density(other)))
        source, reference, truth = (torch.from_numpy(part.astype(np.float32)) for part in (source, reference, truth))
        return source, reference, truth

    def amounts(self, kinds: np.ndarray) -> np.ndarray:
        """kinds: by row, which pool they are from; beyond the last, drawn at random."""
        amounts = drawn_amounts(self.rng, BATCH)
        for row, kind in enumerate(kinds):
            if kind < len(self.pools):
                pool = self.pools[kind][self.rng.integers(len(self.pools[kind]))]
                amounts[row] = pool[self.rng.integers(len(pool), size=SAMPLE)]
        return amounts

    def seen(self, density: np.ndarray) -> np.ndarray:
        """By a camera, with its noise and in its levels."""
        noise = self.rng.normal(0, 1, density.shape) * self.rng.uniform(0, 2.5, (len(density), 1, 1))
        levels = np.clip(np.rint(255 * WHITE * 10**-density + noise), 1, 255)
        return optical_density((levels / 255).reshape(-1, 3).astype(np.float32), WHITE).reshape(density.shape)

    def of_tissue(self, density: np.ndarray, *more: np.ndarray) -> list[np.ndarray]:
        """Pixels of tissue, drawn again in place of the others, since only they will be measured."""
        colours = (WHITE * 10**-density).reshape(-1, 3).astype(np.float32)
        mask = tissue_mask(colours, WHITE).reshape(density.shape[:2])
        chosen = np.tile(np.arange(SAMPLE), (len(density), 1))
        for row, own in enumerate(mask):
            if own.sum() >= MIN_TISSUE_PIXELS:
                chosen[row] = self.rng.choice(np.flatnonzero(own), SAMPLE)
        return [np.take_along_axis(part, chosen[..., None], axis=1) for part in (density, *more)]


def perceptron(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(channels[:-1], channels[1:], strict=True):
        layers += [nn.SiLU(), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers[1:])


class Network(nn.Module):
    """What `impasto.medical.learned` computes, in batches and with gradients."""

    def __init__(self, without: str) -> None:
        super().__init__()
        self.without = without
        self.features = perceptron(3, FEATURES, FEATURES, FEATURES)
        self.side = perceptron(3 * FEATURES + 9, HIDDEN, HIDDEN, SIDE)
        self.both = perceptron(2 * SIDE, HIDDEN, HIDDEN, 9 + 4 * WIDTH)
        self.pixel = perceptron(3, WIDTH, WIDTH, 3)
        # It begins as the plain transport.
        for layer in (self.both[-1], self.pixel[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def statistics(self, density: Tensor) -> Tensor:
        mean = density.mean(1, keepdim=True)
        shares = density / mean
        features = self.features(shares)
        soft = (torch.softmax(learned.SHARPNESS * features, 1) * features).sum(1)
        deep = torch.cat([features.mean(1), features.std(1, correction=0), soft], 1)
        row, column = torch.triu_indices(3, 3)
        spread = learned.SPREAD * (shares.transpose(1, 2) @ shares / shares.shape[1] - 1)[:, row, column]
        if self.without != "nothing":
            deep = torch.zeros_like(deep)
        moments = torch.cat([spread, mean[:, 0].log()], 1)
        return torch.cat([deep, torch.zeros_like(moments) if self.without == "all" else moments], 1)

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        mean = reference.mean(1, keepdim=True)
        shares = source @ torch.from_numpy(transports(source, reference)) / mean
        own, other = (self.side(self.statistics(one)) for one in (source, reference))
        code = self.both(torch.cat([own, other], 1)) - self.both(torch.cat([other, other], 1))
        linear = learned.REACH * torch.tanh(code[:, :9].view(-1, 3, 3))
        steered, plain = (self.of_pixels(shares, part) for part in (code[:, 9:], torch.zeros_like(code[:, 9:])))
        return (shares + shares @ linear + steered - plain) * mean

    def of_pixels(self, shares: Tensor, code: Tensor) -> Tensor:
        gain1, shift1, gain2, shift2 = code.view(-1, 4, 1, WIDTH).unbind(1)
        first, activation, second, _, last = self.pixel
        hidden = first(shares) * (1 + gain1) + shift1
        hidden = second(activation(hidden)) * (1 + gain2) + shift2
        return last(activation(hidden))


def transports(source: Tensor, reference: Tensor) -> np.ndarray:
    moments = [(one.transpose(1, 2) @ one / one.shape[1]).double().numpy() + NOISE**2 * np.eye(3)
               for one in (source, reference)]  # fmt: skip
    return np.stack([monge(*pair) for pair in zip(*moments, strict=True)]).astype(np.float32)


def colours(density: Tensor) -> Tensor:
    return torch.from_numpy(WHITE) * 10 ** -density.clamp_min(0)


def train(pools: Sequence[Sequence[np.ndarray]], steps: int, without: str) -> tuple[Network, float]:
    torch.manual_seed(0)
    network, source = Network(without), Source(pools, seed=0)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.03)
    recent = 0.0
    for step in range(steps):
        own, reference, truth = source.batch()
        result = network(own, reference)
        loss = (colours(result) - colours(truth)).abs().mean() + 0.1 * (result - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += (loss.item() - recent) / min(step + 1, 500)
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}: loss {recent:.4f}", flush=True)
    if not math.isfinite(recent):
        raise SystemExit("The training went astray.")
    return network, recent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=learned.SHIPPED)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--without", choices=["nothing", "deep", "all"], default="nothing")
    asked = parser.parse_args()
    network, loss = train([synthetic_amounts(60), slide_amounts(asked.slide)], asked.steps, asked.without)
    card = CARD.format(steps=asked.steps, batch=BATCH, sample=SAMPLE, loss=loss)
    tensors = network.state_dict()
    # What a counterpart was never given must not count either.
    seen = {"nothing": 0, "deep": 3 * FEATURES, "all": 3 * FEATURES + 9}[asked.without]
    tensors["side.0.weight"][:, :seen] = 0
    tensors = {name: values.half() for name, values in tensors.items()}
    save_file(tensors, asked.output, {"card": card, "licence": "Apache-2.0", "without": asked.without})
    return 0


if __name__ == "__main__":
    sys.exit(main())
