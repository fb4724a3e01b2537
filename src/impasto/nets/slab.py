"""Memory for the maps of runs, used again from one run to the next.

Where memory is short what is freed goes back to the system, which clears it before it gives it again. For maps of tens
of megabytes that takes as long as the convolutions that fill them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Shaped
from torch import Tensor

from impasto.hardware import SMALL_BLOCK_BYTES

# Smaller maps are left to the allocator, which keeps them.
LEAST_BYTES = SMALL_BLOCK_BYTES
# Maps begin at multiples of it, as the allocator's do.
ALIGNED_BYTES = 64
# How much longer the slab is than what it is to hold: where that grows a little, no new one is made, which would be
# there beside the old one as long as anything of a run is. What is never written to takes no memory.
SPARE = 0.5


@dataclass(frozen=True)
class Taken:
    """Bytes of a map: where in the slab they begin, None where it found no room there, and how many they are."""

    first: int | None
    size: int


class Slab:
    """As much memory as the maps of a run ever took at once, which those of the next runs share.

    Maps lie where the first gap is that holds them. Those of one run are taken one after the other and let go of in the
    opposite order, or nearly, so that few gaps are left; what finds none is new memory.
    """

    def __init__(self) -> None:
        self.memory = torch.empty(0, dtype=torch.uint8)
        self.taken: dict[int, Taken] = {}
        self.most = 0

    def begin(self) -> None:
        """Of the run before nothing is needed any more."""
        self.taken.clear()
        if self.most > len(self.memory):
            # The old one goes first, so that both are never there together.
            self.memory = torch.empty(0, dtype=torch.uint8)
            self.memory = torch.empty(round(self.most * (1 + SPARE)), dtype=torch.uint8)

    def maps(self, shape: tuple[int, ...], dtype: torch.dtype) -> Shaped[Tensor, "n c h w"]:
        """Channels_last maps with whatever was left in their memory."""
        count, channels, height, width = shape
        size = prod(shape) * dtype.itemsize
        if size < LEAST_BYTES:
            return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        size += -size % ALIGNED_BYTES
        first = self.gap(size)
        found = torch.empty(size, dtype=torch.uint8) if first is None else self.memory[first : first + size]
        self.taken[found.data_ptr()] = Taken(first, size)
        self.most = max(self.most, sum(taken.size for taken in self.taken.values()))
        values = found[: prod(shape) * dtype.itemsize].view(dtype)
        return values.view(count, height, width, channels).permute(0, 3, 1, 2)

    def gap(self, size: int) -> int | None:
        """Where the first gap begins that holds so many bytes."""
        first = 0
        for taken in sorted((taken for taken in self.taken.values() if taken.first is not None), key=place):
            if place(taken) - first >= size:
                return first
            first = place(taken) + taken.size
        return first if len(self.memory) - first >= size else None

    def done(self, maps: Tensor) -> None:
        """Another may lie where it lay."""
        self.taken.pop(maps.data_ptr(), None)


def place(taken: Taken) -> int:
    assert taken.first is not None
    return taken.first


def new_maps(
    shape: tuple[int, ...], like: Tensor, slab: Slab | None, dtype: torch.dtype | None = None
) -> Shaped[Tensor, "n c h w"]:
    """Channels_last maps to be filled, on the device of others: in the slab, or new where there is none."""
    dtype = dtype or like.dtype
    if slab is None:
        return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)
    return slab.maps(shape, dtype)
