"""What the network sees of the picture being worked on, and where on it each style counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.losses.base import Box

Map = Float[Tensor, "h w"]


@dataclass(frozen=True)
class Controls:
    """Where on the picture what happens.

    guides: for each style how much each pixel counts for it, 0..1; None where all count alike. keep: the photo's own
    share of each pixel, 0..1. seamless: whether the picture's opposite borders are neighbours. style_guides: for each
    style how much each of its own pixels counts, 0..1.
    """

    guides: Sequence[Map | None] | None = None
    keep: Map | None = None
    seamless: bool = False
    style_guides: Sequence[Float[Tensor, "_ _"] | None] | None = None


EVERYWHERE = Controls()


@dataclass(frozen=True)
class Surface:
    """The picture as the network sees it: mixed with the photo where that is kept, and continued by its other side.

    photo, keep: the photo, and its share of each pixel. wrap_px: pixels that the picture is continued by before its
    first and behind its last row and column; the first a multiple of the network's stride.
    """

    photo: Float[Tensor, "1 3 h w"] | None = None
    keep: Map | None = None
    wrap_px: tuple[int, int] | None = None

    def seen(self, picture: Float[Tensor, "1 3 h w"], window: Box) -> Float[Tensor, "1 3 rows columns"]:
        """A window of the picture; with wrap_px it must be the whole."""
        part = window.of(picture[0])
        if self.keep is not None and self.photo is not None:
            part = mixed(part, window.of(self.photo[0]), window.of(self.keep[None])[0])
        if self.wrap_px:
            rows, columns = self.wrapped(picture)
            part = part[:, rows][:, :, columns]
        return part[None].contiguous()

    def back(self, gradient: Float[Tensor, "1 3 rows columns"], picture: Tensor, window: Box) -> Tensor:
        """The gradient of the picture's window from that of what is seen of it."""
        if self.wrap_px:
            rows, columns = self.wrapped(picture)
            height, width = picture.shape[2:]
            whole_rows = gradient.new_zeros(1, 3, height, len(columns)).index_add_(2, rows, gradient)
            gradient = gradient.new_zeros(1, 3, height, width).index_add_(3, columns, whole_rows)
        return gradient if self.keep is None else gradient * (1 - window.of(self.keep[None]))

    def wrapped(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the picture's rows and columns are seen, in order."""
        assert self.wrap_px is not None
        before, behind = self.wrap_px
        rows, columns = (torch.arange(-before, n + behind, device=picture.device) % n for n in picture.shape[2:])
        return rows, columns

    def own(
        self, features: Float[Tensor, "c rows columns"], stride: int, height: int, width: int
    ) -> Float[Tensor, "c h w"]:
        """The features of the picture itself, `height` x `width` of them, among those of what is seen."""
        first = self.wrap_px[0] // stride if self.wrap_px else 0
        return features[:, first : first + height, first : first + width]


def mixed(picture: Float[Tensor, "3 h w"], photo: Float[Tensor, "3 h w"], keep: Map) -> Float[Tensor, "3 h w"]:
    """The picture with the photo's share of each pixel; exactly the photo where that is 1."""
    return torch.lerp(picture, photo, keep.expand_as(photo))
