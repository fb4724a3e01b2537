"""The look `photo` on the 20 held-out pairs, and its time for 24 megapixels.

    python -m benchmarks.looks [FOLDER] [--size 1024]    pictures stay in FOLDER (default out/bench-looks)

For each pair: the correlation of edges with the photo's, how strong halos are, and the distance to the style's colours
beside the photo's own and that of a pure colour transfer. States: edges 0.97 or more and no halos in every pair, nearer
to the style's colours than the photo is in every pair, 24 megapixels from array to array in 4 s. The contact sheet,
FOLDER/sheet.jpg, shows photo, style and result of each pair.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import impasto
from benchmarks.data import ROOT, eval_pairs
from benchmarks.verdict import verdict
from impasto.edges import edge_correlation
from impasto.evaluation.case import Case, baselines, make_case
from impasto.evaluation.palette import palette_distance
from impasto.picture import Picture, read_picture

PAIRS, PALETTE_PX, SHEET_PX = 20, 256, 320
LEAST_EDGES, MOST_HALO, MOST_SECONDS = 0.97, 0.05, 4.0
LARGE_HW = (4000, 6000)
# Steps of luma that count, how far from them halos begin and end, and what is flat beside them, as a share of the step.
STEP, NEAR_PX, FAR_PX, FLAT = 0.2, 3, 16, 0.1
ROUNDS = 3


def halo(picture: Tensor, photo: Tensor) -> float:
    """How much lighter than further away the lighter side of steps in the photo is right beside them, and the darker
    side darker, as a share of the step and beyond what it is in the photo; 0 without halos. Lumas of one size."""
    shares = []
    for seen in (picture, photo):
        rims, steps = zip(*(rim(seen.movedim(axis, 1), photo.movedim(axis, 1)) for axis in (0, 1)), strict=True)
        shares.append(sum(rims) / sum(steps))
    return shares[0] - shares[1]


def rim(picture: Tensor, photo: Tensor) -> tuple[float, float]:
    """Sums over the steps along the rows of a photo that has flat parts on both sides: how much a picture changes on
    both sides, towards the step, and how much from side to side."""

    def values(luma: Tensor) -> list[Tensor]:
        width = luma.shape[1] - 2 * FAR_PX
        return [luma[:, FAR_PX + at : FAR_PX + at + width] for at in (-FAR_PX, -NEAR_PX, NEAR_PX, FAR_PX)]

    far_left, left, right, far_right = values(photo)
    step = right - left
    flat = (left - far_left).abs().maximum((right - far_right).abs()) < FLAT * step.abs()
    sign = step.sign() * (flat & (step.abs() > STEP))
    far_left, left, right, far_right = values(picture)
    return float((sign * (right - far_right - left + far_left)).sum()), float((sign * (right - left)).sum())


def sharpened(luma: Tensor) -> Tensor:
    """A photo with halos: an unsharp mask of 8 px, half of it."""
    blurred = F.avg_pool2d(F.pad(luma[None, None], (8, 8, 8, 8), mode="reflect"), 17, 1)[0, 0]
    return (luma + 0.5 * (luma - blurred)).clamp(0, 1)


def judge(result: Picture, photo: Picture, style: Picture) -> dict[str, float]:
    whole, small = (make_case(result, photo, [(style, 1.0)], size) for size in (None, PALETTE_PX))
    own: dict[str, Case] = baselines(small)
    return {
        "edges": edge_correlation(whole.picture.luma, whole.photo.luma),
        "halo": halo(whole.picture.luma, whole.photo.luma),
        "with halos": halo(sharpened(whole.photo.luma), whole.photo.luma),
        "palette": palette_distance(small),
        "photo's": palette_distance(own["photo"]),
        "recoloured": palette_distance(own["colour transfer"]),
    }


def judge_pairs(folder: Path, size: int) -> list[dict[str, float]]:
    found, rows = [], []
    with impasto.Session(look="photo") as session:
        for photo, style in eval_pairs(PAIRS):
            result = session.stylize(photo, style, size=size)
            file = folder / f"{photo.stem}-{style.stem}.png"
            result.save(file)
            own = read_picture(photo).resized(*result.picture.size_hw)
            figures = judge(result.picture, own, read_picture(style))
            if not found:
                print(f"{'pair':42}", *(f"{name:>11}" for name in figures))
            print(
                f"{photo.stem + ' + ' + style.stem:42}", *(f"{value:11.3f}" for value in figures.values()), flush=True
            )
            found.append(figures)
            rows.append([photo, style, file])
    sheet(rows).save(folder / "sheet.jpg", quality=90)
    return found


def sheet(rows: list[list[Path]]) -> Image.Image:
    """Two pairs a row."""
    whole = Image.new("RGB", (6 * SHEET_PX, (len(rows) + 1) // 2 * SHEET_PX), "white")
    for number, row in enumerate(rows):
        for position, file in enumerate(row):
            cell = Image.open(file).convert("RGB")
            cell.thumbnail((SHEET_PX - 8, SHEET_PX - 8), Image.Resampling.LANCZOS)
            whole.paste(cell, ((number % 2 * 3 + position) * SHEET_PX, number // 2 * SHEET_PX))
    return whole


def time_large() -> float:
    """The least seconds of some rounds, each with a style not seen before, array to array."""
    photo = read_picture(ROOT / "hires" / "sunset_by_the_pier.jpg").resized(*LARGE_HW).to_uint8()
    styles = [np.ascontiguousarray(read_picture(style).to_uint8()) for _, style in eval_pairs(ROUNDS + 1)]
    clocks = []
    with impasto.Session(look="photo", threads=2) as session:
        session.stylize(photo[:512, :512], styles[0])
        for style in styles[1:]:
            clock, cpu = time.perf_counter(), time.process_time()
            session.stylize(photo, style).picture.to_uint8()
            clocks.append(time.perf_counter() - clock)
            print(f"24 megapixels: {clocks[-1]:.2f} s, {time.process_time() - cpu:.2f} CPU s", flush=True)
    return min(clocks)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/bench-looks"))
    parser.add_argument("--size", type=int, default=1024)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    found = judge_pairs(asked.folder, asked.size)
    for told, take in (("mean", statistics.mean), ("least", min), ("most", max)):
        print(f"{told:42}", *(f"{take([figures[name] for figures in found]):11.3f}" for name in found[0]))
    seconds = time_large()
    print()
    return verdict(
        {
            f"edges {LEAST_EDGES} in every pair": all(figures["edges"] >= LEAST_EDGES for figures in found),
            f"halo at most {MOST_HALO} in every pair": all(figures["halo"] <= MOST_HALO for figures in found),
            "the score sees halos in every photo": all(figures["with halos"] > MOST_HALO for figures in found),
            "nearer to the style's colours than the photo": all(one["palette"] < one["photo's"] for one in found),
            f"24 megapixels in {MOST_SECONDS:g} s": seconds <= MOST_SECONDS,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
