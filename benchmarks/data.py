"""Where the pictures of the benchmarks lie: `IMPASTO_BENCH_DATA`, or `shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(os.environ.get("IMPASTO_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))


def eval_pairs(count: int, offset: int = 7) -> list[tuple[Path, Path]]:
    """Photo i with style i + offset, both sorted by name, spread over the held-out pictures."""
    photos, styles = (sorted((ROOT / "eval" / kind).iterdir()) for kind in ("content", "style"))
    pairs = [(photo, styles[(i + offset) % len(styles)]) for i, photo in enumerate(photos)]
    return pairs[:: max(1, len(pairs) // count)][:count]
