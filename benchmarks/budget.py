"""`--time-budget`: whether it is kept, and whether its time is used as well as by the best fixed setting that fits.

    python -m benchmarks.budget [--pairs 2] [--size 512] [--budgets 1 3 10 30 100 300]

The fixed settings are numbers of iterations, from the photo and from the draft, whole and coarse to fine, each with the
seconds it takes here; the judge looks at the 8-bit picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.data import eval_pairs
from benchmarks.judge import TOWARDS_IT, Judge, as_saved, read
from benchmarks.verdict import verdict
from impasto.events import Step
from impasto.job import StyleJob
from impasto.nets.loaded import Loaded
from impasto.run import Result, prepare_run

MOST_OVER, MOST_WORSE = 0.10, 0.03
# Iterations of each fixed setting; those that take longer than the largest budget are left out.
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STARTS: dict[str, dict[str, Any]] = {
    "photo": {"init": "content", "pyramid_from": "off"},
    "draft": {"init": "draft", "pyramid_from": "off"},
    "draft, from 256 px": {"init": "draft", "pyramid_from": 256},
}


@dataclass(frozen=True)
class Made:
    """seconds: from pictures and network loaded. iteration_s: of the longest iteration."""

    seconds: float
    iteration_s: float
    objective: float


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
    asked = parser.parse_args()
    judge, loaded = Judge(), Loaded()
    met = {}
    for photo, style in eval_pairs(asked.pairs):
        pictures = read(photo, asked.size), read(style, asked.size)
        job = StyleJob.of(TOWARDS_IT | {"photo": str(photo), "styles": [str(style)], "size": asked.size})

        def made(fields: dict[str, Any], job: StyleJob = job, pictures: Any = pictures) -> Made:
            result, iteration_s = timed(job.with_changes(**fields), loaded)
            return Made(result.seconds, iteration_s, judge.objective(as_saved(result.picture.pixels), *pictures))

        made({"iterations": 1})
        fixed = fixed_settings(made, max(asked.budgets))
        # A budget may be too short for more than one, which cannot be told apart from what comes before it.
        iteration_s = max(one.iteration_s for one in fixed.values())
        print(f"{photo.stem} + {style.stem}: {'budget':>6} {'seconds':>8} {'objective':>9}   best fixed setting")
        for budget in asked.budgets:
            own = made({"time_budget": budget})
            fitting = {name: one for name, one in fixed.items() if one.seconds <= budget}
            best = min(fitting, key=lambda name: fitting[name].objective, default=None)
            told = f"{best}: {fitting[best].objective:.2f}" if best else "none fits"
            print(f"{'':20} {budget:6.0f} {own.seconds:8.2f} {own.objective:9.2f}   {told}", flush=True)
            kept = own.seconds <= budget * (1 + MOST_OVER) + iteration_s
            used = best is None or own.objective <= fitting[best].objective * (1 + MOST_WORSE)
            label = f"{photo.stem}, {budget:g} s"
            met |= {f"{label}: kept within 10 % and an iteration": kept, f"{label}: no worse by 3 %": used}
    return verdict(met)


def fixed_settings(made: Any, longest_s: float) -> dict[str, Made]:
    """Every fixed setting by name that ends in `longest_s`."""
    found = {}
    for start, fields in STARTS.items():
        for count in COUNTS:
            one = found[f"{count} from {start}"] = made({"iterations": count, **fields})
            if one.seconds * 2 > longest_s:
                break
    return found


def timed(job: StyleJob, loaded: Loaded) -> tuple[Result, float]:
    """A run, and its longest iteration in seconds."""
    ends = [time.perf_counter()]

    def hear(_step: Step) -> None:
        ends.append(time.perf_counter())

    result = prepare_run(job, loaded=loaded).run([hear])
    return result, max((after - before for before, after in zip(ends[1:], ends[2:], strict=False)), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
