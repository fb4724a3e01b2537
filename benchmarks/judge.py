"""The judge of the figures: VGG-16 in float32, written apart from the library, so that a mistake there shows here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from impasto.nets.weights import path_of

BLOCKS = [2, 2, 3, 3, 3]
MEAN_BGR = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
# Fields of a job that works towards what the judge judges, by the program's own schedule.
TOWARDS_IT = {"look": "classic", "init": "draft"}
STYLE_LAYERS = [f"block{block}_conv1" for block in range(1, 6)]


class Judge:
    """Distances between pictures (3, h, w) in 0..1, as the `classic` objective defines them."""

    def __init__(self) -> None:
        self.tensors = {name: tensor.float() for name, tensor in load_file(path_of("vgg16")).items()}

    @torch.no_grad()
    def features(self, picture: Tensor) -> dict[str, Tensor]:
        x = picture[None].flip(1) * 255 - MEAN_BGR
        found = {}
        for block, convs in enumerate(BLOCKS, 1):
            for conv in range(1, convs + 1):
                name = f"block{block}_conv{conv}"
                x = torch.relu(F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], padding=1))
                found[name] = x[0]
                if name == "block5_conv1":
                    return found
            x = F.max_pool2d(x, 2)
        return found

    def style_distance(self, picture: Tensor, style: Tensor) -> float:
        """Mean over block1..5_conv1 of the relative Gram distance."""
        found, wanted = self.features(picture), self.features(style)
        return float(np.mean([relative(gram(found[name]), gram(wanted[name])) for name in STYLE_LAYERS]))

    def content_distance(self, picture: Tensor, photo: Tensor, layer: str = "block4_conv1") -> float:
        return relative(self.features(picture)[layer], self.features(photo)[layer])

    def objective(self, picture: Tensor, photo: Tensor, style: Tensor) -> float:
        """The `classic` objective with its default weights."""
        return 5 * self.content_distance(picture, photo, "block4_conv2") + 100 * self.style_distance(picture, style)


def gram(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return flat @ flat.T / flat.shape[1]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().sum() / wanted.square().sum())


def read(file: Path, longest: int) -> Tensor:
    """A picture with the given longest side, (3, h, w) in 0..1."""
    image = Image.open(file).convert("RGB")
    factor = longest / max(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    return to_tensor(image)


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def as_saved(pixels: np.ndarray) -> Tensor:
    """A result as its 8-bit file holds it."""
    return torch.from_numpy(np.round(pixels * 255).clip(0, 255) / 255).float()
