"""Tiles: every feature once, and the same value and gradient as the whole picture's, for every loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto import losses
from impasto.engines.anchor import Anchor
from impasto.engines.objective import Aim, build_objective
from impasto.engines.tiles import Tiling
from impasto.errors import LayerError
from impasto.nets.cnn import Cnn, build_cnn
from impasto.nets.cost import cost_of
from impasto.nets.layers import avg_pool, conv, describe, max_pool
from impasto.nets.passes import ExplicitPass
from support import SMALL_TABLE

CPU = torch.device("cpu")
NETWORKS = {
    "small": SMALL_TABLE,
    "deep": [conv(6), max_pool(2), conv(6), max_pool(2), conv(6), max_pool(2), conv(6)],
    "odd": [conv(5, 5), max_pool(3), conv(6, 3, "tanh"), avg_pool(2), conv(6, 3, padding="valid")],
    "strided": [conv(5, 3, stride=2), conv(6, 3), max_pool(2), conv(6, 3, "sigmoid")],
}


def smooth(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 5 + 2, width // 5 + 2, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


# Every loss of each kind, beside the default of the other.
PAIRS = [("mse", style) for style in losses.LOSSES["style"]]
PAIRS += [(content, "gram") for content in losses.LOSSES["content"] if content != "mse"]


# Which of two features ranks first, or is nearer, is for rounding to say where they are all but equal; inverse roots of
# covariances make much of the rounding of small ones.
ROUGH = {"histogram", "sliced", "nearest", "remd", "self_similarity", "wasserstein"}


@pytest.mark.parametrize("table", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_tiles_equal_the_whole(table: list, content: str, style: str) -> None:
    cnn = build_cnn(table, input_shape=(3, 64, 64), seed=2)
    names = [layer.name for layer in cnn.layers if "conv" in layer.name]
    aim = Aim(content, style, {names[-1]: 1.0, names[1]: 0.5}, dict.fromkeys(names, 1.0), 5.0, 100.0, 2.0, (2.0, 1.0))
    network = ExplicitPass(cnn, aim.layers, dtype=torch.float32, device=CPU)
    photo, picture = smooth(101, 87, 1), smooth(101, 87, 2)
    styles = [smooth(70, 93, 3), smooth(64, 64, 4)]
    # As tiles are run: what they need not hold they make anew.
    little = ExplicitPass(cnn, aim.layers, dtype=torch.float32, device=CPU)
    little.hold_little(True)
    objectives = [
        build_objective(network, aim, photo, styles),
        build_objective(little, aim, photo, styles, tile_px=36),
    ]
    for objective in objectives:
        objective.turn, objective.anchor = 3, Anchor.of(smooth(50, 43, 5), 101, 87)
    (whole, gradient), (tiled, in_bands) = (objective.evaluate(picture) for objective in objectives)
    assert tiled.total == pytest.approx(whole.total, rel=1e-5)
    assert dict(tiled.losses) == pytest.approx(dict(whole.losses), rel=1e-4, abs=1e-6)
    tolerance = 1e-3 if ROUGH & {content, style} else 1e-5
    assert float((in_bands - gradient).norm() / gradient.norm()) <= tolerance


def test_tiles_equal_the_whole_on_vgg16(vgg16: Cnn) -> None:
    style_layers = {f"block{block}_conv1": 1.0 for block in range(1, 6)}
    aim = Aim("mse", "gram", {"block4_conv2": 1.0}, style_layers, 5.0, 100.0, 0.0, (1.0,))
    network = ExplicitPass(vgg16, aim.layers, dtype=torch.float32, device=CPU)
    photo, picture, style = smooth(197, 150, 1), smooth(197, 150, 2), smooth(160, 170, 3)
    whole, gradient = build_objective(network, aim, photo, [style]).evaluate(picture)
    tiled, in_bands = build_objective(network, aim, photo, [style], tile_px=64).evaluate(picture)
    assert tiled.total == pytest.approx(whole.total, rel=1e-5)
    assert float((in_bands - gradient).norm() / gradient.norm()) <= 1e-5


@pytest.mark.parametrize("table", NETWORKS.values(), ids=NETWORKS)
def test_rows_of_a_band_are_never_read_again(table: list) -> None:
    cnn = build_cnn(table, input_shape=(3, 64, 64), seed=2)
    names = [layer.name for layer in cnn.layers if "conv" in layer.name]
    aim = Aim("mse", "gram", {names[-1]: 1.0}, dict.fromkeys(names, 1.0), 5.0, 100.0, 2.0, (1.0,))
    network = ExplicitPass(cnn, aim.layers, dtype=torch.float32, device=CPU)
    photo, picture, style = smooth(131, 87, 1), smooth(131, 87, 2), smooth(70, 93, 3)
    objective = build_objective(network, aim, photo, [style], tile_px=24)
    objective.anchor = Anchor.of(smooth(50, 43, 5), 131, 87)
    _, gradient = objective.evaluate(picture)
    measured, seen = objective.measure(picture), 0
    for top, rows in objective.bands(picture, measured):
        assert top == seen
        assert torch.equal(rows, gradient[:, :, top : top + rows.shape[2]])
        seen = top + rows.shape[2]
        picture[:, :, top:seen] = float("nan")
    assert seen == 131


def test_what_is_not_finite_is_named_with_its_place() -> None:
    cnn = build_cnn(NETWORKS["small"], input_shape=(3, 64, 64), seed=2)
    aim = Aim("mse", "gram", {"block3_conv1": 1.0}, {"block1_conv1": 1.0}, 5.0, 100.0, 0.0, (1.0,))
    network = ExplicitPass(cnn, aim.layers, dtype=torch.float32, device=CPU)
    picture = smooth(96, 96, 2)
    objective = build_objective(network, aim, smooth(96, 96, 1), [smooth(70, 93, 3)], tile_px=32)
    picture[0, 1, 40, 80] = float("nan")
    value = objective.measure(picture).value
    assert not value.finite and value.place == "rows 36-59, columns 60-95"


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(list(NETWORKS)), st.integers(40, 200), st.integers(40, 200), st.integers(1, 90))
def test_every_feature_has_one_owner_and_all_that_it_sees(name: str, height: int, width: int, core_px: int) -> None:
    try:
        infos = describe(NETWORKS[name], (3, height, width))
    except LayerError:
        return
    tiling = Tiling(height, width, infos, {info.name: 0 for info in infos}, core_px)
    tiles = tiling.tiles()
    for index, info in enumerate(infos):
        owners = torch.zeros(info.output_shape[1:], dtype=torch.int)
        for tile in tiles:
            window, rows, columns = tile.window, tile.rows.layers[index], tile.columns.layers[index]
            features = torch.empty(info.channels, rows.end - rows.start, columns.end - columns.start)
            place = tiling.place(tile, info.name, features)
            owned, here = place.owned, place.window
            owners[owned.top : owned.bottom, owned.left : owned.right] += 1
            if owned.bottom > owned.top and owned.right > owned.left:
                assert here.top <= owned.top and owned.bottom <= here.bottom
                assert here.left <= owned.left and owned.right <= here.right
            seen_from = owned.top * info.stride - info.lead
            seen_to = (owned.bottom - 1) * info.stride - info.lead + info.receptive_field
            if owned.bottom > owned.top:
                assert window.top <= max(0, seen_from)
                assert window.bottom >= min(height, seen_to)
        assert (owners == 1).all()


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(list(NETWORKS)), st.integers(40, 200), st.integers(40, 200), st.integers(1, 90))
def test_a_tile_makes_maps_of_the_sizes_that_were_planned(name: str, height: int, width: int, core_px: int) -> None:
    cnn = build_cnn(NETWORKS[name], input_shape=(3, 64, 64), seed=2)
    network = ExplicitPass(cnn, [info.name for info in cnn.layers], dtype=torch.float32, device=CPU)
    tiling = Tiling(height, width, network.infos, dict.fromkeys(network.layers, 0), core_px)
    tile = tiling.tiles()[-1]
    window = tile.window.of(torch.zeros(3, height, width))[None].contiguous()
    run = network.forward(window, keep=False, passed=tiling.passed(tile))
    assert [run.features[info.name][0, 0].numel() for info in network.infos] == list(tiling.sizes(tile).kept)


def test_halos_are_no_wider_than_receptive_fields_and_narrow_on_the_way(vgg16: Cnn) -> None:
    infos = vgg16.layers[: vgg16.position("block5_conv1") + 1]
    tiling = Tiling(1536, 1536, infos, {info.name: 0 for info in infos if info.name.endswith("conv1")}, 512)
    tile, sizes = tiling.tiles()[4], tiling.sizes(tiling.tiles()[4])
    assert 512 - tile.window.top <= 58 + 16 and tile.window.bottom - 1024 <= 58
    halos = [places * info.stride**2 / 512**2 for info, places in zip(infos, sizes.kept, strict=True)]
    poolings = [halo for info, halo in zip(infos, halos, strict=True) if info.name.endswith("pool")]
    assert poolings == sorted(poolings, reverse=True)
    whole, per_pixel = cost_of(infos, [], 3, 4, sizes).flops, cost_of(infos, [], 3, 4).flops * 512**2
    assert whole / per_pixel <= 1.5


def test_the_halo_of_vgg16_is_that_of_its_receptive_field(vgg16: Cnn) -> None:
    infos = vgg16.layers[: vgg16.position("block5_conv1") + 1]
    before, behind = Tiling(512, 512, infos, {"block5_conv1": 0}, 256).halo_px
    assert before == 64
    assert 73 <= behind <= 96
