"""The fast engine: one pass through a network for any style (`impasto.nets.any_style`), no network to compare with.

A picture up to `WHOLE_PX` pixels is painted at once and normalised by its own statistics. A larger one is painted in
tiles, all normalised by the statistics of the photo made smaller, so that the tiles together are the whole.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.engines.optimize import Outcome
from impasto.engines.state import Snapshot
from impasto.errors import JobError, UserError
from impasto.events import Entry, Listener, Step
from impasto.losses.base import Box
from impasto.nets.any_style import SMALLEST_SIDE_PX, STRIDE, AnyStyle, blend
from impasto.nets.cnn import LUMA
from impasto.nets.loaded import Loaded
from impasto.nets.painter import Painter
from impasto.picture import Picture

WHOLE_PX = 1 << 21
# Pixels of the smaller photo that the statistics are taken from.
STATISTICS_PX = 1 << 20
CORE_PX = 1024
# Longest side of a style as it is looked at, before `style_scale`: strokes are no larger than the network sees.
STYLE_PX, LARGEST_STYLE_PX = 1024, 4096
# Where no channel of a style is further from the others than this, the style has no colour.
GREY = 2.5 / 255
# Mean differences of two pictures seen from afar, up to which they are the same one, and from which they are two.
THE_SAME, ANOTHER = 0.01, 0.03


@dataclass(frozen=True)
class FastEngine:
    """code: of the styles, blended. strength: 0, the photo itself, to 1, boldest. grey: paint without colour.

    whole_px, core_px: pixels up to which a picture is painted at once, and the side of a tile's core above.
    """

    network: AnyStyle
    photo: Float[Tensor, "1 3 h w"]
    code: Float[Tensor, "1 k"]
    strength: float
    grey: bool
    whole_px: int = WHOLE_PX
    core_px: int = CORE_PX
    name: str = field(default="fast", init=False)

    def run(self, listeners: Sequence[Listener] = (), resume: Snapshot | None = None) -> Outcome:
        """Paint tile after tile, each a step; what is not painted when a listener stops the run is the photo's."""
        if resume is not None:
            raise UserError("The fast engine has nothing to resume: run it again.")
        began = time.perf_counter()
        picture = self.photo.float().clone()
        history: list[Entry] = []
        stopped_by = "iterations"
        tiles = list(self.tiles())
        for core, painted in self.painted(tiles):
            core.of(picture[0]).copy_(painted[0])
            height, width = self.photo.shape[2:]
            # There is no objective: nothing is compared.
            entry = Entry(len(history), 0, height, width, time.perf_counter() - began, math.nan, math.nan, math.nan, {})
            history.append(entry)
            step = Step(entry, history, len(tiles), 1, lambda: Picture(picture[0].cpu().numpy().copy()), None)
            answers = [listener(step) for listener in listeners]
            reasons = ["on_step" if answer is False else answer for answer in answers]
            reason = next((reason for reason in reasons if isinstance(reason, str)), None)
            if reason is not None:
                stopped_by = reason
                break
        return Outcome(picture, stopped_by, history, time.perf_counter() - began, None)

    @property
    def is_large(self) -> bool:
        return self.photo.shape[2] * self.photo.shape[3] > self.whole_px

    def tiles(self) -> Iterator[Box]:
        """Cores: the whole of a small picture, squares of a large one."""
        height, width = self.photo.shape[2:]
        if not self.is_large:
            yield Box(0, height, 0, width)
            return
        for top in range(0, height, self.core_px):
            for left in range(0, width, self.core_px):
                yield Box(top, min(top + self.core_px, height), left, min(left + self.core_px, width))

    def painted(self, tiles: Sequence[Box]) -> Iterator[tuple[Box, Float[Tensor, "1 3 _ _"]]]:
        """Each core's pixels."""
        if self.strength <= 0:
            yield from ((core, core.of(self.photo[0])[None].float()) for core in tiles)
            return
        painter = Painter(self.network, self.code, self.strength)
        statistics = (
            painter.statistics(reduced(self.photo, min(STATISTICS_PX, self.whole_px))) if self.is_large else None
        )
        for core in tiles:
            window = widened(core, painter.halo_px, self.photo.shape[2], self.photo.shape[3])
            photo = window.of(self.photo[0])[None].contiguous()
            pixels = painter.paint(photo, statistics, (window.top, window.left))
            if self.grey:
                pixels = luma(pixels).expand_as(pixels)
            inner = core.relative_to(window)
            yield core, inner.of(painter.faded(pixels, photo)[0])[None]


