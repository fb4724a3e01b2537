"""Several pictures on one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from impasto.picture import Picture

GAP_PX = 8
CELL_PX = 640


def contact_sheet(pictures: Sequence[Picture]) -> Picture:
    """Pictures of one size in a grid, row by row on white, each at most 640 px long."""
    factor = min(1.0, CELL_PX / max(pictures[0].size_hw))
    height, width = (max(1, round(length * factor)) for length in pictures[0].size_hw)
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.ones((3, rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX), np.float32)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GAP_PX), index % columns * (width + GAP_PX)
        small = picture.resized(height, width)
        alpha = 1 if small.alpha is None else small.alpha
        sheet[:, top : top + height, left : left + width] = 1 - alpha * (1 - small.pixels)
    return Picture(sheet)
