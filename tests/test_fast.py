"""The fast engine: the shipped network, its dial, tiles, styles of every kind, what it refuses."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import Tensor

import impasto
from impasto.engines.fast import FastEngine, code_of, luma
from impasto.errors import JobError, UserError
from impasto.evaluation.artefacts import checkerboard_score
from impasto.events import Step
from impasto.nets.any_style import FORMAT, SHIPPED, AnyStyle, Shape, load_any_style
from impasto.nets.cnn import Cnn
from impasto.nets.loaded import Loaded
from impasto.nets.passes import ExplicitPass
from impasto.picture import Picture, read_picture
from impasto.run import run
from impasto.train.objective import grams
from support import grained_picture, shapes_picture
from support import impasto as command

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
SMALL = Shape(
    code=16, near=8, far=8, blocks=2, last=1, inner=16, inner_last=16, experts=2,
    encoder=(8, 8, 8), deep=(8,), hidden=16,
)  # fmt: skip


def picture(height: int, width: int, seed: int) -> Picture:
    return Picture(shapes_picture(height, width, seed).transpose(2, 0, 1))


def painted(photo: Any, style: Any, **fields: object) -> np.ndarray:
    fields = {"engine": "fast", "precision": "fp32", "threads": 1, **fields}
    return impasto.stylize(photo, style, **fields).picture.pixels


def lively() -> AnyStyle:
    """A network in which every path counts, as after training."""
    torch.manual_seed(0)
    network = AnyStyle(SMALL)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


@pytest.fixture(scope="module")
def photo() -> Picture:
    return picture(96, 128, 1)


@pytest.fixture(scope="module")
def style() -> Picture:
    return picture(96, 96, 2)


def test_the_shipped_network_and_its_card() -> None:
    assert SHIPPED.stat().st_size <= 8_000_000
    with safe_open(str(SHIPPED), framework="pt") as opened:
        header = opened.metadata()
    assert header["format"] == FORMAT
    assert header["card"] == (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    for word in ("Data", "Loss", "Steps", "Figures", "Limits", "Licence"):
        assert word in header["card"]


def test_works_with_nothing_fetched(files: Path) -> None:
    environment = os.environ | {"IMPASTO_CACHE": str(files / "empty")}
    arguments = ["photo.png", "style.png", "-o", "out.png", "--engine", "fast", "--report", "report"]
    done = command(*arguments, cwd=files, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out.png: painted in one pass in ")
    assert Image.open(files / "out.png").size == (64, 48)
    assert json.loads((files / "out.job.json").read_text())["engine"] == "fast"
    names = {path.name for path in (files / "report").iterdir()}
    assert names == {"history.csv", "job.json", "run.json", "result.png", "index.html", "frame-000000.png"}
    assert "losses.png" not in (files / "report" / "index.html").read_text()


def test_auto_without_weights_is_a_draft_that_says_so(files: Path) -> None:
    environment = os.environ | {"IMPASTO_CACHE": str(files / "empty")}
    asked = ["photo.png", "style.png", "-o", "out.png", "--json", "--quality", "best", "--time-budget", "0.001s"]
    done = command(*asked, cwd=files, env=environment)
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert (said["engine"], said["stopped_by"], said["losses"]) == ("fast", "iterations", {})
    assert done.stderr.count("\n") == 1 and "impasto weights fetch vgg16" in done.stderr
    refused = command("photo.png", "style.png", "-o", "b.png", "--tv-weight", 1, cwd=files, env=environment)
    assert refused.returncode == 1 and not (files / "b.png").exists(), "an option would have been left unused"


def test_the_dial_goes_from_the_photo_to_the_boldest(vgg16: Cnn) -> None:
    layers = [f"block{block}_conv1" for block in range(1, 5)]
    photo = read_picture(Path(skimage.__file__).parent / "data" / "astronaut.png").resized(192, 192)
    objective = ExplicitPass(vgg16, layers, dtype=torch.float32, device=torch.device("cpu"))

    def features(pixels: np.ndarray) -> dict[str, Tensor]:
        return objective.forward(torch.from_numpy(np.ascontiguousarray(pixels))[None], keep=False).features

    def style_distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
        return float(sum(relative(grams(found[name]), grams(wanted[name])) for name in layers))

    content, styles, contents = features(photo.pixels), np.zeros(5), np.zeros(5)
    for name in ("watercolour", "woodcut", "mosaic"):
        style = read_picture(ROOT / "examples" / "styles" / f"{name}.jpg")
        pictures = [painted(photo, style, strength=strength) for strength in (0, 0.2, 0.4, 0.6, 0.8)]
        assert np.array_equal(pictures[0], photo.pixels)
        found, wanted = [features(pixels) for pixels in pictures], features(style.resized(192, 192).pixels)
        styles += [style_distance(one, wanted) for one in found]
        contents += [relative(one[layers[-1]], content[layers[-1]]) for one in found]
    assert contents[0] == 0 and (np.diff(contents) > 0).all()
    assert (np.diff(styles) < 0).all()


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().sum() / wanted.square().sum())


def test_several_styles_are_blended_by_weight(photo: Picture, style: Picture) -> None:
    other = picture(96, 96, 5)
    ends = painted(photo, style), painted(photo, other)

    def between(first: float, second: float) -> np.ndarray:
        job = impasto.StyleJob.of(
            {
                "engine": "fast",
                "precision": "fp32",
                "styles": [{"file": "a", "weight": first}, {"file": "b", "weight": second}],
            }
        )
        return run(job, photo=photo, styles=[style, other]).picture.pixels

    assert np.allclose(between(1, 0), ends[0], atol=1e-5)
    near, far = (abs(between(3, 1) - end).mean() for end in ends)
    assert 0.002 < near < far
    assert np.allclose(between(3, 1), between(0.75, 0.25), atol=1e-5)


@pytest.mark.parametrize("size", [(200, 136), (130, 259), (131, 64)])
def test_tiles_are_the_whole(size: tuple[int, int]) -> None:
    network = lively()
    whole = FastEngine(network, torch.from_numpy(picture(*size, 3).pixels)[None], torch.randn(1, 16), 0.8, False)
    one = replace(whole, whole_px=64 * 64, core_px=4096).run()
    tiled = replace(whole, whole_px=64 * 64, core_px=64).run()
    assert len(one.history) == 1 and len(tiled.history) >= 3
    assert (one.picture - tiled.picture).abs().max() < 1e-4
    assert (one.picture - whole.run().picture).abs().mean() < 0.1, "their statistics are nearly the picture's own"


def test_every_tile_is_a_step_and_can_be_the_last(photo: Picture) -> None:
    engine = FastEngine(lively(), torch.from_numpy(photo.pixels)[None], torch.randn(1, 16), 1.0, False, 64 * 64, 64)
    seen: list[Step] = []

    def listener(step: Step) -> bool:
        seen.append(step)
        return step.iteration < 1

    outcome = engine.run([listener])
    assert outcome.stopped_by == "on_step"
    assert [(step.iteration, step.iterations) for step in seen] == [(0, 4), (1, 4)]
    assert np.array_equal(seen[-1].preview().pixels, outcome.picture[0].numpy())
    assert torch.equal(outcome.picture[0, :, 64:], torch.from_numpy(photo.pixels)[:, 64:]), "still the photo"


def test_a_session_codes_a_style_once(photo: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    coded: list[tuple[int, ...]] = []
    encode = AnyStyle.encode

    def counted(self: AnyStyle, style: Tensor) -> Tensor:
        coded.append(tuple(style.shape))
        return encode(self, style)

    monkeypatch.setattr(AnyStyle, "encode", counted)
    with impasto.Session(engine="fast", precision="fp32", threads=1) as session:
        first = session.stylize(photo, style)
        second = session.stylize(picture(96, 128, 7), style)
        assert len(coded) == 1
        session.stylize(photo, style, style_scale=0.5)
        session.stylize(photo, picture(96, 96, 5))
        assert len(coded) == 3
    assert np.array_equal(first.picture.pixels, painted(photo, style))
    assert np.array_equal(second.picture.pixels, painted(picture(96, 128, 7), style))


def test_a_photo_in_its_own_style_is_the_photo(photo: Picture, tmp_path: Path) -> None:
    assert np.array_equal(painted(photo, photo), photo.pixels)
    photo.save(tmp_path / "again.jpg")
    again = read_picture(tmp_path / "again.jpg").resized(60, 80)
    assert abs(painted(photo, again) - photo.pixels).mean() < 0.02
    assert abs(painted(photo, [photo, picture(96, 96, 2)]) - photo.pixels).mean() > 0.05


def test_grey_styles_give_grey_pictures(photo: Picture, style: Picture) -> None:
    grey = Picture(np.repeat(style.pixels[:1], 3, 0))
    pixels = painted(photo, grey)
    assert np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[0], pixels[2])
    assert pixels.std() > 0.05
    assert np.ptp(painted(photo, [grey, style]), axis=0).max() > 0.1, "one of two has colour"


def test_what_a_transparent_style_hides_does_not_count(photo: Picture, style: Picture, tmp_path: Path) -> None:
    shown = np.zeros((96, 96), np.uint8)
    shown[:, :64] = 255
    found = []
    for number, hidden in enumerate((0, 255)):
        pixels = (style.pixels.transpose(1, 2, 0) * 255).astype(np.uint8)
        pixels[:, 64:] = hidden
        Image.fromarray(np.dstack([pixels, shown])).save(tmp_path / f"{number}.png")
        found.append(impasto.stylize(photo, tmp_path / f"{number}.png", engine="fast", threads=1).picture.pixels)
    assert np.array_equal(*found)


def test_init_draft_begins_with_the_fast_engines_picture(small_cnn: Cnn) -> None:
    """Painted at twice the size, since that is small, and reduced."""
    photo, style = grained_picture(96, 128, 2), shapes_picture(96, 128, 7)
    fields = {"iterations": 1, "precision": "fp32", "style_layers": "block1_conv1", "content_layers": "block2_conv2"}
    for strength in (0.3, 1.0):
        result = impasto.stylize(photo, style, cnn=small_cnn, init="draft", strength=strength, **fields)
        assert result.engine == "optimize"
        large = torch.from_numpy(painted(photo, style, strength=strength, size=256))[None]
        reduced = F.interpolate(large, (96, 128), mode="bilinear", antialias=True)[0]
        assert torch.allclose(torch.from_numpy(result.picture.pixels), reduced, atol=1e-5)


def test_the_notch_takes_the_networks_own_grid_away_also_from_a_draft(
    small_cnn: Cnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = read_picture(Path(skimage.__file__).parent / "data" / "astronaut.png").resized(256, 256)
    style = ROOT / "examples" / "styles" / "watercolour.jpg"
    fields = {"strength": 0.7, "precision": "fp32"}
    begun = {"cnn": small_cnn, "init": "draft", "iterations": 1, "learning_rate": 1e-9}

    def scores() -> list[float]:
        """Of the fast engine's picture, and of a draft: one of twice the size, reduced."""
        results = [impasto.stylize(photo, style, **fields, **more) for more in ({"engine": "fast"}, begun)]
        return [checkerboard_score(luma(torch.from_numpy(result.picture.pixels)[None])[0, 0]) for result in results]

    one, draft = scores()
    monkeypatch.setattr("impasto.nets.any_style.NOTCH_SHARE", 0.0)
    bare_one, bare_draft = scores()
    # Half a decibel is what photos have.
    assert one < 0.5 < bare_one - 1
    # Of a reduced one what was 8 px lies at 4: a tenth of what is there without, which comes to half a decibel too.
    assert draft < 0.1 * bare_draft


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"engine": "fast", "iterations": 5}, "no use for --iterations"),
        ({"engine": "fast", "style_layers": "block1_conv1"}, "no use for --style-layers"),
        ({"engine": "fast", "backbone": "vgg19"}, "no use for --backbone"),
        ({"engine": "fast", "time_budget": "3s"}, "no use for --time-budget"),
        ({"engine": "optimize", "strength": 0.4}, "--strength is of the fast engine"),
        ({"engine": "optimize", "model": "a.safetensors"}, "--model is of the fast engine"),
        ({"engine": "fast", "strength": 1.2}, "strength must be less than or equal to 1"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    photo: Picture, style: Picture, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        impasto.stylize(photo, style, **fields)


def test_sizes_that_the_network_does_not_read_are_refused(photo: Picture, style: Picture) -> None:
    with pytest.raises(UserError, match="32 px"):
        painted(picture(31, 64, 1), style)
    with pytest.raises(UserError, match="at 128x26 px.*none under 32 px.*crop the style"):
        painted(photo, picture(20, 100, 1))
    with pytest.raises(UserError, match="none under 32 px a side: use a larger one"):
        painted(photo, style, style_scale=0.1)
    with pytest.raises(UserError, match="none above 4096 px"):
        code_of(lively(), Loaded(), [style], [1.0], 3000, 8.0)
    assert painted(photo, picture(20, 20, 1)).shape == photo.pixels.shape, (
        "shown at the photo's size it is large enough"
    )


def write_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps({"weight": os.getcwd}))


