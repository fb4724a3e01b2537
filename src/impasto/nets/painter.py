"""An any-style network made ready for one style and strength: all that comes of the code is worked out beforehand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.nets.any_style import (
    EPSILON,
    FADE,
    NEAR_STRIDE,
    NOTCH_REACH,
    STRIDE,
    AnyStyle,
    Styled,
    StyledMix,
    StyledNorm,
    ToPicture,
    mirrored,
)

Statistics = dict[StyledNorm, tuple[Tensor, Tensor]]
"""Mean and variance of the channels that each layer normalises."""


class Painter:
    """Paints photos by one network, code and strength.

    code: of `AnyStyle.encode`, or a `blend` of several. strength: 0 (the photo itself) to 1 (boldest).
    """

    @torch.inference_mode()
    def __init__(self, network: AnyStyle, code: Float[Tensor, "1 k"], strength: float) -> None:
        self.network, self.share = network, min(1.0, strength / FADE)
        weights = network.conv1.weight
        code = network.dialled(code.to(weights.dtype), torch.tensor([strength], device=weights.device))
        # Statistics and what is made of them stay in float32, whatever the network computes in.
        norms = [layer for layer in network.modules() if isinstance(layer, StyledNorm)]
        affines = [layer.scale_shift(code) for layer in norms]
        self.affines = {
            layer: (scale[0].float(), shift[0].float()) for layer, (scale, shift) in zip(norms, affines, strict=True)
        }
        self.kernels: dict[nn.Module, tuple[Tensor, Tensor | None]] = {}
        for layer in network.modules():
            if isinstance(layer, StyledMix):
                self.kernels[layer] = in_lines(layer.mixed(code)[0, ..., None, None]), None
            elif isinstance(layer, ToPicture):
                weight, bias = layer.weight_bias(code)
                self.kernels[layer] = in_lines(weight), bias

    @property
    def halo_px(self) -> int:
        """A pixel depends on no photo further away than this, a multiple of the stride: 16 px a block of the trunk, 4
        one at a quarter of the size, 28 the layers around them, what `Notch` reaches, and what lies between a pixel and
        its cell."""
        shape = self.network.shape
        needed = 16 * shape.blocks + 4 * shape.last + 36 + NEAR_STRIDE * NOTCH_REACH
        return needed + -needed % STRIDE

    @torch.inference_mode()
    def paint(
        self, photo: Float[Tensor, "1 3 h w"], statistics: Statistics | None = None, corner: tuple[int, int] = (0, 0)
    ) -> Float[Tensor, "1 3 h w"]:
        """The picture at full share, float32 in 0..1; photo: RGB, 0..1, sides from 32 px.

        statistics: those of another picture, such as the whole that a tile is of; the photo's own where None. corner:
        row and column at which the photo lies in that whole.
        """

        def norm(layer: StyledNorm, x: Tensor) -> Tensor:
            scale, shift = self.affines[layer]
            if statistics is None:
                # On one channels_last picture this is an instance norm in one pass; instance_norm copies twice.
                return F.batch_norm(x, None, None, scale, shift, training=True)
            return F.batch_norm(x, *statistics[layer], scale, shift)

        height, width = photo.shape[2:]
        return self.passed(photo, norm, corner)[..., :height, :width].float()

    @torch.inference_mode()
    def statistics(self, photo: Float[Tensor, "1 3 h w"]) -> Statistics:
        """Statistics of a photo as it is painted, for `paint`."""
        found: Statistics = {}

        def norm(layer: StyledNorm, x: Tensor) -> Tensor:
            scale, shift = self.affines[layer]
            normed, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, EPSILON)
            found[layer] = mean, inverse.pow(-2) - EPSILON
            return normed

        self.passed(photo, norm)
        return found

    def passed(
        self,
        photo: Float[Tensor, "1 3 h w"],
        norm: Callable[[StyledNorm, Tensor], Tensor],
        corner: tuple[int, int] = (0, 0),
    ) -> Float[Tensor, "1 3 h2 w2"]:
        """The network's pass with the kernels worked out, normalised by `norm`."""

        def apply(layer: Styled, x: Tensor) -> Tensor:
            return norm(layer, x) if isinstance(layer, StyledNorm) else self.convolved(layer, x)

        return self.network.paint(mirrored(photo, STRIDE), apply, corner)

    def convolved(self, layer: StyledMix | ToPicture, x: Tensor) -> Tensor:
        weight, bias = self.kernels[layer]
        side = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (side,) * 4, mode="reflect") if side else x, weight, bias)

    def faded(self, painted: Float[Tensor, "1 3 h w"], photo: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
        """The painted picture with the photo showing through, at strengths below `FADE`."""
        return torch.lerp(photo.float(), painted, self.share) if self.share < 1 else painted


def in_lines(kernel: Float[Tensor, "o i k k"]) -> Float[Tensor, "o i k k"]:
    """The kernel as convolutions on channels_last pictures want it."""
    return kernel.contiguous(memory_format=torch.channels_last)


def stylize_fast(
    network: AnyStyle, photo: Float[Tensor, "1 3 h w"], code: Float[Tensor, "1 k"], strength: float = 1.0
) -> Float[Tensor, "1 3 h w"]:
    """Paint one photo (RGB, 0..1, sides from 32 px) by its own statistics; float32, 0..1."""
    if strength <= 0:
        return photo.float()
    painter = Painter(network, code, strength)
    return painter.faded(painter.paint(photo), photo)
