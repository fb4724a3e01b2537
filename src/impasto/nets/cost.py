"""What a run through a network takes, known from its table alone: arithmetic and memory for each pixel of a picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from impasto.nets.layers import Conv, LayerInfo, Pool
from impasto.nets.passes import unkept

INDEX_BYTES = 8
# A window's picture in float32, with its channels in the network's order, scaled, shifted: arrays of 3 at once.
INPUT_BYTES = 4 * 3 * 4


@dataclass(frozen=True)
class Cost:
    """For each pixel of the picture that is run.

    flops: of the convolutions, forward; the way back to the picture takes as many. forward_bytes: the most held at once
    where nothing is kept but the features that count. both_bytes: the most held at once where the way back follows.
    features: values of each layer that counts.
    """

    flops: float
    forward_bytes: float
    both_bytes: float
    features: dict[str, float]


def cost_of(infos: Sequence[LayerInfo], layers: Collection[str], channels: int, value_bytes: int) -> Cost:
    """The cost of running the layers `infos`, of which `layers` count, on an input of `channels` channels.

    value_bytes: 2 for bfloat16, 4 for float32. Dense layers are left out: they hold a picture to one small size.
    """
    maps = [info for info in infos if isinstance(info.row, Conv | Pool)]
    depths = [channels, *(info.channels for info in maps)]
    flops = sum(
        2 * info.row.kernel**2 * before * info.channels / info.stride**2
        for info, before in zip(maps, depths, strict=False)
        if isinstance(info.row, Conv)
    )
    features = {info.name: info.channels / info.stride**2 for info in maps if info.name in layers}
    forward, both = peaks(maps, features, channels, value_bytes)
    return Cost(flops, INPUT_BYTES + forward, INPUT_BYTES + both, features)


def peaks(maps: Sequence[LayerInfo], features: Collection[str], channels: int, value_bytes: int) -> tuple[float, float]:
    """The most bytes a pixel held at once: forward alone, and forward and back. Follows `ExplicitRun` step by step."""
    without = unkept(maps, features)
    kept = passing = forward = both = before = channels * float(value_bytes)
    outputs: list[float] = []
    for position, info in enumerate(maps):
        output = info.channels / info.stride**2 * value_bytes
        index = info.channels / info.stride**2 * INDEX_BYTES if is_max(info) else 0.0
        forward = max(forward, passing + output)
        both = max(both, kept + output + index)
        passing += output - (0.0 if position and maps[position - 1].name in features else before)
        kept += output + index - (before if position - 1 in without else 0.0)
        outputs.append(output)
        before = output
    # On the way back a layer's slope and that of its input are held at once, and a loss's beside its features.
    for position in reversed(range(len(maps))):
        info = maps[position]
        entry = outputs[position - 1] if position else channels * float(value_bytes)
        own = outputs[position] * (2 if info.name in features else 1)
        both = max(both, kept + own + entry)
        if position not in without:
            kept -= outputs[position]
        kept -= info.channels / info.stride**2 * INDEX_BYTES if is_max(info) else 0.0
    return forward, both


def is_max(info: LayerInfo) -> bool:
    return isinstance(info.row, Pool) and info.row.mode == "max"
