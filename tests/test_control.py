"""Masks, protection, transparency, seamless pictures, textures, variations."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import impasto
from impasto.cli.main import main
from impasto.engines.objective import Aim, build_objective
from impasto.engines.optimize import Optimization, Stage, Task
from impasto.engines.optimizers import OPTIMIZERS
from impasto.engines.scales import Scale
from impasto.engines.state import Snapshot, saved_job
from impasto.engines.surface import Controls
from impasto.errors import UserError
from impasto.job import StyleJob
from impasto.nets.cnn import Cnn, build_cnn
from impasto.nets.layers import conv
from impasto.nets.passes import ExplicitPass
from impasto.periodic import periodic
from impasto.picture import Picture, read_picture
from impasto.regions import read_regions
from impasto.run import run
from impasto.sheet import contact_sheet
from support import SMALL_TABLE, shapes_picture

GUIDED = ["gram", "wasserstein", "mean_std", "moments", "ssim", "histogram", "sliced", "nearest", "remd"]


def save(array: np.ndarray, file: str) -> None:
    Picture(np.ascontiguousarray(array.transpose(2, 0, 1), np.float32)).save(file)


def mask(file: str, where: tuple[slice, slice], height: int = 48, width: int = 64, value: float = 1.0) -> None:
    """A mask for the photo of `files`, of `value` there and black elsewhere."""
    array = np.zeros((height, width, 3), np.float32)
    array[where] = value
    save(array, file)


ALL = slice(None)


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small files, masks of the photo's left and right half, and two styles of one colour, as current folder."""
    monkeypatch.chdir(files)
    mask("left.png", (ALL, slice(0, 32)))
    mask("right.png", (ALL, slice(32, 64)))
    mask("black.png", (ALL, slice(0, 0)))
    mask("white.png", (ALL, ALL))
    for name, colour in (("red", (0.9, 0.1, 0.1)), ("blue", (0.1, 0.1, 0.9))):
        save(0.8 * np.full((56, 56, 3), colour) + 0.2 * shapes_picture(56, 56, 3), f"{name}.png")
    return files


RUN: dict[str, Any] = {
    "backbone": "net.safetensors",
    "iterations": 5,
    "precision": "fp32",
    "content_layers": "block2_conv2",
    "style_layers": "block1_conv1,block3_conv1",
}


def painted(style: object = None, **fields: Any) -> np.ndarray:
    return impasto.stylize("photo.png", style, **RUN | fields).picture.pixels


def photo() -> np.ndarray:
    return read_picture("photo.png").pixels


def test_where_no_style_is_painted_the_photos_pixels_stay_exactly(folder: Path) -> None:
    arguments = ["photo.png", "-o", "out.png", "--mask", "left.png=red.png", "--quiet", "--keep-colour"]
    for name, value in RUN.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    assert main(arguments) == 0
    out = read_picture("out.png").pixels
    assert np.array_equal(out[:, :, 32:], photo()[:, :, 32:])
    assert abs(out - photo())[:, :, :32].mean() > 0.02


def test_each_region_takes_its_own_style(folder: Path) -> None:
    both = painted(mask=["left.png=red.png", "right.png=blue.png"], iterations=15)
    rest = painted(mask=["left.png=red.png"], mask_rest="blue.png", iterations=15)
    style = painted("blue.png", mask=["left.png=red.png"], iterations=15)
    for out in (both, rest, style):
        redness = (out[0] - out[2]).mean(0)
        assert redness[:26].mean() > redness[38:].mean() + 0.2
    assert abs(rest - style).max() == 0


@pytest.fixture
def two(folder: Path) -> Path:
    """The folder with two.png, a style that is red above and blue below, and a mask of its upper and lower half."""
    red, blue = (read_picture(f"{name}.png").pixels for name in ("red", "blue"))
    save(np.concatenate([red[:, :28], blue[:, 28:]], 1).transpose(1, 2, 0), "two.png")
    mask("upper.png", (slice(0, 28), ALL), 56, 56)
    mask("lower.png", (slice(28, 56), ALL), 56, 56)
    return folder


def redness(pixels: np.ndarray, columns: slice) -> float:
    return float((pixels[0] - pixels[2])[:, columns].mean())


