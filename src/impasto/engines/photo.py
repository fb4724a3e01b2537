"""The look `photo`: a small picture is painted by another engine, and only its colours and tones are taken over.

An affine bilateral grid (`impasto.engines.bilateral`) is fitted from the small photo to the small picture and applied
to the photo at its own size, so that strokes average out and nothing is painted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.edges import edge_correlation
from impasto.engines.bilateral import BilateralGrid, Rgb, fit, luma
from impasto.engines.engine import Engine
from impasto.engines.optimize import Outcome
from impasto.engines.state import Snapshot
from impasto.engines.surface import Map, mixed
from impasto.events import Listener

# Longest side of the small picture, and the least that engines paint.
SMALL_PX, NARROWEST_PX = 384, 32
# What edges have to be like the photo's in the small picture, a little more than is promised of the large one.
LEAST_EDGES = 0.98
HALVINGS = 7
# Share of the pixels that count as the darkest, and as the lightest.
EXTREMES = 0.005
# An average of strokes is paler than they are: up to this much of their contrast is given back.
MOST_CONTRAST = 1.2
# Standard deviation of a picture that is one colour.
FLAT = 1e-4


@dataclass(frozen=True)
class PhotoEngine:
    """painter: what paints the small photo. keep: the photo's own share of each pixel; None where it has none."""

    painter: Engine
    small: Float[Tensor, "3 small_h small_w"]
    photo: Rgb
    keep: Map | None = None

    @property
    def name(self) -> str:
        return self.painter.name

    def run(self, listeners: Sequence[Listener] = (), resume: Snapshot | None = None) -> Outcome:
        """Run the painter, whose steps are the ones that listeners hear of, and give the photo its colours."""
        outcome = self.painter.run(listeners, resume)
        began = time.perf_counter()
        with torch.inference_mode():
            grid = colours_of(self.small, outcome.picture[0].float().cpu())
            picture = grid.apply(self.photo)
            if self.keep is not None:
                picture = mixed(picture, self.photo, self.keep)
        seconds = outcome.seconds + time.perf_counter() - began
        return replace(outcome, picture=picture[None], seconds=seconds)


def colours_of(photo: Rgb, painted: Rgb) -> BilateralGrid:
    """The grid that gives a photo the colours and tones of a painted picture, and leaves its edges."""
    grid = fit(photo, painted)
    plain = grid.apply(photo)
    gain = spread(painted) / max(spread(plain), FLAT)
    return faithful(grid.with_contrast(min(max(gain, 1.0), MOST_CONTRAST), plain.mean((1, 2))), photo)


def faithful(grid: BilateralGrid, photo: Rgb) -> BilateralGrid:
    """The grid, with as much of the photo's own contrasts in the luma as its edges need to stay what they are."""
    own = luma(photo)
    if float(own.std()) < FLAT:
        return grid

    def is_faithful(changed: BilateralGrid) -> bool:
        return edge_correlation(luma(changed.apply(photo)), own) >= LEAST_EDGES

    if is_faithful(grid):
        return grid
    gain, offset = fitting_tones(luma(grid.apply(photo)), own)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_faithful(grid.with_luma(gain, offset, middle)) else (middle, high)
    return grid.with_luma(gain, offset, high)


def fitting_tones(luma: Float[Tensor, "h w"], own: Float[Tensor, "h w"]) -> tuple[float, float]:
    """Gain and offset that give the photo's own luma the mean and spread of another, moved as far as they must be for
    its darkest and lightest tones to stay apart."""
    lowest, highest = (float(own.quantile(share)) for share in (EXTREMES, 1 - EXTREMES))
    gain = min(float(luma.std() / own.std()), 1 / max(highest - lowest, FLAT))
    offset = float(luma.mean()) - gain * float(own.mean())
    return gain, min(max(offset, -gain * lowest), 1 - gain * highest)


def spread(picture: Float[Tensor, "3 h w"]) -> float:
    """Root mean square distance from the mean colour."""
    return float((picture - picture.mean((1, 2), keepdim=True)).square().mean().sqrt())
