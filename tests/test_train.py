"""`impasto train` and `impasto train-any`: what they write, how they go on, and what they refuse."""

from __future__ import annotations

import itertools
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from impasto.cli.main import main
from impasto.nets.any_style import Apply, load_any_style
from impasto.nets.cnn import Cnn
from impasto.train.any_style import USUAL_STRENGTH, steps_within, tensorboard
from impasto.train.checkpoint import load_checkpoint
from impasto.train.data import Folder
from impasto.train.one_style import OneStyleTraining, PhotoSource, RecentGrams, in_one_style
from impasto.train.settings import OneStyleSettings
from impasto.train.thin import sample_of, thinned
from support import shapes_picture
from test_any_style import CPU, SMALL, five_blocks, lively

QUICK = ["--sizes", "40,48", "--groups", "1", "--threads", "1", "--sheet-every", "4", "--quiet"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with ten pictures and one that is none, style.png, photo.png; also the current folder."""
    (tmp_path / "photos").mkdir()
    names = [*(f"photos/{number}.png" for number in range(10)), "style.png", "photo.png"]
    for seed, name in enumerate(names):
        Image.fromarray((shapes_picture(64, 56, seed) * 255).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "photos" / "5.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_of_one_style(data: Path, capsys: pytest.CaptureFixture[str], vgg16: Cnn) -> None:
    command = ["train", "style.png", "--photos", "photos", "-o", "one.safetensors", "--fall", "0.6", *QUICK]
    # So many that the one which cannot be read is met.
    command += ["--groups", "3"]
    assert main([*command, "--steps", "4"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("one.safetensors: 4 of 4 steps")
    assert "1 of the pictures could not be read" in said.err
    assert (data / "one.safetensors").stat().st_size <= 1_000_000
    with safe_open("one.safetensors", framework="pt") as opened:
        assert "style.png" in opened.metadata()["card"] and "4 steps" in opened.metadata()["card"]
    folder = data / "one.training"
    assert Image.open(folder / "sheet.png").size == (5 * 256, 256)
    first = load_any_style("one.safetensors").state_dict()

    assert main([*command, "--steps", "6"]) == 0, "goes on from the checkpoint"
    assert capsys.readouterr().out.startswith("one.safetensors: 6 of 6 steps")
    assert (folder / "sheet-000006.png").is_file(), "the end is shown, whether or not a sheet was due"
    assert load_checkpoint(folder / "training.safetensors")[1]["settings"]["fall"] == 0.6
    second = load_any_style("one.safetensors").state_dict()
    assert any(not torch.equal(first[name], second[name]) for name in first)

    assert main(["photo.png", "--model", "one.safetensors", "-o", "out.png", "--quiet"]) == 0
    assert Image.open("out.png").size == (56, 64)
    assert main(["photo.png", "style.png", "--model", "one.safetensors", "-o", "b.png"]) == 2
    assert "leave the style pictures out" in capsys.readouterr().err


def test_a_training_of_one_style_takes_as_many_steps_as_its_time_allows(
    data: Path, capsys: pytest.CaptureFixture[str], vgg16: Cnn
) -> None:
    command = ["train", "style.png", "--photos", "photos", "-o", "one.safetensors", *QUICK]
    checkpoint = data / "one.training" / "training.safetensors"

    def steps() -> tuple[int, int]:
        facts = load_checkpoint(checkpoint)[1]
        return facts["step"], facts["settings"]["steps"]

    assert main([*command, "--minutes", "0.0001"]) == 0
    assert steps() == (1, 1), "never none"
    assert main(command) == 0
    assert steps() == (1, 1), "that training is at its end"
    assert main([*command, "--minutes", "0.02"]) == 0
    done, planned = steps()
    assert done == planned > 1, "it goes on for so much longer"
    capsys.readouterr()
    assert main([*command, "--minutes", "1", "--steps", "3"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_steps_are_told_from_the_pace_of_a_few(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, style = OneStyleSettings(steps=1, sizes=(36,)), torch.rand(1, 3, 40, 40)
    source = PhotoSource(Folder("photos"))
    training = OneStyleTraining(
        settings, source, five_blocks(), style, lively(TWO_BLOCKS), device=CPU, dtype=torch.float32
    )
    clock = itertools.count(step=2)  # A step takes two seconds.
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert steps_within(training, 100) == 40, "and a fifth is left for sheets and whole photos"


def test_crops_lie_anywhere_on_the_grain(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, style = PhotoSource(Folder("photos")), torch.rand(1, 3, 40, 40)
    training = OneStyleTraining(
        OneStyleSettings(steps=5, sizes=(36,)), source, five_blocks(), style, lively(TWO_BLOCKS), device=CPU,
        dtype=torch.float32,
    )  # fmt: skip
    # The first step looks at a whole photo besides.
    training.step = 1
    paint, corners = training.network.paint, list[tuple[int, int]]()

    def noted(photo: Tensor, apply: Apply, corner: tuple[int, int] = (0, 0)) -> Tensor:
        corners.append(corner)
        return paint(photo, apply, corner)

    monkeypatch.setattr(training.network, "paint", noted)
    for _ in range(4):
        training.run_step()
    painted, moved = corners[::2], corners[1::2]
    assert len(set(painted)) == 4
    for one, other in zip(painted, moved, strict=True):
        assert all(0 <= place - there < 8 for place, there in zip(one, other, strict=True)), "moved with the photo"


TWO_BLOCKS = replace(SMALL, blocks=2, last=2)
USUAL = torch.tensor([USUAL_STRENGTH])


def test_a_network_of_one_style_begins_as_the_part_of_its_teacher_that_paints_it() -> None:
    teacher, photo = lively(TWO_BLOCKS), torch.rand(1, 3, 48, 40)
    code = teacher.encode(torch.rand(1, 3, 40, 40))
    own = in_one_style(teacher, code)
    inner = teacher.shape.inner, teacher.shape.inner_last
    assert (own.shape.code, own.shape.inner, own.shape.inner_last, own.shape.experts) == (8, *inner, 1)
    assert own.shape.encoder == ()
    painted = own(photo, own.encode(photo), USUAL)
    assert (own.shape.blocks, own.shape.last) == (2, 2)
    assert (painted - teacher(photo, code, USUAL)).abs().max() < 1e-5
    assert (painted - own(photo, own.encode(photo), torch.tensor([0.3]))).abs().max() > 1e-3, "the dial stays"


def test_a_thinned_network_paints_the_same_where_the_kept_channels_can_speak_for_the_others() -> None:
    network = lively(TWO_BLOCKS)
    for name, parameter in network.named_parameters():
        if "widen.weight" in name:
            with torch.no_grad():
                parameter[:, 3], parameter[:, 5] = 2 * parameter[:, 0], 0
    photos, styles = torch.rand(2, 3, 48, 40), torch.rand(5, 3, 40, 40)
    codes = network.dialled(network.encode(styles), USUAL.expand(5)).detach()
    thin = thinned(network, [sample_of(network, photos, code.expand(2, -1)) for code in codes[:4]], 14, 15)
    assert (thin.shape.inner, thin.shape.inner_last) == (14, 15)
    code, strength = network.encode(styles[4:]).expand(2, -1), USUAL.expand(2)
    assert (thin(photos, code, strength) - network(photos, code, strength)).abs().max() < 1e-3, (
        "in a style not measured"
    )


def test_training_brings_a_network_of_one_style_nearer_to_it(data: Path) -> None:
    settings = OneStyleSettings(steps=60, sizes=(36,), warm_up=5, learning_rate=5e-3)
    source, style = PhotoSource(Folder("photos")), torch.from_numpy(shapes_picture(40, 40, 3)).permute(2, 0, 1)[None]
    torch.set_num_threads(1)
    teacher = lively(TWO_BLOCKS)
    training = OneStyleTraining(settings, source, five_blocks(), style, teacher, device=CPU, dtype=torch.float32)
    distances = [training.run_step()["style"] for _ in range(60)]
    assert np.mean(distances[-10:]) < 0.8 * np.mean(distances[:10])
    for name, tensor in teacher.state_dict().items():
        if name.startswith("dial.0"):
            assert torch.equal(training.network.state_dict()[name], tensor), "strengths stay apart"


def test_a_network_of_one_style_is_held_to_the_content_that_its_teacher_keeps(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = OneStyleSettings(steps=60, sizes=(36,))
    source, style, photo = PhotoSource(Folder("photos")), torch.rand(1, 3, 40, 40), torch.rand(1, 3, 72, 72)

    def begun() -> OneStyleTraining:
        return OneStyleTraining(
            settings, source, five_blocks(), style, lively(TWO_BLOCKS), device=CPU, dtype=torch.float32
        )

    training, batch = begun(), source.batch(0, 36, range(1))
    training.step = 1
    weights, gradient = training.content_weights(batch), training.judge(1 - batch.photos, batch)[0]
    training.look_at_whole(photo)
    assert training.content_scale == pytest.approx(1, abs=0.01), "it begins as its teacher"
    monkeypatch.setattr(training.teacher, "forward", lambda photo, *_: 10 * photo)
    training.look_at_whole(photo)
    nearer = training.content_scale
    assert nearer < 0.98
    assert torch.allclose(training.content_weights(batch), weights * nearer)
    monkeypatch.setattr(training.teacher, "forward", lambda photo, *_: 0.99 * photo)
    training.look_at_whole(photo)
    further = training.content_scale
    assert further > nearer
    monkeypatch.setattr(training.teacher, "forward", lambda photo, *_: photo)
    training.look_at_whole(photo)
    assert further < training.content_scale < 1.3 * further, "by a little, however near the teacher stays"
    further = training.content_scale
    training.recent.missing.clear()
    assert not torch.equal(training.judge(1 - batch.photos, batch)[0], gradient), "the weight is that of the gradient"

    training.save(data / "kept.safetensors")
    again = begun()
    again.load(data / "kept.safetensors")
    assert again.content_scale == further


def test_a_network_of_one_style_goes_on_to_the_same_bits(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.train.one_style.WHOLE_STEPS", 1)
    settings = OneStyleSettings(steps=4, sizes=(36,))
    style = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))

    def begun() -> OneStyleTraining:
        source = PhotoSource(Folder("photos"))
        return OneStyleTraining(
            settings, source, five_blocks(), style, lively(TWO_BLOCKS), device=CPU, dtype=torch.float32
        )

    straight, stopped, again = begun(), begun(), begun()
    for _ in range(4):
        straight.run_step()
    for _ in range(2):
        stopped.run_step()
    stopped.save(data / "half.safetensors")
    again.load(data / "half.safetensors")
    for _ in range(2):
        again.run_step()
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    assert 0 < again.recent.whole == straight.recent.whole
    assert again.content_scale == straight.content_scale != 1


def test_whole_photos_are_twice_as_large_as_crops_and_looked_at_every_so_many_steps(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, style = PhotoSource(Folder("photos")), torch.rand(1, 3, 40, 40)
    training = OneStyleTraining(
        OneStyleSettings(steps=17, sizes=(36,)), source, five_blocks(), style, lively(TWO_BLOCKS), device=CPU,
        dtype=torch.float32,
    )  # fmt: skip
    looked = list[tuple[int, Tensor]]()
    monkeypatch.setattr(training, "look_at_whole", lambda photo: looked.append((training.step, photo)))
    for _ in range(17):
        training.run_step()
    assert [step for step, _ in looked] == [0, 16]
    assert all(photo.shape == (1, 3, 72, 72) for _, photo in looked)
    assert not torch.equal(looked[0][1], looked[1][1])


def test_what_whole_pictures_have_more_than_crops_counts_as_the_crops_own() -> None:
    recent, grey, black = RecentGrams(), torch.full((2, 2), 0.5), torch.zeros(1, 2, 2)
    recent.see_whole(0.6, {"layer": grey})
    assert recent.whole == 0, "there is no crop to compare with yet"
    assert torch.equal(recent.joined([0.6], "layer", black), black)
    recent.see_whole(0.6, {"layer": grey})
    assert torch.equal(recent.joined([0.6], "layer", black)[0], grey)
    recent.see_whole(0.6, {"layer": torch.zeros(2, 2)})
    assert torch.allclose(recent.joined([0.6], "layer", black)[0], grey / 2), "the mean of both"
    for _ in range(100):
        recent.see_whole(0.6, {"layer": torch.zeros(2, 2)})
    assert recent.joined([0.6], "layer", black).abs().max() < 1e-3, "networks change, and so does it"
    assert torch.equal(recent.joined([0.6], "deeper", black), black)


def test_a_crop_is_compared_with_the_style_as_a_part_of_what_was_painted_lately() -> None:
    recent, black, white = RecentGrams(), torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert torch.equal(recent.joined([0.6], "layer", black), black), "the first is alone"
    for _ in range(100):
        recent.joined([0.6, 0.6], "layer", torch.cat([white, black]))
    assert 0.2 < float(recent.joined([0.6], "layer", black)[0, 0, 0]) < 3 / 4 / 2
    assert 1 / 4 + 0.2 < float(recent.joined([0.6], "layer", white)[0, 0, 0]) < 1 / 4 + 3 / 4 * 0.6
    assert torch.equal(recent.joined([0.2], "layer", white), white), "faint pictures are not among bold ones"
    assert torch.equal(recent.joined([0.6], "deeper", white), white)


def test_a_network_for_any_style_on_two_processes(data: Path, vgg16: Cnn) -> None:
    import subprocess

    small = ["--groups", "2", "--steps", "2", *QUICK[:2], *QUICK[4:]]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "impasto"]
    arguments = ["train-any", "photos", "photos", "-o", "any.safetensors", "--folder", "kept", *small]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "any.safetensors: 2 of 2 steps.\n", "no sheet, for too few pictures to hold any out"
    assert load_any_style("any.safetensors").encoder is not None
    assert load_checkpoint(data / "kept" / "training.safetensors")[1]["step"] == 2
    assert main(["train-any", "photos", "photos", "-o", "b.safetensors", "--folder", "kept", "--start", "x"]) == 2


def test_tensorboard_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert tensorboard(tmp_path) is None
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = lambda folder: ("writes to", folder)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert tensorboard(tmp_path) == ("writes to", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["style.png", "--photos", "photos", "-o", "model.pt"], "must end in .safetensors"),
        (["style.png", "--photos", "photos", "-o", "none/model.safetensors"], "cannot be written"),
        (["style.png", "--photos", "none", "-o", "m.safetensors"], "no pictures to train on in none"),
        (["none.png", "--photos", "photos", "-o", "m.safetensors"], "none.png"),
        (["style.png", "-o", "m.safetensors"], "--photos"),
        (["style.png", "--photos", "photos", "-o", "m.safetensors", "--steps", "0"], "--steps must be greater"),
        (["style.png", "--photos", "photos", "-o", "m.safetensors", "--learning-rate", "x"], "--learning-rate must be"),
        (["style.png", "--photos", "photos", "-o", "m.safetensors", "--sizes", "64,8"], "--sizes.1 must be greater"),
        (["style.png", "--photos", "photos", "-o", "m.safetensors", "--sizes", "64,x"], "--sizes.1 must be a valid"),
        (["style.png", "--photos", "photos", "-o", "m.safetensors", "--time-budget", "soon"], "--time-budget must be"),
    ],
)
def test_mistakes(data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    before = sorted(data.rglob("*"))
    assert main(["train", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert sorted(data.rglob("*")) == before


def test_a_training_packed_small(data: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "docs" / "pack_pictures.py"
    command = [sys.executable, str(script), "photos", "photos", str(tmp_path / "packed")]
    done = subprocess.run([*command, "--side", "40"], capture_output=True, text=True, check=True)
    photos, styles = (Folder(tmp_path / "packed" / kind) for kind in ("content", "style"))
    assert len(photos) == len(styles) == 9
    first = photos.get(photos.files[0])
    assert first is not None and min(first.shape[1:]) == 40
    assert "5.png" in done.stderr and not photos.skipped
    refused = subprocess.run([*command, "--most-mib", "0.001"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "smaller --side" in refused.stderr
