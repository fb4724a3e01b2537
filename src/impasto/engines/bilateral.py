"""An affine bilateral grid: colour maps by place and lightness, fitted to a small picture and applied to a large one.

At each vertex of a coarse grid over rows, columns and luma stands an affine map of colours; what becomes of a pixel is
the mean of the maps around it, by trilinear weights (Chen, Adams, Wadhwa & Hasinoff, *Bilateral Guided Upsampling*,
SIGGRAPH Asia 2016). Since maps change slowly over the picture and quickly only with the photo's own luma, edges stay
where the photo has them, and whatever is finer than the grid, such as strokes, averages out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.nets.cnn import LUMA

Rgb = Float[Tensor, "3 h w"]
Moments = Float[Tensor, "bins rows columns 4 7"]
# Cells along the longest side, and steps of luma: more follow the picture more closely.
CELLS, BINS = 12, 8
# Share of what is best for the picture as a whole: more gives calmer maps where a place has little to tell.
RIDGE = 0.02
# Differences of colour that count as the photo's noise: more keeps flat parts from being torn apart.
NOISE = 0.05
# The same for the picture as a whole, where photos are grey or of one colour and many maps do alike.
LEAST = 1e-3
# Pixels of a block that is mapped at once: what is computed of it stays in the processor's cache.
BLOCK_PX = 1 << 14


@dataclass(frozen=True)
class BilateralGrid:
    """maps: from (r, g, b, 1) to (r, g, b), at luma 0..1 in equal steps and from border to border of the picture."""

    maps: Float[Tensor, "bins rows columns 3 4"]

    def apply(self, photo: Rgb) -> Rgb:
        """The photo, of any size, in new colours, clipped to 0..1; memory beyond the result is that of a block."""
        bins, rows, columns = self.maps.shape[:3]
        result = torch.empty_like(photo)
        # The maps of a cell's four corners as one matrix of the features below.
        corners = self.maps.permute(1, 2, 3, 0, 4).reshape(rows, columns, 3, bins * 4)
        for top, vertical in blocks(photo.shape[1], rows, max(1, BLOCK_PX * columns // photo.shape[2])):
            for left, across in blocks(photo.shape[2], columns, photo.shape[2]):
                window = (slice(None), vertical.pixels, across.pixels)
                matrix = corners[top : top + 2, left : left + 2].reshape(12, bins * 4)
                mapped = (matrix @ features(photo[window], bins)).view(2, 2, 3, vertical.count, across.count)
                mapped = torch.lerp(mapped[0], mapped[1], vertical.share[:, None])
                result[window] = torch.lerp(mapped[0], mapped[1], across.share).clamp_(0, 1)
        return result

    def with_luma(self, gain: float, offset: float, share: float) -> BilateralGrid:
        """The same colours with a share of the luma that is one affine map of the photo's, `gain * luma + offset`.

        Every channel is moved alike. share: 0 leaves the grid; 1 gives all of the picture the photo's own contrasts.
        """
        weights = self.maps.new_tensor(LUMA)
        wanted = torch.cat([gain * weights, weights.new_tensor([offset])])
        own = torch.einsum("c,...cf->...f", weights, self.maps)
        return BilateralGrid(self.maps + share * (wanted - own)[..., None, :])

    def with_contrast(self, gain: float, middle: Float[Tensor, " 3"]) -> BilateralGrid:
        """Results `gain` times as far from the colour in the middle."""
        maps = gain * self.maps
        maps[..., 3] += (1 - gain) * middle
        return BilateralGrid(maps)


@dataclass(frozen=True)
class Run:
    """Neighbouring rows, or columns, of one cell. share: how far each is on the way to the cell's second vertex."""

    pixels: slice
    share: Float[Tensor, " n"]

    @property
    def count(self) -> int:
        return len(self.share)


def blocks(length: int, vertices: int, most: int) -> Iterator[tuple[int, Run]]:
    """Pixels along one side in runs of at most `most` that lie in one cell, each with the cell's first vertex."""
    position = places(length, vertices)
    first: Tensor = position.long().clamp(max=vertices - 2)
    ends = [0, *(first.diff().nonzero()[:, 0] + 1).tolist(), length]
    for start, end in pairwise(ends):
        for begin in range(start, end, most):
            stop = min(begin + most, end)
            yield int(first[start]), Run(slice(begin, stop), (position - first)[begin:stop])