@pytest.mark.parametrize("style_loss", ["gram", "remd"])
def test_a_region_takes_its_own_part_of_a_style(two: Path, style_loss: str) -> None:
    masks = ["left.png=two.png=upper.png", "right.png=two.png=lower.png"]
    swapped = ["left.png=two.png=lower.png", "right.png=two.png=upper.png"]
    more = {"style_loss": style_loss, "iterations": 20, "style_layers": "block1_conv1,block1_conv2"}
    one, other = (painted(mask=given, **more) for given in (masks, swapped))
    assert redness(one, slice(0, 26)) > redness(other, slice(0, 26)) + 0.15
    assert redness(one, slice(38, 64)) < redness(other, slice(38, 64)) - 0.15


def test_parts_of_styles_are_given_by_every_door_and_kept_by_a_job(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["photo.png", "-o", "out.png", "--mask", "left.png=two.png=small.png", "--report", "r", "--quiet"]
    mask("small.png", (slice(0, 14), ALL), 28, 28)
    for name, value in RUN.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    assert main(arguments) == 0
    assert "small.png is 28x28 px and was scaled to the 56x56 px of two.png" in capsys.readouterr().err
    saved = json.loads(Path("out.job.json").read_text())
    assert saved["mask"] == [{"file": "left.png", "style": "two.png", "style_mask": "small.png"}]
    assert main(["--job", "out.job.json", "-o", "again.png", "--quiet"]) == 0
    out, again = (read_picture(name).pixels for name in ("out.png", "again.png"))
    assert np.array_equal(out, again)
    for spelled in (("left.png", "two.png", "small.png"), saved["mask"][0]):
        with pytest.warns(UserWarning, match="scaled"):
            assert abs(painted(mask=[spelled]) - out).max() <= 0.5 / 255 + 1e-6
    assert abs(painted(mask=["left.png=two.png"]) - out).mean() > 0.005
    assert main(["photo.png", "-o", "small.png", "--mask", "left.png=two.png=small.png"]) == 2
    assert "small.png" in capsys.readouterr().err


def test_a_style_may_have_an_equals_sign_in_its_name(two: Path) -> None:
    Path("two.png").rename("red=blue.png")
    assert StyleJob(mask=("left.png=red=blue.png",)).mask[0].style == "red=blue.png"


def test_parts_of_styles_survive_an_interruption(two: Path) -> None:
    fields = {**RUN, "mask": ["left.png=two.png=upper.png"], "style_loss": "remd", "iterations": 8}
    job = StyleJob.of({"photo": "photo.png", **fields})
    whole = run(job).picture.pixels
    begun = run(job, listeners=[lambda step: step.iteration < 3])
    assert begun.snapshot is not None
    begun.snapshot.save(Path("state.safetensors"), job.model_dump_json())
    job = StyleJob.of(json.loads(saved_job(Path("state.safetensors"))))
    assert job.mask[0].style_mask == "upper.png"
    snapshot = Snapshot.load(Path("state.safetensors"), torch.device("cpu"))
    assert abs(run(job, resume=snapshot).picture.pixels - whole).max() < 1e-5


def test_styles_count_by_their_weights_and_one_of_none_is_left_out_and_said(folder: Path) -> None:
    more, less = (painted([f"red.png:{red}", f"blue.png:{10 - red}"], iterations=15) for red in (9, 1))
    assert redness(more, ALL) > redness(less, ALL) + 0.3
    with pytest.warns(UserWarning, match="blue.png has a weight of 0 and is left out"):
        without = painted(["red.png", "blue.png:0"])
    assert np.array_equal(without, painted("red.png"))


def test_soft_edges_are_mixed(folder: Path) -> None:
    save(np.broadcast_to(np.linspace(1, 0, 64)[None, :, None], (48, 64, 3)), "soft.png")
    change = abs(painted(mask="soft.png=red.png") - photo()).mean((0, 1))
    assert change[:16].mean() > change[24:40].mean() > change[48:].mean() > 0


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_protection_is_the_photos_share_of_a_pixel(folder: Path, value: float) -> None:
    mask("face.png", (slice(8, 24), slice(8, 40)), value=value)
    out = painted("red.png", protect="face.png")
    share = read_picture("face.png").pixels[0, 10, 10]
    inside = (ALL, slice(8, 24), slice(8, 40))
    assert abs(out - photo())[inside].max() <= 1 - share + 1e-6
    assert abs(out - photo()).mean() > 0.02
    if value == 1:
        assert np.array_equal(out[inside], photo()[inside])


def test_transparent_parts_neither_change_nor_count(folder: Path) -> None:
    alpha = np.ones((48, 64), np.float32)
    alpha[:, :20], alpha[:, 20:24] = 0, 0.5
    Picture(photo(), alpha=alpha).save("cut.png")
    cut = read_picture("cut.png")
    regions = read_regions(StyleJob(photo="cut.png", styles=("red.png",)), cut, 1)
    assert regions.styles is not None
    assert regions.keep is not None
    assert np.array_equal(regions.styles[0], cut.alpha)
    assert np.array_equal(regions.keep, (cut.alpha == 0).astype(np.float32))
    result = impasto.stylize("cut.png", "red.png", **RUN).picture
    assert np.array_equal(result.alpha, cut.alpha)
    assert np.array_equal(result.pixels[:, :, :20], cut.pixels[:, :, :20])
    assert abs(result.pixels - cut.pixels)[:, :, 24:].mean() > 0.02


def test_masks_of_another_size_are_scaled_and_overlap_is_shared_and_both_are_said(folder: Path) -> None:
    mask("small.png", (ALL, slice(0, 16)), 24, 32)
    job = StyleJob(photo="photo.png", mask=("small.png=red.png", "left.png=blue.png"))
    regions = read_regions(job, read_picture("photo.png"), 0)
    assert regions.styles is not None
    assert [share.shape for share in regions.styles] == [(48, 64)] * 2
    assert sum(regions.styles).max() <= 1 + 1e-6
    assert regions.styles[0][:, :28] == pytest.approx(0.5, abs=0.01)
    assert len(regions.notes) == 2
    assert regions.notes[0] == "small.png is 32x24 px and was scaled to the 64x48 px of photo.png."
    assert "overlap" in regions.notes[1]
    with pytest.warns(UserWarning, match="scaled"):
        painted(mask="small.png=red.png", iterations=1)


def test_masks_that_meet_are_no_overlap(folder: Path) -> None:
    job = StyleJob(photo="photo.png", mask=("left.png=red.png", "right.png=blue.png"))
    assert read_regions(job, read_picture("photo.png"), 0).notes == []


BAD = [
    ({"mask": "black.png=red.png"}, "black.png is black all over"),
    ({"mask": "left.png"}, "must name a style"),
    ({"mask": "left.png="}, "must name a style"),
    ({"mask": "absent.png=red.png"}, "absent.png"),
    ({"mask": "left.png=absent.png"}, "absent.png"),
    ({"mask_rest": "red.png"}, "add --mask"),
    ({"style": "red.png", "mask": "left.png=red.png", "mask_rest": "blue.png"}, "leave one of them out"),
    ({"mask": "left.png=red.png="}, "must name the style's own mask"),
    ({"mask": "left.png==left.png"}, "must name a style"),
    ({"mask": "left.png=red.png=absent.png"}, "absent.png"),
    ({"mask": "left.png=red.png=black.png"}, "black.png is black all over"),
    ({"mask": ("left.png=red.png", "black.png=red.png")}, "black.png is black all over"),
    ({"mask": "left.png=red.png=left.png", "style_loss": "mse"}, "takes nothing of a region .* use gram.*remd"),
    ({"style": ["red.png:0", "blue.png:0"]}, "All style weights are 0"),
    ({"style": "red.png:-1"}, "weight must be greater than or equal to 0"),
    ({"style": "red.png", "keep_colour": True, "match_colour": True}, "^keep_colour and match_colour contradict"),
    ({"style": "red.png", "protect": "black.png"}, "black.png is black all over"),
    ({"style": "red.png", "protect": "white.png"}, "Nothing of photo.png would be painted"),
    ({"style": "red.png", "protect": "absent.png"}, "absent.png"),
    ({"style": "red.png", "init": "random", "start_noise": 0.5}, "or leave out start_noise"),
    ({"style": "red.png", "start_noise": 1.5}, "start_noise must be less than or equal to 1"),
    ({}, "names no style"),
]


@pytest.mark.parametrize(("fields", "words"), BAD, ids=lambda part: part if isinstance(part, str) else "")
def test_mistakes(folder: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        painted(**fields)


def smooth(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(shapes_picture(height, width, seed).transpose(2, 0, 1)[None].copy())


def small_aim(style_loss: str, tv_weight: float = 2.0) -> tuple[Aim, ExplicitPass, list[torch.Tensor]]:
    """What a small network is to look for, that network, and two styles."""
    cnn = build_cnn(SMALL_TABLE, input_shape=(3, 64, 64), seed=2)
    names = [layer.name for layer in cnn.layers if "conv" in layer.name]
    aim = Aim("mse", style_loss, {names[-1]: 1.0}, dict.fromkeys(names, 1.0), 5.0, 100.0, tv_weight, (2.0, 1.0))
    network = ExplicitPass(cnn, aim.layers, dtype=torch.float32, device=torch.device("cpu"))
    return aim, network, [smooth(60, 50, 3), smooth(64, 64, 4)]


def objective(
    style_loss: str, controls: Controls, photo: torch.Tensor, tile_px: int | None = None, tv_weight: float = 2.0
) -> Any:
    aim, network, styles = small_aim(style_loss, tv_weight)
    return build_objective(network, aim, photo, styles, tile_px, controls)


@pytest.mark.parametrize("style_loss", GUIDED)
def test_guided_tiles_equal_the_whole(style_loss: str) -> None:
    left = torch.linspace(2, -1, 56).clamp(0, 1).expand(48, 56).contiguous()
    of_style = torch.linspace(-1, 2, 64).clamp(0, 1)[:, None].expand(64, 64).contiguous()
    controls = Controls((left, 1 - left), left / 2, style_guides=(None, of_style))
    photo, picture = smooth(48, 56, 1), smooth(48, 56, 2)
    (whole, gradient), (tiled, in_bands) = (
        objective(style_loss, controls, photo, tile_px).evaluate(picture) for tile_px in (None, 16)
    )
    assert tiled.total == pytest.approx(whole.total, rel=1e-5)
    of_all = objective(style_loss, replace(controls, style_guides=None), photo).evaluate(picture)[0]
    assert of_all.total != pytest.approx(whole.total, rel=1e-3)
    tolerance = 1e-3 if style_loss == "wasserstein" else 1e-5
    assert float((in_bands - gradient).norm() / gradient.norm()) <= tolerance


@pytest.mark.parametrize("style_loss", GUIDED)
def test_a_single_pixel_is_region_enough(style_loss: str) -> None:
    pixel, of_style = torch.zeros(48, 56), torch.zeros(64, 64)
    pixel[20, 30] = of_style[7, 40] = 1
    controls = Controls((1 - pixel, pixel), style_guides=(None, of_style))
    value, gradient = objective(style_loss, controls, smooth(48, 56, 1)).evaluate(smooth(48, 56, 2))
    assert value.finite
    assert gradient.isfinite().all()


def test_the_gradient_of_a_controlled_picture_against_finite_differences() -> None:
    left = torch.linspace(2, -1, 56).clamp(0, 1).expand(48, 56).contiguous()
    controls = Controls((left, 1 - left), left, seamless=True)
    picture = smooth(48, 56, 2)
    judged = objective("gram", controls, smooth(48, 56, 1), tv_weight=0)
    gradient = judged.evaluate(picture)[1]
    assert (gradient[:, :, :, :18] == 0).all(), "where the photo is kept nothing changes the objective"
    way = gradient / gradient.norm()
    ends = [judged.evaluate(picture + sign * 0.05 * way)[0].total for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 0.1 == pytest.approx(float(gradient.norm()), rel=0.02)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 12), st.integers(0, 14))
def test_a_seamless_picture_may_be_rolled(rows: int, columns: int) -> None:
    """By the network's stride: whatever is a border then, the objective is the same and its gradient goes along."""
    shift = ((4 * rows, 4 * columns), (2, 3))
    photo, picture = smooth(48, 56, 1), smooth(48, 56, 2)
    controls = Controls(seamless=True)
    still, gradient = objective("gram", controls, photo).evaluate(picture)
    rolled, moved = objective("gram", controls, photo.roll(*shift)).evaluate(picture.roll(*shift))
    assert rolled.total == pytest.approx(still.total, rel=1e-5)
    assert float((moved - gradient.roll(*shift)).norm() / gradient.norm()) <= 1e-4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_run_of_a_seamless_picture_may_be_rolled(optimizer: str) -> None:
    """At sides too whose Fourier transforms are slow: no optimizer knows of a border."""
    shift = ((8, 20), (2, 3))
    aim, network, styles = small_aim("gram")

    def end(photo: torch.Tensor) -> torch.Tensor:
        task = Task(
            lambda *size: photo, lambda *size: styles, lambda *size: photo.clone(), lambda *size: photo.clone(), False,
            aim, None, [Stage(Scale(52, 68, 8), optimizer)], lambda *size: Controls(seamless=True),
        )  # fmt: skip
        return Optimization(task, network, [], None).run().picture

    photo = smooth(52, 68, 1)
    still, rolled = end(photo), end(photo.roll(*shift))
    assert (still - photo).abs().mean() > 0.001
    assert (rolled - still.roll(*shift)).abs().max() < 0.02 * (still - photo).abs().max()


def jump(pixels: np.ndarray) -> float:
    """How much neighbours across the borders of a tile differ, relative to those within it."""
    across = [abs(pixels[:, :, 0] - pixels[:, :, -1]).mean(), abs(pixels[:, 0] - pixels[:, -1]).mean()]
    within = [abs(np.diff(pixels, axis=axis)).mean() for axis in (2, 1)]
    return float(max(a / b for a, b in zip(across, within, strict=True)))


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 99))
def test_periodic_pictures_fit_and_stay_what_they_are(height: int, width: int, seed: int) -> None:
    pixels = np.ascontiguousarray(shapes_picture(height, width, seed).transpose(2, 0, 1))
    once = periodic(pixels)
    assert once.min() >= 0
    assert once.max() <= 1
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * np.arange(width) / width) * np.ones((3, height, 1))
    fits = np.concatenate([wave, wave[:, :, ::-1]], 2).astype(np.float32)
    fits = np.concatenate([fits, fits[:, ::-1]], 1)
    assert abs(periodic(fits) - fits).max() < 1e-5, "what fits already is left as it is"


