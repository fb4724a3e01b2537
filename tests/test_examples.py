"""The example styles: each painter repeats itself, and the stored pictures are there and unlike each other."""

from __future__ import annotations

import importlib.util
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load(name: str):
    """A program, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


paint_styles = load("paint_styles")


@cache
def features(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares of 64 colours, and the spread of the differences between neighbours at four distances."""
    picture = np.asarray(Image.open(EXAMPLES / "styles" / f"{name}.jpg").convert("RGB"), np.float64) / 255
    bins = (np.minimum(picture * 4, 3).astype(int) * (16, 4, 1)).sum(-1)
    colours = np.bincount(bins.ravel(), minlength=64) / bins.size
    grey = picture.mean(-1)
    texture = [np.log(np.std(grey[d:, :] - grey[:-d, :])) for d in (1, 3, 9, 27)]
    texture += [np.log(np.std(grey[:, d:] - grey[:, :-d])) for d in (1, 3, 9, 27)]
    return colours, np.array(texture)


@pytest.mark.parametrize("name", paint_styles.NAMES)
def test_a_painter_repeats_itself_at_the_size_asked_for(name):
    first, second = (paint_styles.paint(name, 48) for _ in range(2))
    assert first.size == paint_styles.size_of(name, 48)
    assert max(first.size) == 48
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert np.asarray(first).std() > 20


@pytest.mark.parametrize("name", paint_styles.NAMES)
def test_the_picture_in_the_repository(name):
    path = EXAMPLES / "styles" / f"{name}.jpg"
    with Image.open(path) as picture:
        assert picture.size == paint_styles.size_of(name, 768)
        assert not picture.getexif()
    assert path.stat().st_size <= paint_styles.LARGEST_FILE


@pytest.mark.parametrize(("one", "other"), list(combinations(paint_styles.NAMES, 2)))
def test_styles_differ(one, other):
    (colours, texture), (other_colours, other_texture) = features(one), features(other)
    palette = np.abs(colours - other_colours).sum() / 2
    assert palette > 0.3, "share of the picture whose colours differ"
    assert palette + np.abs(texture - other_texture).mean() > 0.45


def test_the_stain_example_makes_its_table(monkeypatch, capsys):
    from impasto.medical.stains import METHODS

    example = load("stain_augmentation")
    for name, value in {"SIDE_PX": 32, "TRAIN": 64, "TEST": 32, "EPOCHS": 1}.items():
        monkeypatch.setattr(example, name, value)
    monkeypatch.setattr("sys.argv", ["stain_augmentation.py", "--seeds", "2"])
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 + 2 * len(METHODS)
    assert all(line.count("±") == 2 for line in lines[1:])
    one, two = example.tiles(16, example.A, 0)[0], example.tiles(16, example.B, 0)[0]
    assert one.float().mean() > two.float().mean() + 5, "the laboratories differ"
