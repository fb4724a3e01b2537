"""Contact sheets of benchmarks: a row a pair, pictures of any shape beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

GAP_PX = 8


def save_sheet(file: Path, rows: Sequence[Sequence[Path]], cell_px: int) -> None:
    """Every picture within a square of cell_px, on white."""
    widest = max(len(row) for row in rows)
    sheet = Image.new("RGB", (cell_px * widest, cell_px * len(rows)), "white")
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            cell = Image.open(picture).convert("RGB")
            cell.thumbnail((cell_px - GAP_PX, cell_px - GAP_PX), Image.Resampling.LANCZOS)
            sheet.paste(cell, (left * cell_px, top * cell_px))
    sheet.save(file)
