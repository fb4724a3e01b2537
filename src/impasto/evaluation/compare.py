"""Which of two settings is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from impasto.errors import UserError
from impasto.evaluation import SIZE_PX
from impasto.evaluation.evaluate import Evaluation, OnProgress, agreement, judge_all
from impasto.evaluation.results import find_results, left_out
from impasto.evaluation.statistics import Mean, bootstrapped

# From how much sureness on a difference counts, as usual.
SURE = 0.95
Side = Literal["A", "B"]


@dataclass(frozen=True)
class Difference:
    """A's figure less B's, pair by pair, taken so that less is better: below 0, A is better.

    wins_a, wins_b: pairs in which one is better than the other.
    """

    mean: Mean
    wins_a: int
    wins_b: int

    @property
    def better(self) -> Side | None:
        """The one that is better on average; None where both are equal."""
        return None if self.mean.mean == 0 else "A" if self.mean.mean < 0 else "B"

    @property
    def sureness(self) -> float | None:
        """The share of resampled sets of pairs in which `better` is; None for a single pair."""
        if self.mean.below_zero is None:
            return None
        return self.mean.below_zero if self.better == "A" else 1 - self.mean.below_zero

    @property
    def sure(self) -> Side | None:
        """`better` where that is sure."""
        return self.better if self.sureness is not None and self.sureness >= SURE else None


@dataclass(frozen=True)
class Comparison:
    """Two settings on the same pairs. differences: by figure; style, content: relative differences, the mean over all
    networks. agreement: whether figures find the same pairs bettered, Spearman."""

    a: Evaluation
    b: Evaluation
    differences: Mapping[str, Difference]
    style: Difference
    content: Difference
    agreement: Mapping[tuple[str, str], float | None]

    @property
    def better(self) -> Side | None:
        """The one that is surely better in style or in content, and not surely worse in the other; else None."""
        sure = {self.style.sure, self.content.sure} - {None}
        return sure.pop() if len(sure) == 1 else None

    @property
    def verdict(self) -> str:
        """In words."""
        pairs = len(self.a.results)
        told = [
            aspect(self.style, "is closer to the style", pairs),
            aspect(self.content, "keeps more of the photo", pairs),
        ]
        return " ".join([*told, self.conclusion()])

    def conclusion(self) -> str:
        if len(self.a.results) == 1:
            return "One pair tells nothing of others: compare folders of results."
        if self.better:
            return f"{self.better} is better."
        if self.style.sure and self.content.sure:
            return "Neither is better: one has more of the style, the other more of the photo."
        return "Neither is surely better: compare more pairs."


def aspect(difference: Difference, words: str, pairs: int) -> str:
    if difference.better is None:
        return f"Neither {words}."
    if difference.sureness is None:
        return f"{difference.better} {words}."
    wins = difference.wins_a if difference.better == "A" else difference.wins_b
    return f"{difference.better} {words}, in {wins} of {pairs} pairs, {percent(difference.sureness)} sure."


def percent(sureness: float) -> str:
    """Never 100 %, which no number of pairs can give."""
    return f"{min(sureness, 0.999):.1%}"


def compare(
    a: Any,
    b: Any,
    *,
    photo: Any = None,
    style: Any = None,
    size: int = SIZE_PX,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Judge two settings on the same pairs of photo and style, by paired bootstrap.

    a, b: what `evaluate` takes, two folders or two pictures usually; the other arguments are its too.
    Raises UserError where the two do not have the same pairs, each once.
    """
    found_a, found_b = find_results(a, photo, style), find_results(b, photo, style)
    ordered = paired([one.pair for one in found_a], [one.pair for one in found_b])
    # Judged together, so that no network judges one side that the other was optimised against.
    judged = judge_all([*found_a, *(found_b[position] for position in ordered)], size, on_progress)
    return comparison(
        Evaluation(judged.results[: len(found_a)], judged.figures, size, tuple(left_out(a, found_a))),
        Evaluation(judged.results[len(found_a) :], judged.figures, size, tuple(left_out(b, found_b))),
    )


def comparison(a: Evaluation, b: Evaluation) -> Comparison:
    """Two evaluations of the same pairs in the same order."""
    less = {name: badness_differences(a, b, name) for name in a.figures}
    return Comparison(
        a,
        b,
        {name: difference(values) for name, values in less.items()},
        difference(relative_differences(a, b, "style")),
        difference(relative_differences(a, b, "content")),
        agreement({name: less[name] for name in a.names}),
    )


def badness_differences(a: Evaluation, b: Evaluation, name: str) -> list[float]:
    badness = a.figures[name].badness
    return [badness(one) - badness(other) for one, other in zip(a.values(name), b.values(name), strict=True)]


def relative_differences(a: Evaluation, b: Evaluation, about: Literal["style", "content"]) -> list[float]:
    """By pair, the mean over the networks of (A − B) over the mean of A and B: −2 to 2, and 0 where both are 0."""
    names = [name for name in a.figures if name.startswith(f"{about}/")]
    one, other = (np.array([side.values(name) for name in names]) for side in (a, b))
    relative = 2 * (one - other) / np.maximum(one + other, 1e-12)
    return [float(value) for value in relative.mean(0)]


def difference(values: Sequence[float]) -> Difference:
    return Difference(bootstrapped(values), sum(value < 0 for value in values), sum(value > 0 for value in values))


def paired(a: Sequence[str], b: Sequence[str]) -> list[int]:
    """For every pair in `a` its position in `b`."""
    for side, pairs in (("A", a), ("B", b)):
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise UserError(f"{side} has more than one result of {pair}: compare folders with one result a pair.")
    for side, pairs, others in (("A", a, b), ("B", b, a)):
        alone = next((pair for pair in pairs if pair not in others), None)
        if alone:
            raise UserError(f"Only {side} has a result of {alone}: compare results of the same pairs.")
    return [b.index(pair) for pair in a]
