"""Trains a small network of one style (Johnson et al., ECCV 2016), begun as a copy of the shipped one.

In its first steps it learns to paint as the network for any style paints in this style, which costs no pass through
VGG; then it is trained to the style itself as that network was, with its dial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.nets.any_style import ONE_STYLE, AnyStyle, Shape
from impasto.nets.cnn import Cnn
from impasto.train.any_style import HeldOut, Training, held_out
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


class OneStyleTraining(Training):
    """style: RGB, 0..1, at the size at which its strokes are to be painted. teacher: what is copied first."""

    settings: OneStyleSettings

    def __init__(
        self,
        settings: OneStyleSettings,
        source: PhotoSource,
        cnn: Cnn,
        style: Float[Tensor, "1 3 h w"],
        teacher: AnyStyle,
        *,
        shape: Shape = ONE_STYLE,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(settings, source, cnn, shape=shape, device=device, dtype=dtype)
        self.photos = source.photos
        self.style, self.teacher = style.to(device), teacher.to(device)
        self.grams = self.objective.grams(self.style)
        self.code = self.teacher.encode(self.style)

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