def places(length: int, vertices: int) -> Float[Tensor, " n"]:
    """Where the middles of pixels lie among vertices, in cells."""
    return (torch.arange(length) + 0.5) / length * (vertices - 1)


def features(pixels: Rgb, bins: int) -> Float[Tensor, "features n"]:
    """(r, g, b, 1) of each pixel, weighted by the nearness of its luma to each bin."""
    flat = pixels.reshape(3, -1)
    one = torch.cat([flat, flat.new_ones(1, flat.shape[1])])
    return (nearness(luma(pixels).flatten() * (bins - 1), bins)[:, None] * one).view(bins * 4, -1)


def nearness(positions: Float[Tensor, " n"], vertices: int) -> Float[Tensor, "vertices n"]:
    """1 at a vertex, falling to 0 at its neighbours; positions: 0 at the first vertex, 1 at the next."""
    away = positions.expand(vertices, -1) - torch.arange(vertices, dtype=positions.dtype)[:, None]
    return away.abs_().neg_().add_(1).clamp_(min=0)


def luma(pixels: Rgb) -> Float[Tensor, "h w"]:
    """BT.709 luma of sRGB values."""
    found: Tensor = torch.tensordot(pixels.new_tensor(LUMA), pixels, dims=1)
    return found


def fit(photo: Rgb, picture: Rgb) -> BilateralGrid:
    """The grid that makes of a photo what comes nearest to a picture of its size, by least squares around each vertex.

    Pixels around a vertex count as much as those of its luma anywhere, so that a colour becomes about the same
    everywhere, and each place still has a tone of its own.
    """
    height, width = photo.shape[1:]
    rows, columns = (max(2, round(CELLS * side / max(height, width)) + 1) for side in (height, width))
    moments = blurred(splat(photo, picture, rows, columns))
    of_luma = moments.mean((1, 2), keepdim=True)
    everything = moments.sum((0, 1, 2)) / (rows * columns)
    whole = solved(everything, torch.eye(4, dtype=moments.dtype)[:, :3], LEAST)
    maps = solved(moments + of_luma + RIDGE * everything, whole, NOISE)
    return BilateralGrid(maps.transpose(-1, -2).to(photo.dtype).contiguous())


def solved(
    sums: Float[Tensor, "*vertices 4 7"], prior: Float[Tensor, "4 3"], noise: float
) -> Float[Tensor, "*vertices 4 3"]:
    """Least squares from the sums of `splat`; slopes are the prior's where colours differ by no more than noise."""
    products, aims = sums[..., :4], sums[..., 4:]
    slopes = torch.diag(sums.new_tensor([1.0, 1.0, 1.0, 0.0])) * noise**2 * sums[..., 3:, 3:4]
    maps: Tensor = torch.linalg.solve(products + slopes, aims + slopes @ prior)
    return maps


def splat(photo: Rgb, picture: Rgb, rows: int, columns: int) -> Moments:
    """Sums over the pixels around each vertex: products of (r, g, b, 1) with itself and with the picture's colours."""
    _, height, width = photo.shape
    one = torch.cat([photo, photo.new_ones(1, height, width)])
    products = (one[:, None] * torch.cat([one, picture])).view(28, height, width)
    near = nearness(luma(photo).flatten() * (BINS - 1), BINS).view(BINS, height, width)
    down, across = nearness(places(height, rows), rows), nearness(places(width, columns), columns)
    sums = torch.stack([down @ (products * weight) @ across.T for weight in near])
    return sums.view(BINS, 4, 7, rows, columns).permute(0, 3, 4, 1, 2).double()


def blurred(moments: Moments) -> Moments:
    """A quarter of each vertex's sums given to each neighbour along every axis, so that neighbours' maps are alike."""
    for axis in range(3):
        between = moments.shape[axis] - 1
        spread = moments / 2
        spread.narrow(axis, 1, between).add_(moments.narrow(axis, 0, between), alpha=0.25)
        spread.narrow(axis, 0, between).add_(moments.narrow(axis, 1, between), alpha=0.25)
        moments = spread
    return moments
