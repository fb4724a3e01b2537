"""The any-style network as an ONNX file, for programs without torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import onnx
import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.nets.any_style import AnyStyle

# The first with all that the network needs, so that old runtimes read it too.
OPSET = 17


class Exported(nn.Module):
    """Photo, what tells the style where anything does, and strength to picture."""

    def __init__(self, network: AnyStyle, code: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network, self.code = network, code

    def forward(self, photo: Float[Tensor, "1 3 h w"], *given: Tensor) -> Float[Tensor, "1 3 h w"]:
        *style, strength = given
        painted: Tensor = self.network(photo, self.code(*style), strength)
        return painted


def export_onnx(network: AnyStyle, file: Path, given: Literal["style", "code"] = "style") -> None:
    """Write the network (float32) for photos and styles of any size from 32 px.

    Inputs: `photo` (1, 3, h, w), RGB in 0..1; `style`, likewise, or `code` (1, k), by `given`, neither for a network of
    one style; `strength` (1), 0..1. Output: `picture` (1, 3, h, w). Codes are those of `AnyStyle.encode`.
    """
    # Sizes that are no multiples of the stride, so that the padding is part of what is traced.
    photo, style, strength = torch.rand(1, 3, 70, 83), torch.rand(1, 3, 65, 77), torch.tensor([0.7])
    sizes = {"photo": {2: "height", 3: "width"}, "picture": {2: "height", 3: "width"}}
    code: Callable[..., Tensor]
    if network.encoder is None:
        code, inputs = lambda: network.own, {"photo": photo, "strength": strength}
    elif given == "style":
        code, inputs = network.encode, {"photo": photo, "style": style, "strength": strength}
        sizes["style"] = {2: "style_height", 3: "style_width"}
    else:
        code, inputs = lambda code: code, {"photo": photo, "code": network.encode(style), "strength": strength}
    temporary = file.with_suffix(".part")
    try:
        with warnings.catch_warnings():
            # Of sizes compared with limits, which the file does not do; and that another exporter is recommended, which
            # asks for more packages.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Exported(network, code).eval(), tuple(inputs.values()), str(temporary), input_names=list(inputs),
                output_names=["picture"], opset_version=OPSET, dynamic_axes=sizes, dynamo=False,
            )  # fmt: skip
        written = onnx.load(str(temporary))
        written.doc_string = "Style transfer in one pass, by Impasto. Apache-2.0."
        onnx.checker.check_model(written)
        onnx.save(written, str(temporary))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
