"""Whether starting from the fast engine's draft pays: time to the objective that starting from the photo comes to.

    python -m benchmarks.draft [--pairs 10] [--size 512] [--iterations 3 6 12 60] [--strength 0.6]

For each pair: the objective from the photo after so many iterations, and in what share of that time, the draft's own
counted in, the run from the draft is at or under it.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import impasto
from benchmarks.data import eval_pairs
from benchmarks.judge import TOWARDS_IT
from impasto.train.any_style import USUAL_STRENGTH

MOST_TIME = 0.5


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, nargs="+", default=[3, 6, 12, 60])
    parser.add_argument("--strength", type=float, default=USUAL_STRENGTH)
    asked = parser.parse_args()
    shares: dict[int, list[float]] = {count: [] for count in asked.iterations}
    heads = "".join(f"{f'after {count}':>18}" for count in asked.iterations)
    print(f"{'pair':42} {'photo, at once':>14} {'draft, at once':>14} {heads}")
    with impasto.Session(**TOWARDS_IT) as session:
        for photo, style in eval_pairs(asked.pairs):
            fields = {"size": asked.size, "iterations": max(asked.iterations)}
            plain = session.stylize(photo, style, init="content", **fields)
            begun = session.stylize(photo, style, init="draft", strength=asked.strength, **fields)
            draft_s = impasto.stylize(photo, style, engine="fast", strength=asked.strength, size=asked.size).seconds
            found = {count: share(plain, begun, count, draft_s) for count in asked.iterations}
            for count, one in found.items():
                shares[count].append(one)
            told = "".join(f"{plain.history[count - 1].total:11.2f} {one:6.0%}" for count, one in found.items())
            starts = f"{plain.history[0].total:14.1f} {begun.history[0].total:14.1f}"
            print(f"{photo.stem + ' + ' + style.stem:42} {starts} {told}", flush=True)
    medians = {count: statistics.median(of) for count, of in shares.items()}
    for count, median in medians.items():
        met = "met" if median <= MOST_TIME else "MISSED"
        print(f"after {count}: median {median:.0%}, worst {max(shares[count]):.0%}; <= {MOST_TIME:.0%}: {met}")
    return 0 if max(medians.values()) <= MOST_TIME else 1


def share(plain: impasto.Result, begun: impasto.Result, count: int, draft_s: float) -> float:
    """The time in which the run from the draft is as good as the one from the photo after `count` iterations."""
    target = plain.history[count - 1].total
    after = next((entry.iteration + 1 for entry in begun.history if entry.total <= target), None)
    second = plain.seconds / plain.iterations
    return (after * second + draft_s) / (count * second) if after else float("inf")


if __name__ == "__main__":
    sys.exit(main())
