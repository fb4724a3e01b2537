"""Whether bfloat16 reaches what float32 does: the judged objective after 100 iterations, on five pairs.

python -m benchmarks.precision [--pairs 5] [--size 512] [--iterations 100]
"""

from __future__ import annotations

import argparse
import statistics
import sys

import impasto
from benchmarks.data import eval_pairs
from benchmarks.judge import TOWARDS_IT, Judge, as_saved, read
from benchmarks.verdict import verdict

MOST_DIFFERENCE = 0.02


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=100)
    asked = parser.parse_args()
    judge = Judge()
    differences = []
    print(f"{'pair':42} {'bf16':>8} {'fp32':>8} {'difference':>10} {'seconds':>16}")
    with impasto.Session(**TOWARDS_IT, size=asked.size, iterations=asked.iterations) as session:
        for photo, style in eval_pairs(asked.pairs):
            results = [session.stylize(photo, style, precision=precision) for precision in ("bf16", "fp32")]
            pictures = read(photo, asked.size), read(style, asked.size)
            half, whole = (judge.objective(as_saved(result.picture.pixels), *pictures) for result in results)
            differences.append(half / whole - 1)
            times = " ".join(f"{result.seconds:7.1f}" for result in results)
            print(
                f"{photo.stem + ' + ' + style.stem:42} {half:8.3f} {whole:8.3f} {differences[-1]:+10.2%} {times}",
                flush=True,
            )
    mean, worst = statistics.mean(differences), max(differences)
    print(f"bf16 against fp32: mean {mean:+.2%}, worst {worst:+.2%}")
    return verdict({f"bf16 within {MOST_DIFFERENCE:.0%} of fp32": worst <= MOST_DIFFERENCE})


if __name__ == "__main__":
    sys.exit(main())
