"""`impasto stain` as a process: fit, apply, check; and what it refuses, with nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from impasto.medical import StainNormalizer
from impasto.medical.normalizer import Profile
from support import impasto
from tissue_files import purple, rose, write_svs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rose.png, purple.png, rose.svs, purple.json, other pictures."""
    path = tmp_path_factory.mktemp("stain")
    for name, tissue in (("rose", rose()), ("purple", purple())):
        Image.fromarray(tissue.pixels).save(path / f"{name}.png")
    write_svs(path / "rose.svs", rose().pixels)
    Image.fromarray(np.full((64, 64, 3), 244, np.uint8)).save(path / "blank.png")
    Image.fromarray(rose().pixels[..., 1]).save(path / "grey.png")
    assert impasto("stain", "fit", "purple.png", "-o", "purple.json", cwd=path).returncode == 0
    return path


def test_fit_writes_what_the_library_measures(folder: Path) -> None:
    profile = Profile.load(folder / "purple.json")
    assert np.allclose(
        profile.statistics["mean"], StainNormalizer().measure(purple().pixels).statistics["mean"], atol=1e-5
    )


def test_apply_is_the_library(folder: Path, tmp_path: Path) -> None:
    done = impasto("stain", "apply", folder / "rose.png", "--to", folder / "purple.json", "-o", tmp_path / "o.png",
                   "--report", tmp_path / "report")  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = StainNormalizer().fit(purple().pixels).transform(rose().pixels)
    assert np.abs(np.asarray(Image.open(tmp_path / "o.png")).astype(int) - wanted).max() <= 1
    assert json.loads((tmp_path / "report" / "report.json").read_text())["ok"]
    assert "the tissue is unchanged" in done.stdout


def test_a_slide_goes_to_a_slide_and_is_checked(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.ome.tif"
    done = impasto("stain", "apply", folder / "rose.svs", "--to", folder / "purple.png", "-o", output, "--method",
                   "macenko", "--keep", "macro", "--quality", "95", "--threads", "1", "--quiet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with tifffile.TiffFile(output) as file:
        assert [series.name for series in file.series] == ["slide", "macro"]
    checked = impasto("stain", "check", folder / "rose.svs", output, "--reference", folder / "purple.png", "--json")
    found = json.loads(checked.stdout)
    assert found["luminance_ssim"] > 0.93
    assert checked.returncode == (0 if found["ok"] else 1)


def test_check_says_no_with_exit_code_1(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(np.roll(rose().pixels, 30, axis=0)).save(tmp_path / "moved.png")
    done = impasto("stain", "check", folder / "rose.png", tmp_path / "moved.png", "-o", tmp_path / "r", "--radius", "6")
    assert done.returncode == 1
    assert "the tissue may be changed\n  because" in done.stdout
    assert (tmp_path / "r" / "difference.png").exists()


def test_missing_pixel_size_is_told(folder: Path, tmp_path: Path) -> None:
    write_svs(tmp_path / "x.svs", rose().pixels, mpp=False)
    arguments = ("stain", "apply", "x.svs", "--to", folder / "purple.json", "-o", "o.ome.tif", "--lossless", "--quiet")
    done = impasto(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "impasto: warning: x.svs does not say how large its pixels are; the result will not either.\n"


TO = ["--to", "purple.json"]
REFUSED = {
    "no reference": (["fit", "-o", "x.json"], "Missing argument"),
    "missing file": (["fit", "none.png", "-o", "x.json"], "none.png does not exist"),
    "no json": (["fit", "rose.png", "-o", "x.txt"], "end its name in .json"),
    "over an input": (["fit", "purple.json", "-o", "purple.json"], "also the input"),
    "no such folder": (["fit", "rose.png", "-o", "none/x.json"], "does not exist; make it first"),
    "blank reference": (["fit", "blank.png", "-o", "x.json"], "no stained tissue"),
    "grey reference": (["fit", "grey.png", "-o", "x.json"], "grey picture"),
    "blank picture": (["apply", "blank.png", *TO, "-o", "x.png"], "no stained tissue"),
    "no profile": (["apply", "rose.png", "--to", "bad.json", "-o", "x.png"], "bad.json cannot be read"),
    "another method": (["apply", "rose.png", *TO, "--method", "macenko", "-o", "x.png"], "leave out --method"),
    "unknown method": (["apply", "rose.png", *TO, "--method", "x", "-o", "x.png"], "is not one of"),
    "unknown format": (["apply", "rose.png", *TO, "-o", "x.bmp"], "x.bmp"),
    "slide options": (["apply", "rose.png", *TO, "-o", "x.png", "--lossless"], "leave out --lossless"),
    "two qualities": (["apply", "rose.svs", *TO, "-o", "x.tif", "--lossless", "--quality", "9"], "leave out one"),
    "zarr options": (["apply", "rose.svs", *TO, "-o", "x.ome.zarr", "--lossless"], "is for OME-TIFF"),
    "slide to png": (["apply", "rose.svs", *TO, "-o", "x.png"], "end its name in .ome.tif or .ome.zarr"),
    "no macro": (["apply", "o.ome.tif", *TO, "-o", "x.tif"], "o.ome.tif does not exist"),
    "two sizes": (["check", "rose.png", "blank.png"], "same picture before and after"),
    "two kinds": (["check", "rose.svs", "rose.png"], "check two of one kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(folder: Path, name: str) -> None:
    arguments, words = REFUSED[name]
    before = sorted(folder.iterdir())
    done = impasto("stain", *arguments, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before
