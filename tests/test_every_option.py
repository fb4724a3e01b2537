"""No option is accepted and ignored: changing a field changes the picture or the output, by each door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import impasto
from impasto.cli.main import main
from impasto.errors import UserError
from impasto.job import FAST_FIELDS, StyleJob
from impasto.nets.any_style import AnyStyle, Shape
from impasto.picture import Picture, read_picture
from impasto.run import Result
from support import shapes_picture

# What makes the run small; a field that is changed leaves this out.
BASE: dict[str, Any] = {
    "iterations": 6,
    "precision": "fp32",
    "content_layers": "block2_conv2",
    "style_layers": "block1_conv1,block3_conv1",
    "init": "content",
}


def stopped_by(reason: str) -> Callable[[Result], bool]:
    return lambda result: result.stopped_by == reason and result.iterations < 40


# Field: (its new value, other fields the case needs). The picture must differ from the one without the new value.
PICTURE_CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "look": ("photo", {"engine": "optimize"}),
    "size": (40, {}),
    "iterations": (9, {}),
    "pyramid_from": ("off", {"photo": "large.png", "pyramid_from": 64}),
    "optimizer": ("adam", {}),
    "learning_rate": (0.3, {}),
    "init": ("random", {}),
    "content_layers": ("block1_conv2=2,block3_conv1", {}),
    "style_layers": ("block1_conv1=3,block3_conv1", {}),
    "content_loss": ("ssim", {}),
    "style_loss": ("mean_std", {}),
    "content_weight": (50.0, {}),
    "style_weight": (1.0, {}),
    "tv_weight": (100.0, {}),
    "style_scale": (0.5, {}),
    "mask": (["left.png=style2.png"], {}),
    "mask_rest": ("style2.png", {"mask": ["left.png=style.png"], "styles": ()}),
    "protect": ("left.png", {}),
    "seamless": (True, {}),
    "start_noise": (0.5, {}),
    "match_colour": (True, {}),
    "keep_colour": (True, {}),
    "precision": ("bf16", {}),
    "pooling": ("max", {}),
    "seed": (7, {"init": "random"}),
    "photo": ("photo2.png", {}),
    "styles": (("style2.png",), {}),
    "backbone": ("net2.safetensors", {}),
    "quality": ("draft", {"iterations": None, "quality": "good"}),
    "stop_loss": (1e9, {}),
    "tolerance": (0.9, {"iterations": 40}),
    "time_budget": ("0.001s", {}),
}
# The same for the fast engine.
FAST_CHANGES: dict[str, Any] = {
    "look": "photo",
    "strength": 0.3,
    "model": "model.safetensors",
    "photo": "photo2.png",
    "styles": ("style2.png",),
    "size": 48,
    "style_scale": 0.7,
    "match_colour": True,
    "keep_colour": True,
    "precision": "bf16",
}
# Fields that change something other than the picture, each with a test of its own below.
OTHER_CHANGES = {"engine", "device", "threads", "max_pixels", "memory_budget"}


def test_every_field_has_its_case() -> None:
    assert set(PICTURE_CHANGES) | set(FAST_CHANGES) | OTHER_CHANGES == set(StyleJob.model_fields)
    assert set(FAST_CHANGES) | OTHER_CHANGES == FAST_FIELDS | {"memory_budget"}


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small files, and a second photo, a larger one, a mask and a second network; the current folder."""
    from impasto.nets.cnn import build_cnn, load_cnn

    for name, (height, width), seed in (("photo2", (48, 64), 8), ("large", (160, 200), 9)):
        Picture(shapes_picture(height, width, seed).transpose(2, 0, 1)).save(files / f"{name}.png")
    left = np.zeros((3, 48, 64), np.float32)
    left[:, :, :30] = 1
    Picture(left).save(files / "left.png")
    table = load_cnn(files / "net.safetensors").table
    build_cnn(table, input_shape=(3, 64, 64), seed=77).save(files / "net2.safetensors")
    monkeypatch.chdir(files)
    return files


def by_python(fields: dict[str, Any]) -> Picture:
    fields = dict(fields)
    photo, styles = fields.pop("photo"), list(fields.pop("styles"))
    return impasto.stylize(photo, styles, **fields).picture


def by_command_line(fields: dict[str, Any]) -> Picture:
    fields = dict(fields)
    arguments = [fields.pop("photo"), *fields.pop("styles"), "-o", "out.png", "--quiet"]
    for name, value in fields.items():
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value] if value is not None else []
        arguments += [flag] if value is True else [part for one in values for part in (flag, str(one))]
    assert main(arguments) == 0
    return read_picture("out.png")


@pytest.mark.parametrize("door", [by_python, by_command_line])
@pytest.mark.parametrize("field", PICTURE_CHANGES)
def test_field_changes_the_picture(folder: Path, field: str, door: Callable[[dict[str, Any]], Picture]) -> None:
    value, more = PICTURE_CHANGES[field]
    plain = {"photo": "photo.png", "styles": ("style.png",), "backbone": "net.safetensors", **BASE, **more}
    before, after = door(plain), door(plain | {field: value})
    same = before.pixels.shape == after.pixels.shape and np.array_equal(before.pixels, after.pixels)
    assert not same, f"{field}={value} changed nothing"


