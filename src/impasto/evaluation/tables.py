"""Evaluations and comparisons as text for a terminal, CSV, and JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from impasto.evaluation.compare import Comparison, Difference, percent
from impasto.evaluation.evaluate import Evaluation
from impasto.evaluation.statistics import Mean

BASELINES = ("photo", "colour transfer")
Rows = list[list[str]]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def interval(mean: Mean) -> str:
    return "" if mean.low is None or mean.high is None else f"{mean.low:.4g} .. {mean.high:.4g}"


def without_empty_columns(rows: Rows) -> Rows:
    """A single pair has no intervals."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    return [[row[column] for column in kept] for row in rows]


def evaluation_rows(found: Evaluation) -> Rows:
    """A line a figure: mean over the results, its interval, and the baselines."""
    rows = [["figure", "best", "results", "95 % of means", *BASELINES]]
    for name, figure in found.figures.items():
        mean = found.mean(name)
        known = [number(found.baseline(which, name)) for which in BASELINES]
        rows.append([name, figure.better, number(mean.mean), interval(mean), *known])
    return without_empty_columns(rows)


def comparison_rows(found: Comparison) -> Rows:
    """A line a figure: both means, the difference where less is better, who is better in how many pairs, how sure."""
    rows = [["figure", "best", "A", "B", "A worse by, 95 %", "better", "in", "sure", *BASELINES]]
    for name, figure in found.a.figures.items():
        means = [number(side.mean(name).mean) for side in (found.a, found.b)]
        known = [number(found.a.baseline(which, name)) for which in BASELINES]
        rows.append([name, figure.better, *means, *difference_cells(found.differences[name]), *known])
    for about, difference in (("style", found.style), ("content", found.content)):
        rows.append([f"{about}, all networks", "lower", "", "", *difference_cells(difference), "", ""])
    return without_empty_columns(rows)


def difference_cells(difference: Difference) -> list[str]:
    better = difference.better or "equal"
    wins = {"A": difference.wins_a, "B": difference.wins_b}.get(better)
    sure = "" if difference.sureness is None else percent(difference.sureness)
    return [interval(difference.mean), better, "" if wins is None else str(wins), sure]


def agreement_rows(agreement: Mapping[tuple[str, str], float | None], figures: Mapping[str, Any]) -> Rows:
    """Rank correlations of figures that are about the same thing."""
    rows = [["figure", "and", "agree"]]
    for (one, other), value in agreement.items():
        if figures[one].about == figures[other].about:
            rows.append([one, other, "" if value is None else f"{value:+.2f}"])
    return rows


def aligned(rows: Rows) -> str:
    """Columns side by side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def evaluation_text(found: Evaluation) -> str:
    return f"{heading(found)}\n{aligned(evaluation_rows(found))}" + agreement_text(found.agreement(), found.figures)


def comparison_text(found: Comparison) -> str:
    table = f"{comparison_heading(found)}\n{aligned(comparison_rows(found))}"
    return table + agreement_text(found.agreement, found.a.figures) + f"\n\n{found.verdict}"


def heading(found: Evaluation) -> str:
    """How many of what, and what was not judged."""
    return f"{counted(found, 'result')}, judged at {found.size} px.{left_out(found.left_out)}"


def comparison_heading(found: Comparison) -> str:
    return f"{counted(found.a, 'pair')}, judged at {found.a.size} px.{left_out(found.a.left_out + found.b.left_out)}"


def counted(found: Evaluation, noun: str) -> str:
    return f"{len(found.results)} {noun}{'' if len(found.results) == 1 else 's'}"


def left_out(pictures: Sequence[str]) -> str:
    return f" Left out, having no job: {', '.join(pictures)}." if pictures else ""


def agreement_text(agreement: Mapping[tuple[str, str], float | None], figures: Mapping[str, Any]) -> str:
    """Nothing where there are too few pictures to tell."""
    if all(value is None for value in agreement.values()):
        return ""
    return "\n\nHow alike figures rank the pictures (1 alike, -1 opposite):\n" + aligned(
        agreement_rows(agreement, figures)
    )


def evaluation_csv(found: Evaluation) -> str:
    """A line a picture: every result and, under its name, its baselines."""
    return csv_text(picture_lines(found), found)


def comparison_csv(found: Comparison) -> str:
    """The lines of both sides, with A or B before them."""
    lines = [[side, *line] for side, one in (("A", found.a), ("B", found.b)) for line in picture_lines(one)]
    return csv_text(lines, found.a, ["side"])


def picture_lines(found: Evaluation) -> list[list[Any]]:
    lines = []
    for result in found.results:
        for which, figures in (("result", result.figures), *result.baselines.items()):
            lines.append([result.name, result.pair, which, *(figures.get(name, "") for name in found.figures)])
    return lines


def csv_text(lines: Sequence[Sequence[Any]], found: Evaluation, before: Sequence[str] = ()) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*before, "name", "pair", "picture", *found.figures])
    writer.writerows(lines)
    return text.getvalue()


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    return {
        "size": found.size,
        "left_out": found.left_out,
        "figures": {
            name: {
                "best": figure.better,
                "about": figure.about,
                **mean_json(found.mean(name)),
                "baselines": {which: found.baseline(which, name) for which in BASELINES},
            }
            for name, figure in found.figures.items()
        },
        "results": [
            {"name": one.name, "pair": one.pair, "figures": one.figures, "baselines": one.baselines}
            for one in found.results
        ],
        "agreement": agreement_json(found.agreement()),
    }


def comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "better": found.better,
        "verdict": found.verdict,
        "style": difference_json(found.style),
        "content": difference_json(found.content),
        "figures": {name: difference_json(difference) for name, difference in found.differences.items()},
        "agreement": agreement_json(found.agreement),
        "a": evaluation_json(found.a),
        "b": evaluation_json(found.b),
    }


def mean_json(mean: Mean) -> dict[str, Any]:
    return {"mean": mean.mean, "low": mean.low, "high": mean.high}


def difference_json(difference: Difference) -> dict[str, Any]:
    return {
        **mean_json(difference.mean),
        "better": difference.better,
        "sureness": difference.sureness,
        "wins_a": difference.wins_a,
        "wins_b": difference.wins_b,
    }


def agreement_json(agreement: Mapping[tuple[str, str], float | None]) -> list[dict[str, Any]]:
    return [{"figures": list(pair), "agree": value} for pair, value in agreement.items()]