def write_torch(file: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, file)


def write_truncated(file: Path) -> None:
    file.write_bytes(SHIPPED.read_bytes()[:5_000_000])


def write_future(file: Path) -> None:
    file.write_bytes(SHIPPED.read_bytes().replace(FORMAT.encode(), b"impasto-any-style-9"))


def write_broken_header(file: Path) -> None:
    file.write_bytes(SHIPPED.read_bytes().replace(b'near\\": 48', b'near\\": -8'))


def write_another_size(file: Path) -> None:
    file.write_bytes(SHIPPED.read_bytes().replace(b'near\\": 48', b'near\\": 64'))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda file: None, "There is no network file"),
        (write_pickle, "not a safetensors file"),
        (write_torch, "not a safetensors file"),
        (write_truncated, "damaged"),
        (write_future, "another version of Impasto"),
        (write_broken_header, "sizes"),
        (write_another_size, "tensors that its header tells of"),
        (lambda file: impasto.build_cnn(input_shape=(3, 224, 224)).save(file), "no any-style network"),
    ],
)
def test_other_model_files_are_refused(files: Path, write: object, words: str) -> None:
    write(files / "model.safetensors")  # type: ignore[operator]
    from impasto.cli.main import main

    with pytest.raises(UserError, match=words):
        load_any_style(files / "model.safetensors")
    arguments = [str(files / name) for name in ("photo.png", "style.png")]
    assert main([*arguments, "-o", str(files / "out.png"), "--model", str(files / "model.safetensors")]) == 2
    assert not (files / "out.png").exists()
