"""Coarse to fine: which sizes a picture is worked at, and how the iterations are shared among them."""

from __future__ import annotations

import itertools
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
    """Sizes from coarse to fine by factors of two, down to a longest side of about `pyramid_from` px.

    A scale is left out where its shorter side would fall under 64 px. Each scale has half the iterations of the one
    before it, since an iteration costs four times as much; with fewer iterations than scales only the finest runs.
    """
    factors = [1]
    if pyramid_from != "off":
        # A tenth more than the coarsest scale is not worth a scale of its own.
        while max(height, width) / (factors[-1] * 2) >= 0.9 * pyramid_from and (
            min(height, width) / (factors[-1] * 2) >= NARROWEST_PX
        ):
            factors.append(factors[-1] * 2)
    if iterations < len(factors):
        factors = [1]
    shares = [2**i for i in range(len(factors))]
    ends = [round(iterations * part / sum(shares)) for part in itertools.accumulate(reversed(shares))]
    counts = [end - start for start, end in itertools.pairwise([0, *ends])]
    while min(counts) < 1:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(min(counts))] += 1
    return [
        Scale(round(height / factor), round(width / factor), count)
        for factor, count in zip(reversed(factors), counts, strict=True)
    ]
