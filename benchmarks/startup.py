"""How long `impasto --help` takes as a whole process: median of 9 runs after a warm-up, at most 0.5 s.

python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS, MOST_SECONDS = 9, 0.5


def main() -> int:
    command = [sys.executable, "-m", "impasto", "--help"]
    seconds = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    median, worst = statistics.median(seconds[1:]), max(seconds[1:])
    met = median <= MOST_SECONDS
    print(f"impasto --help: median {median:.3f} s, worst {worst:.3f} s")
    print(f"median <= {MOST_SECONDS} s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
