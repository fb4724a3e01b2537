"""Trains a small network of one style (Johnson et al., ECCV 2016), begun as the part of the shipped one that paints it.

It is trained to the style as that network was, with its dial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.nets.any_style import (
    FADE,
    AnyStyle,
    Shape,
    StyledMix,
    StyledNorm,
    ToPicture,
)
from impasto.nets.cnn import Cnn
from impasto.train.any_style import USUAL_STRENGTH, HeldOut, Training, held_out
from impasto.train.data import Batch, Folder, crop
from impasto.train.objective import Grams, Targets, content_gradient
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
        return Batch(torch.stack(photos), style, torch.arange(count), torch.ones(count, 1), torch.tensor(strengths))


# Numbers of a code that are left to the network of one style: only the dial moves it, along a curve for which so many
# directions are plenty.
OWN_CODE = 8
# How often, in steps, it is seen how near to the photo the network for any style stays, and by how much of what this
# network exceeds that the weight of content then grows.
FOLLOWED_STEPS, FOLLOWED = 8, 0.3
# How far from the photo it may paint, in what the network for any style does: less, since on whole pictures it comes
# out one or two hundredths further from the photo than on the crops it is trained on.
KEPT = 0.98
# So many pictures are compared with the style as one: that painted, and those painted lately at about its strength.
TOGETHER = 4
# The share that the mean of those keeps when another comes, and the strengths that are told apart.
REMEMBERED, STRENGTH_STEP = 0.9, 0.2


def own_shape(shape: Shape) -> Shape:
    """The sizes of the network of one style that is cut out of one for any style."""
    return replace(shape, code=OWN_CODE, experts=1, encoder=(), deep=())


@torch.no_grad()
def in_one_style(teacher: AnyStyle, code: Float[Tensor, "1 k"]) -> AnyStyle:
    """What paints one style in a network for any: its layers mixed as this style mixes them."""
    dialled = teacher.dialled(code.expand(33, -1), torch.linspace(FADE, 1, 33, device=code.device))
    # Where the mixed layers are taken as they are.
    usual = teacher.dialled(code, code.new_tensor([USUAL_STRENGTH]))
    directions = torch.linalg.svd(dialled - usual, full_matrices=False)[2][:OWN_CODE].T
    mixed = AnyStyle(own_shape(teacher.shape)).to(code.device)
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
    return mixed


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


class RecentGrams:
    """Moving means of the Gram matrices of what was painted lately, by strength and layer.

    A crop small enough to train on has no room for all that a style has. Networks that were to make each crop like the
    style by itself came nearer to it on crops, and no nearer on pictures of twice the side.
    """

    def __init__(self) -> None:
        self.means: dict[str, Tensor] = {}

    def joined(self, strengths: list[float], layer: str, grams: Float[Tensor, "n c c"]) -> Float[Tensor, "n c c"]:
        """Each sample's as those of a picture of which it is one part of `TOGETHER`."""
        whole = list[Tensor]()
        for strength, own in zip(strengths, grams, strict=True):
            name = f"{round(strength / STRENGTH_STEP)}.{layer}"
            mean = self.means[name] = own.lerp(self.means.get(name, own), REMEMBERED)
            whole.append(mean.lerp(own, 1 / TOGETHER))
        return torch.stack(whole)


class OneStyleTraining(Training):
    """style: RGB, 0..1, at the size at which its strokes are to be painted. teacher: what it begins as.

    It is trained to stay as near to the photo as its teacher does on the same photo at the same strength (`KEPT`):
    `content_scale` multiplies the weight of content, and grows while pictures are further away, and falls while they
    are nearer. Trained at the teacher's own weights it would go on to trade content for style, since for one style that
    trade is better.
    """

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
        self.recent = RecentGrams()
        self.teacher = teacher.to(device)
        self.code = self.teacher.encode(self.style).detach()
        self.start_from(in_one_style(self.teacher, self.code))
        self.content_scale = 1.0
        # Few of its units tell large strengths apart; trained with the rest they went silent.
        self.network.dial[0].requires_grad_(False)

    @torch.no_grad()
    def teachers_content(self, batch: Batch, wanted: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How far from its photo the teacher paints, for each sample. wanted: the photos' features."""
        photos = batch.photos[batch.photo_of]
        with self.autocast():
            pictures = self.teacher(photos, self.code.expand(len(photos), -1), batch.strength)
        return content_gradient(self.objective.content(pictures), wanted, torch.ones_like(batch.strength))[1]

    def style_grams(self, batch: Batch) -> Grams:
        return self.grams

    def targets(self, batch: Batch) -> Targets:
        return replace(super().targets(batch), joined=partial(self.recent.joined, batch.strength.tolist()))

    def content_weights(self, batch: Batch) -> Float[Tensor, " n"]:
        return super().content_weights(batch) * self.content_scale

    def judge(
        self, pictures: Float[Tensor, "n 3 h w"], batch: Batch
    ) -> tuple[Float[Tensor, "n 3 h w"], dict[str, Float[Tensor, " n"]]]:
        targets = self.targets(batch)
        gradient, distances = self.objective(pictures, targets)
        if self.step % FOLLOWED_STEPS == 0:
            excess = float(distances["content"].mean() / self.teachers_content(batch, targets.content).mean()) - KEPT
            self.content_scale *= math.exp(FOLLOWED * min(excess, 1.0))
        return gradient, distances

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"content_scale": self.content_scale}

    def own_tensors(self) -> dict[str, Tensor]:
        return self.recent.means

    def take_own(self, tensors: dict[str, Tensor]) -> None:
        self.recent.means = {name: mean.to(self.device) for name, mean in tensors.items()}

    def load(self, file: Path) -> dict[str, Any]:
        facts = super().load(file)
        # Checkpoints of before it was followed have none.
        self.content_scale = float(facts.get("content_scale", 1.0))
        return facts

    def pairs(self, count: int = 6, size: int = 256) -> HeldOut:
        """Held-out photos with the style, for the contact sheet."""
        return HeldOut([(photo, self.style) for photo in held_out(self.photos, count, size)])
