"""Cosine distances between features, each a vector of its channels at one place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def unit_rows(rows: Float[Tensor, "n c"], floor: Float[Tensor, ""]) -> Float[Tensor, "n c+1"]:
    """Rows of length 1, whose products are the rows' cosines.

    A last element of `floor` is added first: it makes rows much shorter than that, which have no direction of their
    own, alike, and keeps the slope finite.
    """
    rows = torch.cat([rows, floor.expand(len(rows), 1)], 1)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def floor_of(rows: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """A hundredth of the rows' typical length."""
    return 1e-2 * rows.square().sum(1).mean().sqrt() + 1e-15


def rows_of(samples: Float[Tensor, "c rows columns"]) -> Float[Tensor, "n c"]:
    """One row a place."""
    return samples.flatten(1).T
