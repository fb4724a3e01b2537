"""A ResNet-50 of half width (He et al., CVPR 2016) from its tensors, each normalisation folded into its convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.nets.tables import RESNET50_THIN, Bottleneck

MEAN_BGR = (104.0, 117.0, 123.0)


class ResNetThin:
    """The forward pass; `tensors` by `LAYER.weight` and `LAYER.bias`, any float type."""

    name = "resnet50-thin"

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {name: tensor.float() for name, tensor in tensors.items()}

    def features(self, picture: Float[Tensor, "n 3 h w"]) -> dict[str, Float[Tensor, "n c h2 w2"]]:
        """Outputs of the stem and of each stage (`stem`, `stage1` ... `stage4`) for RGB pictures in 0..1."""
        x = picture.flip(1) * 255 - picture.new_tensor(MEAN_BGR).view(1, 3, 1, 1)
        x = torch.relu(self.convolved(x, "conv_1", stride=2, padding=3))
        found = {"stem": x}
        # TensorFlow pads the pooling at the bottom and on the right only.
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)
        for block in RESNET50_THIN.blocks():
            x = self.block(x, block)
            found[f"stage{block.stage}"] = x
        return found

    def block(self, x: Tensor, block: Bottleneck) -> Tensor:
        y = torch.relu(self.convolved(x, f"{block.name}_branch2a", block.stride))
        y = torch.relu(self.convolved(y, f"{block.name}_branch2b", padding=1))
        y = self.convolved(y, f"{block.name}_branch2c")
        straight = self.convolved(x, f"{block.name}_proj_shortcut", block.stride) if block.first else x
        return torch.relu(y + straight)

    def convolved(self, x: Tensor, layer: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.tensors[f"{layer}.weight"], self.tensors[f"{layer}.bias"], stride, padding)
