"""3x3 convolutions with a quarter of the multiplications, by Winograd's minimal filtering.

Lavin and Gray 2016 (arXiv:1509.09308), F(4x4, 3x3): tiles of 6x6 values are read at six points in each direction,
multiplied there by the kernel's values at those points, one matrix product a pair of points, and carried back to 4x4
results. oneDNN has no such way in float32.

The points are 0, ±√½, ±√2 and infinity. With them the error is one and a half times that of plain float32 sums, where
it is three times with the usual 0, ±1, ±2.
"""

from __future__ import annotations

from math import prod, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.nets.slab import Slab, new_maps

TILE = 4
POINTS = TILE + 2
# Below these channels the transforms take longer than the multiplications that are saved.
LEAST_CHANNELS = 128
# Tiles worked on at once: enough for the matrix products, few enough for the caches.
TILES_AT_ONCE = 256

LOW, HIGH = sqrt(0.5), sqrt(2)
# Values of a 3-tap kernel at the points 0, √½, -√½, -√2, √2, infinity.
OF_KERNEL = [[1, 0, 0], [HIGH, 1, LOW], [-HIGH, 1, -LOW], [-LOW, 1, -HIGH], [LOW, 1, HIGH], [0, 0, 1]]
# Six neighbours at the points, and the way from the points to four results.
OF_INPUT = [
    [1, 0, -2.5, 0, 1, 0],
    [0, 2 / 3, 2 * HIGH / 3, -1 / 3, -HIGH / 3, 0],
    [0, 2 / 3, -2 * HIGH / 3, -1 / 3, HIGH / 3, 0],
    [0, -1 / 6, HIGH / 12, 1 / 3, -HIGH / 6, 0],
    [0, -1 / 6, -HIGH / 12, 1 / 3, HIGH / 6, 0],
    [0, 1, 0, -2.5, 0, 1],
]
TO_OUTPUT = [
    [1, 1, 1, 1, 1, 0],
    [0, LOW, -LOW, -HIGH, HIGH, 0],
    [0, 1 / 2, 1 / 2, 2, 2, 0],
    [0, LOW / 2, -LOW / 2, -2 * HIGH, 2 * HIGH, 1],
]


class Scratch:
    """Memory that convolutions use one after the other.

    Where memory is short, what is freed goes back to the system, which clears it before it gives it again.
    """

    def __init__(self) -> None:
        self.blocks: dict[str, Tensor] = {}

    def __call__(self, use: str, *shape: int) -> Tensor:
        """A float32 tensor with whatever was left in it; the last one of that use is spent."""
        size = prod(shape)
        if use not in self.blocks or len(self.blocks[use]) < size:
            self.blocks.pop(use, None)
            self.blocks[use] = torch.empty(size)
        return self.blocks[use][:size].view(shape)


