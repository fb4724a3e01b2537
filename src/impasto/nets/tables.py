"""The literal tables of the networks that judge results: EfficientNet-Lite0 and a ResNet-50 of half width.

Kept apart from their forward passes, so that what needs only names and shapes imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class InvertedResidual:
    """A block of EfficientNet: 1x1 expansion to `inputs * expand` channels, depthwise convolution, 1x1 projection.

    stage: counted from 1; the block's input is added to its output where shapes agree.
    """

    name: str
    stage: int
    inputs: int
    filters: int
    kernel: int
    stride: int
    expand: int

    @property
    def adds_input(self) -> bool:
        return self.stride == 1 and self.inputs == self.filters


@dataclass(frozen=True)
class EfficientNet:
    """stages: (blocks, kernel, stride of the first block, expansion, filters) each."""

    stem: int
    stages: tuple[tuple[int, int, int, int, int], ...]
    head: int
    classes: int

    def blocks(self) -> Iterator[InvertedResidual]:
        inputs, number = self.stem, 0
        for stage, (count, kernel, stride, expand, filters) in enumerate(self.stages, start=1):
            for position in range(count):
                own_stride = 1 if position else stride
                yield InvertedResidual(f"_blocks.{number}", stage, inputs, filters, kernel, own_stride, expand)
                inputs, number = filters, number + 1


@dataclass(frozen=True)
class Bottleneck:
    """A block of ResNet: 1x1, 3x3 and 1x1 convolutions, `4 * filters` out; the first of a stage has a stride."""

    name: str
    stage: int
    inputs: int
    filters: int
    stride: int
    first: bool


@dataclass(frozen=True)
class ResNet:
    """stages: (blocks, stride of the first block, filters) each."""

    stem: int
    stages: tuple[tuple[int, int, int], ...]

    def blocks(self) -> Iterator[Bottleneck]:
        inputs = self.stem
        for stage, (count, stride, filters) in enumerate(self.stages):
            for position in range(count):
                name = f"conv_stage{stage}_block{position}"
                yield Bottleneck(name, stage + 1, inputs, filters, 1 if position else stride, position == 0)
                inputs = 4 * filters


EFFICIENTNET_LITE0 = EfficientNet(
    stem=32,
    stages=(
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ),
    head=1280,
    classes=1000,
)
RESNET50_THIN = ResNet(stem=64, stages=((3, 1, 32), (4, 2, 64), (6, 2, 128), (3, 2, 256)))
