"""Trains a small network of one style (Johnson et al., ECCV 2016), begun as the part of the shipped one that paints it.

It is trained to the style as that network was, with its dial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from impasto.train.any_style import USUAL_STRENGTH, HeldOut, Training, centre, held_out
from impasto.train.checkpoint import with_prefix, without_prefix
from impasto.train.data import Batch, Folder, crop
from impasto.train.objective import CONTENT_LAYER, STYLE_LAYERS, Grams, Targets, content_gradient, grams
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
# How many times the side of a crop a whole picture has: crops are compared with the style as parts of whole ones, each
# of these being so many.
WHOLE_SIDE = 2
TOGETHER = WHOLE_SIDE**2
# The share that a moving mean keeps when another value comes, and the strengths that are told apart. With 0.9 too much
# of what is compared was painted long ago: 3 % further from the style after as many steps; crops by themselves: 5 %.
REMEMBERED, STRENGTH_STEP = 0.7, 0.2
# How often, in steps, a whole photo is painted, and by how much of what this network is further from it than the one
# for any style the weight of content then grows.
WHOLE_STEPS, FOLLOWED = 16, 0.2
# How far from the photo it may paint, in what that one does: a little less, since the moving average of the weights,
# which is what is kept, is behind them, and photos differ.
KEPT = 0.98
# Tells the random numbers of whole photos from those of a batch's groups.
WHOLE = 1 << 22


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

    missing: by layer, the mean of what whole pictures have more than crops at their strength, `whole` of them so far. A
    smaller picture is more of border, for one: of the deepest layer's distance a tenth comes of that.
    """

    def __init__(self) -> None:
        self.means: dict[str, Tensor] = {}
        self.missing: dict[str, Tensor] = {}
        self.whole = 0

    def joined(self, strengths: list[float], layer: str, grams: Float[Tensor, "n c c"]) -> Float[Tensor, "n c c"]:
        """Each sample's as those of a whole picture of which it is one part of `TOGETHER`."""
        joined = list[Tensor]()
        for strength, own in zip(strengths, grams, strict=True):
            name = name_of(strength, layer)
            mean = self.means[name] = own.lerp(self.means.get(name, own), REMEMBERED)
            joined.append(mean.lerp(own, 1 / TOGETHER))
        return torch.stack(joined) + self.missing.get(layer, 0.0)

    def see_whole(self, strength: float, grams: Mapping[str, Float[Tensor, "c c"]]) -> None:
        """Take in a whole picture's; nothing comes of one at whose strength no crop was painted yet."""
        if not all(name_of(strength, layer) in self.means for layer in grams):
            return
        # The first few in a plain mean.
        kept = min(REMEMBERED, self.whole / (self.whole + 1))
        for layer, gram in grams.items():
            more = gram - self.means[name_of(strength, layer)]
            self.missing[layer] = more.lerp(self.missing.get(layer, more), kept)
        self.whole += 1

    def tensors(self) -> dict[str, Tensor]:
        """From which `restore` goes on exactly."""
        named = with_prefix("mean", self.means) | with_prefix("missing", self.missing)
        return named | {"whole": torch.tensor(self.whole)}

    def restore(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        on_device = {name: tensor.to(device) for name, tensor in tensors.items() if name != "whole"}
        self.means, self.missing = (without_prefix(part, on_device) for part in ("mean", "missing"))
        self.whole = int(tensors.get("whole", 0))


def name_of(strength: float, layer: str) -> str:
    return f"{round(strength / STRENGTH_STEP)}.{layer}"


class OneStyleTraining(Training):
    """style: RGB, 0..1, at the size at which its strokes are to be painted. teacher: what it begins as.

    It is trained to stay as near to whole photos as its teacher does at the usual strength: `content_scale` multiplies
    the weight of content, and grows while pictures are further away, and falls while they are nearer. Trained at the
    teacher's own weights it would go on to trade content for style, since for one style that trade is better.
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

    def style_grams(self, batch: Batch) -> Grams:
        return self.grams

    def targets(self, batch: Batch) -> Targets:
        return replace(super().targets(batch), joined=partial(self.recent.joined, batch.strength.tolist()))

    def content_weights(self, batch: Batch) -> Float[Tensor, " n"]:
        return super().content_weights(batch) * self.content_scale

    def judge(
        self, pictures: Float[Tensor, "n 3 h w"], batch: Batch
    ) -> tuple[Float[Tensor, "n 3 h w"], dict[str, Float[Tensor, " n"]]]:
        judged = super().judge(pictures, batch)
        if self.step % WHOLE_STEPS == 0:
            self.look_at_whole(self.whole_photo(WHOLE_SIDE * pictures.shape[2]))
        return judged

    def whole_photo(self, side: int) -> Float[Tensor, "1 3 side side"]:
        rng = np.random.default_rng([self.settings.seed, self.step, WHOLE])
        photo = centre(self.photos.draw(rng), side)
        return (photo.flip(3) if rng.random() < 0.5 else photo).to(self.device)

    @torch.no_grad()
    def look_at_whole(self, photo: Float[Tensor, "1 3 side side"]) -> None:
        """See on a whole photo what crops do not tell: its Gram matrices, and how near to it the teacher stays."""
        strength = torch.full((1,), USUAL_STRENGTH, device=self.device)
        corner = self.corner()
        with self.autocast():
            picture = self.network(photo, self.network.encode(photo), strength, corner)
            teachers = self.teacher(photo, self.code, strength, corner)
        features = self.objective.network.forward(picture, keep=False).features
        self.recent.see_whole(USUAL_STRENGTH, {name: grams(features[name])[0] for name in STYLE_LAYERS})
        wanted = self.objective.content(photo)
        own, theirs = (
            float(content_gradient(found, wanted, torch.ones_like(strength))[1])
            for found in (features[CONTENT_LAYER], self.objective.content(teachers))
        )
        # A blank photo may come back as it was.
        self.content_scale *= math.exp(FOLLOWED * min(own / max(theirs, 1e-6) - KEPT, 1.0))

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"content_scale": self.content_scale}

    def own_tensors(self) -> dict[str, Tensor]:
        return self.recent.tensors()

    def take_own(self, tensors: dict[str, Tensor]) -> None:
        self.recent.restore(tensors, self.device)

    def load(self, file: Path) -> dict[str, Any]:
        facts = super().load(file)
        # Checkpoints of before it was followed have none.
        self.content_scale = float(facts.get("content_scale", 1.0))
        return facts

    def pairs(self, count: int = 6, size: int = 256) -> HeldOut:
        """Held-out photos with the style, for the contact sheet."""
        return HeldOut([(photo, self.style) for photo in held_out(self.photos, count, size)])
