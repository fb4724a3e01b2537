"""A small model that says how weights should change with the pair, from the trials of a search.

The score is fitted as a quadratic bowl over the search's numbers whose lowest point moves with the pair's statistics:
score = pair's own + g·x + h·x² + xᵀ B s, by ridge regression. The lowest point at statistics s is then
x = (−g − B s) / 2h, each number by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from impasto.learned_layers import Predictor
from impasto.learning.curves import KINDS, basis
from impasto.learning.scoring import convolutions
from impasto.learning.trials import Row
from impasto.nets.cnn import Cnn

RIDGE = 1.0
# Least curvature that a lowest point is believed of, and how far it may move for one deviation of a statistic.
LEAST_CURVATURE, FURTHEST = 0.02, 0.5
LEAST_PAIRS = 3

Statistics = Mapping[tuple[str, str], Float[np.ndarray, " 6"]]


def fit_predictor(cnn: Cnn, rows: Sequence[Row], statistics: Statistics) -> Predictor | None:
    """None where there are too few pairs to tell how anything depends on them."""
    pairs = sorted({(row.photo, row.style) for row in rows})
    if len(pairs) < LEAST_PAIRS:
        return None
    table = np.stack([statistics[pair] for pair in pairs])
    mean, deviation = table.mean(0), table.std(0) + 1e-6
    standard = {pair: (statistics[pair] - mean) / deviation for pair in pairs}
    moves = fit_moves(rows, standard)
    slopes = {
        kind: dict(zip(convolutions(cnn), (tuple(map(float, row)) for row in basis(cnn, kind) @ own), strict=True))
        for kind, own in zip(KINDS, np.split(moves, 2), strict=True)
    }
    return Predictor(
        mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)), content=slopes["content"],
        style=slopes["style"],
    )  # fmt: skip


def fit_moves(rows: Sequence[Row], standard: Statistics) -> Float[np.ndarray, "numbers 6"]:
    """How far each number's best value moves with each standardised statistic."""
    x = np.array([row.numbers for row in rows])
    x = x - x.mean(0)
    s = np.stack([standard[row.photo, row.style] for row in rows])
    numbers, count = x.shape[1], s.shape[1]
    products = (x[:, :, None] * s[:, None, :]).reshape(len(rows), -1)
    # A pair's own level is no merit of the numbers tried on it.
    design = without_means(np.concatenate([x, x**2, products], 1), rows)
    scores = without_means(np.array([[row.score] for row in rows]), rows)[:, 0]
    inverse = np.linalg.inv(design.T @ design + RIDGE * np.eye(design.shape[1]))
    found = inverse @ design.T @ scores
    curvature = found[numbers : 2 * numbers].clip(LEAST_CURVATURE)
    moves = -found[2 * numbers :].reshape(numbers, count) / (2 * curvature[:, None])
    return np.asarray(moves.clip(-FURTHEST, FURTHEST))


def without_means(values: Float[np.ndarray, "rows columns"], rows: Sequence[Row]) -> Float[np.ndarray, "rows columns"]:
    """Each row less the mean over its pair's."""
    result = values.copy()
    for pair in {(row.photo, row.style) for row in rows}:
        own = [index for index, row in enumerate(rows) if (row.photo, row.style) == pair]
        result[own] -= values[own].mean(0)
    return result
