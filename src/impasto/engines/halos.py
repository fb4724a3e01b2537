"""What a tile needs of each layer along one axis: the features of its core, and what deeper ones read around them.

Deeper layers need less around the core. So what comes of each pooling is cut down to what the layers to come read,
as the picture itself is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from impasto.nets.layers import Conv, LayerInfo, Pool, Row, out_size, pad_of, step_of

Ends = tuple[int, int]
"""First and last but one."""


@dataclass(frozen=True)
class Stretch:
    """A layer's features along one axis, first and last but one: of what a tile makes, and of what goes on of it."""

    made_start: int
    made_end: int
    start: int
    end: int

    @property
    def cut(self) -> slice:
        """What goes on of what is made."""
        return slice(self.start - self.made_start, self.end - self.made_start)


def owned(core: Ends, stride: int, length: int, features: int) -> Ends:
    """The features whose place lies in a core of pixels; the last core has all that remain."""
    start = -(-core[0] // stride)
    end = features if core[1] == length else -(-core[1] // stride)
    return min(start, features), min(end, features)


def needed(infos: Sequence[LayerInfo], margins: Mapping[str, int], core: Ends, length: int) -> list[Ends]:
    """What is needed for a core of a picture of that length: of its pixels, and of each layer's features.

    margins: features around the owned ones that are read, by the layers that count.
    """
    rows = [info.row for info in infos]
    lengths = [length]
    for row in rows:
        lengths.append(out_size(lengths[-1], row))
    found: list[Ends] = []
    # Nothing, as long as no layer counts.
    start, end = lengths[-1], 0
    for position in reversed(range(len(lengths))):
        if position:
            info, features = infos[position - 1], lengths[position]
            if info.name in margins or end <= start:
                first, last = owned(core, info.stride, length, features)
                # One feature even where the core has none, so that the run has something to go on with.
                first, margin = min(first, features - 1), margins.get(info.name, 0)
                start, end = min(start, first - margin), max(end, first + 1 + margin, last + margin)
        if is_cut(rows, position):
            # So that poolings and strides fall as they do on the whole.
            start -= start % steps_to_next_cut(rows, position)
        start, end = max(0, start), min(lengths[position], end)
        found.append((start, end))
        if position:
            start, end = read_by(rows[position - 1], start, end)
    return found[::-1]


def is_cut(rows: Sequence[Row], position: int) -> bool:
    """Whether what row `position` is given is cut to what is needed: the picture, and what comes of a pooling."""
    return position == 0 or isinstance(rows[position - 1], Pool)


def steps_to_next_cut(rows: Sequence[Row], position: int) -> int:
    """How many neighbours come to one until what comes of them is cut again."""
    last = next((later for later in range(position + 1, len(rows)) if is_cut(rows, later)), len(rows))
    return math.prod(step_of(row) for row in rows[position:last])


def read_by(row: Row, start: int, end: int) -> Ends:
    """What the outputs `start` to `end` read of a layer's input, beyond its borders too."""
    match row:
        case Conv(kernel=kernel, stride=stride):
            return start * stride - pad_of(row), (end - 1) * stride - pad_of(row) + kernel
        case Pool(size=size):
            return start * size, end * size
        case _:
            return start, end


def stretches(infos: Sequence[LayerInfo], wanted: Sequence[Ends]) -> Iterator[Stretch]:
    """What each layer makes of the pixels that are needed, and what goes on of it."""
    start, end = wanted[0]
    for info, own in zip(infos, wanted[1:], strict=True):
        made_start = start // step_of(info.row)
        made_end = made_start + out_size(end - start, info.row)
        start, end = own if isinstance(info.row, Pool) else (made_start, made_end)
        yield Stretch(made_start, made_end, start, end)