def test_periodic_takes_the_jumps_away() -> None:
    pixels = np.ascontiguousarray(shapes_picture(64, 80, 1).transpose(2, 0, 1))
    assert jump(pixels) > 4
    assert jump(periodic(pixels)) < 1.1


def test_a_seamless_picture_has_no_seam(folder: Path) -> None:
    plain, seamless = (painted("style.png", seamless=value, iterations=20) for value in (False, True))
    assert jump(plain) > 2
    assert jump(seamless) < 1.3


def test_a_seamless_texture_has_no_seam(folder: Path) -> None:
    run = {name: value for name, value in RUN.items() if name != "content_layers"} | {"iterations": 30}
    result = impasto.texture("style.png", size=64, seamless=True, **run)
    assert result.picture.size_hw == (64, 64)
    assert jump(result.picture.pixels) < 1.3


@pytest.mark.parametrize("option", ["keep_colour", "match_colour"])
def test_a_seamless_picture_in_the_photos_colours_has_no_seam(folder: Path, option: str) -> None:
    assert jump(painted("style.png", seamless=True, iterations=20, **{option: True})) < 1.3


def test_a_seamless_picture_keeps_the_photo_that_was_made_to_fit_and_says_so(folder: Path) -> None:
    with pytest.warns(UserWarning, match="made to fit first"):
        out = painted("red.png", seamless=True, protect="left.png")
    assert abs(out - periodic(photo()))[:, :, :32].max() < 1e-6