def widened(core: Box, halo_px: int, height: int, width: int) -> Box:
    """A core and what its pixels depend on, never less than a network reads; corners on multiples of the stride."""
    bottom, right = min(core.bottom + halo_px, height), min(core.right + halo_px, width)
    top = max(0, min(core.top - halo_px, bottom - SMALLEST_SIDE_PX) // STRIDE * STRIDE)
    left = max(0, min(core.left - halo_px, right - SMALLEST_SIDE_PX) // STRIDE * STRIDE)
    return Box(top, bottom, left, right)


def reduced(photo: Float[Tensor, "1 3 h w"], pixels: int) -> Float[Tensor, "1 3 h2 w2"]:
    """The photo with at most that many pixels."""
    height, width = photo.shape[2:]
    factor = math.sqrt(pixels / (height * width))
    size = [max(SMALLEST_SIDE_PX, int(length * factor)) for length in (height, width)]
    return F.interpolate(photo, size, mode="bilinear", antialias=True, align_corners=False)


def luma(picture: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 1 h w"]:
    """BT.709 luma of sRGB values."""
    return (picture * picture.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def own_style(photo: Picture, styles: Sequence[Picture]) -> float:
    """0 where each style is the photo itself, 1 where one is another picture: the share of the strength to use.

    A photo in its own style is the photo, which the network alone does not quite know.
    """
    seen = from_afar(photo)
    farthest = max(float((from_afar(style) - seen).abs().mean()) for style in styles)
    return min(1.0, max(0.0, (farthest - THE_SAME) / (ANOTHER - THE_SAME)))


def from_afar(picture: Picture) -> Float[Tensor, "3 8 8"]:
    return F.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(picture.pixels)), 8)


def has_no_colour(style: Picture) -> bool:
    return bool((style.pixels.max(0) - style.pixels.min(0)).max() <= GREY)


def shown(style: Picture, result_longest: int, style_scale: float) -> Float[Tensor, "1 3 h w"]:
    """A style at the size that the network looks at it with; JobError for one that is too small or too large."""
    base = min(result_longest, STYLE_PX)
    factor = base * style_scale / max(style.size_hw)
    height, width = round(style.height * factor), round(style.width * factor)
    told = f"--style-scale {style_scale:g} would show the fast engine {style.name} at {width}x{height} px, and it looks"
    if max(height, width) > LARGEST_STYLE_PX:
        raise JobError(f"{told} at none above {LARGEST_STYLE_PX} px a side: use a smaller one.")
    if min(height, width) < SMALLEST_SIDE_PX:
        raise JobError(f"{told} at none under {SMALLEST_SIDE_PX} px a side: use a larger one, or crop the style.")
    return torch.from_numpy(np.ascontiguousarray(style.resized(height, width).pixels))[None]


def code_of(
    network: AnyStyle, loaded: Loaded, styles: Sequence[Picture], weights: Sequence[float], result_longest: int,
    style_scale: float,
) -> tuple[Float[Tensor, "1 k"], bool]:  # fmt: skip
    """The styles' codes blended by their weights, and whether none of them has any colour.

    A network of one style has its own code; JobError where it is given styles, or another is given none.
    """
    if network.encoder is None:
        if styles:
            raise JobError("The network of --model has one style, its own: leave the style pictures out.")
        return network.own.float(), False
    if not styles:
        raise JobError("The network of --model paints any style: give a style picture.")
    codes = []
    for style in styles:
        # Of the style as it is, so that one that was seen before is not even resized.
        digest = hashlib.blake2b(np.ascontiguousarray(style.pixels).tobytes())
        digest.update(repr((style.size_hw, result_longest, style_scale)).encode())
        show = partial(shown, style, result_longest, style_scale)
        codes.append(loaded.code(network, digest.digest(), show))
    return blend(codes, weights), all(has_no_colour(style) for style in styles)
