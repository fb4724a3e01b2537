"""Few numbers for the weights of all layers: a smooth curve over depth, and how much the usual layers stand out."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from impasto.engines.balance import chosen_layers
from impasto.learning.scoring import Weights, convolutions
from impasto.losses import Kind
from impasto.nets.cnn import Cnn

KINDS: Final[tuple[Kind, ...]] = ("content", "style")
# For each kind: tilt and bend over depth, and the standing out of the layers that the structure suggests.
NUMBERS: Final = 3
# A layer that weighs less than this share of the heaviest is left out: it would cost time and change hardly anything.
LEAST_SHARE = 0.05
# Where a search begins, content's numbers and then style's: the usual layers alone, or all that are as deep or shallow.
STARTS: Final[tuple[tuple[float, ...], ...]] = (
    (0, 0, 4, 0, 0, 4),
    (0, 0, 4, 0, 0, 0),
    (0, -1, 2, 1, 0, 2),
)


def basis(cnn: Cnn, kind: Kind) -> Float[np.ndarray, "layers 3"]:
    """What each number adds to the logarithm of each convolution's weight, shallowest first.

    Tilt above 0 raises shallow layers, bend above 0 both ends.
    """
    names, usual = convolutions(cnn), chosen_layers(cnn)[kind]
    depth = np.linspace(0, np.pi, len(names)) if len(names) > 1 else np.zeros(1)
    outstanding = np.array([float(name in usual) for name in names])
    return np.stack([np.cos(depth), np.cos(2 * depth), outstanding], 1)


def factors_of(cnn: Cnn, numbers: Float[np.ndarray, " 6"]) -> Weights:
    """Factors of the balanced weights, by kind and layer; the largest is 1."""
    names, found = convolutions(cnn), dict[Kind, dict[str, float]]()
    for kind, own in zip(KINDS, np.split(numbers, 2), strict=True):
        logarithms = basis(cnn, kind) @ own
        shares = np.exp(logarithms - logarithms.max())
        found[kind] = {name: float(share) for name, share in zip(names, shares, strict=True) if share >= LEAST_SHARE}
    return found