def test_seamless_needs_a_network_whose_layers_are_known(folder: Path) -> None:
    with pytest.raises(UserError, match="build_cnn"):
        impasto.stylize(
            "photo.png", "style.png", cnn=nn.Sequential(nn.Conv2d(3, 4, 3)), content_layers="0", style_layers="0",
            seamless=True,
        )  # fmt: skip


def test_a_texture_is_made_and_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [
        "--backbone",
        "net.safetensors",
        "--iterations",
        "4",
        "--style-layers",
        "block1_conv1",
        "--precision",
        "fp32",
    ]
    assert main(["texture", "style.png", "-o", "out.png", "--size", "40", *more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["iterations"] == 4
    assert main(["--job", "out.job.json", "-o", "again.png", "--quiet"]) == 0
    first, again = (read_picture(name).pixels for name in ("out.png", "again.png"))
    assert first.shape == (3, 40, 40)
    assert np.array_equal(first, again)
    assert main(["texture", "style.png", "-o", "other.png", "--size", "40", *more, "--seed", "5", "--quiet"]) == 0
    assert abs(read_picture("other.png").pixels - first).mean() > 0.02


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["texture"], "STYLE"),
        (["texture", "absent.png"], "absent.png"),
        (["texture", "style.png", "-o", "style.png"], "style.png"),
        (["texture", "style.png", "--size", "4"], "--size must be"),
        (["texture", "style.png", "--content-weight", "1"], "No such option"),
        (["photo.png", "style.png", "--variations", "1"], "--variations"),
        (["photo.png", "style.png", "--keep-colour", "--match-colour"], "impasto: --keep-colour and --match-colour"),
        (["photo.png", "style.png", "--variations", "3", "--report", "r"], "leave out --report"),
    ],
)
def test_mistakes_on_the_command_line(
    folder: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_colours_of_no_photo_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="no photo whose colours"):
        impasto.texture("style.png", size=64, keep_colour=True, backbone="net.safetensors")


