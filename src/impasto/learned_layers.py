"""Weights of layers that were learned for a network: a small JSON file beside its weights, or shipped with Impasto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from impasto import colour
from impasto.errors import LayerError, UserError
from impasto.losses import Kind
from impasto.nets.catalogue import CATALOGUE
from impasto.nets.cnn import Cnn
from impasto.nets.weights import path_of
from impasto.picture import Picture

SHIPPED = Path(__file__).parent / "data"
SUFFIX = ".layers.json"
# Pictures are made so small before their statistics are taken, which then do not depend on their size.
STATISTICS_PX = 128
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Strict = ConfigDict(frozen=True, extra="forbid")


class Predictor(BaseModel):
    """How weights change with the pair: a layer's logarithm by its slopes times the standardised statistics.

    mean, deviation: of each statistic over the pairs learned from; content, style: a slope a statistic, by layer.
    """

    model_config = Strict

    mean: tuple[Number, ...]
    deviation: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    content: dict[str, tuple[Number, ...]]
    style: dict[str, tuple[Number, ...]]


class LearnedLayers(BaseModel):
    """Factors of the balanced weights, by layer; a layer that is not named does not count.

    network: what they were learned for. card: what from, how, and what they brought on pairs held out. predictor: where
    one was better on pairs held out than the factors alone.
    """

    model_config = Strict

    format: Literal["impasto-layers-1"] = "impasto-layers-1"
    network: str
    card: str
    content: dict[str, Factor] = Field(min_length=1)
    style: dict[str, Factor] = Field(min_length=1)
    predictor: Predictor | None = None

    def factors(self, kind: Kind, photo: Picture, style: Picture) -> dict[str, float]:
        """What the balanced weight of each layer is multiplied by, for a pair."""
        constant: Mapping[str, float] = self.content if kind == "content" else self.style
        if self.predictor is None:
            return dict(constant)
        slopes = self.predictor.content if kind == "content" else self.predictor.style
        found = (pair_statistics(photo, style) - self.predictor.mean) / np.asarray(self.predictor.deviation)
        # Beyond what was seen while learning nothing is known.
        found = found.clip(-2, 2)
        return {name: factor * float(np.exp(found @ np.asarray(slopes[name]))) for name, factor in constant.items()}


def pair_statistics(photo: Picture, style: Picture) -> Float[np.ndarray, " 6"]:
    """Contrast, colourfulness and fineness of the photo, then of the style."""
    return np.concatenate([statistics(photo), statistics(style)])


def statistics(picture: Picture) -> Float[np.ndarray, " 3"]:
    """Deviation of OKLab lightness, mean chroma, and the logarithm of how much of the lightness is fine detail."""
    factor = STATISTICS_PX / max(picture.size_hw)
    small = picture.resized(*(max(2, round(side * factor)) for side in picture.size_hw))
    lightness, a, b = colour.srgb_to_oklab(small.pixels).astype(np.float64)
    steps = np.square(np.diff(lightness, axis=0)).mean() + np.square(np.diff(lightness, axis=1)).mean()
    fineness = np.log((steps + 1e-6) / (lightness.var() + 1e-6))
    return np.array([lightness.std(), np.hypot(a, b).mean(), fineness])


def place_of(backbone: str, network: Cnn) -> Path | None:
    """Where a network's learned layers lie: beside its weights, with the ending `.layers.json`.

    None for a network that has no file of its own.
    """
    file = Path(backbone)
    if file.suffix == ".safetensors":
        return file.with_suffix(SUFFIX)
    return path_of(network.name).with_suffix(SUFFIX) if network.name in CATALOGUE else None


def find_learned(backbone: str, network: Cnn) -> LearnedLayers | None:
    """What was learned for a network: one's own before what is shipped."""
    own = place_of(backbone, network)
    for file in (own, SHIPPED / f"{network.name}{SUFFIX}" if network.name in CATALOGUE else None):
        if file is not None and file.is_file():
            return read_learned(file, network)
    return None


def read_learned(file: Path, network: Cnn) -> LearnedLayers:
    """UserError for a file that is none of learned layers, or of another network's."""
    try:
        learned = LearnedLayers.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{file} holds no learned layers of this version of Impasto: delete it, or learn them again with "
            "impasto learn-layers."
        ) from error
    try:
        for name in (*learned.content, *learned.style):
            network.layer(name)
    except LayerError as error:
        raise UserError(f"{file} was learned for another network: {error}") from error
    if not all(any(factors.values()) for factors in (learned.content, learned.style)):
        raise UserError(f"{file} gives no layer a weight: delete it, or learn again with impasto learn-layers.")
    return learned
