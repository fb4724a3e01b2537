"""The objective of the optimisation: weighted losses on features, its value and its gradient for a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from impasto import losses
from impasto.losses import Kind
from impasto.losses.base import Loss, Place, PlaceLoss, Stats
from impasto.losses.total_variation import total_variation
from impasto.nets.passes import NetworkPass


@dataclass
class Term:
    """One loss on one layer against one target.

    weight: what the distance counts in the total. share: what it counts in the figure of its layer, where several
    styles give several terms. constants: a place loss's, or the target's statistics. target: a place loss's map.
    """

    kind: Kind
    name: str
    layer: str
    loss: Loss
    weight: float
    share: float
    constants: Stats = field(default_factory=dict)
    target: Tensor | None = None

    def set_target(self, features: Float[Tensor, "c h w"]) -> None:
        if isinstance(self.loss, PlaceLoss):
            self.target, self.constants = features, self.loss.constants(features)
        else:
            self.constants = self.loss.stats(features)

    def distance(self, features: Float[Tensor, "c h w"]) -> Float[Tensor, ""]:
        if isinstance(self.loss, PlaceLoss):
            assert self.target is not None
            stats = self.loss.stats(features, self.target, self.constants, Place.all_of(features))
            return self.loss.distance(stats, self.constants)
        return self.loss.distance(self.loss.stats(features), self.constants)


@dataclass(frozen=True)
class Evaluation:
    """Value and gradient of the objective at one picture; `losses` are the unweighted distances."""

    total: float
    content: float
    style: float
    losses: Mapping[str, float]
    gradient: Float[Tensor, "1 3 h w"]

    @property
    def finite(self) -> bool:
        return math.isfinite(self.total) and bool(self.gradient.isfinite().all())


class Objective:
    """content_weight · mean over content layers + style_weight · mean over style layers + tv_weight · variation.

    The means are weighted by the layers' and the styles' own weights; every distance is relative, so that the
    weights mean the same at every size and for every network.
    """

    def __init__(self, network: NetworkPass, terms: list[Term], tv_weight: float) -> None:
        self.network, self.terms, self.tv_weight = network, terms, tv_weight

    def evaluate(self, picture: Float[Tensor, "1 3 h w"]) -> Evaluation:
        values: dict[str, Tensor] = {}
        sums = {"content": picture.new_zeros(()), "style": picture.new_zeros(())}

        def gradient_at(layer: str, features: Tensor) -> Tensor:
            with torch.enable_grad():
                # Without the batch dimension from the start: indexing a leaf costs a zero-filled copy on the way back.
                leaf = features[0].detach().requires_grad_()
                total = picture.new_zeros(())
                for term in self.terms:
                    if term.layer == layer:
                        distance = term.distance(leaf)
                        total = total + term.weight * distance
                        known = values.get(term.name, picture.new_zeros(()))
                        values[term.name] = known + term.share * distance.detach()
                        sums[term.kind] = sums[term.kind] + term.weight * distance.detach()
                (gradient,) = torch.autograd.grad(total, leaf)
            return gradient[None]

        gradient = self.network.forward(picture).backward(gradient_at)
        variation = self.add_variation(picture, gradient) if self.tv_weight else picture.new_zeros(())
        content, style = float(sums["content"]), float(sums["style"])
        found = {name: float(values[name]) for name in dict.fromkeys(term.name for term in self.terms)}
        if self.tv_weight:
            found["tv"] = float(variation)
        return Evaluation(content + style + self.tv_weight * float(variation), content, style, found, gradient)

    def add_variation(self, picture: Tensor, gradient: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = picture.detach().requires_grad_()
            variation = total_variation(leaf)
            gradient += torch.autograd.grad(self.tv_weight * variation, leaf)[0]
        return variation.detach()


@dataclass(frozen=True)
class Aim:
    """What the objective is made of, apart from pictures: losses, layers with weights, and the balance."""

    content_loss: str
    style_loss: str
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    content_weight: float
    style_weight: float
    tv_weight: float
    style_shares: tuple[float, ...]

    @property
    def layers(self) -> list[str]:
        """The layers that count."""
        content = [name for name, weight in self.content_layers.items() if weight and self.content_weight]
        style = [name for name, weight in self.style_layers.items() if weight and self.style_weight]
        return list(dict.fromkeys(content + style))


def build_objective(
    network: NetworkPass, aim: Aim, photo: Float[Tensor, "1 3 h w"], styles: list[Float[Tensor, "1 3 _ _"]]
) -> Objective:
    """The objective for a photo and its styles.

    A style loss that compares place by place is given the style pictures resized to the photo; the others read them
    as they are.
    """
    terms: list[Term] = []
    if aim.content_weight:
        terms += terms_of("content", aim, network, [photo], (1.0,))
    if aim.style_weight:
        if isinstance(losses.load("style", aim.style_loss), PlaceLoss):
            styles = [resized_to(style, photo) for style in styles]
        terms += terms_of("style", aim, network, styles, aim.style_shares)
    return Objective(network, terms, aim.tv_weight)


def terms_of(
    kind: Kind, aim: Aim, network: NetworkPass, pictures: list[Tensor], shares: tuple[float, ...]
) -> list[Term]:
    """The terms of one kind, with their targets taken from the pictures."""
    loss = losses.load(kind, aim.content_loss if kind == "content" else aim.style_loss)
    loss_name = aim.content_loss if kind == "content" else aim.style_loss
    layers = aim.content_layers if kind == "content" else aim.style_layers
    weight = aim.content_weight if kind == "content" else aim.style_weight
    terms = []
    for picture, share in zip(pictures, shares, strict=True):
        features = network.forward(picture, keep=False).features if share else {}
        for name, part in layers.items():
            if part and share:
                whole = weight * part / sum(layers.values())
                term = Term(
                    kind, f"{kind}_{loss_name}/{name}", name, loss, whole * share / sum(shares), share / sum(shares)
                )
                term.set_target(features[name][0])
                terms.append(term)
    return terms


def resized_to(picture: Tensor, like: Tensor) -> Tensor:
    size = (like.shape[2], like.shape[3])
    return torch.nn.functional.interpolate(picture, size, mode="bilinear", antialias=True).clamp(0, 1)
