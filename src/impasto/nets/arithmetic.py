"""What `ExplicitPass` does layer by layer, forth and back: convolutions, max pooling, activations.

Each in whichever of torch's, oneDNN's, cuDNN's and our own ways is the fastest on the device at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.nets.layers import Conv, out_size, pad_of
from impasto.nets.rectified import has_bits, through_relu_
from impasto.nets.slab import Slab, new_maps
from impasto.nets.winograd import LEAST_CHANNELS, Kernel, Scratch

aten = torch.ops.aten


class Prepared(NamedTuple):
    """The weights of one layer as they are used. turned: a convolution's kernels as its way back convolves by them."""

    weight: Tensor
    bias: Tensor
    turned: Tensor | Kernel | None = None


def by_winograd(weight: Tensor, row: Conv) -> bool:
    """Whether a convolution's way back is Winograd's: in float32 on the CPU, where it is the faster one.

    Not the way forward: its rounding depends on where its tiles lie, and so on how a picture is cut, and a maximum or a
    ReLU that is decided otherwise by it moves the gradient by far more than rounding does.
    """
    return (
        (weight.device.type, weight.dtype) == ("cpu", torch.float32)
        and (row.kernel, row.stride) == (3, 1)
        and min(weight.shape[:2]) >= LEAST_CHANNELS
    )


def convolved(x: Tensor, prepared: Prepared, row: Conv, slab: Slab | None) -> Tensor:
    """A convolution with its activation; where oneDNN or cuDNN can, the ReLU is done as each value is written."""
    weight, bias, _ = prepared
    steps, pads = [row.stride] * 2, [pad_of(row)] * 2
    relu = row.activation == "relu"
    if slab and by_onednn(x):
        shape = (len(x), row.filters, *(out_size(length, row) for length in x.shape[2:]))
        y = convolved_into(new_maps(shape, x, slab), x, weight, bias, pads, steps, relu=relu)
        return y if relu else activate_(y, row.activation)
    if relu and by_onednn(x):
        y = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, pads, steps, [1, 1], 1, "relu", [], "")
        assert isinstance(y, Tensor)
        return y
    if relu and x.device.type == "cuda" and x.dtype == torch.bfloat16:
        # Half of the time of the three kernels it replaces, seen on an H200.
        return torch.cudnn_convolution_relu(x, weight, bias, steps, pads, [1, 1], 1)
    return activate_(F.conv2d(x, weight, bias, steps, pads), row.activation)


def convolved_into(
    y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, pads: list[int], steps: list[int], *, relu: bool
) -> Tensor:
    """oneDNN's convolution, in memory that is there; it can only add to what is in it."""
    y.zero_()
    torch.ops.mkldnn._convolution_pointwise_.binary(
        y, x, weight, bias, pads, steps, [1, 1], 1, "add", 1.0, "relu" if relu else None, [], None
    )
    return y


def input_gradient(
    gradient: Tensor, shape: torch.Size, prepared: Prepared, row: Conv, scratch: Scratch, slab: Slab | None
) -> Tensor:
    """The gradient of a convolution's input, of that shape, from that of its output, before the activation."""
    turned, pad = prepared.turned, row.kernel - 1 - pad_of(row)
    if isinstance(turned, Kernel):
        return turned.convolved(gradient, pad, scratch, slab)
    if turned is not None and slab:
        return convolved_into(new_maps(shape, gradient, slab), gradient, turned, None, [pad] * 2, [1, 1], relu=False)
    if turned is not None:
        return F.conv2d(gradient, turned, padding=pad)
    # The input itself has no part in it.
    x = gradient.new_empty(1).expand(shape)
    result = aten.convolution_backward(
        gradient, x, prepared.weight, [row.filters], [row.stride] * 2, [pad_of(row)] * 2, [1, 1], False,
        [0, 0], 1, [True, False, False],
    )[0]  # fmt: skip
    assert isinstance(result, Tensor)
    return result


def pooled(x: Tensor, size: int, slab: Slab | None) -> tuple[Tensor, Tensor]:
    """Max pooling, and where in the map each maximum is."""
    shape = (*x.shape[:2], x.shape[2] // size, x.shape[3] // size)
    y, indices = new_maps(shape, x, slab), new_maps(shape, x, slab, torch.int64)
    window = [size, size]
    aten.max_pool2d_with_indices.out(x, window, window, [0, 0], [1, 1], False, out=y, indices=indices)
    return y, indices


def by_onednn(values: Tensor) -> bool:
    """Whether oneDNN convolves them: not in bfloat16 where a processor lacks AVX-512; torch itself does."""
    if values.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return values.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def activate_(y: Tensor, activation: str) -> Tensor:
    match activation:
        case "relu":
            return y.relu_()
        case "tanh":
            return y.tanh_()
        case "sigmoid":
            return y.sigmoid_()
        case _:
            return y


def unactivate_(gradient: Tensor, y: Tensor, activation: str) -> Tensor:
    """The gradient before an activation from the one behind it and the activation's output `y`, which is used up."""
    match activation:
        case "relu" if has_bits(y):
            return through_relu_(gradient, y)
        case "relu":
            aten.threshold_backward.grad_input(gradient, y, 0, grad_input=gradient)
            return gradient
        case "tanh":
            return gradient.mul_(1 - y * y)
        case "sigmoid":
            return gradient.mul_(y * (1 - y))
        case _:
            return gradient
