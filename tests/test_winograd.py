"""Convolutions with fewer multiplications are the same convolutions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.nets.catalogue import CATALOGUE, vgg_table
from impasto.nets.cnn import build_cnn
from impasto.nets.layers import conv
from impasto.nets.passes import ExplicitPass
from impasto.nets.winograd import LEAST_CHANNELS, TILE, Kernel, Scratch

CPU = torch.device("cpu")
# Of the sums of sizes, which no cancelling makes small; float32 carries 6e-8.
EXACT = 2e-6
seeds = st.integers(0, 1000)
sizes = st.tuples(st.integers(3, 41), st.integers(3, 41))


def maps(count: int, channels: int, size: tuple[int, int], seed: int) -> torch.Tensor:
    made = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed))
    return made.contiguous(memory_format=torch.channels_last)


def turned(weight: torch.Tensor) -> torch.Tensor:
    """As a convolution's way back convolves by its weights."""
    return weight.flip(2, 3).transpose(0, 1)


def assert_close(found: torch.Tensor, exact: torch.Tensor, sizes: torch.Tensor) -> None:
    assert found.shape == exact.shape
    assert (found - exact).abs().max() <= EXACT * sizes.max()


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), sizes, st.integers(0, 2), seeds)
def test_it_is_the_convolution(count, inputs, outputs, size, pad, seed):
    x, weight = maps(count, inputs, size, seed), maps(inputs, outputs, (3, 3), seed + 1)
    found = Kernel(weight).convolved(x, pad, Scratch())
    # Cut, without a copy, out of contiguous channels_last maps whose sides are whole tiles: itself one where it fits.
    sides = [-(-length // TILE) * TILE for length in found.shape[2:]]
    assert found.stride() == torch.empty(count, outputs, *sides, memory_format=torch.channels_last).stride()
    of_sizes = F.conv2d(x.abs(), turned(weight).abs(), padding=pad)
    assert_close(found, F.conv2d(x.double(), turned(weight).double(), padding=pad), of_sizes)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), sizes, st.integers(0, 1), seeds)
def test_it_is_the_gradient_of_the_convolution(count, inputs, outputs, size, pad, seed):
    x, weight = maps(count, inputs, size, seed).double().requires_grad_(), maps(outputs, inputs, (3, 3), seed + 1)
    y = F.conv2d(x, weight.double(), padding=pad)
    gradient = maps(count, outputs, (y.shape[2], y.shape[3]), seed + 2)
    (exact,) = torch.autograd.grad(y, x, gradient.double())
    of_sizes = F.conv_transpose2d(gradient.abs(), weight.abs(), padding=pad)
    assert_close(Kernel(weight).convolved(gradient, 2 - pad, Scratch()), exact, of_sizes)


@settings(deadline=None, max_examples=20)
@given(sizes, st.sampled_from(["same", "valid"]), st.sampled_from(["relu", "linear"]), seeds)
def test_the_way_back_by_it_is_the_gradient(size, padding, activation, seed):
    table = [conv(LEAST_CHANNELS, 1, "linear"), conv(LEAST_CHANNELS, 3, activation, padding=padding)]
    cnn = build_cnn(table, input_shape=(3, 64, 64), seed=seed)
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    network = ExplicitPass(cnn, [cnn.layers[-1].name], dtype=torch.float32, device=CPU)
    assert len(network.kernels) == 1
    found = network.forward(picture).backward(lambda _, features, behind: torch.sin(features))
    leaf = picture.double().requires_grad_()
    cnn.parameters = {name: parameter.double() for name, parameter in cnn.parameters.items()}
    features = cnn.features(leaf, network.layers)[network.layers[0]]
    (exact,) = torch.autograd.grad(features, leaf, torch.sin(features.detach()))
    assert (found - exact).norm() <= 1e-5 * exact.norm()


def test_what_is_not_kept_is_made_anew_to_the_same_values():
    cnn = build_cnn([conv(LEAST_CHANNELS), conv(LEAST_CHANNELS)], input_shape=(3, 64, 64))
    network = ExplicitPass(cnn, [cnn.layers[-1].name], dtype=torch.float32, device=CPU)
    picture = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))

    def gradient() -> torch.Tensor:
        return network.forward(picture).backward(
            lambda _, features, behind: features + (0 if behind is None else behind)
        )

    kept = gradient()
    assert [kernel.kept is not None for kernel in network.kernels] == [True]
    network.hold_little(True)
    assert torch.equal(gradient(), kept)
    assert [kernel.kept for kernel in network.kernels] == [None]


@pytest.mark.parametrize("size", [(160, 160), (1, 1500), (257, 90)])
def test_maps_of_more_tiles_than_are_worked_on_at_once(size):
    x, weight = maps(2, 128, size, 0), maps(128, 128, (3, 3), 1)
    exact = F.conv2d(x.double(), turned(weight).double(), padding=1)
    of_sizes = F.conv2d(x.abs(), turned(weight).abs(), padding=1)
    assert_close(Kernel(weight).convolved(x, 1, Scratch()), exact, of_sizes)


def test_the_wide_layers_of_a_network_go_back_by_it_and_their_features_stay_what_they_were():
    cnn = build_cnn(vgg_table(CATALOGUE["vgg16"]))
    network = ExplicitPass(cnn, ["block5_conv1"], dtype=torch.float32, device=CPU)
    wide = {f"block{block}_conv{place}" for block in (3, 4) for place in (1, 2, 3)} | {"block2_conv2", "block5_conv1"}
    assert going_back_by_it(network) == wide
    picture = torch.rand(1, 3, 97, 131, generator=torch.Generator().manual_seed(0))
    found = network.forward(picture, keep=False).features["block5_conv1"]
    cnn.parameters = {name: parameter.double() for name, parameter in cnn.parameters.items()}
    exact = cnn.features(picture.double(), ["block5_conv1"])["block5_conv1"]
    assert (found - exact).norm() <= 5e-6 * exact.norm()


def going_back_by_it(network: ExplicitPass) -> set[str]:
    return {name for name, prepared in network.weights.items() if prepared and isinstance(prepared.turned, Kernel)}


@pytest.mark.parametrize(
    "row", [conv(LEAST_CHANNELS, kernel=5), conv(LEAST_CHANNELS, stride=2), conv(LEAST_CHANNELS // 2)], ids=str
)
def test_other_convolutions_are_left_as_they_are(row):
    cnn = build_cnn([conv(LEAST_CHANNELS, name="first"), row], input_shape=(3, 64, 64))
    name = cnn.layers[-1].name
    network = ExplicitPass(cnn, [name], dtype=torch.float32, device=CPU)
    assert not going_back_by_it(network)


def test_bfloat16_is_left_to_the_units_that_the_processor_has_for_it():
    cnn = build_cnn(vgg_table(CATALOGUE["vgg16"]))
    network = ExplicitPass(cnn, ["block3_conv1"], dtype=torch.bfloat16, device=CPU)
    assert not going_back_by_it(network)
