"""Trains a small network of one style (Johnson et al., ECCV 2016), begun as the part of the shipped one that paints it.

It is trained to the style as that network was, with its dial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from impasto.nets.any_style import (
    FADE,
    STRIDE,
    AnyStyle,
    Residual,
    Shape,
    Styled,
    StyledMix,
    StyledNorm,
    ToPicture,
    mirrored,
)
from impasto.nets.cnn import Cnn
from impasto.train.any_style import USUAL_STRENGTH, HeldOut, Training, held_out
from impasto.train.data import Batch, Folder, crop
from impasto.train.objective import Grams
from impasto.train.settings import OneStyleSettings


@dataclass(frozen=True)
class PhotoSource:
    """Draws the photos of a training of one style, two to a group; smallest: as in `crop`.

    usual: half of the strengths are drawn from this range, the others from `least_strength` to 1.
    """

    photos: Folder
    seed: int = 0
    smallest: float = 0.45
    least_strength: float = 0.2
    usual: tuple[float, float] = (0.5, 0.8)

    @property
    def skipped(self) -> int:
        return len(self.photos.skipped)

    def batch(self, step: int, size: int, groups: range) -> Batch:
        photos, strengths = list[Tensor](), list[float]()
        for index in groups:
            rng = np.random.default_rng([self.seed, step, index])
            for _ in range(2):
                photos.append(crop(self.photos.draw(rng), size, self.smallest, rng))
                strengths.append(rng.uniform(*(self.usual if rng.random() < 0.5 else (self.least_strength, 1))))
        count = len(photos)
        # The style is the same in every step, and its network knows it without being shown.
        style = torch.zeros(1, 3, 1, 1)
        return Batch(torch.stack(photos), style, list(range(count)), torch.ones(count, 1), torch.tensor(strengths))


# What the network of one style has left: numbers of a code, which only the dial moves; channels within a block for each
# of its own.
OWN_CODE, OWN_INNER = 8, 1
# The photos and strengths on which it is seen which.
MEASURED_PHOTOS, MEASURED_STRENGTHS = 8, (0.4, USUAL_STRENGTH, 0.9)


def own_shape(shape: Shape) -> Shape:
    """The sizes of the network of one style that is cut out of one for any style: half as wide within its blocks."""
    return replace(shape, code=OWN_CODE, inner=OWN_INNER, experts=1, encoder=(), deep=())


@torch.no_grad()
def in_one_style(teacher: AnyStyle, code: Float[Tensor, "1 k"], photos: Float[Tensor, "n 3 h w"]) -> AnyStyle:
    """What paints one style in a network for any: its layers mixed as this style mixes them, and thinned.

    photos: on them is seen which channels the style needs.
    """
    # Only the dial moves the code of one style, along a curve for which `OWN_CODE` directions are plenty.
    dialled = teacher.dialled(code.expand(33, -1), torch.linspace(FADE, 1, 33, device=code.device))
    # Where the mixed layers are taken as they are.
    usual = teacher.dialled(code, code.new_tensor([USUAL_STRENGTH]))
    directions = torch.linalg.svd(dialled - usual, full_matrices=False)[2][:OWN_CODE].T
    mixed = AnyStyle(replace(own_shape(teacher.shape), inner=teacher.shape.inner)).to(code.device)
    mixed.own.copy_((code - usual) @ directions)
    mixed.dial.load_state_dict(
        {
            **teacher.dial.state_dict(),
            "2.weight": directions.T @ teacher.dial[2].weight,
            "2.bias": directions.T @ teacher.dial[2].bias,
        }
    )
    for name in ("conv1", "norm1", "conv2", "norm2", "trunk", "up", "last", "norm3", "out"):
        for layer, model in zip(getattr(mixed, name).modules(), getattr(teacher, name).modules(), strict=True):
            take_over(layer, model, usual, directions)
    return thinned(mixed, photos)


@torch.no_grad()
def thinned(network: AnyStyle, photos: Float[Tensor, "n 3 h w"]) -> AnyStyle:
    """A network of one style with fewer channels within its blocks, those that do most in its pictures of the photos.

    What the channels left out have told is read from the kept ones, by least squares (He et al. 2017,
    arXiv:1707.06168): one style needs so few of them that this alone comes near to the whole network.
    """
    thin = AnyStyle(own_shape(network.shape)).to(photos.device)
    tensors, found = network.state_dict(), inner_moments(network, photos)
    for name, block in network.named_modules():
        if isinstance(block, Residual):
            count = OWN_INNER * block.look.in_channels
            kept, narrow = kept_channels(block.narrow.weight[0], found[block.narrow], count)
            tensors[f"{name}.widen.weight"] = block.widen.weight[:, kept]
            tensors[f"{name}.narrow.weight"] = narrow[None]
    thin.load_state_dict(tensors)
    return thin


def inner_moments(network: AnyStyle, photos: Float[Tensor, "n 3 h w"]) -> dict[StyledMix, Float[Tensor, "inner inner"]]:
    """The mean products of the channels that each block's `narrow` reads, over photos and strengths."""
    blocks = [module for module in network.modules() if isinstance(module, Residual)]
    found = {block.narrow: photos.new_zeros(2 * [block.narrow.weight.shape[2]]) for block in blocks}
    for strength in MEASURED_STRENGTHS:
        code = network.dialled(network.encode(photos), photos.new_full((len(photos),), strength))

        def apply(layer: Styled, x: Tensor, code: Tensor = code) -> Tensor:
            if isinstance(layer, StyledMix) and layer in found:
                rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
                found[layer] += rows.T @ rows / (len(rows) * len(MEASURED_STRENGTHS))
            done: Tensor = layer(x, code)
            return done

        network.paint(photos, apply)
    return found


