"""ONNX files paint as torch does, at sizes that they were not traced at."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

from impasto.cli.main import main
from impasto.nets.any_style import SHIPPED, AnyStyle, Shape, load_any_style
from impasto.nets.painter import stylize_fast
from impasto.train.one_style import own_shape
from support import shapes_picture

SIZES = [(64, 64), (97, 131), (200, 50)]


def to_tensor(height: int, width: int, seed: int) -> Tensor:
    return torch.from_numpy(shapes_picture(height, width, seed)).permute(2, 0, 1)[None].contiguous()


def run(file: Path, **inputs: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["picture"], {name: value.numpy() for name, value in inputs.items()})[0])


@pytest.mark.parametrize("given", ["style", "code"])
def test_the_shipped_network(tmp_path: Path, given: str) -> None:
    file = tmp_path / "net.onnx"
    assert main(["export", "-o", str(file), "--input", given]) == 0
    network = load_any_style(SHIPPED)
    for height, width in SIZES:
        photo, style = to_tensor(height, width, 1), to_tensor(width, height + 1, 2)
        code = network.encode(style)
        for strength in (0.1, 0.8):
            more = {"style": style} if given == "style" else {"code": code}
            painted = run(file, photo=photo, strength=torch.tensor([strength]), **more)
            assert (painted - stylize_fast(network, photo, code, strength)).abs().max() <= 2 / 255


def test_a_network_of_one_style(tmp_path: Path) -> None:
    torch.manual_seed(0)
    AnyStyle(own_shape(Shape())).save(tmp_path / "one.safetensors")
    file = tmp_path / "one.onnx"
    assert main(["export", str(tmp_path / "one.safetensors"), "-o", str(file)]) == 0
    network = load_any_style(tmp_path / "one.safetensors")
    for height, width in SIZES:
        photo = to_tensor(height, width, 1)
        painted = run(file, photo=photo, strength=torch.tensor([0.8]))
        assert (painted - stylize_fast(network, photo, network.own, 0.8)).abs().max() <= 2 / 255


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "net.pt"], "must end in .onnx"),
        (["-o", "nowhere/net.onnx"], "cannot be written"),
        (["none.safetensors", "-o", "net.onnx"], "no network file"),
        (["one.safetensors", "-o", "net.onnx", "--input", "code"], "leave out --input"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    AnyStyle(own_shape(Shape())).save("one.safetensors")
    assert main(["export", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]
