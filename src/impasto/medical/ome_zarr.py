"""Whole slides written as OME-Zarr (NGFF 0.4): a pyramid of chunks without loss, for programs that read from clouds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from impasto.medical.slides import SlideFacts

CHUNK: Final = 256
# Rows and columns of a level that are halved at once, which bounds the memory.
_BLOCK: Final = 8 * CHUNK
MAGNIFICATION: Final = "NominalMagnification"


def write_ome_zarr(facts: SlideFacts, strips: Iterable[UInt8[np.ndarray, "h w 3"]], path: Path) -> None:
    """Write strips of full width, from top to bottom, and the levels over them, each half as large as the one below.

    strips: of `CHUNK` rows each, the last of fewer.
    """
    import zarr

    group = zarr.open_group(str(path), mode="w-", zarr_format=2)
    sizes = [(facts.height, facts.width)]
    while max(sizes[-1]) > CHUNK:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    levels: list[Any] = [
        group.create_array(
            str(level), shape=(3, *size), chunks=(3, CHUNK, CHUNK), dtype="uint8",
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        for level, size in enumerate(sizes)
    ]  # fmt: skip
    for index, strip in enumerate(strips):
        levels[0][:, index * CHUNK : index * CHUNK + len(strip)] = np.moveaxis(strip, -1, 0)
    for finer, coarser in pairwise(levels):
        _halve(finer, coarser)
    group.attrs["multiscales"] = [_multiscale(facts, len(levels))]
    group.attrs["omero"] = {
        "channels": [
            {"label": label, "color": colour, "active": True, "window": {"min": 0, "max": 255, "start": 0, "end": 255}}
            for label, colour in (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
        ],
        "rdefs": {"model": "color"},
    }


def _halve(finer: Any, coarser: Any) -> None:
    """Each pixel of the coarser level is the mean of four; odd edges count twice."""
    for top in range(0, finer.shape[1], _BLOCK):
        for left in range(0, finer.shape[2], _BLOCK):
            block = finer[:, top : top + _BLOCK, left : left + _BLOCK].astype(np.uint16)
            block = np.pad(block, ((0, 0), (0, block.shape[1] % 2), (0, block.shape[2] % 2)), mode="edge")
            total = block[:, ::2, ::2] + block[:, 1::2, ::2] + block[:, ::2, 1::2] + block[:, 1::2, 1::2]
            half = ((total + 2) // 4).astype(np.uint8)
            place = np.s_[:, top // 2 : top // 2 + half.shape[1], left // 2 : left // 2 + half.shape[2]]
            coarser[place] = half


def _multiscale(facts: SlideFacts, levels: int) -> dict[str, Any]:
    """What NGFF says of the pyramid; without a unit where the slide does not tell how large its pixels are."""
    across, down = facts.mpp or (1.0, 1.0)
    unit = {"unit": "micrometer"} if facts.mpp else {}
    datasets = []
    for level in range(levels):
        factor = 2**level
        # A coarser pixel's centre lies between those of the finer ones.
        shift = (factor - 1) / 2
        datasets.append({
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, down * factor, across * factor]},
                {"type": "translation", "translation": [0.0, down * shift, across * shift]},
            ],
        })  # fmt: skip
    return {
        "version": "0.4",
        "name": "slide",
        "type": "mean",
        "axes": [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", **unit} for name in "yx")],
        "datasets": datasets,
        "metadata": {MAGNIFICATION: facts.objective} if facts.objective else {},
    }
