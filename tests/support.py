"""What tests build their cases from: pictures, a small network's table, the command line as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from impasto.nets.layers import avg_pool, conv, max_pool

SMALL_TABLE = [conv(8, 3), conv(8, 3), max_pool(2), conv(12, 3), conv(12, 3), avg_pool(2), conv(16, 3)]


def shapes_picture(height: int, width: int, seed: int) -> np.ndarray:
    """A picture (h, w, 3) in 0..1 with soft shapes, lines and colours: unlike noise, something to transfer."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    channels = []
    for _ in range(3):
        waves = sum(np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in generator.uniform(-6, 6, (4, 3)))
        channels.append(1 / (1 + np.exp(-waves)))
    picture = np.stack(channels, -1)
    inside = (x - generator.uniform(0.2, 0.8)) ** 2 + (y - 0.4) ** 2 < 0.04
    picture[inside] = generator.uniform(0, 1, 3)
    return picture.astype(np.float32)


def grained_picture(height: int, width: int, seed: int) -> np.ndarray:
    """The same without flat areas, in which rounding alone would tell which value of a pooling window is largest."""
    grain = np.random.default_rng(seed).normal(0, 0.03, (height, width, 3)).astype(np.float32)
    return (shapes_picture(height, width, seed) + grain).clip(0, 1)


def impasto(*arguments: object, cwd: Path | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    """The real command line, as a process."""
    command = [sys.executable, "-m", "impasto", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240, **more)  # type: ignore[call-overload]
