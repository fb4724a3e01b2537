"""The method as tutorials write it: VGG-16 in float32 by autograd, torch.optim.LBFGS, the picture clamped before each
evaluation. Given the same care as ours: channels-last memory, all cores, only the layers needed, big blocks kept.

python -m benchmarks.gatys_loop CONTENT STYLE OUT [--size 512] [--iterations 150]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.judge import BLOCKS, MEAN_BGR, STYLE_LAYERS, gram, read
from impasto.hardware import keep_big_blocks
from impasto.nets.weights import load

CONTENT_LAYER = "block4_conv2"


def network() -> Callable[[Tensor], dict[str, Tensor]]:
    tensors = {
        name: tensor.float().contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.float()
        for name, tensor in load("vgg16").items()
    }

    def features(picture: Tensor) -> dict[str, Tensor]:
        x = (picture.flip(1) * 255 - MEAN_BGR).contiguous(memory_format=torch.channels_last)
        found = {}
        for block, convs in enumerate(BLOCKS, 1):
            for conv in range(1, convs + 1):
                name = f"block{block}_conv{conv}"
                x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1))
                found[name] = x[0]
                if name == STYLE_LAYERS[-1]:
                    return found
            x = F.max_pool2d(x, 2)
        return found

    return features


def paint(
    features: Callable[[Tensor], dict[str, Tensor]],
    content: Tensor,
    style: Tensor,
    iterations: int,
    on_picture: Callable[[int, Tensor], None] = lambda count, picture: None,
) -> Tensor:
    """iterations: evaluations of the objective. on_picture(count, picture): hears of each clamped picture before it."""
    with torch.no_grad():
        wanted = {name: gram(found) for name, found in features(style[None]).items() if name in STYLE_LAYERS}
        kept = features(content[None])[CONTENT_LAYER]
    # Contiguous, because torch's L-BFGS flattens it by a view.
    picture = content[None].contiguous().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([picture], max_iter=iterations, max_eval=iterations, history_size=100)
    count = 0

    def objective() -> Tensor:
        nonlocal count
        with torch.no_grad():
            picture.clamp_(0, 1)
        on_picture(count, picture.detach()[0])
        count += 1
        optimizer.zero_grad()
        found = features(picture)
        style_distance = sum(relative_of(gram(found[name]), wanted[name]) for name in STYLE_LAYERS) / len(STYLE_LAYERS)
        total = 5 * relative_of(found[CONTENT_LAYER], kept) + 100 * style_distance
        total.backward()
        return total

    optimizer.step(objective)
    return picture.detach()[0].clamp(0, 1)


def relative_of(found: Tensor, wanted: Tensor) -> Tensor:
    """`judge.relative` with a gradient."""
    return (found - wanted).square().sum() / wanted.square().sum()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs=3, type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=150)
    asked = parser.parse_args()
    keep_big_blocks()
    content, style, out = asked.pictures
    picture = paint(network(), read(content, asked.size), read(style, asked.size), asked.iterations)
    array = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(array).save(out)


if __name__ == "__main__":
    main()
