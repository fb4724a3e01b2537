"""Comparing at equal content: the content weight at which a run keeps as much of the photo as another did.

Whoever keeps less of the photo comes nearer to the style, and an unchanged photo keeps all: style distances of two
settings tell something only where both keep equally much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

# Of log content distance over log content weight, before two runs tell it; and how far a step may go, in logarithms.
USUAL_SLOPE, LONGEST_STEP = -0.4, 2.5


class Measured(NamedTuple):
    """Relative content distance of a run, and what a judge says of its style."""

    content: float
    style: float


class Sample(NamedTuple):
    """A run at one content weight, all in logarithms."""

    weight: float
    content: float
    style: float


@dataclass(frozen=True)
class Match:
    """The content weight at which the content distance is the one wanted, and the style distance there.

    off: how far the nearest run's content distance is from the wanted one, as a share of it. between: whether runs lie
    on both sides, so that weight and style could be interpolated; else they are the nearest run's.
    """

    weight: float
    style: float
    off: float
    between: bool
    runs: int


def at_equal_content(
    measure: Callable[[float], Measured],
    wanted: float,
    *,
    start: float,
    tolerance: float,
    most_runs: int,
    interval: float = 1.0,
) -> Match:
    """Run at one content weight after the other until the content distance is `wanted` to within `tolerance`.

    start: the first weight. most_runs: after so many it ends. interval: it also ends where `wanted` is between two runs
    whose content distances are no further apart than by this factor; larger saves runs, and interpolates over more.

    Secants in logarithms, and once the wanted distance lies between two runs, regula falsi with Illinois's halving
    (Dowell & Jarratt, BIT 1971).
    """
    target, samples = math.log(wanted), list[Sample]()
    x = math.log(start)
    while True:
        content, style = measure(math.exp(x))
        samples.append(Sample(x, math.log(max(content, 1e-12)), math.log(max(style, 1e-12))))
        off = min(abs(math.expm1(sample.content - target)) for sample in samples)
        low, high = neighbours(samples, target)
        near = low is not None and high is not None and high.content - low.content <= math.log(interval)
        if off <= tolerance or near or len(samples) == most_runs:
            return matched(samples, target, off)
        x = next_weight(samples, target)


def next_weight(samples: list[Sample], target: float) -> float:
    low, high = neighbours(samples, target)
    if low and high:
        below, above = target - low.content, high.content - target
        # The end that has not moved for two runs is given half its say, so that both ends close in.
        if len(samples) > 2:
            kept = low if low not in samples[-2:] else high if high not in samples[-2:] else None
            below, above = (below / 2, above) if kept is low else (below, above / 2) if kept is high else (below, above)
        return (low.weight * above + high.weight * below) / (below + above)
    # All keep too much or all too little: on from the outermost weight, whatever came out of it.
    outward = 1 if high else -1
    last, *others = sorted(samples, key=lambda sample: -outward * sample.weight)
    slope = USUAL_SLOPE
    if others and (others[0].content - last.content) * outward > 0:
        slope = (others[0].content - last.content) / (others[0].weight - last.weight)
        slope = max(-2.0, min(-0.1, slope))
    return last.weight + max(-LONGEST_STEP, min(LONGEST_STEP, (target - last.content) / slope))


def neighbours(samples: list[Sample], target: float) -> tuple[Sample | None, Sample | None]:
    """The nearest run of those that keep more of the photo than wanted, and of those that keep less."""
    low = max((s for s in samples if s.content <= target), key=lambda s: s.content, default=None)
    high = min((s for s in samples if s.content > target), key=lambda s: s.content, default=None)
    return low, high


def matched(samples: list[Sample], target: float, off: float) -> Match:
    low, high = neighbours(samples, target)
    if low and high:
        part = (target - low.content) / (high.content - low.content)
        weight, style = (a + part * (b - a) for a, b in ((low.weight, high.weight), (low.style, high.style)))
    else:
        nearest = min(samples, key=lambda sample: abs(sample.content - target))
        weight, style = nearest.weight, nearest.style
    return Match(math.exp(weight), math.exp(style), off, bool(low and high), len(samples))
