"""The check: an honest change of colours passes; every way to alter tissue is found, with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from impasto.errors import PictureError
from impasto.medical import StainNormalizer
from impasto.medical.check import check, luminance_ssim
from impasto.medical.nuclei import find_nuclei, matched_share
from impasto.medical.synthetic import synthetic_tissue
from tissue_files import purple, rose

SOURCE = synthetic_tissue(420, 560, seed=1)
TARGET = purple()


@pytest.fixture(scope="module")
def changed() -> np.ndarray:
    return StainNormalizer().fit(TARGET.pixels).transform(SOURCE.pixels)


def test_an_honest_change_passes(changed: np.ndarray) -> None:
    report = check(SOURCE.pixels, changed, reference=TARGET.pixels)
    assert report.ok
    assert not report.warnings
    assert report.figures["background_levels"] == 0
    assert report.figures["nuclei_before"] > 50
    assert report.figures["nuclei_matched"] >= 0.98
    assert report.figures["delta_e"] <= 4
    assert "the tissue is unchanged" in str(report)


def test_no_change_is_perfect() -> None:
    figures = check(SOURCE.pixels, SOURCE.pixels.copy()).figures
    for name in ("luminance_ssim", "gradient_correlation", "haematoxylin_correlation", "nuclei_matched"):
        assert figures[name] == pytest.approx(1)
    assert not check(SOURCE.pixels, SOURCE.pixels).difference.any()


def erase_nuclei(pixels: np.ndarray) -> np.ndarray:
    """Every third nucleus painted over by the tissue beside it, as a network might."""
    for y, x in SOURCE.nuclei[::3].astype(int):
        if 8 <= y < pixels.shape[0] - 8 and 30 <= x < pixels.shape[1] - 8:
            pixels[y - 8 : y + 8, x - 8 : x + 8] = pixels[y - 8 : y + 8, x - 24 : x - 8]
    return pixels


def paint_nuclei(pixels: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    for row, column in np.random.default_rng(0).uniform(20, 400, (40, 2)):
        pixels[np.hypot(y - row, x - column) < 6] = (70, 60, 140)
    return pixels


ALTERATIONS = {
    "nuclei erased": (erase_nuclei, "nuclei"),
    "nuclei painted": (paint_nuclei, "nuclei"),
    "moved": (lambda p: np.roll(p, 9, axis=1), "luminance_ssim"),
    "blurred": (lambda p: ndimage.gaussian_filter(p, (3, 3, 0)), "gradient_correlation"),
    "inverted": (lambda p: 255 - p, "luminance_ssim"),
    "background tinted": (lambda p: np.where(p > 235, p - 3, p).astype(np.uint8), "background changed"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_alterations_are_found(name: str, changed: np.ndarray) -> None:
    alter, reason = ALTERATIONS[name]
    report = check(SOURCE.pixels, alter(changed.copy()))
    assert not report.ok
    assert any(reason in text for text in report.reasons), report.reasons


def test_swapped_stains_are_warned_of() -> None:
    """Nuclei pink and fibres blue: brightness alone would not tell."""
    report = check(SOURCE.pixels, np.ascontiguousarray(SOURCE.pixels[..., [1, 0, 2]]))
    assert any("haematoxylin" in text for text in report.warnings)


def test_lossy_files_may_move_single_background_pixels(tmp_path: Path) -> None:
    Image.fromarray(SOURCE.pixels).save(tmp_path / "x.jpg", quality=95)
    after = np.asarray(Image.open(tmp_path / "x.jpg"))
    assert not check(SOURCE.pixels, after).ok
    report = check(SOURCE.pixels, after, lossy=True)
    assert report.ok, report.reasons
    assert any("lossy files" in text for text in report.warnings)


def test_far_references_are_warned_of() -> None:
    assert any("delta_e" in text for text in check(SOURCE.pixels, SOURCE.pixels, reference=TARGET.pixels).warnings)


def test_empty_glass_passes() -> None:
    glass = np.full((80, 80, 3), 240, np.uint8)
    report = check(glass, glass)
    assert report.ok
    assert report.figures["nuclei_before"] == 0


def test_report_is_written(tmp_path: Path, changed: np.ndarray) -> None:
    check(SOURCE.pixels, changed).save(tmp_path / "a" / "b")
    found = json.loads((tmp_path / "a" / "b" / "report.json").read_text())
    assert found["ok"] is True
    height, width = SOURCE.pixels.shape[:2]
    sizes = {"difference": (width, height), "haematoxylin": (2 * width, height), "eosin": (2 * width, height)}
    for name, size in sizes.items():
        assert Image.open(tmp_path / "a" / "b" / f"{name}.png").size == size


def test_haematoxylin_shows_the_nuclei() -> None:
    picture = check(SOURCE.pixels, SOURCE.pixels).haematoxylin
    centres = SOURCE.nuclei.astype(int)
    assert picture[centres[:, 0], centres[:, 1]].mean() < 0.5 * picture[:, : SOURCE.pixels.shape[1]].mean()


def test_pictures_that_do_not_belong_together() -> None:
    with pytest.raises(PictureError, match="same picture before and after"):
        check(SOURCE.pixels, SOURCE.pixels[:-1])
    with pytest.raises(PictureError, match="grey picture"):
        check(SOURCE.pixels, SOURCE.pixels[..., 0])


# The detector.


@pytest.mark.parametrize("seed", [1, 5])
def test_most_nuclei_are_found_where_they_are(seed: int) -> None:
    tissue = synthetic_tissue(420, 560, seed=seed)
    found = find_nuclei(tissue.pixels)
    assert abs(len(found) - len(tissue.nuclei)) < 0.25 * len(tissue.nuclei)
    assert matched_share(tissue.nuclei.round().astype(int), found, 5) > 0.7


def test_the_radius_chooses_the_size() -> None:
    tissue = rose().pixels
    double = np.repeat(np.repeat(tissue, 2, axis=0), 2, axis=1)
    assert len(find_nuclei(double, 10)) == pytest.approx(len(find_nuclei(tissue, 5)), rel=0.1)
    assert len(find_nuclei(double, 5)) != len(find_nuclei(double, 10))


def test_matching() -> None:
    one, other = np.array([[0, 0], [10, 10]]), np.array([[0, 1]])
    assert matched_share(one, one, 1) == 1
    assert matched_share(one, other, 2) == 0.5
    assert matched_share(other, one, 2) == 0.5
    assert matched_share(one, np.zeros((0, 2), int), 2) == 0
    assert matched_share(np.zeros((0, 2), int), np.zeros((0, 2), int), 2) == 1


def test_ssim_forgives_mean_and_contrast_only() -> None:
    half = (SOURCE.pixels // 2 + 60).astype(np.uint8)
    assert luminance_ssim(SOURCE.pixels, half) > 0.98
    assert luminance_ssim(SOURCE.pixels, SOURCE.pixels[::-1].copy()) < 0.5
