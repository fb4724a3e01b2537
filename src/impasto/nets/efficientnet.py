"""EfficientNet-Lite0 (Tan & Le, ICML 2019; the Lite variant without attention and swish) from its tensors."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.nets.tables import EFFICIENTNET_LITE0, InvertedResidual

EPSILON = 1e-3


class EfficientNetLite:
    """The forward pass; `tensors` by the names of the PyTorch port, any float type."""

    name = "efficientnet-lite0"

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {name: tensor.float() for name, tensor in tensors.items()}

    def features(self, picture: Float[Tensor, "n 3 h w"]) -> dict[str, Float[Tensor, "n c h2 w2"]]:
        """Outputs of the stem and of each stage (`stem`, `stage1` ... `stage7`) for RGB pictures in 0..1."""
        x = F.relu6(self.convolved((picture * 255 - 127) / 128, "_conv_stem", "_bn0", stride=2))
        found = {"stem": x}
        for block in EFFICIENTNET_LITE0.blocks():
            x = self.block(x, block)
            found[f"stage{block.stage}"] = x
        return found

    def classes(self, picture: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1000"]:
        """Probabilities of ImageNet's classes."""
        x = F.relu6(self.convolved(self.features(picture)["stage7"], "_conv_head", "_bn1"))
        return F.linear(x.mean((2, 3)), self.tensors["_fc.weight"], self.tensors["_fc.bias"]).softmax(1)

    def block(self, x: Tensor, block: InvertedResidual) -> Tensor:
        wide = x
        if block.expand > 1:
            wide = F.relu6(self.convolved(x, f"{block.name}._expand_conv", f"{block.name}._bn0"))
        wide = self.convolved(wide, f"{block.name}._depthwise_conv", f"{block.name}._bn1", block.stride, wide.shape[1])
        narrow = self.convolved(F.relu6(wide), f"{block.name}._project_conv", f"{block.name}._bn2")
        return x + narrow if block.adds_input else narrow

    def convolved(self, x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self.tensors[f"{conv}.weight"]
        x = F.conv2d(padded(x, weight.shape[-1], stride), weight, None, stride, 0, 1, groups)
        mean, variance = self.tensors[f"{norm}.running_mean"], self.tensors[f"{norm}.running_var"]
        return F.batch_norm(
            x, mean, variance, self.tensors[f"{norm}.weight"], self.tensors[f"{norm}.bias"], eps=EPSILON
        )


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around as TensorFlow's `SAME` has them: the odd one at the bottom and on the right."""
    rows, columns = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[-2], x.shape[-1]))
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
