"""Networks from tables: names, shapes, reach, files, and passes that agree with autograd."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from impasto.errors import LayerError, UserError
from impasto.hardware import choose_dtype
from impasto.nets import slab
from impasto.nets.catalogue import CATALOGUE, network, vgg_table, with_pooling
from impasto.nets.cnn import Cnn, build_cnn, load_cnn
from impasto.nets.cost import INPUT_BYTES, cost_of
from impasto.nets.layers import (
    Pool,
    avg_pool,
    check_table,
    conv,
    dense,
    describe,
    flatten,
    max_pool,
    preprocess,
    table_from_json,
    table_to_json,
)
from impasto.nets.module import ModuleNet
from impasto.nets.passes import AutogradPass, ExplicitPass
from impasto.nets.rectified import max_pooled, through_max_pool_, through_relu_

CPU = torch.device("cpu")


def test_classical_network_is_the_documented_one() -> None:
    cnn = build_cnn()
    assert [(layer.name, layer.output_shape) for layer in cnn.layers] == [
        ("block1_conv1", (32, 224, 224)),
        ("block1_pool", (32, 112, 112)),
        ("block2_conv1", (64, 112, 112)),
        ("block2_pool", (64, 56, 56)),
        ("block3_conv1", (128, 56, 56)),
        ("block3_pool", (128, 28, 28)),
        ("block4_conv1", (256, 28, 28)),
        ("block4_pool", (256, 14, 14)),
        ("flatten", (256 * 14 * 14,)),
        ("dense1", (1024,)),
        ("dense2", (1,)),
    ]
    out = cnn.features(torch.rand(2, 3, 224, 224), ["dense2"])["dense2"]
    assert out.shape == (2, 1, 1, 1)
    assert out.abs().max() <= 1


def test_classical_network_in_colour() -> None:
    assert build_cnn(input_shape=(3, 224, 224)).parameters["block1_conv1.weight"].shape == (32, 3, 3, 3)


def test_same_seed_same_network_other_seed_other() -> None:
    first, again, other = (build_cnn([conv(4)], seed=seed).parameters["block1_conv1.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("init", ["he_normal", "glorot_uniform"])
def test_initial_weights_have_the_documented_spread(init: str) -> None:
    weight = build_cnn([conv(256, 3, init=init), conv(256, 3, init=init)]).parameters["block1_conv2.weight"]
    fan_in = fan_out = 256 * 9
    variance = 2 / fan_in if init == "he_normal" else 2 / (fan_in + fan_out)
    assert float(weight.var()) == pytest.approx(variance, rel=0.02)


def test_vgg16_geometry_is_the_published_one() -> None:
    layers = {info.name: info for info in describe(vgg_table(CATALOGUE["vgg16"]), (3, 224, 224))}
    assert (layers["block5_conv1"].stride, layers["block5_conv1"].receptive_field) == (16, 132)
    assert (layers["block4_conv2"].stride, layers["block4_conv2"].receptive_field) == (8, 76)
    assert layers["block5_conv3"].output_shape == (512, 14, 14)
    assert len([name for name in layers if "conv" in name]) == 13


tables = st.lists(
    st.one_of(
        st.builds(conv, st.integers(1, 4), st.sampled_from([1, 3, 5]), st.sampled_from(["relu", "tanh", "linear"])),
        st.builds(conv, st.integers(1, 4), st.sampled_from([2, 3]), stride=st.integers(1, 2), padding=st.just("valid")),
        st.builds(max_pool, st.integers(2, 3)),
        st.builds(avg_pool, st.integers(2, 3)),
    ),
    min_size=1,
    max_size=6,
).filter(lambda table: any(not isinstance(row, Pool) for row in table))


@settings(deadline=None, max_examples=40)
@given(tables, st.integers(0, 5))
def test_shape_stride_and_reach_are_those_of_a_run(table: list, offset: int) -> None:
    size = 80 + offset
    try:
        cnn = build_cnn(table, input_shape=(3, size, size), seed=1)
    except LayerError:
        return
    last = cnn.layers[-1]
    picture = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    out = cnn.features(picture, [last.name])[last.name]
    assert out.shape[1:] == last.output_shape
    middle = out.shape[2] // 2
    (gradient,) = torch.autograd.grad(out[0, :, middle, middle].sum(), picture)
    rows = gradient[0].abs().sum((0, 2)).nonzero()
    # ReLU and max pooling cut some paths, so a run sees at most what the table says.
    if len(rows):
        assert int(rows.max() - rows.min()) + 1 <= last.receptive_field


def test_reach_is_exact_where_nothing_cuts_paths() -> None:
    cnn = build_cnn([conv(4, 3, "linear"), avg_pool(2), conv(4, 5, "linear"), avg_pool(3)], input_shape=(3, 90, 90))
    last = cnn.layers[-1]
    picture = torch.rand(1, 3, 90, 90, requires_grad=True)
    out = cnn.features(picture, [last.name])[last.name]
    (gradient,) = torch.autograd.grad(out[0, :, 7, 7].sum(), picture)
    rows = gradient[0].abs().sum((0, 2)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == last.receptive_field
    assert last.stride == 6


NETWORKS = {
    "small": [conv(8, 3), conv(6, 3), max_pool(2), conv(7, 5, "tanh"), avg_pool(2), conv(9, 3, "sigmoid")],
    "strided": [conv(5, 3, stride=2, padding="valid"), max_pool(3), conv(6, 1, "linear"), conv(6, 3)],
    # Of so many channels that their convolutions are done by Winograd's way.
    "wide": [conv(128), conv(144, 3, "tanh"), max_pool(2), conv(136, padding="valid"), conv(130), conv(4)],
    "dense": [preprocess("BGR", 9, (1, 2, 3), (4, 5, 6)), conv(4), max_pool(2), flatten(), dense(7, "tanh"), dense(3)],
}


def sines(_name: str, features: torch.Tensor, behind: torch.Tensor | None) -> torch.Tensor:
    """The gradient of a loss of which each layer has its own."""
    own = torch.sin(features)
    return own if behind is None else behind.add_(own)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_explicit_pass_equals_autograd(name: str, channels: int) -> None:
    table = NETWORKS[name]
    if channels == 1:
        table = [row for row in table if not hasattr(row, "order")]
    cnn = build_cnn(table, input_shape=(channels, 38, 45), seed=5)
    layers = [info.name for info in cnn.layers if info.name != "flatten"][::2]
    # Always the same: in one picture of 1,500 rounding decides a maximum, which moves the gradient by a hundredth.
    picture = torch.rand(1, 3, 38, 45, generator=torch.Generator().manual_seed(0))

    explicit = ExplicitPass(cnn, layers, dtype=torch.float32, device=CPU).forward(picture)
    reference = AutogradPass(cnn, layers, device=CPU).forward(picture)
    for layer in layers:
        torch.testing.assert_close(explicit.features[layer], reference.features[layer], rtol=1e-4, atol=1e-4)
    found, expected = explicit.backward(sines), reference.backward(sines)
    assert float((found - expected).norm() / expected.norm()) < 1e-3


def same(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> bool:
    """Equal. With AVX2, oneDNN rounds float32 of few channels otherwise in memory that is there: there nearly so."""
    if dtype == torch.float32 and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return float((one - other).abs().max()) <= 1e-6 * float(one.abs().max())
    return torch.equal(one, other)


@pytest.mark.parametrize("name", ["small", "strided", "wide"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("all_late", [False, True])
def test_little_memory_changes_nothing(
    name: str, dtype: torch.dtype, all_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slab, "LEAST_BYTES", 0)
    cnn = build_cnn(NETWORKS[name], input_shape=(3, 38, 45), seed=5)
    plain, little = (ExplicitPass(cnn, [info.name for info in cnn.layers[::2]], dtype=dtype, device=CPU) for _ in "ab")
    little.hold_little(True)
    # Larger, smaller, and as before.
    for size in ((38, 45), (60, 71), (33, 41), (38, 45)):
        picture = torch.rand(1, 3, *size)
        seen = [network.forward(picture, keep=False).features for network in (plain, little)]
        assert all(same(seen[0][layer], seen[1][layer], dtype) for layer in plain.layers)
        late = [info.name for info in cnn.layers] if all_late else []
        one, other = (network.forward(picture, late=late).backward(sines) for network in (plain, little))
        assert same(one, other, dtype)
    assert little.slab is not None and len(little.slab.memory) and not little.slab.taken


@pytest.mark.parametrize("late", [(), ("block1_conv1",)])
@pytest.mark.parametrize("counts", [True, False])
def test_a_run_holds_as_much_as_is_told(
    vgg16: Cnn, late: tuple[str, ...], counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slab, "LEAST_BYTES", 0)
    layers = ["block1_conv1"] * counts + ["block2_conv1", "block3_conv1"]
    # Where a processor has no units for bfloat16, its maps lie elsewhere; no plan is made with it there.
    dtype = choose_dtype("auto", CPU)
    network = ExplicitPass(vgg16, layers, dtype=dtype, device=CPU)
    network.hold_little(True)
    network.forward(torch.rand(1, 3, 64, 96), late=late).backward(sines)
    assert network.slab is not None
    told = cost_of(network.infos, layers, 3, dtype.itemsize, in_place=layers, late=late).times(64 * 96)
    # The picture, as the network is given it, lies elsewhere.
    held = told.both_bytes - (INPUT_BYTES + 3 * dtype.itemsize) * 64 * 96
    assert 0.9 * held <= network.slab.most <= held


# The one path that no processor takes; on a machine with such a GPU it is run without being asked for.
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"))


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_explicit_pass_in_bf16_is_near_fp32(vgg16: Cnn, device: str) -> None:
    layers = ["block1_conv1", "block3_conv1", "block5_conv1"]
    picture = torch.rand(1, 3, 64, 80)

    def gradient(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        run = ExplicitPass(vgg16, layers, dtype=dtype, device=device).forward(picture.to(device))
        return run.backward(lambda _, features, behind: features * 1e-4 + (0 if behind is None else behind)).cpu()

    expected, found = gradient(torch.float32, CPU), gradient(torch.bfloat16, torch.device(device))
    assert float((found - expected).norm() / expected.norm()) < 0.06


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 9), (2, 2)])
def test_rectified_maps_pool_as_torch_does(size: tuple[int, int]) -> None:
    # Few values, so that many windows have several largest ones, and some nothing but zeros.
    x = torch.randint(-2, 3, (2, 5, *size)).relu().bfloat16().contiguous(memory_format=torch.channels_last)
    leaf = x.float().requires_grad_()
    expected = torch.nn.functional.max_pool2d(leaf, 2) if min(size) > 1 else leaf[:, :, :0, : size[1] // 2]
    assert torch.equal(max_pooled(x).float(), expected)
    gradient = torch.randn(expected.shape).bfloat16()
    expected.backward(gradient.float())
    assert leaf.grad is not None
    assert torch.equal(through_max_pool_(gradient, x).float(), leaf.grad)


def test_rectified_maps_let_the_gradient_through_where_a_relu_did() -> None:
    x = torch.tensor([-1.0, -0.0, 0.0, 1e-38, 3.0]).bfloat16().expand(1, 4, 3, 5)
    gradient = torch.full_like(x, float("-inf")).contiguous()
    expected = torch.where(x > 0, gradient, 0)
    assert torch.equal(through_relu_(gradient, x.relu().contiguous()), expected)


def test_pass_without_keep_holds_features_only(small_cnn: Cnn) -> None:
    run = ExplicitPass(small_cnn, ["block2_conv1"], dtype=torch.float32, device=CPU).forward(
        torch.rand(1, 3, 32, 32), keep=False
    )
    assert list(run.features) == ["block2_conv1"]
    assert sum(a is not None for a in run.activations) == 1


def test_a_narrowed_pass_is_one_made_for_its_layers(small_cnn: Cnn) -> None:
    picture = torch.rand(1, 3, 40, 40)
    whole, made = (
        ExplicitPass(small_cnn, layers, dtype=torch.float32, device=CPU)
        for layers in (["block1_conv1", "block3_conv1"], ["block2_conv2"])
    )
    runs = [network.forward(picture) for network in (whole.narrowed(["block2_conv2"]), made)]
    assert [list(run.features) for run in runs] == [["block2_conv2"]] * 2
    one, other = (run.backward(sines) for run in runs)
    assert torch.equal(one, other)
    assert list(whole.forward(picture).features) == ["block1_conv1", "block3_conv1"], "and itself stays what it is"


def test_only_the_layers_needed_are_run(small_cnn: Cnn) -> None:
    run = ExplicitPass(small_cnn, ["block1_conv2"], dtype=torch.float32, device=CPU)
    assert [info.name for info in run.infos] == ["block1_conv1", "block1_conv2"]


def test_save_and_load_keep_the_network(tmp_path: Path, small_cnn: Cnn) -> None:
    small_cnn.save(tmp_path / "net.safetensors")
    again = load_cnn(tmp_path / "net.safetensors")
    assert (again.table, again.input_shape, again.name) == (small_cnn.table, small_cnn.input_shape, small_cnn.name)
    picture = torch.rand(1, 3, 32, 40)
    torch.testing.assert_close(
        again.features(picture, ["block3_conv1"])["block3_conv1"],
        small_cnn.features(picture, ["block3_conv1"])["block3_conv1"],
    )
    other = build_cnn(small_cnn.table, input_shape=(3, 64, 64), seed=99).load(tmp_path / "net.safetensors")
    assert torch.equal(other.parameters["block1_conv1.weight"], small_cnn.parameters["block1_conv1.weight"])


def test_load_refuses_other_networks_and_other_files(tmp_path: Path, small_cnn: Cnn) -> None:
    small_cnn.save(tmp_path / "net.safetensors")
    with pytest.raises(UserError, match="needs"):
        build_cnn([conv(9)], input_shape=(3, 64, 64)).load(tmp_path / "net.safetensors")
    with pytest.raises(UserError, match="has no block9_conv1"):
        build_cnn([conv(8, name="block9_conv1")]).load(tmp_path / "net.safetensors")
    (tmp_path / "text.safetensors").write_text("no network")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_cnn(tmp_path / "text.safetensors")
    with pytest.raises(UserError, match="no network file"):
        load_cnn(tmp_path / "absent.safetensors")


@given(tables)
def test_table_survives_json(table: list) -> None:
    assert table_from_json(table_to_json(table)) == table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([max_pool(2)], "at least one conv or dense"),
        ([conv(4), dense(3)], "no flatten"),
        ([flatten(), conv(4)], "after flatten"),
        ([conv(4), preprocess()], "first row"),
        ([preprocess(mean=(1, 2)), conv(4)], "one mean"),
        ([conv(0)], "whole numbers"),
        ([conv(4, name="a"), conv(4, name="a")], "called a"),
        ([conv(4)] + [max_pool(2)] * 9, "Nothing is left"),
    ],
)
def test_bad_tables_are_refused(table: list, words: str) -> None:
    with pytest.raises(LayerError, match=words):
        build_cnn(table, input_shape=(3, 64, 64))


def test_what_is_no_layer_is_named() -> None:
    with pytest.raises(LayerError, match="Row 2 of the table, 'conv', is not a layer"):
        check_table([conv(4), "conv"], (3, 64, 64))


def test_even_kernels_cannot_be_padded() -> None:
    with pytest.raises(LayerError, match="odd kernel"):
        conv(4, 2)


def test_layer_names_have_a_second_form_and_a_nearest(small_cnn: Cnn) -> None:
    assert small_cnn.layer("relu2_1").name == small_cnn.layer("conv2_1").name == "block2_conv1"
    assert small_cnn.layer("pool1").name == "block1_pool"
    with pytest.raises(LayerError, match="did you mean 'block2_conv2'"):
        small_cnn.layer("block2_conv3")


def test_dense_layers_hold_the_picture_to_their_size() -> None:
    cnn = build_cnn([conv(4), flatten(), dense(3)], input_shape=(3, 32, 32))
    with pytest.raises(LayerError, match="32x32 px only"):
        cnn.features(torch.rand(1, 3, 32, 33), ["dense1"])
    assert cnn.features(torch.rand(1, 3, 32, 33), ["block1_conv1"])["block1_conv1"].shape == (1, 4, 32, 33)


def test_too_small_a_picture_is_named(vgg16: Cnn) -> None:
    with pytest.raises(LayerError, match="15x15 picture is too small for layer block5_conv1"):
        vgg16.check_size(15, 15, ["block5_conv1"])
    vgg16.check_size(16, 16, ["block5_conv1"])


def test_catalogue_knows_its_networks_and_suggests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'vgg16'"):
        network("vgg6")
    assert [info.name for info in describe(vgg_table(CATALOGUE["vgg19"]), (3, 224, 224)) if "block5" in info.name] == [
        "block5_conv1", "block5_conv2", "block5_conv3", "block5_conv4", "block5_pool",
    ]  # fmt: skip


def test_pooling_of_a_known_network_and_of_a_file(tmp_path: Path, small_cnn: Cnn, vgg16: Cnn) -> None:
    pools = [row.mode for row in network("vgg16", pooling="avg").table if isinstance(row, Pool)]
    assert pools == ["avg"] * 5
    small_cnn.save(tmp_path / "net.safetensors")
    own = network(str(tmp_path / "net.safetensors"))
    assert [row.mode for row in own.table if isinstance(row, Pool)] == ["max", "avg"]
    assert [row.mode for row in with_pooling(own, "max").table if isinstance(row, Pool)] == ["max", "max"]


def test_head_without_trained_weights_is_random_and_says_so(vgg16: Cnn) -> None:
    with_head = network("vgg16", head=True)
    assert "random fc1, fc2, predictions" in with_head.name
    assert torch.equal(with_head.parameters["block5_conv3.weight"], vgg16.parameters["block5_conv3.weight"])
    assert with_head.layer("predictions").output_shape == (1000,)


def test_vgg16_sees_edges_and_colours(vgg16: Cnn) -> None:
    """Trained first-layer filters answer to an edge; this fails for random weights and for a wrong colour order."""
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, :, :, 32:] = 1
    at_edge = vgg16.features(picture, ["block1_conv1"])["block1_conv1"][0, :, 32, 31:33].amax()
    flat = vgg16.features(picture, ["block1_conv1"])["block1_conv1"][0, :, 32, 10].amax()
    assert at_edge > 1.5 * flat
    # Known value of the published network for a mid-grey picture: order, mean and range all enter it.
    grey = vgg16.features(torch.full((1, 3, 32, 32), 0.5), ["block1_conv1"])["block1_conv1"][0, :, 16, 16]
    swapped = vgg16.features(torch.tensor([1.0, 0.2, 0.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32), ["block1_conv1"])
    assert grey.isfinite().all()
    assert not torch.allclose(swapped["block1_conv1"][0, :, 16, 16], grey)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(5, 4, 3, stride=2)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


def test_any_module_serves_by_its_submodules_names() -> None:
    net = ModuleNet(Odd())
    picture = torch.rand(1, 3, 20, 24)
    found = net.features(picture, ["second", "first"])
    assert {name: tuple(f.shape) for name, f in found.items()} == {"second": (1, 4, 9, 11), "first": (1, 5, 20, 24)}
    # What `first` gave, although the activation behind it works in place.
    torch.testing.assert_close(found["first"], net.module.first(picture))
    with pytest.raises(LayerError, match="did you mean 'second'"):
        net.layer("secnd")
    with pytest.raises(LayerError, match="never ran its layer 'unused'"):
        net.features(picture, ["unused"])
