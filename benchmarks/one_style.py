"""A network that `impasto train STYLE -o MODEL` made, against the shipped one in that style: held-out photos at 512².

    python -m benchmarks.one_style MODEL STYLE [--photos 5] [--strength 0.6]

It is to come to 0.8 of the shipped network's relative Gram distance, no further from the photo, within 1 MB and 20 ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.any_style import distances, milliseconds, paint, square
from benchmarks.data import ROOT
from benchmarks.judge import Judge, read
from benchmarks.verdict import verdict
from impasto.hardware import choose_dtype, keep_big_blocks
from impasto.nets.any_style import SHIPPED, AnyStyle, load_any_style
from impasto.train.any_style import USUAL_STRENGTH

SIZE, MOST_SHARE, MOST_MS, MOST_BYTES = 512, 0.8, 20, 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--photos", type=int, default=5)
    parser.add_argument("--strength", type=float, default=USUAL_STRENGTH)
    asked = parser.parse_args()
    keep_big_blocks()
    dtype = choose_dtype("auto", torch.device("cpu"))
    # As `impasto train` reads it: the whole of it, and its strokes in that size.
    style, judge = read(asked.style, SIZE), Judge()
    networks = {name: load_any_style(file).to(dtype) for name, file in (("shipped", SHIPPED), ("own", asked.model))}
    files = sorted((ROOT / "eval" / "content").iterdir())[: asked.photos]
    means = {}
    for name, network in networks.items():
        means[name] = mean_distances(judge, network, files, style, asked.strength)
        print(f"{name:8} style {means[name][0]:.3f}, content {means[name][1]:.3f}", flush=True)
    photo, code = square(files[0], SIZE), networks["own"].encode(style[None])
    time_ms = milliseconds({"own": lambda: paint(networks["own"], photo, code, asked.strength)})["own"]
    met = {
        f"style <= {MOST_SHARE} of the shipped network's": means["own"][0] <= MOST_SHARE * means["shipped"][0],
        "no further from the photo": means["own"][1] <= means["shipped"][1],
        f"{time_ms:.0f} ms <= {MOST_MS} ms": time_ms <= MOST_MS,
        f"{asked.model.stat().st_size} bytes <= {MOST_BYTES}": asked.model.stat().st_size <= MOST_BYTES,
    }
    return verdict(met)


def mean_distances(judge: Judge, network: AnyStyle, files: list[Path], style: Tensor, strength: float) -> list[float]:
    """Style and content over some photos."""
    code, style_features = network.encode(style[None]), judge.features(style)
    rows = []
    for file in files:
        photo = square(file, SIZE)
        picture = paint(network, photo, code, strength)
        rows.append(distances(judge, picture, judge.features(photo), style_features)[:2])
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
