"""Do the judges see what they should? Ten held-out pairs at 256 px, painted with four settings, and spoiled on purpose.

    python -m benchmarks.judges [FOLDER]      pictures stay in FOLDER (default out/bench-judges) and are painted once

Against VGG-16 were optimised: 60 iterations, 5 iterations, and 60 with a twentieth and with ten times the style weight.
Each network that judges has to find, without having been optimised against: 60 iterations nearer the style than 5, more
style weight nearer the style and further from the photo, and neither baseline nearer the style than 60 iterations. Then
a faint checkerboard and a faint burned border are added to the results, which has to raise the artefact scores.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

import impasto
from benchmarks.data import eval_pairs
from benchmarks.painted import painted
from benchmarks.verdict import verdict
from impasto.evaluation.artefacts import PERIOD_PX, border_score, checkerboard_score
from impasto.evaluation.case import View, fitted
from impasto.evaluation.compare import Comparison, comparison
from impasto.evaluation.evaluate import Evaluation, agreement
from impasto.picture import read_picture

SIZE, PAIRS = 256, 10
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"iterations": 60},
    "short": {"iterations": 5},
    "low": {"iterations": 60, "style_weight": 5},
    "high": {"iterations": 60, "style_weight": 1000},
}
LEAST_WINS, LEAST_AGREEMENT = 9, 0.6
# Faint faults: a checkerboard of 8 grey levels either way, a frame of 4 px darkened by a fifth.
BOARD, BURN, BURN_PX = 8 / 255, 0.2, 4
# One that can hardly be seen: its deviation, and how often it is to be told from none.
FAINT, LEAST_TOLD = 1 / 255, 0.9


def paint(folder: Path) -> None:
    with impasto.Session(size=SIZE) as session:
        for (photo, style), (name, fields) in itertools.product(eval_pairs(PAIRS), SETTINGS.items()):
            painted(session, folder / name, photo, style, **fields)


def print_means(found: dict[str, Evaluation]) -> None:
    default = found["default"]
    print(f"{'mean over ' + str(PAIRS) + ' pairs':28}", *(f"{name:>9}" for name in (*found, "photo", "recolour")))
    for name in default.figures:
        means = [one.mean(name).mean for one in found.values()]
        means += [default.baseline(which, name) or 0.0 for which in ("photo", "colour transfer")]
        print(f"{name:28}", *(f"{value:9.3f}" for value in means))


def wins(pairs: Comparison, name: str, side: str) -> tuple[str, bool]:
    """In how many pairs the expected side is better, and whether that is enough and sure."""
    difference = pairs.differences[name]
    count = {"A": difference.wins_a, "B": difference.wins_b}[side]
    low, high = difference.mean.low, difference.mean.high
    return f"{count} of {PAIRS}, A - B {low:.3f} .. {high:.3f}", count >= LEAST_WINS and difference.sure == side


def check_settings(found: dict[str, Evaluation]) -> dict[str, bool]:
    expected = [
        ("default", "short", "style", "A"),
        ("high", "low", "style", "A"),
        ("high", "low", "content", "B"),
        ("default", "short", "content", "B"),
    ]
    met = {}
    for a, b, about, side in expected:
        pairs = comparison(found[a], found[b])
        for name in (figure for figure in found[a].figures if figure.startswith(f"{about}/")):
            told, reached = wins(pairs, name, side)
            met[f"{name}: {(a, b)[side == 'B']} better than {(b, a)[side == 'B']} ({told})"] = reached
    return met


def check_baselines(found: Evaluation) -> dict[str, bool]:
    met = {}
    for which, name in itertools.product(("photo", "colour transfer"), found.figures):
        if name.startswith("style/"):
            beaten = sum(one.figures[name] < one.baselines[which][name] for one in found.results)
            met[f"{name}: default better than {which} ({beaten} of {PAIRS})"] = beaten >= LEAST_WINS
    return met


def check_agreement(found: dict[str, Evaluation]) -> dict[str, bool]:
    """How alike the figures rank all results of all settings, and those of one setting."""
    figures = found["default"].figures
    names = [name for name, figure in figures.items() if figure.about in ("style", "content")]
    ranked = {
        name: [figures[name].badness(value) for one in found.values() for value in one.values(name)] for name in names
    }
    within = found["default"].agreement()
    met = {}
    print(f"\n{'rank correlation over':57} {'all':>5} {'default':>8}")
    for (one, other), value in agreement(ranked).items():
        print(f"{one:28} {other:28} {value:+.2f} {within[one, other]:+8.2f}")
        if one.partition("/")[0] == other.partition("/")[0]:
            met[f"{one} and {other} agree >= {LEAST_AGREEMENT}"] = (value or 0) >= LEAST_AGREEMENT
    return met


def check_artefacts(folder: Path) -> dict[str, bool]:
    """Faint faults put into every result of the default setting."""
    rises: dict[str, list[float]] = {}
    for file in sorted((folder / "default").glob("*.png")):
        pixels = read_picture(file).pixels
        clean = View(pixels)
        for period in (2, 4, 8):
            y, x = np.indices(pixels.shape[1:]) // (period // 2)
            board = View(np.float32(pixels + BOARD * (2 * ((y + x) % 2) - 1)))
            rise = checkerboard_score(board.luma) - checkerboard_score(clean.luma)
            rises.setdefault(f"checkerboard of {period} px", []).append(rise)
        burned = pixels * np.float32(1 - BURN)
        inside = slice(BURN_PX, -BURN_PX)
        burned[:, inside, inside] = pixels[:, inside, inside]
        rises.setdefault("burned border", []).append(border_score(View(burned)) - border_score(clean))
    print(f"\n{'rise of the score':24} {'mean':>7} {'least':>7}")
    for name, values in rises.items():
        print(f"{name:24} {statistics.mean(values):7.2f} {min(values):7.2f}")
    return {f"{name} raises its score in every result": min(values) > 0 for name, values in rises.items()}


def check_faint() -> dict[str, bool]:
    """How often a picture with a pattern of a frequency drawn at random scores above one without (area under ROC)."""
    rng = np.random.default_rng(0)
    clean, spoiled = list[float](), dict[str, list[float]]()
    for file in itertools.chain.from_iterable(eval_pairs(2 * PAIRS)):
        picture = read_picture(file)
        luma = View(picture.resized(*fitted(picture, SIZE)).pixels).luma.double()
        clean.append(checkerboard_score(luma))
        pattern = FAINT * wave(luma, rng)
        for place, where in (("everywhere", torch.ones_like(luma)), ("in the flattest third", flattest_third(luma))):
            spoiled.setdefault(place, []).append(checkerboard_score(luma + pattern * where))
    met = {}
    for place, scores in spoiled.items():
        told = statistics.mean(float(one > none) for one, none in itertools.product(scores, clean))
        met[f"a pattern of one grey level {place} is told in {told:.3f} of cases, at least {LEAST_TOLD}"] = (
            told >= LEAST_TOLD
        )
    return met


def wave(luma: Float[Tensor, "h w"], rng: np.random.Generator) -> Float[Tensor, "h w"]:
    """A cosine that is repeated every 8 px, of deviation 1."""
    down, right = divmod(int(rng.integers(1, PERIOD_PX**2)), PERIOD_PX)
    y, x = np.indices(tuple(luma.shape))
    phase = np.cos(2 * np.pi * (down * y + right * x) / PERIOD_PX + rng.uniform(0, 2 * np.pi))
    return torch.from_numpy(phase / phase.std())


def flattest_third(luma: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Where the picture has least detail."""
    whole = luma[None, None]
    detail = F.avg_pool2d((whole - F.avg_pool2d(whole, 5, 1, 2)).square(), 33, 1, 16)[0, 0]
    return detail < detail.quantile(1 / 3)


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/bench-judges")
    paint(folder)
    found = {name: impasto.evaluate(folder / name, size=SIZE) for name in SETTINGS}
    print_means(found)
    met = check_agreement(found) | check_artefacts(folder) | check_faint()
    met = check_settings(found) | check_baselines(found["default"]) | met
    print()
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
