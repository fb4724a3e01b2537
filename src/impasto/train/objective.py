"""What a feed-forward network is trained to: the style's Gram matrices, the photo's features, few rough edges.

The same distances as `impasto.losses` and the `classic` objective, for batches in which every sample has its own
weights, with gradients by hand, since this runs in every training step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from impasto.losses.total_variation import variation_gradient
from impasto.nets.passes import ExplicitPass

STYLE_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
CONTENT_LAYER = "block4_conv1"


def grams(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c c"]:
    """F Fᵀ / (h·w) of each picture, in float32."""
    rows = rows_of(features)
    return torch.bmm(rows.mT, rows).float() / rows.shape[1]


def rows_of(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n places c"]:
    """A view, not a copy, of channels_last memory."""
    return features.permute(0, 2, 3, 1).reshape(features.shape[0], -1, features.shape[1])


Grams = dict[str, Tensor]
"""Gram matrices of several pictures by layer."""


@dataclass(frozen=True)
class Targets:
    """What each sample should come to: Gram matrices by layer, features at the content layer, and their weight.

    joined(layer, grams): what of the samples' own Gram matrices is compared; None for they themselves.
    """

    grams: Grams
    content: Float[Tensor, "n c h w"]
    content_weight: Float[Tensor, " n"]
    joined: Callable[[str, Float[Tensor, "n c c"]], Float[Tensor, "n c c"]] | None = None


@dataclass
class Objective:
    """style + content_weight · content + tv_weight · total variation, meaned over the samples.

    hard: a relative Gram distance beyond this counts by its square root, so that styles which no feed-forward network
        reaches do not rule the rest; larger gives hard styles more say.
    tv_weight: larger gives smoother pictures.
    """

    network: ExplicitPass
    hard: float = 1.0
    tv_weight: float = 1.0

    def __post_init__(self) -> None:
        # Photos are looked at no further than this, a third of the way less.
        self.to_content = self.network.narrowed([CONTENT_LAYER])

    def targets(
        self,
        photos: Float[Tensor, "m 3 h w"],
        styles: Grams,
        photo_of: Int64[Tensor, " n"],
        mix: Float[Tensor, "n k"],
        content_weight: Float[Tensor, " n"],
    ) -> Targets:
        """photo_of: the photo of each sample; mix: the shares of the styles in each sample's Gram matrices."""
        wanted = {name: torch.einsum("nm,mij->nij", mix, styles[name]) for name in STYLE_LAYERS}
        return Targets(wanted, self.content(photos)[photo_of], content_weight)

    def grams(self, styles: Float[Tensor, "k 3 h w"]) -> Grams:
        """What styles are compared by."""
        found = self.network.forward(styles, keep=False).features
        return {name: grams(found[name]) for name in STYLE_LAYERS}

    def content(self, photos: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m c h2 w2"]:
        """What pictures are to be near to in their features."""
        return self.to_content.forward(photos, keep=False).features[CONTENT_LAYER]

    def __call__(
        self, pictures: Float[Tensor, "n 3 h w"], targets: Targets
    ) -> tuple[Float[Tensor, "n 3 h w"], dict[str, Float[Tensor, " n"]]]:
        """The gradient of the objective, and each sample's relative distances by name."""
        told: dict[str, Tensor] = {}

        def gradient_at(name: str, features: Tensor, behind: Tensor | None) -> Tensor:
            found = grams(features)
            compared = targets.joined(name, found) if targets.joined else found
            gradient, told[name] = self.style_gradient(features, compared, targets.grams[name], behind)
            if name == CONTENT_LAYER:
                own, told["content"] = content_gradient(features, targets.content, targets.content_weight)
                gradient += own
            return gradient

        gradient = self.network.forward(pictures).backward(gradient_at)
        count, _, height, _ = pictures.shape
        gradient += self.tv_weight / count * variation_gradient(pictures, 0, height)
        return gradient, told

    def style_gradient(
        self,
        features: Float[Tensor, "n c h w"],
        found: Float[Tensor, "n c c"],
        wanted: Float[Tensor, "n c c"],
        behind: Float[Tensor, "n c h w"] | None,
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]:
        """The gradient as if every part of what was found came of these features, added to `behind` if there is one."""
        difference = found - wanted
        size = wanted.square().sum((1, 2)).clamp(min=1e-12)
        distance = difference.square().sum((1, 2)) / size
        # d sqrt(hard · d) = sqrt(hard / d) / 2; the doubled root joins on smoothly at `hard`.
        slope = (self.hard / distance.clamp(min=self.hard)).sqrt()
        count = features.shape[2] * features.shape[3]
        factor = 4 * slope / (size * count * len(features) * len(STYLE_LAYERS))
        rows, slopes = rows_of(features), (difference * factor[:, None, None]).to(features.dtype)
        if behind is not None and behind.is_contiguous(memory_format=torch.channels_last):
            rows_of(behind).baddbmm_(rows, slopes)
            return behind, distance
        own = torch.bmm(rows, slopes).view(len(features), *features.shape[2:], -1).permute(0, 3, 1, 2)
        return own if behind is None else behind.add_(own), distance


def content_gradient(
    features: Float[Tensor, "n c h w"], wanted: Float[Tensor, "n c h w"], weight: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]:
    difference = features - wanted
    size = wanted.float().square().sum((1, 2, 3)).clamp(min=1e-12)
    distance = difference.float().square().sum((1, 2, 3)) / size
    factor = (2 * weight / (size * len(features))).to(features.dtype)
    return difference * factor[:, None, None, None], distance
