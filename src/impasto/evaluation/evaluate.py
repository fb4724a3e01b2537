"""Judging results: every figure of each, beside those of the photo unchanged and of a pure colour transfer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from impasto.errors import UserError
from impasto.evaluation import SIZE_PX
from impasto.evaluation.case import SMALLEST_SIDE_PX, Case, View, baselines, make_case
from impasto.evaluation.judges import RUN_FIGURES, Figure, Judge, judges
from impasto.evaluation.results import Found, find_results, left_out
from impasto.evaluation.statistics import Mean, bootstrapped, rank_correlation
from impasto.hardware import keep_big_blocks
from impasto.picture import Picture

THUMBNAIL_PX = 320
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """One result with its figures, and those of its baselines (`photo`, `colour transfer`).

    pair: names of photo and styles. pictures: JPEGs for a page, by `photo`, `style`, `style 2` ..., `colour transfer`
    and `result`.
    """

    name: str
    pair: str
    figures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    pictures: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """What the judges say of results. figures: what each figure tells; `seconds` and `peak_mib` are there where they
    are known of every result. size: the longest side in px at which pictures were judged. left_out: pictures in the
    folders given that have no job, and so were not judged."""

    results: tuple[Judged, ...]
    figures: Mapping[str, Figure]
    size: int
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The figures that were measured on pictures, so that baselines have them too."""
        return [name for name in self.figures if name not in RUN_FIGURES]

    def values(self, figure: str) -> list[float]:
        return [result.figures[figure] for result in self.results]

    def mean(self, figure: str) -> Mean:
        """The mean over the results, with its 95 % confidence interval."""
        return bootstrapped(self.values(figure))

    def baseline(self, which: str, figure: str) -> float | None:
        """The mean of a baseline over the same pairs; None for time and memory."""
        if figure in RUN_FIGURES:
            return None
        return sum(result.baselines[which][figure] for result in self.results) / len(self.results)

    def agreement(self) -> dict[tuple[str, str], float | None]:
        """How alike any two figures rank the results, Spearman, less being better for all: 1 alike, -1 opposite."""
        ranked = {name: [self.figures[name].badness(value) for value in self.values(name)] for name in self.names}
        return agreement(ranked)


def agreement(ranked: Mapping[str, list[float]]) -> dict[tuple[str, str], float | None]:
    return {
        (one, other): rank_correlation(ranked[one], ranked[other]) for one, other in itertools.combinations(ranked, 2)
    }


def evaluate(
    results: Any,
    *,
    photo: Any = None,
    style: Any = None,
    size: int = SIZE_PX,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Judge results by networks that none of them was optimised against, and by plain measures.

    results: a picture or a folder that impasto wrote (the jobs beside the pictures, or a run's report, tell photo and
        styles), a `Result`, any other picture, or a list of these.
    photo, style: instead of what the jobs say; several styles as a list, a path may carry a weight (`"starry.jpg:2"`).
    size: longest side in px at which networks, structure and colours are judged, where results are larger; larger
        sees finer strokes. Sharpness, noise and artefacts are always judged at the result's own size.
    on_progress(done, all): called after every result.
    Raises UserError for what cannot be judged, WeightsError with the command to run where the networks that judge were
    never fetched.
    """
    found = find_results(results, photo, style)
    return replace(judge_all(found, size, on_progress), left_out=tuple(left_out(results, found)))


def judge_all(found: Sequence[Found], size: int, on_progress: OnProgress | None) -> Evaluation:
    """Judge all of them by the same networks: those that none was optimised against."""
    if size < SMALLEST_SIDE_PX:
        raise UserError(f"The size to judge at must be {SMALLEST_SIDE_PX} px or more, not {size}.")
    table = judges({result.backbone for result in found})
    keep_big_blocks()
    judged = []
    for result in found:
        judged.append(judge(result, table, size))
        if on_progress:
            on_progress(len(judged), len(found))
    known = {name: figure for name, figure in RUN_FIGURES.items() if all(name in one.figures for one in judged)}
    return Evaluation(tuple(judged), {**table, **known}, size)


def judge(found: Found, table: Mapping[str, Judge], size: int) -> Judged:
    """Every figure of one result and of its baselines."""
    picture = Picture.from_any(found.picture, name=found.name)
    photo = Picture.from_any(found.photo, name="photo")
    styles = [(Picture.from_any(style, name="style"), weight) for style, weight in found.styles]
    whole = make_case(picture, photo, styles, None)
    reduced = whole if max(picture.size_hw) <= size else make_case(picture, photo, styles, size)
    run = {"seconds": found.seconds, "peak_mib": found.peak_bytes and found.peak_bytes / 2**20}
    figures = measured(table, whole, reduced) | {name: value for name, value in run.items() if value is not None}
    wholes, reduceds = baselines(whole), baselines(reduced)
    compared = {name: measured(table, wholes[name], reduceds[name]) for name in wholes}
    return Judged(found.name, found.pair, figures, compared, thumbnails(reduced, reduceds["colour transfer"]))


def measured(table: Mapping[str, Judge], whole: Case, reduced: Case) -> dict[str, float]:
    return {name: judge.measure(whole if judge.whole else reduced) for name, judge in table.items()}


def thumbnails(case: Case, recoloured: Case) -> dict[str, bytes]:
    views = {"photo": case.photo}
    for number, (style, _) in enumerate(case.styles, start=1):
        views["style" if number == 1 else f"style {number}"] = style
    views |= {"colour transfer": recoloured.picture, "result": case.picture}
    return {name: thumbnail(view) for name, view in views.items()}


def thumbnail(view: View) -> bytes:
    picture = Picture(pixels=view.pixels)
    factor = min(1.0, THUMBNAIL_PX / max(picture.size_hw))
    return picture.resized(*(max(1, round(side * factor)) for side in picture.size_hw)).to_jpeg()
