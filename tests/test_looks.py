"""Looks: what each decides, what wins over it, and the photo that stays a photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import impasto
from impasto.cli.main import main
from impasto.colour import srgb_to_oklab
from impasto.edges import edge_correlation
from impasto.engines.bilateral import BilateralGrid, fit, luma
from impasto.engines.photo import colours_of
from impasto.errors import JobError, UserError
from impasto.job import LOOKS, StyleJob
from impasto.nets.cnn import Cnn
from impasto.picture import Picture, read_picture
from support import shapes_picture

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = st.tuples(st.integers(16, 90), st.integers(16, 90))


def tensor(height: int, width: int, seed: int) -> Tensor:
    return torch.from_numpy(shapes_picture(height, width, seed).transpose(2, 0, 1).copy())


def picture(height: int, width: int, seed: int, **more: Any) -> Picture:
    return Picture(shapes_picture(height, width, seed).transpose(2, 0, 1), **more)


def strokes(height: int, width: int) -> Tensor:
    """Oblique lines, a few pixels wide, from -0.2 to 0.2."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return 0.2 * torch.sin((x + 2 * y) * 1.3).expand(3, height, width)


def looked(photo: Picture, style: Picture, **fields: Any) -> np.ndarray:
    fields = {"look": "photo", "precision": "fp32", "threads": 1, **fields}
    return impasto.stylize(photo, style, **fields).picture.pixels


# The bilateral grid.


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, st.integers(0, 99))
def test_one_affine_map_is_found_and_holds_at_any_size(
    small: tuple[int, int], large: tuple[int, int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(3, 3, generator=generator) / 4
    offset = torch.rand(3, 1, 1, generator=generator) / 4

    def mapped(photo: Tensor) -> Tensor:
        return torch.tensordot(matrix, photo, dims=1) + offset

    photo, wanted = tensor(*small, seed), tensor(*large, seed + 1)
    found = fit(photo, mapped(photo)).apply(wanted)
    assert abs(found - mapped(wanted)).max() < 0.01


@settings(max_examples=20, deadline=None)
@given(SIZES, st.integers(2, 9), st.integers(2, 5), st.integers(2, 5), st.integers(0, 99))
def test_a_grid_is_applied_by_trilinear_weights(
    size: tuple[int, int], bins: int, rows: int, columns: int, seed: int
) -> None:
    """Against torch's own sampling of volumes."""
    photo = tensor(*size, seed)
    maps = torch.rand(bins, rows, columns, 3, 4, generator=torch.Generator().manual_seed(seed)) / 4
    height, width = size
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    places = 2 * torch.stack([x, y, luma(photo)], -1)[None, None] - 1
    volume = maps.permute(3, 4, 0, 1, 2).reshape(1, 12, bins, rows, columns)
    sampled = F.grid_sample(volume, places, align_corners=True).view(3, 4, height, width)
    wanted = (sampled[:, :3] * photo).sum(1) + sampled[:, 3]
    assert abs(BilateralGrid(maps).apply(photo) - wanted.clamp(0, 1)).max() < 1e-4


def test_a_photo_is_not_changed_by_itself() -> None:
    photo = tensor(90, 120, 1)
    assert abs(colours_of(photo, photo).apply(photo) - photo).max() < 0.01


def test_strokes_average_out() -> None:
    photo = tensor(96, 128, 1)
    toned = 0.2 + 0.5 * photo.flip(0)
    found = colours_of(photo, (toned + strokes(96, 128)).clamp(0, 1)).apply(photo)
    assert abs(found - toned).mean() < 0.05
    assert edge_correlation(luma(found), luma(photo)) > 0.9


def test_edges_stay_where_a_painting_moves_all_of_them() -> None:
    photo, other = tensor(96, 128, 1), tensor(96, 128, 7)
    assert edge_correlation(luma(other), luma(photo)) < 0.5
    large = tensor(192, 256, 1)
    assert edge_correlation(luma(colours_of(photo, other).apply(large)), luma(large)) >= 0.97


def test_no_halo_beside_a_step() -> None:
    """The painting has light and dark rims on both sides of the step, and strokes."""
    photo = torch.full((3, 96, 128), 0.25)
    photo[:, :, 64:] = 0.7
    rims = F.avg_pool2d(F.pad(photo[None], (6, 6, 6, 6), mode="replicate"), 13, 1)[0]
    painted = (0.6 * photo + 0.5 * (photo - rims) + 0.15 + 0.3 * strokes(96, 128)).clamp(0, 1)
    large = photo.repeat_interleave(3, 1).repeat_interleave(3, 2)
    found = luma(colours_of(photo, painted).apply(large))
    step = found[:, 240:].mean() - found[:, :144].mean()
    assert step > 0.15
    assert abs(luma(painted)[:, 66].mean() - luma(painted)[:, 90:].mean()) > 0.2 * step
    for side in (found[:, :192], found[:, 192:]):
        assert side.max() - side.min() < 0.08 * step


def test_no_bands_in_a_gradient() -> None:
    """An 8-bit ramp stays one: it rises throughout, by no more than a few steps at once."""
    ramp = (torch.linspace(0.1, 0.9, 1024) * 255).round() / 255
    photo = ramp.expand(3, 64, 1024).contiguous()
    painted = (photo.sqrt() * torch.tensor([0.9, 0.6, 0.7]).view(3, 1, 1) + strokes(64, 1024)).clamp(0, 1)
    steps = colours_of(photo, painted).apply(photo).diff(dim=2)
    assert steps.min() > -0.25 / 255
    assert steps.max() < 4 / 255


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_photos_of_one_colour_have_one_colour(value: float) -> None:
    photo = torch.full((3, 40, 50), value)
    painted = (0.5 + strokes(40, 50) + torch.tensor([0.1, 0.0, -0.1]).view(3, 1, 1)).clamp(0, 1)
    found = colours_of(photo, painted).apply(photo)
    assert found.isfinite().all()
    assert found.flatten(1).std(1).max() < 0.05
    assert abs(found.mean((1, 2)) - painted.mean((1, 2))).max() < 0.05


# The look.


def test_photo_keeps_edges_and_takes_colours() -> None:
    photo, style = picture(160, 200, 1), picture(128, 128, 2)
    style = style.with_pixels(style.pixels * np.float32([[[1.0]], [[0.6]], [[0.3]]]))
    found = looked(photo, style)
    assert edge_correlation(*(luma(torch.from_numpy(p)) for p in (found, photo.pixels))) >= 0.96
    own, before, after = (srgb_to_oklab(p).mean((1, 2)) for p in (style.pixels, photo.pixels, found))
    assert np.linalg.norm(after - own) < 0.5 * np.linalg.norm(before - own)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 400), (600, 900)])
