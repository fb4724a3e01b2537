"""What a run through a network takes, known from its table alone: arithmetic and memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from impasto.nets.layers import Conv, LayerInfo, Pool
from impasto.nets.passes import made_anew, unkept

INDEX_BYTES = 8
# A window's picture in float32, with its channels in the network's order, scaled, shifted: arrays of 3 at once.
INPUT_BYTES = 4 * 3 * 4


@dataclass(frozen=True)
class Cost:
    """Of a run, or for each pixel of one.

    flops: of the convolutions, forward; the way back to the picture takes as many. forward_bytes: the most held at once
    where nothing is kept but the features that count. both_bytes: the most held at once where the way back follows.
    features: values of each layer that counts.
    """

    flops: float
    forward_bytes: float
    both_bytes: float
    features: dict[str, float]

    def times(self, pixels: float) -> Cost:
        """Of so many pixels, from that of one."""
        features = {name: values * pixels for name, values in self.features.items()}
        return Cost(self.flops * pixels, self.forward_bytes * pixels, self.both_bytes * pixels, features)


@dataclass(frozen=True)
class Sizes:
    """How many places the picture that is run has, and each layer's map: as it is made, and what goes on of it."""

    picture: float
    made: Sequence[float]
    kept: Sequence[float]

    @classmethod
    def of_pixel(cls, infos: Sequence[LayerInfo]) -> Sizes:
        """For each pixel of a picture of which nothing is cut off."""
        places = [1 / info.stride**2 for info in infos]
        return cls(1.0, places, places)


def cost_of(
    infos: Sequence[LayerInfo],
    layers: Collection[str],
    channels: int,
    value_bytes: int,
    sizes: Sizes | None = None,
    in_place: Collection[str] = (),
    late: Collection[str] = (),
) -> Cost:
    """The cost of running the layers `infos`, of which `layers` count, on an input of `channels` channels.

    value_bytes: 2 for bfloat16, 4 for float32. sizes: of what is run; without them it is the cost for each pixel.
    in_place: layers whose losses add their gradient to what is there. late: as in `NetworkPass.forward`, where
    memory is short. Dense layers are left out: they hold a picture to one small size.
    """
    maps = [info for info in infos if isinstance(info.row, Conv | Pool)]
    sizes = sizes or Sizes.of_pixel(maps)
    depths = [channels, *(info.channels for info in maps)]
    flops = sum(
        2 * info.row.kernel**2 * before * info.channels * places
        for info, before, places in zip(maps, depths, sizes.made, strict=False)
        if isinstance(info.row, Conv)
    )
    features = {
        info.name: info.channels * places for info, places in zip(maps, sizes.kept, strict=False) if info.name in layers
    }
    forward, both = peaks(maps, features, channels, value_bytes, sizes, in_place, made_anew(maps, late))
    entering = INPUT_BYTES * sizes.picture
    return Cost(flops, entering + forward, entering + both, features)


def peaks(
    maps: Sequence[LayerInfo],
    features: Collection[str],
    channels: int,
    value_bytes: int,
    sizes: Sizes,
    in_place: Collection[str],
    first_anew: bool,
) -> tuple[float, float]:
    """The most bytes held at once: forward alone, and forward and back. Follows `ExplicitRun` step by step."""
    without = unkept(maps, features) | ({0} if first_anew else set())
    kept = passing = forward = both = before = sizes.picture * channels * value_bytes
    outputs: list[float] = []
    for position, info in enumerate(maps):
        made = info.channels * sizes.made[position] * value_bytes
        output = info.channels * sizes.kept[position] * value_bytes
        index = info.channels * sizes.made[position] * INDEX_BYTES if is_max(info) else 0.0
        # What is cut is copied.
        copied = output if output < made else 0.0
        forward = max(forward, passing + made + copied)
        both = max(both, kept + made + copied + index)
        passing += output - (0.0 if position and maps[position - 1].name in features else before)
        kept += output + index - (before if position - 1 in without else 0.0)
        outputs.append(output)
        before = output
    # On the way back a layer's slope and that of its input are held at once, and a loss's beside its features.
    for position in reversed(range(len(maps))):
        info = maps[position]
        entry = outputs[position - 1] if position else sizes.picture * channels * value_bytes
        own = outputs[position] * (2 if info.name in features and info.name not in in_place else 1)
        if sizes.kept[position] < sizes.made[position]:
            own += info.channels * sizes.made[position] * value_bytes
        if first_anew and not position:
            own += outputs[position]
        both = max(both, kept + own + entry)
        if position not in without:
            kept -= outputs[position]
        kept -= info.channels * sizes.made[position] * INDEX_BYTES if is_max(info) else 0.0
    return forward, both


def is_max(info: LayerInfo) -> bool:
    return isinstance(info.row, Pool) and info.row.mode == "max"
