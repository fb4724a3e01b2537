"""Any size in bounded memory: 8192 x 8192 in 4 GiB, what tiles cost, and that they change nothing.

    python -m benchmarks.tiles [same] [2048] [8192]

Each figure is taken in processes of its own, so that peaks are theirs alone. 2048: seconds a megapixel and iteration in
tiles against the untiled 1024 x 1024, a few minutes. 8192: the same, peak memory of two iterations, and the cost
against that of 2048 x 2048. same: a tiled and an untiled picture after 20 iterations of Adam in float32. The photo is
one of the bench's, enlarged.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.data import ROOT, eval_pairs

GIB = 1 << 30
MOST_COST, MOST_DRIFT, MOST_DIFFERENCE = 2.3, 0.15, 1 / 255
MEMORY_ERROR = 0.15
JOBS = {1024: ("20GiB", 4), 2048: ("1.5GiB", 3), 8192: ("4GiB", 2)}
"""Memory budget and iterations, by the picture's side."""

RUN = """
import json, sys
from impasto.hardware import peak_bytes
from impasto.job import StyleJob
from impasto.run import prepare_run

job = StyleJob.of(json.loads(sys.argv[1]))
prepared = prepare_run(job)
plan = prepared.plan
seconds = []
result = prepared.run([lambda step: seconds.append(step.entry.seconds)])
if len(sys.argv) > 2:
    result.save(sys.argv[2])
stage = plan.stages[-1].stage
told = {"peak": peak_bytes(), "planned": plan.peak_bytes, "seconds": seconds, "tile_px": stage.tile_px}
told |= {"took_s": result.seconds, "planned_s": plan.seconds}
print(json.dumps(told | {"tiles": plan.stages[-1].tiles, "optimizer": stage.optimizer}))
"""


def run(photo: Path, output: Path | None = None, **fields: Any) -> dict[str, Any]:
    """One job in a process of its own."""
    style = str(eval_pairs(1)[0][1])
    job = {"photo": str(photo), "styles": [style], "pyramid_from": "off", **fields}
    command = [sys.executable, "-c", RUN, json.dumps(job), *([str(output)] if output else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def enlarged(folder: Path, side: int) -> Path:
    file = folder / f"{side}.jpg"
    source = Image.open(sorted((ROOT / "hires").iterdir())[0]).convert("RGB")
    source.resize((side, side), Image.Resampling.BICUBIC).save(file, quality=90)
    return file


def cost(told: dict[str, Any], side: int) -> float:
    """Seconds a megapixel and iteration: from one value of the objective to the next lies one whole iteration."""
    seconds = told["seconds"]
    return (seconds[-1] - seconds[0]) / (len(seconds) - 1) / (side * side / 1e6)


def stated(label: str, met: bool) -> bool:
    print(f"{label}: {'met' if met else 'MISSED'}", flush=True)
    return met


def measured(folder: Path, side: int) -> tuple[float, dict[str, Any]]:
    """Seconds a megapixel and iteration, and all that the run told."""
    budget, iterations = JOBS[side]
    found = run(enlarged(folder, side), memory_budget=budget, iterations=iterations, optimizer="adam")
    cut = f"{found['tiles']} tiles of {found['tile_px']} px" if found["tile_px"] else "whole"
    print(f"{side} in {budget}, {cut}: {cost(found, side):.2f} s a megapixel and iteration", end=", ")
    print(f"peak {found['peak'] / GIB:.2f} GiB, planned {found['planned'] / GIB:.2f}", flush=True)
    return cost(found, side), found


def medium(folder: Path) -> bool:
    # The whole before and behind, for the machine's own changes of pace.
    (before, _), (tiled, told), (behind, _) = (measured(folder, side) for side in (1024, 2048, 1024))
    ratio, peak = 2 * tiled / (before + behind), told["peak"]
    return all(
        [
            stated(f"peak of 2048 x 2048 {peak / GIB:.2f} GiB <= 1.5", peak <= 1.5 * GIB),
            stated(f"cost against the untiled {ratio:.2f} <= {MOST_COST}", ratio <= MOST_COST),
        ]
    )


def large(folder: Path) -> bool:
    costs, told = {}, {}
    for side in JOBS:
        costs[side], told[side] = measured(folder, side)
    ratio, drift = costs[8192] / costs[1024], costs[8192] / costs[2048] - 1
    error = max(abs(found["planned"] / found["peak"] - 1) for found in told.values())
    return all(
        [
            stated(f"peak of 8192 x 8192 {told[8192]['peak'] / GIB:.2f} GiB <= 4", told[8192]["peak"] <= 4 * GIB),
            stated(f"cost against the untiled {ratio:.2f} <= {MOST_COST}", ratio <= MOST_COST),
            stated(f"cost of 8192 against 2048 {drift:+.0%} within {MOST_DRIFT:.0%}", abs(drift) <= MOST_DRIFT),
            stated(f"memory planned within {error:.0%} <= {MEMORY_ERROR:.0%}", error <= MEMORY_ERROR),
        ]
    )


def same(folder: Path) -> bool:
    photo = enlarged(folder, 2048)
    # From the photo both, since a picture changed in place, for want of memory, does not begin as a draft.
    fields = {"iterations": 20, "optimizer": "adam", "precision": "fp32", "learning_rate": 0.0016, "init": "content"}
    whole = run(photo, folder / "whole.png", memory_budget="20GiB", **fields)
    tiled = run(photo, folder / "tiled.png", memory_budget="1.5GiB", **fields)
    assert whole["tile_px"] is None and tiled["tile_px"] is not None
    start, *ends = (
        np.asarray(Image.open(file), np.float32) / 255 for file in (photo, folder / "whole.png", folder / "tiled.png")
    )
    moved, difference = abs(ends[0] - start).mean(), abs(ends[0] - ends[1])
    print(f"2048 x 2048: moved {moved * 255:.1f}/255, differ by {difference.max() * 255:.0f}/255 at most", end=", ")
    print(f"{difference.mean() * 255:.4f}/255 on average; tiled peak {tiled['peak'] / GIB:.2f} GiB")
    return all(
        [
            stated("moved by at least 3/255 on average", moved >= 3 / 255),
            stated("differ by at most 1/255", difference.max() <= MOST_DIFFERENCE + 1e-6),
            stated("tiled under 1.5 GiB", tiled["peak"] <= 1.5 * GIB),
        ]
    )


def main() -> int:
    chosen = sys.argv[1:] or ["same", "8192"]
    with tempfile.TemporaryDirectory() as folder:
        parts = {"same": same, "2048": medium, "8192": large}
        met = [parts[name](Path(folder)) for name in chosen]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
