"""Augmentation for training: what all our augmentations share, and random styles for natural images.

An augmentation is a torch module for batches, and a transform of albumentations for single images. What it draws comes
from torch's own generator, which a DataLoader seeds for every worker and epoch, or from one that is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from impasto.errors import UserError
from impasto.nets.any_style import SMALLEST_SIDE_PX, AnyStyle, load_any_style
from impasto.picture import Picture

Images = Shaped[Tensor, "*n c h w"]


class Augment(nn.Module):
    """A random change of RGB images. Subclasses change a batch in `change`."""

    def forward(self, images: Images, generator: torch.Generator | None = None) -> Images:
        """Change images (3, h, w) or a batch of them (n, 3, h, w), each by its own draw; uint8, or floats in 0..1.

        generator: where the draws come from; torch's own if None. Returns the same shape and dtype. Raises UserError
        for other shapes and dtypes.
        """
        if images.ndim not in (3, 4) or images.shape[-3] != 3:
            raise UserError(f"Images of shape {tuple(images.shape)}: give (3, h, w) or (n, 3, h, w) in RGB.")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise UserError(f"Images of {images.dtype}: give uint8, or floats in 0..1.")
        batch = images if images.ndim == 4 else images[None]
        return self.change(batch, generator).view(images.shape)

    def change(self, images: Shaped[Tensor, "n 3 h w"], generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError

    def change_array(
        self, image: Shaped[np.ndarray, "h w 3"], generator: torch.Generator | None = None
    ) -> Shaped[np.ndarray, "h w 3"]:
        """One image as an array, channels last, uint8 or float in 0..1."""
        planes = torch.from_numpy(np.array(image)).movedim(2, 0)
        return np.ascontiguousarray(self(planes.contiguous(), generator).movedim(0, 2).numpy())

    def albumentations(self, p: float = 1.0) -> Any:
        """The same as a transform of albumentations (which must be installed): `A.Compose([augment.albumentations()])`.

        p: the chance that it is applied. Seeds come from albumentations.
        """
        from impasto.albumentation import ImageAugment

        return ImageAugment(self.change_array, p)


def uniform(
    shape: Sequence[int], low: float, high: float, generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Random numbers from low to high, all equally likely."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


class StyleAugment(Augment):
    """Natural images painted in random styles by the network for any style, so that a classifier learns shapes rather
    than texture (Jackson et al., CVPR Workshops 2019, arXiv:1809.05375).

    network: `AnyStyle`, or the file of one. styles: pictures (anything `Picture.from_any` takes), of which each image
    gets one at random. strength: its bounds, 0 (the image itself) to 1 (boldest), drawn evenly for each image. size_px:
    to what shortest side styles are brought; larger gives larger strokes. Images and styles from 32 px a side.
    """

    def __init__(
        self,
        network: AnyStyle | str | Path,
        styles: Sequence[Any],
        *,
        strength: tuple[float, float] = (0.2, 1.0),
        size_px: int = 256,
    ) -> None:
        super().__init__()
        if not styles:
            raise UserError("StyleAugment needs at least one style picture.")
        if not 0 <= strength[0] <= strength[1] <= 1:
            raise UserError(f"strength {strength}: give two bounds in 0..1, the lower first.")
        if size_px < SMALLEST_SIDE_PX:
            raise UserError(f"size_px {size_px}: styles need {SMALLEST_SIDE_PX} px or more.")
        self.network = network if isinstance(network, AnyStyle) else load_any_style(network)
        self.network.requires_grad_(False).eval()
        self.strength = strength
        self.codes: Tensor
        self.register_buffer("codes", torch.cat([self.code_of(style, size_px) for style in styles]))

    @torch.no_grad()
    def code_of(self, style: Any, size_px: int) -> Float[Tensor, "1 k"]:
        picture = Picture.from_any(style)
        factor = size_px / min(picture.size_hw)
        picture = picture.resized(round(picture.height * factor), round(picture.width * factor))
        code: Tensor = self.network.encode(torch.from_numpy(picture.pixels)[None])
        return code

    @torch.no_grad()
    def change(self, images: Shaped[Tensor, "n 3 h w"], generator: torch.Generator | None) -> Tensor:
        chosen = torch.randint(len(self.codes), (len(images),), generator=generator)
        strength = uniform((len(images),), *self.strength, generator).to(images.device)
        whole = images.dtype == torch.uint8
        painted: Tensor = self.network(images.float() / (255 if whole else 1), self.codes[chosen], strength)
        return (painted * 255).round().to(torch.uint8) if whole else painted.to(images.dtype)