def test_variations_differ_and_are_shown_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["photo.png", "style.png", "-o", "out.png", "--variations", "3", "--seed", "7", "--json"]
    for name, value in RUN.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    names = [part["output"] for part in told["variations"]]
    assert (told["output"], names) == ("out.png", ["out-1.png", "out-2.png", "out-3.png"])
    pictures = [read_picture(name).pixels for name in names]
    assert all(abs(a - b).mean() > 0.01 for a, b in itertools.combinations(pictures, 2))
    assert [StyleJob.load(f"out-{number}.job.json").seed for number in (1, 2, 3)] == [7, 8, 9]
    assert read_picture("out.png").size_hw == (2 * 48 + 8, 2 * 64 + 8)
    again = impasto.variations("photo.png", "style.png", count=2, seed=8, **RUN)
    assert abs(again[0].picture.pixels - pictures[1]).max() <= 0.5 / 255 + 1e-6


def test_the_plan_of_variations_paints_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["photo.png", "style.png", "-o", "out.png", "--variations", "3", "--dry-run"]
    for name, value in RUN.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    before = sorted(folder.iterdir())
    assert main(arguments) == 0
    assert "5 iterations" in capsys.readouterr().out
    assert sorted(folder.iterdir()) == before


def test_a_contact_sheet_shows_every_picture_on_white() -> None:
    pictures = [Picture(np.full((3, 30, 20), value, np.float32)) for value in (0.1, 0.2, 0.3)]
    clear = Picture(np.zeros((3, 30, 20), np.float32), alpha=np.zeros((30, 20), np.float32))
    sheet = contact_sheet([*pictures, clear]).pixels
    assert sheet.shape == (3, 68, 48)
    found = [sheet[0, y, x] for y, x in ((5, 5), (5, 40), (60, 5), (60, 40), (33, 5))]
    assert found == pytest.approx([0.1, 0.2, 0.3, 1.0, 1.0])
    assert contact_sheet([Picture(np.zeros((3, 1280, 640), np.float32))]).size_hw == (640, 320)


def test_networks_of_one_layer_can_be_seamless(folder: Path) -> None:
    cnn: Cnn = build_cnn([conv(4, 5)], input_shape=(3, 32, 32), seed=1)
    layers = {"content_layers": "block1_conv1", "style_layers": "block1_conv1"}
    result = impasto.stylize("photo.png", "style.png", cnn=cnn, seamless=True, iterations=3, **layers)
    assert result.picture.size_hw == (48, 64)
