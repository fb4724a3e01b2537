"""The classical method at 512 px: how close 300 iterations come, seconds an iteration, peak memory.

python -m benchmarks.classic [FOLDER]      pictures are written to FOLDER (default out/bench-classic)
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import impasto
from benchmarks.data import eval_pairs
from benchmarks.judge import Judge, as_saved, read
from benchmarks.verdict import verdict

SIZE, ITERATIONS, PAIRS = 512, 300, 5
MOST_STYLE, MOST_CONTENT, MOST_SECONDS = 0.02, 1.0, 0.6


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/bench-classic")
    folder.mkdir(parents=True, exist_ok=True)
    judge, rows = Judge(), []
    print(f"{'pair':42} {'style':>7} {'content':>8} {'objective':>9} {'s/iteration':>11} {'peak MiB':>9}")
    with impasto.Session(look="classic") as session:
        for photo, style in eval_pairs(PAIRS):
            began = time.perf_counter()
            result = session.stylize(photo, style, size=SIZE, iterations=ITERATIONS)
            result.save(folder / f"{photo.stem}-{style.stem}.png")
            found = as_saved(result.picture.pixels)
            content, wanted = read(photo, SIZE), read(style, SIZE)
            row = (
                judge.style_distance(found, wanted),
                judge.content_distance(found, content),
                judge.objective(found, content, wanted),
                result.seconds / result.iterations,
                result.peak_bytes / 2**20,
            )
            rows.append(row)
            name = f"{photo.stem} + {style.stem}"
            print(f"{name:42} {row[0]:7.4f} {row[1]:8.3f} {row[2]:9.3f} {row[3]:11.3f} {row[4]:9.0f}", flush=True)
            print(f"  in all {time.perf_counter() - began:.0f} s, {result.picture.width}x{result.picture.height}")
    for label, pick in (("mean", statistics.mean), ("median", statistics.median), ("worst", max)):
        values = [pick(column) for column in zip(*rows, strict=True)]
        print(f"{label:42} {values[0]:7.4f} {values[1]:8.3f} {values[2]:9.3f} {values[3]:11.3f} {values[4]:9.0f}")
    style, content, _, seconds, _ = (statistics.mean(column) for column in zip(*rows, strict=True))
    met = {
        f"mean style <= {MOST_STYLE}": style <= MOST_STYLE,
        f"mean content <= {MOST_CONTENT}": content <= MOST_CONTENT,
        f"mean seconds an iteration <= {MOST_SECONDS}": seconds <= MOST_SECONDS,
    }
    return verdict(met)


if __name__ == "__main__":
    sys.exit(main())
