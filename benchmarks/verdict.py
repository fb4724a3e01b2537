"""How a benchmark ends: each stated figure as met or missed, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Mapping


def verdict(met: Mapping[str, bool]) -> int:
    """Print each figure's line; 0 where all are met, else 1."""
    for label, reached in met.items():
        print(f"{label}: {'met' if reached else 'MISSED'}")
    return 0 if all(met.values()) else 1
