"""Pictures kept from a run that was looked at: a change of result shows here, and must be meant.

Made anew by `python tests/test_golden.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import impasto
from impasto.nets.cnn import build_cnn
from impasto.picture import read_picture
from support import SMALL_TABLE, grained_picture

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "gram": {},
    "mean_std": {"style_loss": "mean_std"},
    "ssim": {"style_loss": "ssim", "content_loss": "ssim"},
    "mse": {"style_loss": "mse"},
    "adam": {"optimizer": "adam"},
    "gd": {"optimizer": "gd"},
}
# Processors round differently, and L-BFGS makes more of it with every iteration; a change of method moves far more.
MEAN_TOLERANCE = 4 / 255


def painted(case: str) -> np.ndarray:
    cnn = build_cnn(SMALL_TABLE, input_shape=(3, 64, 64), seed=3)
    photo, style = grained_picture(64, 80, 1), grained_picture(72, 64, 2)
    fields = {"content_layers": "block2_conv2", "style_layers": "block1_conv1,block2_conv1,block3_conv1"}
    run = {"iterations": 25, "precision": "fp32", "tv_weight": 1.0, **fields, **CASES[case]}
    return impasto.stylize(photo, style, cnn=cnn, **run).picture.pixels


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_still_the_same(case: str) -> None:
    kept = read_picture(GOLDEN / f"{case}.png").pixels
    assert abs(painted(case) - kept).mean() <= MEAN_TOLERANCE


def test_the_pictures_differ_by_more_than_the_tolerance() -> None:
    kept = {case: read_picture(GOLDEN / f"{case}.png").pixels for case in CASES}
    for case, pixels in kept.items():
        others = [abs(pixels - other).mean() for name, other in kept.items() if name != case]
        assert min(others) > MEAN_TOLERANCE


if __name__ == "__main__":
    for name in CASES:
        impasto.Picture(painted(name)).save(GOLDEN / f"{name}.png")
