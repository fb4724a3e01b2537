"""What `--dry-run` tells against what a run takes, after the machine was measured as `impasto doctor` does.

python -m benchmarks.estimates
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.tiles import GIB, enlarged, run
from benchmarks.verdict import verdict
from impasto import calibration
from impasto.hardware import choose_device, choose_dtype

MOST_MEMORY, MOST_TIME = 0.15, 0.30
JOBS: dict[str, tuple[int, dict[str, Any]]] = {
    "512 px": (512, {"iterations": 20}),
    "512 px, fp32": (512, {"iterations": 10, "precision": "fp32"}),
    "1024 px, adam": (1024, {"iterations": 6, "optimizer": "adam"}),
    "1024 px, from 256 px": (1024, {"iterations": 20, "pyramid_from": 256}),
    "2048 px in 1.5 GiB": (2048, {"iterations": 2, "memory_budget": "1.5GiB"}),
}


def main() -> int:
    device = choose_device("auto")
    for dtype in {choose_dtype("auto", device), torch.float32}:
        print(f"{calibration.NAMES[dtype]}: {calibration.calibrate(device, dtype) / 1e9:.0f} GFLOP/s")
    met = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (side, fields) in JOBS.items():
            told = run(enlarged(Path(folder), side), **fields)
            time, memory = told["planned_s"] / told["took_s"] - 1, told["planned"] / told["peak"] - 1
            seconds = f"{told['planned_s']:6.1f} s planned, {told['took_s']:6.1f} taken ({time:+.0%})"
            gib = f"{told['planned'] / GIB:5.2f} GiB planned, {told['peak'] / GIB:5.2f} held ({memory:+.0%})"
            print(f"{name:22} {seconds}; {gib}", flush=True)
            met[f"{name}: time within {MOST_TIME:.0%}"] = abs(time) <= MOST_TIME
            met[f"{name}: memory within {MOST_MEMORY:.0%}"] = abs(memory) <= MOST_MEMORY
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
