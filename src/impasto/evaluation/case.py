"""What a judge is shown: a picture beside the photo and the styles it was to be made of, all at one size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto import colour
from impasto.errors import UserError
from impasto.picture import Picture

SMALLEST_SIDE_PX = 32
# How far the proportions of a result may be from its photo's: rounding to whole pixels, no more.
SHAPE_SLACK = 0.05


class Reading(NamedTuple):
    """What a network makes of a picture: a Gram matrix for each style layer, and the features of its content layer."""

    grams: tuple[Tensor, ...]
    content: Tensor


@dataclass(frozen=True, eq=False)
class View:
    """A picture as judges see it; what is computed of it is kept, since several judges and baselines ask for it."""

    pixels: Float[np.ndarray, "3 h w"]
    readings: dict[str, Reading] = field(default_factory=dict)

    @cached_property
    def luma(self) -> Float[Tensor, "h w"]:
        return torch.from_numpy(np.ascontiguousarray(colour.to_grey(self.pixels)))

    @cached_property
    def oklab(self) -> Float[np.ndarray, "3 h w"]:
        return colour.srgb_to_oklab(self.pixels)


@dataclass(frozen=True, eq=False)
class Case:
    """styles: each with its share, the shares adding up to 1."""

    picture: View
    photo: View
    styles: tuple[tuple[View, float], ...]

    def of(self, picture: View) -> Case:
        """Another picture beside the same photo and styles."""
        return replace(self, picture=picture)


def make_case(result: Picture, photo: Picture, styles: list[tuple[Picture, float]], size: int | None) -> Case:
    """Everything at the result's size, or where that is larger at `size` px on the longest side.

    Styles have the result's longest side, whatever scale they were painted at, so that settings are comparable.
    UserError for a result that is too small to be judged, or of other proportions than its photo.
    """
    if min(result.height, result.width) < SMALLEST_SIDE_PX:
        raise UserError(
            f"{result.name} has {result.width}x{result.height} px, and judging needs sides of {SMALLEST_SIDE_PX} px or "
            "more: make a larger one with --size."
        )
    proportion = result.width / result.height * photo.height / photo.width
    if not 1 - SHAPE_SLACK < proportion < 1 + SHAPE_SLACK:
        raise UserError(
            f"{result.name} has {result.width}x{result.height} px and {photo.name} {photo.width}x{photo.height} px, "
            "which are other proportions: give the photo that it was made of with --photo."
        )
    longest = max(result.height, result.width)
    longest = min(longest, size) if size else longest
    height, width = fitted(result, longest)
    whole = sum(share for _, share in styles)
    return Case(
        view(result, height, width),
        view(photo, height, width),
        tuple((view(style, *fitted(style, longest)), share / whole) for style, share in styles if share > 0),
    )


def baselines(case: Case) -> dict[str, Case]:
    """What a result has to be better than: the photo unchanged, and recoloured like the first style."""
    first, _ = case.styles[0]
    recoloured = colour.match_colour(case.photo.pixels, first.pixels)
    return {"photo": case.of(case.photo), "colour transfer": case.of(View(recoloured))}


def view(picture: Picture, height: int, width: int) -> View:
    return View(picture.pixels if (height, width) == picture.size_hw else picture.resized(height, width).pixels)


def fitted(picture: Picture, longest: int) -> tuple[int, int]:
    """Height and width with the given longest side, neither too small to be judged."""
    factor = longest / max(picture.height, picture.width)
    rows, columns = (max(SMALLEST_SIDE_PX, round(side * factor)) for side in picture.size_hw)
    return rows, columns
