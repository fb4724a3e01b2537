"""Maps that a ReLU made, in bfloat16 on the CPU: its way back and max pooling, by arithmetic on their bits.

torch widens bfloat16 to float32 for every operation on single values and rounds it again, which takes several times as
long as the same on whole numbers. Of floats that are not negative the larger one has the larger bits, so that whole
numbers tell all that is asked here. What can be is done in place: memory that is new to the caches costs as much as the
arithmetic.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int16
from torch import Tensor

from impasto.nets.slab import Slab, new_maps


def has_bits(maps: Tensor) -> bool:
    """Whether maps are of the kind that is worked on here."""
    return (maps.device.type, maps.dtype, maps.ndim) == ("cpu", torch.bfloat16, 4)


def through_relu_(gradient: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The gradient where y, the ReLU's output, is above zero, and zeros elsewhere. Uses up y."""
    bits_of(gradient).mul_(bits_of(y).clamp_(0, 1))
    return gradient


def max_pooled(x: Float[Tensor, "n c h w"], slab: Slab | None = None) -> Float[Tensor, "n c h//2 w//2"]:
    """The largest value of each 2 x 2 window; a last row or column without a neighbour is left out."""
    higher = larger(*columns_of(x), x, slab)
    pooled = larger(*rows_of(bits_of(higher)), x, slab)
    if slab:
        slab.done(higher)
    return pooled


def through_max_pool_(
    gradient: Float[Tensor, "n c rows columns"], x: Float[Tensor, "n c h w"], slab: Slab | None = None
) -> Float[Tensor, "n c h w"]:
    """The gradient of `max_pooled`'s input x from that of its output, put in x's place.

    Where several values of a window are its largest, the first one has it all, row by row, as in torch.
    """
    left, right = columns_of(x)
    higher = larger(left, right, x, slab)
    share(bits_of(gradient), *rows_of(bits_of(higher)))
    share(bits_of(higher), left, right)
    if slab:
        slab.done(higher)
    bits = bits_of(x)
    bits[:, x.shape[2] // 2 * 2 :].zero_()
    bits[:, :, x.shape[3] // 2 * 2 :].zero_()
    return x


def larger(
    first: Int16[Tensor, "n h w c"], second: Int16[Tensor, "n h w c"], like: Tensor, slab: Slab | None
) -> Float[Tensor, "n c h w"]:
    """The larger of each two values."""
    count, height, width, channels = first.shape
    result = new_maps((count, channels, height, width), like, slab)
    torch.maximum(first, second, out=bits_of(result))
    return result


def share(gradient: Tensor, first: Tensor, second: Tensor) -> None:
    """Put the gradient where the larger of two values is, in the first one's place if they are equal, and zeros where
    it is not."""
    first.lt_(second)
    torch.mul(gradient, first, out=second)
    torch.bitwise_xor(gradient, second, out=first)


def bits_of(maps: Float[Tensor, "n c h w"]) -> Int16[Tensor, "n h w c"]:
    return maps.permute(0, 2, 3, 1).view(torch.int16)


def columns_of(maps: Float[Tensor, "n c h w"]) -> tuple[Int16[Tensor, "n h w//2 c"], Int16[Tensor, "n h w//2 c"]]:
    """The bits of the left and of the right one of each two columns."""
    bits = bits_of(maps)
    width = bits.shape[2] // 2 * 2
    return bits[:, :, 0:width:2], bits[:, :, 1:width:2]


def rows_of(bits: Int16[Tensor, "n h w c"]) -> tuple[Int16[Tensor, "n h//2 w c"], Int16[Tensor, "n h//2 w c"]]:
    """The upper and the lower one of each two rows."""
    height = bits.shape[1] // 2 * 2
    return bits[:, 0:height:2], bits[:, 1:height:2]
