"""One map of colours applied to many pixels, fast and the same for every tiling."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8, UInt32

from impasto.medical.tissue import Colours

_BLOCK_PIXELS: Final = 1 << 18
# The highest byte of an entry: 0 not yet known, 1 known, 2 known and cut to 0..255.
_KNOWN, _CUT = np.uint32(1 << 24), np.uint32(2 << 24)


class PointwiseMap:
    """A map of colours for whole pictures: channels last, uint8, uint16 or float in 0..1; an alpha channel stays.

    In 8 bits every colour that occurs is computed once and kept in a table of 2**24 entries (64 MiB, used as far as
    colours occur), so that pictures after the first cost two look-ups a pixel. Threads may share one map.
    """

    def __init__(self, colour_map: Callable[[Colours], Colours], threads: int) -> None:
        self.colour_map = colour_map
        self.threads = threads
        self.table: UInt32[np.ndarray, " c"] = np.zeros(1 << 24, np.uint32)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """The picture mapped, and the share of its pixels that had to be cut to the limits of the range."""
        flat = np.ascontiguousarray(pixels).reshape(-1, pixels.shape[-1])
        result = np.empty_like(flat)
        work = self._by_table if flat.dtype == np.uint8 else self._directly

        def one(start: int) -> int:
            return work(flat[start : start + _BLOCK_PIXELS], result[start : start + _BLOCK_PIXELS])

        starts = range(0, len(flat), _BLOCK_PIXELS)
        if len(starts) == 1 or self.threads == 1:
            cut = sum(map(one, starts))
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                cut = sum(pool.map(one, starts))
        return result.reshape(pixels.shape), cut / len(flat)

    def _by_table(self, pixels: UInt8[np.ndarray, "n c"], result: UInt8[np.ndarray, "n c"]) -> int:
        packed = np.zeros((len(pixels), 4), np.uint8)
        for channel in range(3):
            packed[:, channel] = pixels[:, channel]
        # As little-endian integers in 0..2**24, whatever the machine's own order.
        index = packed.view("<u4")[:, 0]
        found = self.table.take(index)
        unknown = found == 0
        if unknown.any():
            # Sorting is several times faster here than the hashing of np.unique.
            asked = index[unknown]
            new = np.sort(asked)
            new = new[np.diff(new, prepend=np.uint32(1 << 31)) != 0]
            self.table[new] = self._compute(new)
            found[unknown] = self.table.take(asked)
        entries = found.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4)
        for channel in range(3):
            result[:, channel] = entries[:, channel]
        result[:, 3:] = pixels[:, 3:]
        return int(np.count_nonzero(entries[:, 3] == 2))

    def _compute(self, packed: UInt32[np.ndarray, " m"]) -> UInt32[np.ndarray, " m"]:
        """Table entries of packed colours."""
        colours = packed.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3]
        mapped = self.colour_map(colours.astype(np.float32) / np.float32(255)) * np.float32(255)
        whole = np.rint(mapped)
        entries = np.zeros((len(packed), 4), np.uint8)
        entries[:, :3] = np.clip(whole, 0, 255)
        cut = ((whole < 0) | (whole > 255)).any(axis=1)
        return entries.view("<u4")[:, 0].astype(np.uint32) | np.where(cut, _CUT, _KNOWN)

    def _directly(self, pixels: np.ndarray, result: np.ndarray) -> int:
        top: Any = np.float32(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
        colours = pixels[:, :3].astype(np.float32) / top
        mapped = self.colour_map(colours) * top
        whole = mapped if pixels.dtype.kind == "f" else np.rint(mapped)
        # Where the map changes nothing, rounding to float32 and back must not either.
        same = mapped == colours * top
        result[:, :3] = np.where(same, pixels[:, :3], np.clip(whole, 0, top))
        result[:, 3:] = pixels[:, 3:]
        step = 1e-6 if pixels.dtype.kind == "f" else 0
        return int(np.count_nonzero(((whole < -step) | (whole > top + step)).any(axis=1)))
