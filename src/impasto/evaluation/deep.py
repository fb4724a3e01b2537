"""Style and content by networks: how far deep features are from the style's and from the photo's.

Style: mean over layers of ‖G − Gₛ‖² / ‖Gₛ‖², G = F Fᵀ / (h·w), as in Gatys et al. (CVPR 2016). Content:
‖F − F꜀‖² / ‖F꜀‖² at one layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.evaluation.case import Case, Reading, View
from impasto.nets import weights
from impasto.nets.catalogue import network
from impasto.nets.efficientnet import EfficientNetLite
from impasto.nets.resnet import ResNetThin

Features = Callable[[Float[Tensor, "n 3 h w"]], dict[str, Tensor]]


@dataclass(frozen=True)
class DeepJudge:
    """A network that judges. style_layers: colour and grain first, larger figures last; content_layer: one that keeps
    shapes and forgets strokes."""

    name: str
    features: Features
    style_layers: tuple[str, ...]
    content_layer: str

    def style(self, case: Case) -> float:
        """Distance to the styles, by their shares; 0 where it is the style's texture, about 1 where unrelated."""
        found = self.reading(case.picture)
        return sum(share * self.style_distance(found, self.reading(style)) for style, share in case.styles)

    def content(self, case: Case) -> float:
        """Distance to the photo; 0 where it is the photo."""
        found, wanted = (self.reading(seen).content for seen in (case.picture, case.photo))
        return relative(found, wanted)

    def style_distance(self, found: Reading, style: Reading) -> float:
        return sum(map(relative, found.grams, style.grams)) / len(style.grams)

    @torch.no_grad()
    def reading(self, seen: View) -> Reading:
        if self.name not in seen.readings:
            features = self.features(torch.from_numpy(seen.pixels)[None])
            grams = tuple(gram(features[name][0]) for name in self.style_layers)
            seen.readings[self.name] = Reading(grams, features[self.content_layer][0])
        return seen.readings[self.name]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().sum() / wanted.square().sum().clamp(min=1e-30))


def gram(features: Float[Tensor, "c h w"]) -> Float[Tensor, "c c"]:
    flat = features.flatten(1)
    return flat @ flat.T / flat.shape[1]


def efficientnet_lite0() -> DeepJudge:
    net = EfficientNetLite(weights.load("efficientnet-lite0"))
    layers = ("stem", "stage1", "stage2", "stage3", "stage5")
    return DeepJudge(net.name, net.features, layers, "stage5")


def resnet50_thin() -> DeepJudge:
    net = ResNetThin(weights.load("resnet50-thin"))
    return DeepJudge(net.name, net.features, ("stem", "stage1", "stage2", "stage3"), "stage3")


def vgg19() -> DeepJudge:
    net = network("vgg19")
    layers = tuple(f"block{block}_conv1" for block in range(1, 6))
    return DeepJudge("vgg19", lambda picture: net.features(picture, layers), layers, "block4_conv1")


# Those that every evaluation needs come first; the others judge where their weights are cached.
NETWORKS: dict[str, Callable[[], DeepJudge]] = {
    "efficientnet-lite0": efficientnet_lite0,
    "resnet50-thin": resnet50_thin,
    "vgg19": vgg19,
}
NEEDED = ("efficientnet-lite0", "resnet50-thin")
