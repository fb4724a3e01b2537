"""One HTML page of an evaluation or a comparison: tables, what each figure means, and the pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jinja2

from impasto.evaluation.compare import Comparison
from impasto.evaluation.evaluate import Evaluation, Judged
from impasto.evaluation.judges import Figure
from impasto.evaluation.tables import (
    BASELINES,
    Rows,
    agreement_rows,
    comparison_heading,
    comparison_rows,
    evaluation_rows,
    heading,
    number,
)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }
 .wide { overflow-x: auto }
 table { border-collapse: collapse; font-size: .9rem }
 th { text-align: left; border-bottom: 1px solid #888 }
 td, th { padding: .2rem .9rem .2rem 0; vertical-align: top; white-space: nowrap }
 td { font-variant-numeric: tabular-nums; border-bottom: 1px solid #eee }
 td.words { white-space: normal; color: #555 }
 .pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; margin: 1rem 0 }
 figure { margin: 0 } figcaption { color: #555; font-size: .85rem; overflow-wrap: anywhere }
 img { max-width: 100%; height: auto; border-radius: 4px; display: block }
 h2 { margin-top: 2.5rem } h3 { margin-top: 2rem; overflow-wrap: anywhere }
 .verdict { font-size: 1.15rem; background: #f3f1ea; padding: .8rem 1rem; border-radius: 4px }
</style></head><body>
{% macro table(rows) %}<div class="wide"><table>
<tr>{% for cell in rows[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in rows[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endmacro %}
<h1>{{ title }}</h1>
{% if verdict %}<p class="verdict">{{ verdict }}</p>{% endif %}
<p>{{ summary }}</p>
{{ table(means) }}
<h2>What the figures tell</h2>
<div class="wide"><table>{% for name, figure in figures.items() %}<tr><td>{{ name }}</td>
<td>best: {{ figure.better }}</td><td class="words">{{ figure.words }}</td></tr>
{% endfor %}</table></div>
{% if agreement %}<h2>Do the figures agree?</h2>
<p>Rank correlation of figures about the same thing: 1 where both put the pictures in the same order, −1 in the opposite
one.</p>
{{ table(agreement) }}{% endif %}
<h2>The pictures</h2>
{% for pair in pairs %}<section><h3>{{ pair.title }}</h3>
<div class="pictures">{% for picture in pair.pictures %}<figure><img src="data:image/jpeg;base64,{{ picture.data }}"
alt="{{ picture.caption }}"><figcaption>{{ picture.caption }}</figcaption></figure>{% endfor %}</div>
{{ table(pair.figures) }}</section>
{% endfor %}</body></html>
"""


def evaluation_page(found: Evaluation) -> str:
    """The page of an evaluation; every text of the user's is escaped."""
    return rendered(
        title="Results, judged",
        verdict="",
        summary=heading(found),
        means=evaluation_rows(found),
        figures=found.figures,
        agreement=known(found.agreement(), found.figures),
        pairs=[section(result.pair, {"result": result}, found.figures) for result in found.results],
    )


def comparison_page(found: Comparison) -> str:
    """The page of a comparison, A and B side by side."""
    pairs = zip(found.a.results, found.b.results, strict=True)
    return rendered(
        title="Which is better, A or B?",
        verdict=found.verdict,
        summary=comparison_heading(found),
        means=comparison_rows(found),
        figures=found.a.figures,
        agreement=known(found.agreement, found.a.figures),
        pairs=[section(a.pair, {"A": a, "B": b}, found.a.figures) for a, b in pairs],
    )


def rendered(**fields: Any) -> str:
    return jinja2.Environment(autoescape=True).from_string(PAGE).render(**fields)


def known(agreement: Mapping[tuple[str, str], float | None], figures: Mapping[str, Figure]) -> Rows:
    """Empty where there are too few pictures to tell."""
    return agreement_rows(agreement, figures) if any(value is not None for value in agreement.values()) else []


def section(title: str, results: Mapping[str, Judged], figures: Mapping[str, Figure]) -> dict[str, Any]:
    """One pair: what it was made of, the baseline, the results of each side, and their figures."""
    first = next(iter(results.values()))
    pictures = [shown(which, data) for which, data in first.pictures.items() if which != "result"]
    pictures += [shown(f"{side}: {one.name}", one.pictures["result"]) for side, one in results.items()]
    rows = [["figure", *results, *BASELINES]]
    for name in figures:
        sides = [number(one.figures[name]) for one in results.values()]
        rows.append([name, *sides, *(number(first.baselines[which].get(name)) for which in BASELINES)])
    return {"title": title, "pictures": pictures, "figures": rows}


def shown(caption: str, data: bytes) -> dict[str, str]:
    return {"caption": caption, "data": base64.b64encode(data).decode()}
