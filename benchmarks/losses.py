"""What each loss costs: one evaluation of the objective at 512 x 512 with it, against the default's.

    python -m benchmarks.losses

In CPU time of one thread, so that what else the machine does changes little. States: none takes more than 6 times as
long as the default, `gram` with `mse`.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import losses
from impasto.engines.objective import Aim, Objective, build_objective
from impasto.hardware import choose_dtype, keep_big_blocks
from impasto.job import CLASSIC_CONTENT, CLASSIC_STYLE
from impasto.nets.catalogue import network
from impasto.nets.passes import ExplicitPass

SIZE, ROUNDS, MOST_RATIO = 512, 1, 6.0
CPU = torch.device("cpu")


def picture(seed: int) -> Tensor:
    coarse = torch.rand(1, 3, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 1)


def objective(content: str, style: str) -> Objective:
    aim = Aim(content, style, CLASSIC_CONTENT, CLASSIC_STYLE, 5.0, 100.0, 0.0, (1.0,))
    ready = ExplicitPass(network("vgg16"), aim.layers, dtype=choose_dtype("auto", CPU), device=CPU)
    return build_objective(ready, aim, picture(1), [picture(2)])


def cpu_seconds(judged: Objective) -> float:
    x = picture(3)
    judged.evaluate(x)
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        judged.evaluate(x)
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main() -> int:
    torch.set_num_threads(1)
    keep_big_blocks()
    pairs = [("mse", name) for name in losses.LOSSES["style"]]
    pairs += [(name, "gram") for name in losses.LOSSES["content"] if name != "mse"]
    default = cpu_seconds(objective("mse", "gram"))
    print(f"{'content':16}{'style':14}{'CPU s':>8}{'ratio':>8}")
    ratios = []
    for content, style in pairs:
        seconds = cpu_seconds(objective(content, style))
        ratios.append(seconds / default)
        print(f"{content:16}{style:14}{seconds:8.2f}{ratios[-1]:8.2f}", flush=True)
    return 1 if max(ratios) > MOST_RATIO else 0


if __name__ == "__main__":
    sys.exit(main())