@pytest.mark.parametrize("door", [by_python, by_command_line])
@pytest.mark.parametrize("field", FAST_CHANGES)
def test_field_changes_the_fast_engines_picture(
    folder: Path, field: str, door: Callable[[dict[str, Any]], Picture]
) -> None:
    AnyStyle(Shape(code=16, near=8, far=8, blocks=2, last=1, experts=2, encoder=(8, 8, 8), deep=(8,), hidden=16)).save(
        "model.safetensors"
    )
    plain = {"photo": "photo.png", "styles": ("style.png",), "engine": "fast", "precision": "fp32", "threads": 1}
    before, after = door(plain), door(plain | {field: FAST_CHANGES[field]})
    same = before.pixels.shape == after.pixels.shape and np.array_equal(before.pixels, after.pixels)
    assert not same, f"{field}={FAST_CHANGES[field]} changed nothing"


@pytest.mark.parametrize("door", [by_python, by_command_line])
def test_the_same_job_gives_the_same_picture(folder: Path, door: Callable[[dict[str, Any]], Picture]) -> None:
    plain = {"photo": "photo.png", "styles": ("style.png",), "backbone": "net.safetensors", **BASE, "init": "random"}
    assert np.array_equal(door(plain).pixels, door(plain).pixels)


def test_python_and_command_line_make_the_same_picture(folder: Path) -> None:
    plain = {"photo": "photo.png", "styles": ("style.png", "style2.png:3"), "backbone": "net.safetensors", **BASE}
    assert abs(by_python(plain).pixels - by_command_line(plain).pixels).max() <= 0.5 / 255 + 1e-6


def test_every_init_starts_elsewhere(folder: Path) -> None:
    plain = {"photo": "photo.png", "styles": ("style.png",), "backbone": "net.safetensors", **BASE, "iterations": 1}
    starts = {
        init: by_python(plain | {"init": init}).pixels for init in ("content", "draft", "random", "style", "photo2.png")
    }
    for init, pixels in starts.items():
        others = [other for name, other in starts.items() if name != init]
        assert all(abs(pixels - other).mean() > 0.02 for other in others)
    # After one evaluation the best picture is the start itself.
    assert abs(starts["content"] - read_picture("photo.png").pixels).max() < 1e-6
    assert abs(starts["photo2.png"] - read_picture("photo2.png").pixels).max() < 1e-6


def test_keep_colour_keeps_the_photos_colours(folder: Path) -> None:
    from impasto import colour

    plain = {"photo": "photo.png", "styles": ("style.png",), "backbone": "net.safetensors", **BASE, "iterations": 20}
    photo = colour.srgb_to_oklab(read_picture("photo.png").pixels)

    def off(fields: dict[str, Any]) -> float:
        return float(abs(colour.srgb_to_oklab(by_python(fields).pixels)[1:] - photo[1:]).mean())

    assert off(plain | {"keep_colour": True}) < 0.5 * off(plain)


def test_engine_names_what_ran(folder: Path) -> None:
    for engine in ("auto", "optimize"):
        result = impasto.stylize("photo.png", "style.png", engine=engine, backbone="net.safetensors", **BASE)
        assert (result.engine, result.job.engine) == ("optimize", engine)
    result = impasto.stylize("photo.png", "style.png", engine="fast")
    assert (result.engine, result.job.engine) == ("fast", "fast")
    with pytest.raises(UserError, match="engine must be 'auto', 'fast' or 'optimize'"):
        impasto.stylize("photo.png", "style.png", engine="quantum", **BASE)


def test_threads_are_set(folder: Path) -> None:
    before = torch.get_num_threads()
    impasto.stylize("photo.png", "style.png", threads=1, backbone="net.safetensors", **BASE)
    assert torch.get_num_threads() == 1
    impasto.stylize("photo.png", "style.png", threads=2, backbone="net.safetensors", **BASE)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_max_pixels_is_the_limit(folder: Path) -> None:
    with pytest.raises(UserError, match="max-pixels"):
        impasto.stylize("photo.png", "style.png", max_pixels=48 * 64 - 1, backbone="net.safetensors", **BASE)
    impasto.stylize("photo.png", "style.png", max_pixels=56 * 56, backbone="net.safetensors", **BASE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU, so asking for it is no mistake")
def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="--device cuda is not on this machine"):
        impasto.stylize("photo.png", "style.png", device="cuda", backbone="net.safetensors", **BASE)


def test_a_memory_budget_that_is_too_small_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="memory-budget 1 MiB is too small .*MiB is the least that would do"):
        impasto.stylize("photo.png", "style.png", memory_budget="1MiB", backbone="net.safetensors", **BASE)
    arguments = ["photo.png", "style.png", "--backbone", "net.safetensors", "--memory-budget", "1MiB"]
    arguments += ["--content-layers", "block2_conv2", "--style-layers", "block1_conv1"]
    assert main(arguments) == 2
    assert "least that would do" in capsys.readouterr().err
