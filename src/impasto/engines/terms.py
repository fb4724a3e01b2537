"""Terms of the objective: a loss on a layer against a target, and what several of them have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses import Kind
from impasto.losses.base import COMMON, Guide, Loss, Place, PlaceLoss, SampleLoss, Stats

TINY = 1e-30


@dataclass
class Term:
    """One loss on one layer against one target.

    weight: what the distance counts in the total. share: what it counts in the figure of its layer, where several
    styles give several terms. style: which of the styles. constants: a place loss's, or what the others need of the
    target's statistics. target: a place loss's map. guide: how much each place counts, at any size; None where all
    count alike.
    """

    kind: Kind
    name: str
    layer: str
    loss: Loss
    weight: float
    share: float
    style: int = 0
    constants: Stats = field(default_factory=dict)
    target: Tensor | None = None
    guide: Guide | None = None

    def stats(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        """Sums over the owned features; features cover `place.window`."""
        if isinstance(self.loss, PlaceLoss):
            assert self.target is not None
            target = place.window.of(self.target).to(features.dtype)
            return self.loss.stats(features, target, self.constants, place)
        return self.statistics(features, place)

    def statistics(self, features: Float[Tensor, "c h w"], place: Place) -> Stats:
        """Those of a loss that compares statistics or samples, for the picture and for the target alike."""
        if self.guide is not None:
            # On the layer's grid from now on, or on that of all layers.
            size = (COMMON, COMMON) if is_joint(self.loss) else (place.whole.bottom, place.whole.right)
            self.guide = self.guide.at_size(*size)
        if isinstance(self.loss, SampleLoss):
            return self.loss.stats(features, replace(place, guide=self.guide))
        assert not isinstance(self.loss, PlaceLoss)
        guide = None if self.guide is None else place.owned.of(self.guide.values[None])[0]
        return self.loss.stats(place.owned.relative_to(place.window).of(features), guide)


def is_joint(loss: Loss) -> bool:
    """Whether a loss takes the features of all layers at a place together."""
    return isinstance(loss, SampleLoss) and loss.joint


class Group:
    """Terms that have one distance: a single one, or those of all layers whose loss takes layers together."""

    def __init__(self, terms: list[Term]) -> None:
        self.terms, self.loss, self.kind = terms, terms[0].loss, terms[0].kind
        self.weights: list[float] = []
        self.scales: list[float] = []
        self.reference: Stats = {}

    @property
    def weight(self) -> float:
        return sum(term.weight for term in self.terms)

    def distance(self, stats: list[Stats]) -> Float[Tensor, ""]:
        if not is_joint(self.loss):
            return self.loss.distance(stats[0], self.terms[0].constants)
        self.follow_weights()
        return self.loss.distance(self.columns(stats), self.reference)

    def follow_weights(self) -> None:
        """Scale each layer's part of a column so that its squared length, of the target's, is the layer's weight."""
        weights = [term.weight for term in self.terms]
        if weights != self.weights:
            assert isinstance(self.loss, SampleLoss)
            targets = [term.constants for term in self.terms]
            lengths = [float(target["samples"].square().sum(0).mean().sqrt()) for target in targets]
            self.scales = [
                math.sqrt(weight / max(self.weight, TINY)) / max(length, TINY)
                for weight, length in zip(weights, lengths, strict=True)
            ]
            self.weights, self.reference = weights, self.loss.reference(self.columns(targets))

    def columns(self, stats: list[Stats]) -> Stats:
        """Samples of all layers, one above the other."""
        return {"samples": torch.cat([s * one["samples"] for s, one in zip(self.scales, stats, strict=True)])}


def grouped(terms: list[Term]) -> list[Group]:
    """In the terms' order."""
    groups: dict[object, list[Term]] = {}
    for place, term in enumerate(terms):
        groups.setdefault((term.kind, term.style) if is_joint(term.loss) else place, []).append(term)
    return [Group(own) for own in groups.values()]
