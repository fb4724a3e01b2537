"""Trains a small network of one style (Johnson et al., ECCV 2016), begun as the part of the shipped one that paints it.

In its first steps it learns to do without what was left out, which costs no pass through VGG; then it is trained to
the style itself as that network was, with its dial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.nets.any_style import FADE, AnyStyle, Shape, StyledMix, StyledNorm, ToPicture
from impasto.nets.cnn import Cnn
from impasto.train.any_style import USUAL_STRENGTH, HeldOut, Training, held_out
from impasto.train.data import Batch, Folder, crop
from impasto.train.objective import STYLE_LAYERS, Grams
from impasto.train.settings import OneStyleSettings


@dataclass(frozen=True)
class PhotoSource:
    """Draws the photos of a training of one style; smallest: as in `crop`, the strengths: as in `Source`."""

    photos: Folder
    seed: int = 0
    smallest: float = 0.45
    least_strength: float = 0.2
    bold: float = 0.6

    @property
    def skipped(self) -> int:
        return len(self.photos.skipped)

    def batch(self, step: int, size: int, groups: range) -> Batch:
        photos, strengths = list[Tensor](), list[Tensor]()
        for index in groups:
            rng = np.random.default_rng([self.seed, step, index])
            photos += [crop(self.photos.draw(rng), size, self.smallest, rng) for _ in range(4)]
            lows = np.where(rng.random(4) < 0.5, self.bold, self.least_strength)
            strengths.append(torch.from_numpy(rng.uniform(lows, 1.0)).float())
        count = len(photos)
        # The style is the same in every step, and its network knows it without being shown.
        style = torch.zeros(1, 3, 1, 1)
        return Batch(torch.stack(photos), style, list(range(count)), torch.ones(count, 1), torch.cat(strengths))


# Numbers that are left of a code: how the dial moves it takes no more.
OWN_CODE = 8


def own_shape(shape: Shape) -> Shape:
    """The sizes of the network of one style that is cut out of one for any style: a block less of each kind."""
    return replace(shape, code=OWN_CODE, blocks=shape.blocks - 1, last=shape.last - 1, experts=1, encoder=(), deep=())


@torch.no_grad()
def in_one_style(teacher: AnyStyle, code: Float[Tensor, "1 k"]) -> AnyStyle:
    """What paints one style in a network for any: its layers mixed as this style mixes them, two blocks left out.

    Only the dial moves the code of one style, along a curve for which `OWN_CODE` directions are plenty.
    """
    dialled = teacher.dialled(code.expand(33, -1), torch.linspace(FADE, 1, 33, device=code.device))
    # Where the mixed layers are taken as they are.
    usual = teacher.dialled(code, code.new_tensor([USUAL_STRENGTH]))
    directions = torch.linalg.svd(dialled - usual, full_matrices=False)[2][:OWN_CODE].T
    own = AnyStyle(own_shape(teacher.shape)).to(code.device)
    own.own.copy_((code - usual) @ directions)
    own.dial.load_state_dict(
        {
            **teacher.dial.state_dict(),
            "2.weight": directions.T @ teacher.dial[2].weight,
            "2.bias": directions.T @ teacher.dial[2].bias,
        }
    )
    # The second block does least in the shipped network.
    blocks = [teacher.trunk[0], *teacher.trunk[2:], *teacher.last[:-1]]
    parts = [
        (getattr(own, name), getattr(teacher, name))
        for name in ("conv1", "norm1", "conv2", "norm2", "up", "norm3", "out")
    ]
    for part, its in [*parts, *zip([*own.trunk, *own.last], blocks, strict=True)]:
        for layer, model in zip(part.modules(), its.modules(), strict=True):
            take_over(layer, model, usual, directions)
    return own


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
        self.style, self.teacher = style.to(device), teacher.to(device)
        self.grams = self.objective.grams(self.style)
        self.code = self.teacher.encode(self.style)
        self.start_from(in_one_style(self.teacher, self.code))
        # Few of its units tell large strengths apart; trained with the rest they went silent.
        self.network.dial[0].requires_grad_(False)

    def style_grams(self, batch: Batch) -> Grams:
        return self.grams

    def judge(
        self, pictures: Float[Tensor, "n 3 h w"], batch: Batch
    ) -> tuple[Float[Tensor, "n 3 h w"], dict[str, Float[Tensor, " n"]]]:
        """In the first steps the squared distance to what the teacher paints, told as `content`."""
        if self.step >= self.settings.copied:
            return super().judge(pictures, batch)
        codes = self.code.expand(len(pictures), -1)
        with torch.no_grad(), self.autocast():
            wanted = self.teacher(batch.photos, codes, batch.strength)
        difference = pictures - wanted
        unknown = {name: difference.new_full((len(pictures),), float("nan")) for name in STYLE_LAYERS}
        distance = difference.square().mean((1, 2, 3))
        return difference * (100 / difference.numel()), {"content": distance, **unknown}

    def pairs(self, count: int = 6, size: int = 256) -> HeldOut:
        """Held-out photos with the style, for the contact sheet."""
        return HeldOut([(photo, self.style) for photo in held_out(self.photos, count, size)])
