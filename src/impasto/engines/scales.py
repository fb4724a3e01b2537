"""Coarse to fine: which sizes a picture is worked at, and how the iterations are shared among them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

# A scale narrower than this sees too little for the deep layers to say anything of the style.
NARROWEST_PX = 64


@dataclass(frozen=True)
class Scale:
    height: int
    width: int
    iterations: int


def plan_scales(height: int, width: int, pyramid_from: int | Literal["off"], iterations: int) -> list[Scale]:
    """Sizes from coarse to fine, by factors of two from a longest side of `pyramid_from` px on; the last is the whole
    size, less than twice the one before it where it is no such multiple.

    So a job looks the same at any size: its large strokes are made at the same size. The first scale is larger where
    its shorter side would fall under 64 px. Each scale has half the iterations of the one before it, since an
    iteration costs about four times as much; with fewer iterations than scales only the finest runs.
    """
    factors = [1.0]
    if pyramid_from != "off":
        shrunk = min(max(height, width) / pyramid_from, min(height, width) / NARROWEST_PX)
        # A tenth more than the last scale is not worth a scale of its own.
        doublings = max(0, math.ceil(math.log2(shrunk / 1.1)))
        factors = [shrunk / 2**number for number in range(doublings)] + factors
    if iterations < len(factors):
        factors = [1.0]
    shares = [2**i for i in range(len(factors))]
    ends = [round(iterations * part / sum(shares)) for part in itertools.accumulate(reversed(shares))]
    counts = [end - start for start, end in itertools.pairwise([0, *ends])]
    while min(counts) < 1:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(min(counts))] += 1
    return [
        Scale(round(height / factor), round(width / factor), count)
        for factor, count in zip(factors, counts, strict=True)
    ]
