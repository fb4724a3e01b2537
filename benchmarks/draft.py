"""Whether starting from the fast engine's draft pays: time to the objective that starting from the photo comes to.

    python -m benchmarks.draft [--pairs 10] [--size 512] [--iterations 60] [--strength 0.65]

For each pair: the best objective from the photo after all iterations, and after how many iterations, and what share of
the time with the draft's own counted in, the run from the draft is at or under it.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import impasto
from benchmarks.data import eval_pairs
from benchmarks.judge import TOWARDS_IT
from impasto.job import StyleJob

MOST_TIME = 0.5


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--strength", type=float, default=StyleJob.model_fields["strength"].default)
    asked = parser.parse_args()
    shares = []
    print(
        f"{'pair':42} {'photo, at once':>14} {'draft, at once':>14} {'photo, in all':>13} {'draft, as good after':>20}"
    )
    with impasto.Session(**TOWARDS_IT) as session:
        for photo, style in eval_pairs(asked.pairs):
            fields = {"size": asked.size, "iterations": asked.iterations}
            plain = session.stylize(photo, style, init="content", **fields)
            begun = session.stylize(photo, style, init="draft", strength=asked.strength, **fields)
            draft_s = impasto.stylize(photo, style, engine="fast", strength=asked.strength, size=asked.size).seconds
            target = plain.losses["total"]
            after = next((entry.iteration + 1 for entry in begun.history if entry.total <= target), None)
            second = plain.seconds / plain.iterations
            share = (after * second + draft_s) / plain.seconds if after else float("inf")
            shares.append(share)
            starts = f"{plain.history[0].total:14.1f} {begun.history[0].total:14.1f} {target:13.2f}"
            print(f"{photo.stem + ' + ' + style.stem:42} {starts} {after or 'never':>14} ({share:.0%})", flush=True)
    mean, median, worst = statistics.mean(shares), statistics.median(shares), max(shares)
    print(f"share of the time: mean {mean:.0%}, median {median:.0%}, worst {worst:.0%}")
    met = median <= MOST_TIME
    print(f"median share <= {MOST_TIME:.0%}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