def kept_channels(
    narrow: Float[Tensor, "o i"], moments: Float[Tensor, "i i"], count: int
) -> tuple[Int[Tensor, " kept"], Float[Tensor, "o kept"]]:
    """The numbers of the channels that do most behind a layer, and that layer made to read them alone."""
    power = moments.diagonal() * narrow.square().sum(0)
    kept = power.topk(count).indices.sort().values
    # A channel that is silent on these photos would leave the equations without one answer.
    little = 1e-6 * moments.diagonal().mean() * torch.eye(count, device=narrow.device)
    return kept, torch.linalg.solve(moments[kept][:, kept] + little, moments[kept] @ narrow.T).T


def take_over(
    layer: nn.Module, model: nn.Module, usual: Float[Tensor, "1 k"], directions: Float[Tensor, "k own"]
) -> None:
    """Make a layer do what its model does for codes that lie in some directions from the usual one."""
    if isinstance(layer, StyledNorm | ToPicture) and isinstance(model, StyledNorm | ToPicture):
        layer.affine.bias.copy_(model.affine(usual)[0])
        layer.affine.weight.copy_(model.affine.weight @ directions)
    elif isinstance(layer, StyledMix) and isinstance(model, StyledMix):
        layer.weight.copy_(model.mixed(usual))
        torch.nn.init.zeros_(layer.shares.weight)
    elif isinstance(layer, nn.Conv2d):
        layer.load_state_dict(model.state_dict())


class OneStyleTraining(Training):
    """style: RGB, 0..1, at the size at which its strokes are to be painted. teacher: what it begins as."""

    settings: OneStyleSettings

    def __init__(
        self,
        settings: OneStyleSettings,
        source: PhotoSource,
        cnn: Cnn,
        style: Float[Tensor, "1 3 h w"],
        teacher: AnyStyle,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(settings, source, cnn, shape=own_shape(teacher.shape), device=device, dtype=dtype)
        self.photos = source.photos
        self.style = style.to(device)
        self.grams = self.objective.grams(self.style)
        teacher, rng, side = teacher.to(device), np.random.default_rng(settings.seed), settings.sizes[-1]
        crops = [crop(source.photos.draw(rng), side, source.smallest, rng) for _ in range(MEASURED_PHOTOS)]
        photos = mirrored(torch.stack(crops), STRIDE).to(device)
        self.start_from(in_one_style(teacher, teacher.encode(self.style), photos))
        # Few of its units tell large strengths apart; trained with the rest they went silent.
        self.network.dial[0].requires_grad_(False)

    def style_grams(self, batch: Batch) -> Grams:
        return self.grams

    def pairs(self, count: int = 6, size: int = 256) -> HeldOut:
        """Held-out photos with the style, for the contact sheet."""
        return HeldOut([(photo, self.style) for photo in held_out(self.photos, count, size)])
