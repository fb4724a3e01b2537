"""Layers that the program chooses, their balance, and the page that explains them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import impasto
from impasto.cli.main import main
from impasto.engines.balance import CONTENT_SHARE, balanced, chosen_layers, pulls
from impasto.engines.objective import Aim, build_objective
from impasto.errors import UserError
from impasto.job import CLASSIC_CONTENT, CLASSIC_STYLE, StyleJob
from impasto.nets.cnn import Cnn, build_cnn
from impasto.nets.layers import conv, dense, flatten, max_pool
from impasto.nets.passes import ExplicitPass
from impasto.picture import read_picture
from impasto.run import aim_of
from support import shapes_picture


def test_for_vgg_they_are_the_textbooks(vgg16: Cnn) -> None:
    assert chosen_layers(vgg16) == {"content": list(CLASSIC_CONTENT), "style": list(CLASSIC_STYLE)}


@pytest.mark.parametrize(
    ("table", "content", "style"),
    [
        ([conv(4)], "block1_conv1", ["block1_conv1"]),
        ([conv(4), conv(4), conv(4)], "block1_conv2", ["block1_conv1", "block1_conv2", "block1_conv3"]),
        ([conv(4), max_pool(2), conv(4), flatten(), dense(3)], "block1_conv1", ["block1_conv1", "block2_conv1"]),
        ([conv(2)] * 9, "block1_conv2", [f"block1_conv{number}" for number in (1, 2, 4, 6, 8)]),
        ([conv(2), max_pool(2)] * 4, "block3_conv1", [f"block{number}_conv1" for number in (1, 2, 3, 4)]),
    ],
)
def test_for_any_network_there_are_some(table: list, content: str, style: list[str]) -> None:
    found = chosen_layers(build_cnn(table, input_shape=(3, 64, 64), seed=1))
    assert found == {"content": [content], "style": style}


def test_balanced_layers_pull_alike(small_cnn: Cnn) -> None:
    names = [layer.name for layer in small_cnn.layers if "conv" in layer.name]
    aim = Aim("mse", "gram", dict.fromkeys(names, 1.0), dict.fromkeys(names, 1.0), 5.0, 100.0, 0.0, (1.0,))
    network = ExplicitPass(small_cnn, aim.layers, dtype=torch.float32, device=torch.device("cpu"))
    photo, style = (torch.from_numpy(shapes_picture(48, 64, s).transpose(2, 0, 1)[None].copy()) for s in (1, 2))
    for kind in ("content", "style"):
        sizes = pulls(kind, network, aim, photo, [style])
        weights = balanced(sizes)
        assert max(sizes.values()) > 1.5 * min(sizes.values()), "or there is nothing to balance"
        pulled = [weights[name] * sizes[name] for name in names]
        assert pulled == pytest.approx([pulled[0]] * 5)
        assert sum(weights.values()) == pytest.approx(5)
    alone = replace(aim, content_weight=0.0, style_weight=1.0, style_layers={names[2]: 1.0})
    network = ExplicitPass(small_cnn, alone.layers, dtype=torch.float32, device=torch.device("cpu"))
    gradient = build_objective(network, alone, photo, [style]).evaluate(photo)[1]
    assert float(gradient.norm()) == pytest.approx(sizes[names[2]], rel=1e-3)


def test_a_layer_without_a_pull_gets_no_infinite_weight() -> None:
    weights = balanced({"dead": 0.0, "alive": 1.0})
    assert np.isfinite(list(weights.values())).all()


def test_the_balance_hardly_depends_on_the_size(files: Path) -> None:
    def weights(size: int) -> dict[str, float]:
        job = StyleJob(
            photo=str(files / "photo.png"), styles=(str(files / "style.png"),), style_layers="auto", size=size,
            content_layers="auto", backbone=str(files / "net.safetensors"), precision="fp32",
        )  # fmt: skip
        return dict(aim_of(job).style_layers)

    small, large = weights(64), weights(128)
    assert list(small) == ["block1_conv1", "block2_conv1", "block3_conv1"]
    assert [large[name] for name in small] == pytest.approx(list(small.values()), rel=0.5)


@pytest.mark.parametrize("sides", [(16, 400), (400, 20)])
def test_the_balance_of_a_strip(small_cnn: Cnn, sides: tuple[int, int]) -> None:
    """Made small as a whole it would be too narrow for a network."""
    strip, style = shapes_picture(*sides, 1), shapes_picture(56, 56, 2)
    result = impasto.stylize(strip, style, cnn=small_cnn, iterations=2, engine="optimize")
    assert result.picture.size_hw == sides


def test_the_balance_beside_a_layer_of_one_size() -> None:
    """Pictures are made small for the balance, and a dense layer reads none of another size."""
    table = [conv(4), max_pool(2), conv(6), max_pool(2), conv(6), flatten(), dense(5)]
    cnn = build_cnn(table, input_shape=(3, 160, 160), seed=1)
    fields = {"content_layers": "dense1", "iterations": 2, "pyramid_from": "off", "engine": "optimize"}
    result = impasto.stylize(shapes_picture(160, 160, 1), shapes_picture(160, 160, 2), cnn=cnn, **fields)
    assert {name for name in result.losses if name.startswith("style_gram")} == {
        f"style_gram/{name}" for name in chosen_layers(cnn)["style"]
    }


def test_layers_are_chosen_where_none_are_named(files: Path) -> None:
    job = StyleJob(
        photo=str(files / "photo.png"), styles=(str(files / "style.png"),), backbone=str(files / "net.safetensors")
    )
    aim = aim_of(job)
    assert list(aim.content_layers) == ["block2_conv2"]
    assert list(aim.style_layers) == ["block1_conv1", "block2_conv1", "block3_conv1"]
    assert aim.content_weight == pytest.approx(CONTENT_SHARE * job.content_weight)
    named = aim_of(job.with_changes(style_layers="block1_conv1"))
    assert (named.content_weight, dict(named.style_layers)) == (job.content_weight, {"block1_conv1": 1.0})
    assert StyleJob.of({"look": "classic"}).style_layers == CLASSIC_STYLE


@pytest.mark.parametrize("field", ["content_layers", "style_layers"])
def test_auto_by_each_door(files: Path, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    other = {"content_layers": "block1_conv1", "style_layers": "block1_conv2"}
    run = {"backbone": "net.safetensors", "iterations": 4, "precision": "fp32"}
    plain, auto = (impasto.stylize("photo.png", "style.png", **run, **o) for o in (other, other | {field: "auto"}))
    assert not np.array_equal(plain.picture.pixels, auto.picture.pixels)
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in (run | other | {field: "auto"}).items()]
    assert main(["photo.png", "style.png", "-o", "out.png", "--quiet", *arguments]) == 0
    assert abs(read_picture("out.png").pixels - auto.picture.pixels).max() <= 0.5 / 255 + 1e-6
    assert getattr(StyleJob.load("out.job.json"), field) == "auto"


def test_auto_needs_layers_that_are_known(photo_array: np.ndarray, style_array: np.ndarray) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(UserError, match="name the module's layers"):
        impasto.stylize(photo_array, style_array, cnn=module, content_layers="0", style_layers="auto")


def test_the_page(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(files)
    more = ["--backbone", "net.safetensors", "--size", "32", "--iterations", "2"]
    assert main(["layers", "photo.png", "style.png", "-o", "page.png", *more, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    names = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1"]
    assert list(told["style"]) == list(told["content"]) == names
    assert [name for name in names if told["content"][name]] == ["block2_conv2"]
    assert [name for name in names if told["style"][name]] == ["block1_conv1", "block2_conv1", "block3_conv1"]
    page = read_picture("page.png").pixels
    assert page.shape[2] > 5 * 100
    assert page.std() > 0.05
    assert main(["layers", "photo.png", "style.png", "-o", "photo.png", *more]) == 2
    assert main(["layers", "photo.png", "absent.png", "-o", "page2.png", *more]) == 2
    assert not Path("page2.png").exists()