class Kernel:
    """A 3x3 convolution's weights turned round, as its way back convolves by them: their values at the pairs of points,
    four times as many as there are weights, float32. weight: not copied."""

    def __init__(self, weight: Float[Tensor, "c k 3 3"]) -> None:
        self.weight = weight
        self.of_kernel = torch.tensor(OF_KERNEL).flip(1)
        self.of_input, self.to_output = torch.tensor(OF_INPUT), torch.tensor(TO_OUTPUT)
        self.kept: Tensor | None = None
        self.keep(True)

    def keep(self, keep: bool) -> None:
        """Whether the values are kept, or made anew for each convolution."""
        self.keeps = keep
        if not keep:
            self.kept = None

    @property
    def values_bytes(self) -> int:
        return POINTS**2 * self.weight[..., 0, 0].numel() * self.weight.element_size()

    @property
    def scratch_bytes(self) -> int:
        """What it takes of the scratch beside the values, of maps of up to `TILES_AT_ONCE` tiles a row."""
        tiles = 2 * POINTS**2 * TILES_AT_ONCE * max(self.weight.shape[:2]) * self.weight.element_size()
        return tiles + self.values_bytes * 3 // POINTS + self.weight.numel() * self.weight.element_size()

    def values(self, scratch: Scratch) -> Float[Tensor, "pairs c k"]:
        if self.kept is not None:
            return self.kept
        size = self.weight[..., 0, 0].numel()
        taps = scratch("kernel's taps", 3, 3, *self.weight.shape[:2]).copy_(self.weight.permute(2, 3, 0, 1))
        along_rows = scratch("kernel's rows", POINTS, 3 * size)
        torch.mm(self.of_kernel, taps.view(3, -1), out=along_rows)
        shape = (POINTS, POINTS, size)
        both = torch.empty(shape) if self.keeps else scratch("kernel", *shape)
        torch.bmm(self.of_kernel.expand(POINTS, -1, -1), along_rows.view(POINTS, 3, size), out=both)
        values = both.view(POINTS**2, *self.weight.shape[:2])
        if self.keeps:
            self.kept = values
        return values

    def convolved(
        self, x: Float[Tensor, "n c h w"], pad: int, scratch: Scratch, slab: Slab | None = None
    ) -> Float[Tensor, "n k h2 w2"]:
        """By the turned weights, of channels_last maps with `pad` zeros around them, strip by strip of tiles.

        In channels_last order, a part of what was made where tiles reach over the lower and the right edge.
        """
        kernel = self.values(scratch)
        height, width = (size + 2 * pad - 2 for size in x.shape[2:])
        rows, columns = -(-height // TILE), -(-width // TILE)
        rows_at_once = min(rows, max(1, TILES_AT_ONCE // columns))
        maps_at_once = min(len(x), max(1, TILES_AT_ONCE // (rows_at_once * columns)))
        y = new_maps((len(x), kernel.shape[2], rows * TILE, columns * TILE), x, slab)
        halves = scratch("tiles", 2, POINTS**2 * maps_at_once * rows_at_once * columns * max(kernel.shape[1:]))
        for first in range(0, len(x), maps_at_once):
            some = slice(first, first + maps_at_once)
            for row in range(0, rows, rows_at_once):
                strip = y[some, :, row * TILE : (row + rows_at_once) * TILE]
                seen = with_zeros(x[some], row * TILE - pad, strip.shape[2] + 2, pad, columns * TILE + 2, scratch)
                values = at_pairs(seen, self.of_input, halves)
                products = part(halves[1], *values.shape[:2], kernel.shape[2])
                torch.bmm(values, kernel, out=products)
                write_tiles(products, self.to_output, strip, halves)
        return y[:, :, :height, :width]


def with_zeros(x: Tensor, top: int, rows: int, pad: int, columns: int, scratch: Scratch) -> Float[Tensor, "n c h w"]:
    """So many rows of maps from `top`, with `pad` columns of zeros before them, and zeros wherever they end."""
    seen = scratch("strip", len(x), rows, columns, x.shape[1]).zero_().permute(0, 3, 1, 2)
    first, last = max(0, top), min(x.shape[2], top + rows)
    seen[:, :, first - top : last - top, pad : pad + x.shape[3]] = x[:, :, first:last]
    return seen


def at_pairs(x: Tensor, of_input: Tensor, halves: Tensor) -> Float[Tensor, "pairs tiles c"]:
    """The overlapping tiles of `x` at the pairs of points, in the first half."""
    seen = x.unfold(2, POINTS, TILE).unfold(3, POINTS, TILE).permute(4, 5, 0, 2, 3, 1)
    tiles, along_rows = (part(half, *seen.shape) for half in halves)
    tiles.copy_(seen)
    torch.mm(of_input, tiles.view(POINTS, -1), out=along_rows.view(POINTS, -1))
    by_rows = (POINTS, POINTS, -1)
    torch.bmm(of_input.expand(POINTS, -1, -1), along_rows.view(by_rows), out=tiles.view(by_rows))
    return tiles.view(POINTS**2, -1, x.shape[1])


def write_tiles(
    products: Float[Tensor, "pairs tiles k"], to_output: Tensor, y: Float[Tensor, "n k h w"], halves: Tensor
) -> None:
    """From the pairs of points, in the second half, to the values of each tile, into `y`."""
    values = products[0].numel()
    along_rows, both = part(halves[0], TILE, POINTS * values), part(halves[1], TILE, TILE, values)
    torch.mm(to_output, products.view(POINTS, -1), out=along_rows)
    torch.bmm(to_output.expand(TILE, -1, -1), along_rows.view(TILE, POINTS, values), out=both)
    target = y.unflatten(2, (-1, TILE)).unflatten(4, (-1, TILE)).permute(3, 5, 0, 2, 4, 1)
    target.copy_(both.view(target.shape))


def part(memory: Tensor, *shape: int) -> Tensor:
    """The beginning of a flat tensor in another shape."""
    return memory[: prod(shape)].view(shape)