def test_any_size(height: int, width: int) -> None:
    found = looked(picture(height, width, 1), picture(64, 64, 2))
    assert found.shape == (3, height, width)
    assert found.std() > 0.05


def test_a_large_photo_looks_like_the_same_photo_made_small() -> None:
    large, style = picture(600, 900, 1), picture(96, 96, 2)
    small = large.resized(300, 450)
    reduced = Picture(looked(large, style)).resized(300, 450).pixels
    assert abs(reduced - looked(small, style)).mean() < 0.02


def test_a_grey_photo_is_toned_and_a_grey_style_takes_colour_away() -> None:
    grey = Picture(np.repeat(picture(96, 128, 1).pixels.mean(0, keepdims=True), 3, 0))
    coloured = picture(96, 96, 2)
    found = looked(grey, coloured)
    assert np.isfinite(found).all()
    assert edge_correlation(*(luma(torch.from_numpy(p)) for p in (found, grey.pixels))) >= 0.96
    assert abs(srgb_to_oklab(looked(coloured, grey))[1:]).mean() < 0.2 * abs(srgb_to_oklab(coloured.pixels)[1:]).mean()


def test_alpha_is_kept_and_hidden_pixels_stay() -> None:
    alpha = np.ones((96, 128), np.float32)
    alpha[:, :30] = 0
    photo = picture(96, 128, 1, alpha=alpha)
    result = impasto.stylize(photo, picture(96, 96, 2), look="photo", threads=1)
    assert result.picture.alpha is not None
    assert np.array_equal(result.picture.alpha, alpha)
    assert np.array_equal(result.picture.pixels[:, :, :30], photo.pixels[:, :, :30])


@pytest.mark.parametrize(
    "fields",
    [{"strength": 0.2}, {"keep_colour": True}, {"match_colour": True}, {"style_scale": 0.5}, {"size": 64}],
)
def test_options_of_the_fast_engine_change_the_photo_look(fields: dict[str, Any]) -> None:
    photo, style = picture(96, 128, 1), picture(96, 96, 2)
    plain, changed = looked(photo, style), looked(photo, style, **fields)
    assert plain.shape != changed.shape or abs(plain - changed).mean() > 0.002


def test_no_strength_is_the_photo_itself() -> None:
    photo = picture(96, 128, 1)
    assert abs(looked(photo, picture(96, 96, 2), strength=0) - photo.pixels).max() < 0.01


def test_keep_colour_changes_tones_only() -> None:
    photo = picture(96, 128, 1)
    found = looked(photo, picture(96, 96, 2), keep_colour=True)
    before, after = (srgb_to_oklab(p) for p in (photo.pixels, found))
    assert abs(after[1:] - before[1:]).mean() < 0.01
    assert abs(after[0] - before[0]).mean() > 0.01


