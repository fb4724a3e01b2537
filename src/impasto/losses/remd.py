"""Relaxed earth mover's distance (Kolkin, Salavon & Shakhnarovich, STROTSS, CVPR 2019, eq. 5-7)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Place, SampleLoss, Stats, sampled_together
from impasto.losses.cosine import floor_of, rows_of, unit_rows

SAMPLES = 1024


class Remd(SampleLoss):
    """max(mean over the picture, mean over the style) of the cosine distance to the nearest feature of the other,
    plus ‖μ − μₛ‖₁/‖μₛ‖₁ + ‖Σ − Σₛ‖₁/‖Σₛ‖₁, since cosines do not see how strong features are.

    Every place becomes like some place of the style, and every place of the style is used: as crisp as `nearest`, with
    the style's whole variety. The features of all layers at a place are one column, as in the paper, each layer scaled
    to count as its weight says. The moments are relative, so that their weight does not depend on the network. With
    `--content-loss self_similarity` it is STROTSS.
    """

    joint = True

    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        return {"samples": sampled_together(features, place, SAMPLES)}

    def reference(self, stats: Stats) -> Stats:
        rows = rows_of(stats["samples"])
        floor = floor_of(rows)
        mean, covariance = mean_and_covariance(rows)
        return {"mean": mean, "covariance": covariance, "floor": floor, "rows": unit_rows(rows, floor)}

    def distance(self, stats: Stats, target: Stats) -> Float[Tensor, ""]:
        rows = rows_of(stats["samples"])
        apart = 1 - unit_rows(rows, target["floor"]) @ target["rows"].T
        relaxed = torch.maximum(apart.amin(1).mean(), apart.amin(0).mean())
        mean, covariance = mean_and_covariance(rows)
        return relaxed + relative(mean, target["mean"]) + relative(covariance, target["covariance"])


def mean_and_covariance(rows: Float[Tensor, "n c"]) -> tuple[Float[Tensor, " c"], Float[Tensor, "c c"]]:
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / len(rows)


def relative(found: Float[Tensor, "*shape"], wanted: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    return (found - wanted).abs().sum() / wanted.abs().sum().clamp(min=1e-30)
