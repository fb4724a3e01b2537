"""How fast this machine is: measured by `impasto doctor`, kept in the cache folder, and what plans tell time by."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import torch

from impasto.engines.objective import Aim, build_objective
from impasto.engines.optimizers import Lbfgs
from impasto.hardware import keep_big_blocks
from impasto.nets.catalogue import CATALOGUE, vgg_table
from impasto.nets.cnn import build_cnn
from impasto.nets.cost import cost_of
from impasto.nets.passes import ExplicitPass
from impasto.nets.weights import cache_folder

SIZE, ROUNDS = 512, 3
NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


def file() -> Path:
    return cache_folder() / "calibration.json"


def key(device: torch.device, dtype: torch.dtype) -> str:
    """What a rate belongs to: device, threads and arithmetic."""
    return f"{device.type}, {torch.get_num_threads()} threads, {NAMES[dtype]}"


def rate(device: torch.device, dtype: torch.dtype) -> float | None:
    """Arithmetic of the network's convolutions a second, all else included; None where it was never measured."""
    try:
        found = json.loads(file().read_text(encoding="utf-8")).get(key(device, dtype))
    except (OSError, ValueError):
        return None
    return float(found) if isinstance(found, int | float) else None


def calibrate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the rate by a few iterations of the `classic` objective at 512 x 512, and keep it.

    The network's weights are random: they change the features, not the work.
    """
    keep_big_blocks()
    cnn = build_cnn(vgg_table(CATALOGUE["vgg16"]))
    style = {f"block{block}_conv1": 1.0 for block in range(1, 6)}
    aim = Aim("mse", "gram", {"block4_conv2": 1.0}, style, 5.0, 100.0, 0.0, (1.0,))
    network = ExplicitPass(cnn, aim.layers, dtype=dtype, device=device)
    photo, picture, painting = (torch.rand(1, 3, SIZE, SIZE, device=device) for _ in range(3))
    objective = build_objective(network, aim, photo, [painting])
    optimizer, seconds = Lbfgs(), list[float]()
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        value, gradient = objective.evaluate(picture)
        picture = optimizer.step(picture, gradient, value.total, 0.0).clamp_(0, 1)
        seconds.append(time.perf_counter() - began)
    flops = 2 * cost_of(network.infos, network.layers, 3, dtype.itemsize).flops * SIZE * SIZE
    measured = flops / statistics.median(seconds[1:])
    keep(key(device, dtype), measured)
    return measured


def keep(name: str, measured: float) -> None:
    target = file()
    try:
        known = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    partial.write_text(json.dumps({**known, name: measured}, indent=2) + "\n", encoding="utf-8")
    partial.replace(target)