def test_by_the_optimizer(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What paints the small picture is the engine that was asked for, and its options count."""
    monkeypatch.chdir(files)
    fields = {"look": "photo", "engine": "optimize", "backbone": "net.safetensors", "iterations": 8}
    fields |= {"content_layers": "block2_conv2", "style_layers": "block1_conv1,block3_conv1"}
    result = impasto.stylize("photo.png", "style.png", **fields)
    assert (result.engine, result.iterations) == ("optimize", 8)
    less = impasto.stylize("photo.png", "style.png", **fields | {"style_weight": 1.0})
    assert abs(result.picture.pixels - less.picture.pixels).mean() > 0.002
    plain = impasto.stylize("photo.png", "style.png", **fields | {"look": "classic"})
    assert abs(result.picture.pixels - plain.picture.pixels).mean() > 0.01


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(files)
    left = np.zeros((3, 48, 64), np.float32)
    left[:, :, :32] = 1
    Picture(left).save("left.png")
    return files


def test_protected_parts_stay(folder: Path) -> None:
    photo = read_picture("photo.png")
    assert main(["photo.png", "style.png", "-o", "out.png", "--look", "photo", "--protect", "left.png", "--quiet"]) == 0
    found = read_picture("out.png").pixels
    assert np.array_equal(found[:, :, :32], photo.pixels[:, :, :32])
    assert abs(found[:, :, 33:] - photo.pixels[:, :, 33:]).mean() > 0.02


def test_the_command_line_and_python_make_the_same(folder: Path) -> None:
    assert main(["photo.png", "style.png", "-o", "out.png", "--look", "photo", "--quiet"]) == 0
    found = impasto.stylize("photo.png", "style.png", look="photo").picture.pixels
    assert abs(read_picture("out.png").pixels - found).max() <= 0.5 / 255 + 1e-6
    job = json.loads(Path("out.job.json").read_text())
    assert (job["look"], job["engine"]) == ("photo", "fast")
    assert main(["--job", "out.job.json", "-o", "again.png", "--quiet"]) == 0
    assert np.array_equal(read_picture("again.png").pixels, read_picture("out.png").pixels)


# What a look decides.


def test_a_look_decides_what_the_job_does_not() -> None:
    for look, fields in LOOKS.items():
        job = StyleJob.of({"look": look})
        assert {name: getattr(job, name) for name in fields} == fields
        assert job.changed_fields() <= {"look", *fields}
    assert StyleJob.of({}) == StyleJob.of({"look": "best"})
    assert StyleJob.of({}).start == "draft" != StyleJob.of({"look": "classic"}).start


def test_what_is_given_wins_over_the_look() -> None:
    job = StyleJob.of({"look": "classic", "init": "draft"})
    assert job.init == "draft"
    assert StyleJob.of({"look": "photo", "engine": "optimize"}).engine == "optimize"
    assert job.with_changes(size=64).init == "draft"


def test_another_look_for_a_saved_job(folder: Path) -> None:
    """What the job's own look decided goes with it; what was given stays."""
    from impasto.cli.options import job_of
    from impasto.cli.stylize import asked_job

    saved = StyleJob.of({"look": "classic", "photo": "photo.png", "styles": ["style.png"], "size": 40, "tv_weight": 2})
    Path("saved.json").write_text(saved.model_dump_json())
    none = dict.fromkeys(name for name in StyleJob.model_fields if name not in ("photo", "styles"))
    job = asked_job((), Path("saved.json"), none | {"look": "best"})
    given = {"photo": "photo.png", "styles": ["style.png"], "size": 40, "tv_weight": 2}
    assert job == job_of({"look": "best"}, given)
    assert asked_job((), Path("saved.json"), none) == saved


def test_style_transfer_leaves_its_layers_to_the_look(folder: Path, small_cnn: Cnn) -> None:
    fields: dict[str, Any] = {"content_layers": ["block2_conv2"], "num_iterations": 3}
    job = impasto.style_transfer("photo.png", "style.png", small_cnn, **fields).job
    assert (job.content_layers, job.style_layers) == ({"block2_conv2": 1.0}, "auto")
    given = impasto.style_transfer("photo.png", "style.png", small_cnn, style_layers=["block1_conv1"], **fields).job
    assert given.style_layers == {"block1_conv1": 1.0}
    with pytest.raises(UserError, match="no layer 'block4_conv1'"):
        impasto.style_transfer("photo.png", "style.png", small_cnn, look="classic", **fields)
    auto = impasto.style_transfer("photo.png", "style.png", small_cnn, look="classic", style_layers="auto", **fields)
    assert auto.job.style_layers == "auto"


def test_a_session_of_one_look_paints_another(folder: Path) -> None:
    with impasto.Session(look="photo") as session:
        assert session.stylize("photo.png", "style.png").job.engine == "fast"
        job = session.stylize("photo.png", "style.png", look="best", engine="fast", strength=0.5).job
    assert (job.look, job.strength) == ("best", 0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"look": "foto"}, "no look 'foto': did you mean 'photo'"),
        ({"look": "Best"}, "did you mean 'best'"),
        ({"look": ""}, "no look ''"),
        ({"look": "photo", "mask": "left.png=style.png"}, "leave out --mask"),
        ({"look": "photo", "seamless": True}, "leave out --seamless"),
        ({"look": "photo", "init": "draft"}, "no use for --init"),
        ({"look": "photo", "style_weight": 3}, "no use for --style-weight"),
        ({"look": "classic", "engine": "fast"}, "no use for the look classic"),
        ({"look": "classic", "model": "own.safetensors", "init": "content"}, "no use for the look classic"),
    ],
)
def test_what_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        impasto.stylize("photo.png", "style.png", **fields)
    arguments = ["photo.png", "style.png", "-o", "out.png"]
    for name, value in fields.items():
        arguments += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.png").exists()
