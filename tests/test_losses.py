"""Every row of the registry: gradients, zero at the target, sums over tiles, determinism; and each loss's own sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto import losses
from impasto.engines.terms import Term, grouped
from impasto.errors import JobError
from impasto.losses.base import (
    Box,
    Guide,
    Lattice,
    Loss,
    Place,
    PlaceLoss,
    SampleLoss,
    StatisticLoss,
    Stats,
    sampled,
)
from impasto.losses.gram import gram_gradient, gram_sum
from impasto.losses.total_variation import total_variation

ROWS = [(kind, name) for kind in ("content", "style") for name in losses.LOSSES[kind]]


def features(seed: int, channels: int = 5, height: int = 14, width: int = 17) -> Tensor:
    """Like a network's: not negative, channels of different strength, some of it zero."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(channels, height, width, generator=generator).relu()
    return values * torch.linspace(0.5, 3, channels)[:, None, None]


def distance(loss: Loss, x: Tensor, target: Tensor) -> Tensor:
    if isinstance(loss, PlaceLoss):
        constants = loss.constants(target)
        return loss.distance(loss.stats(x, target, constants, Place.all_of(x)), constants)
    return loss.distance(stats(loss, x, Place.all_of(x)), reference(loss, target))


def stats(loss: Loss, owned: Tensor, place: Place) -> Stats:
    """Of features that cover `place.owned`; a loss that compares statistics or samples."""
    return loss.stats(owned, place) if isinstance(loss, SampleLoss) else loss.stats(owned)


def reference(loss: Loss, target: Tensor) -> Stats:
    return loss.reference(stats(loss, target, Place.all_of(target)))


def add(first: Stats, second: Stats) -> Stats:
    return {name: first[name] + second[name] for name in first}


# Which value is matched with which changes from one to the next within a finite step: their slope is one of pieces.
KINKED = {"histogram", "sliced", "nearest", "remd"}


@pytest.mark.parametrize(("kind", "name"), ROWS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_gradient_against_finite_differences(kind: str, name: str, seed: int) -> None:
    loss = losses.load(kind, name)
    x, target = features(seed) + 0.1, features(seed + 1)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(loss, leaf, target), leaf)
    # Along the gradient and along a random way; central differences in float32 are good to a few parts in 100.
    generator = torch.Generator().manual_seed(seed)
    for way in (gradient / gradient.norm(), torch.randn(x.shape, generator=generator) / x.numel() ** 0.5):
        step = 5e-3 if name in KINKED else 2e-2
        difference = (distance(loss, x + step * way, target) - distance(loss, x - step * way, target)) / (2 * step)
        expected = (gradient * way).sum()
        kinks = 0.35 if name in KINKED else 0.02
        assert float(difference) == pytest.approx(float(expected), rel=0.05, abs=kinks * float(gradient.norm()))


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_zero_at_the_target_and_about_one_far_from_it(kind: str, name: str) -> None:
    loss = losses.load(kind, name)
    target = features(3)
    assert float(distance(loss, target, target)) == pytest.approx(0, abs=1e-5)
    # In so few dimensions some feature of the target is near to any.
    least = 0.01 if name == "nearest" else 0.05
    assert least < float(distance(loss, features(4, channels=5) * 1.5, target)) < 5


@pytest.mark.parametrize(("kind", "name"), ROWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_are_fp32_at_least_and_repeat_exactly(kind: str, name: str, dtype: torch.dtype) -> None:
    loss = losses.load(kind, name)
    x, target = features(3).to(dtype), features(4).to(dtype)
    place = Place.all_of(x)
    runs = [
        loss.stats(x, target, loss.constants(target), place) if isinstance(loss, PlaceLoss) else stats(loss, x, place)
        for _ in range(2)
    ]
    assert all(value.dtype in (torch.float32, torch.float64) for value in runs[0].values())
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])


@pytest.mark.parametrize(("kind", "name"), ROWS)
@settings(deadline=None, max_examples=20)
@given(height=st.integers(3, 40), width=st.integers(3, 40), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_statistics_of_tiles_add_up_to_the_whole(
    kind: str, name: str, height: int, width: int, cut: tuple[float, float]
) -> None:
    loss = losses.load(kind, name)
    x, target = features(5, 4, height, width), features(6, 4, height, width)
    row, column = round(cut[0] * height), round(cut[1] * width)
    whole = Box.whole(x)
    constants = loss.constants(target) if isinstance(loss, PlaceLoss) else reference(loss, target)
    total: Stats | None = None
    for top, bottom in ((0, row), (row, height)):
        for left, right in ((0, column), (column, width)):
            if top == bottom or left == right:
                continue
            owned = Box(top, bottom, left, right)
            if isinstance(loss, PlaceLoss):
                halo = loss.halo
                window = Box(
                    max(0, top - halo), min(height, bottom + halo), max(0, left - halo), min(width, right + halo)
                )
                part = loss.stats(window.of(x), window.of(target), constants, Place(whole, window, owned))
            else:
                part = stats(loss, owned.of(x), Place(whole, owned, owned))
            total = part if total is None else add(total, part)
    assert total is not None
    assert float(loss.distance(total, constants)) == pytest.approx(float(distance(loss, x, target)), rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 500), st.integers(0, 10), st.floats(0, 1))
def test_a_lattice_is_filled_in_by_regions(height: int, width: int, count: int, turn: int, cut: float) -> None:
    values = torch.arange(1.0, 1 + height * width).view(1, height, width)
    whole = Box.whole(values)
    lattice = Lattice.over(Place(whole, whole, whole, turn), count)
    samples = lattice.samples(values, Place(whole, whole, whole, turn))
    assert torch.equal(samples, values[:, lattice.top :: lattice.step, lattice.left :: lattice.step])
    assert samples.numel() >= 1
    regions = [Box(0, round(cut * height), 0, width), Box(round(cut * height), height, 0, width)]
    parts = [lattice.samples(region.of(values), Place(whole, region, region, turn)) for region in regions]
    assert torch.equal(parts[0] + parts[1], samples)


def test_the_turns_of_a_lattice_leave_no_place_out() -> None:
    whole = Box(0, 100, 0, 100)
    lattices = [Lattice.over(Place(whole, whole, whole, turn), 500) for turn in range(60)]
    assert lattices[0].step == 5
    assert len({(lattice.top, lattice.left) for lattice in lattices}) == 25


GUIDES = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99)).map(
    lambda given: np.random.default_rng(given[2]).uniform(-1, 1, given[:2]).clip(0, 1).astype(np.float32)
)


@settings(deadline=None, max_examples=50)
@given(GUIDES, st.integers(1, 500), st.integers(0, 10), st.floats(0, 1))
def test_places_are_drawn_where_a_guide_counts_and_filled_in_by_regions(
    guide: np.ndarray, count: int, turn: int, cut: float
) -> None:
    guide.flat[0] = 1
    height, width = guide.shape
    values = torch.arange(1.0, 1 + height * width).view(1, height, width)
    whole = Box.whole(values)
    place = Place(whole, whole, whole, turn, Guide(torch.from_numpy(guide)))
    samples = sampled(values, place, count)
    assert 1 <= samples.numel() <= count
    assert samples.numel() == min(count, int(guide.sum(dtype=np.float64) + 1e-6))
    assert len(samples.unique()) == samples.numel()
    assert (guide.flat[samples.flatten().long().numpy() - 1] > 0).all()
    regions = [Box(0, round(cut * height), 0, width), Box(round(cut * height), height, 0, width)]
    parts = [sampled(region.of(values), replace(place, window=region, owned=region), count) for region in regions]
    assert torch.equal(parts[0] + parts[1], samples)


def test_places_are_drawn_as_often_as_they_count_and_evenly() -> None:
    guide = torch.ones(90, 120)
    guide[:, 60:] = 0.25
    guide[:30] = 0
    drawn = torch.zeros(90, 120)
    for turn in range(400):
        rows, columns = Guide(guide).places(200, turn)
        drawn[rows, columns] += 1
    assert (drawn[guide == 0] == 0).all()
    share = drawn * guide.sum() / (400 * 200)
    assert (share - guide).abs().max() < 0.2
    rows, columns = Guide(guide).places(200, 0)
    left = columns < 60
    counts = np.histogram2d(rows[left], columns[left], bins=(2, 3), range=((30, 90), (0, 60)))[0]
    assert counts.min() > 0.8 * counts.max(), "no corner of the region is seen more than another"


@pytest.mark.parametrize(("kind", "name"), ROWS)
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_distances_are_relative(kind: str, name: str, scale: float) -> None:
    """The same figure whatever the network's range, so that weights mean the same for every network."""
    loss = losses.load(kind, name)
    x, target = features(7), features(8)
    assert float(distance(loss, x * scale, target * scale)) == pytest.approx(float(distance(loss, x, target)), rel=1e-3)


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_dead_channels_and_maps_give_finite_gradients(kind: str, name: str) -> None:
    loss = losses.load(kind, name)
    x, target = features(9), features(10)
    x[0] = 0
    target[0] = target[1] = 0
    for wanted in (target, torch.zeros_like(target)):
        leaf = x.clone().requires_grad_()
        value = distance(loss, leaf, wanted)
        assert value.isfinite()
        assert torch.autograd.grad(value, leaf)[0].isfinite().all()


@pytest.mark.parametrize("name", [name for name in losses.LOSSES["style"] if name != "mse"])
def test_style_has_no_place(name: str) -> None:
    loss = losses.load("style", name)
    # Sides of which the grid of joint samples is a multiple.
    x, target = (features(seed, height=16, width=32) for seed in (11, 12))
    moved = x.flip(1).roll(5, 2)
    assert float(distance(loss, moved, target)) == pytest.approx(float(distance(loss, x, target)), rel=1e-4)


@pytest.mark.parametrize("name", losses.LOSSES["content"])
def test_content_has_place(name: str) -> None:
    loss = losses.load("content", name)
    target = features(11)
    assert float(distance(loss, target.roll(5, 2), target)) > 0.3


@pytest.mark.parametrize("name", losses.LOSSES["style"])
def test_a_guide_says_how_much_each_place_counts(name: str) -> None:
    loss = losses.load("style", name)
    # Sides of which the grid of joint samples is a multiple.
    x = features(11, height=16, width=16)
    part = torch.zeros(x.shape[1:])
    part[3:9, 2:12] = 1
    if isinstance(loss, SampleLoss):
        for guide, seen in ((part, part.bool()), (torch.full_like(part, 0.5), torch.ones_like(part).bool())):
            samples = loss.stats(x, replace(Place.all_of(x), guide=Guide(guide)))["samples"].flatten(1)
            if loss.joint:
                samples, wanted = samples.unique(dim=1), x[:, seen].unique(dim=1)
            else:
                samples, wanted = samples.sort(1).values, x[:, seen].sort(1).values
            assert torch.equal(samples, wanted)
    if not isinstance(loss, StatisticLoss):
        return
    plain = loss.stats(x)
    everywhere = loss.stats(x, torch.ones(x.shape[1:]))
    inside, box = loss.stats(x, part), loss.stats(x[:, 3:9, 2:12])
    half = loss.stats(x, torch.full(x.shape[1:], 0.5))
    for key in plain:
        torch.testing.assert_close(everywhere[key], plain[key], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(inside[key], box[key], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(half[key], plain[key] / 2, rtol=1e-4, atol=1e-4)


def test_gram_is_the_definition() -> None:
    x, target = features(1), features(2)

    def gram(f: Tensor) -> Tensor:
        return torch.einsum("ahw,bhw->ab", f, f) / (f.shape[1] * f.shape[2])

    expected = (gram(x) - gram(target)).square().sum() / gram(target).square().sum()
    assert float(distance(losses.load("style", "gram"), x, target)) == pytest.approx(float(expected), rel=1e-5)


def test_map_ssim_is_the_published_one() -> None:
    """Against scikit-image, which implements Wang et al. (2004): Gaussian window, only where it fits."""
    from skimage.metrics import structural_similarity

    x, target = features(1, 1, 30, 33)[0].numpy(), features(2, 1, 30, 33)[0].numpy()
    span = float(target.max() - target.min())
    _, similarity = structural_similarity(
        x, target, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    expected = 1 - similarity[5:-5, 5:-5].mean()
    found = distance(losses.load("content", "ssim"), torch.from_numpy(x)[None], torch.from_numpy(target)[None])
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_correlation_ssim_sees_each_of_its_three_terms() -> None:
    loss = losses.load("style", "ssim")
    gram = torch.tensor([[4.0, 1, 2], [1, 5, 0], [2, 0, 3]])
    target = {"gram": gram, "count": torch.tensor(1.0)}

    def against(changed: Tensor) -> float:
        return float(loss.distance({"gram": changed, "count": torch.tensor(1.0)}, target))

    mean = gram.mean(1, keepdim=True)
    assert against(gram) == pytest.approx(0, abs=1e-6)
    assert against(gram + 3) > 0.05, "luminance: the rows' means"
    assert against(mean + (gram - mean) * 4) > 0.3, "contrast: the rows' deviations"
    assert against(gram[:, [1, 2, 0]]) > 0.5, "structure: what goes with what"


def test_mean_std_is_the_definition() -> None:
    x, target = features(1).double(), features(2).double()
    moments = [(f.mean((1, 2)), f.std((1, 2), correction=0)) for f in (x, target)]
    error = sum((a - b).square().sum() for a, b in zip(*moments, strict=True))
    norm = sum(part.square().sum() for part in moments[1])
    found = distance(losses.load("style", "mean_std"), x.float(), target.float())
    assert float(found) == pytest.approx(float(error / norm), rel=1e-3)


def test_total_variation_of_known_pictures() -> None:
    assert float(total_variation(torch.full((1, 3, 20, 20), 0.3))) == 0
    stripes = torch.tensor([0.0, 1.0]).repeat(10).expand(1, 3, 20, 20)
    assert float(total_variation(stripes)) == 1


def test_unknown_loss_suggests_the_nearest() -> None:
    with pytest.raises(JobError, match="did you mean 'gram'"):
        losses.load("style", "gramm")


def test_third_party_losses_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    found = EntryPoint("other", "impasto.losses.gram:Gram", "impasto.style_losses")
    monkeypatch.setattr(losses, "entry_points", lambda group: [found] if group == found.group else [])
    assert type(losses.load("style", "other")).__name__ == "Gram"
    with pytest.raises(JobError):
        losses.load("content", "other")


def test_bf16_gram_is_near_the_exact_one() -> None:
    x = features(1, 16, 64, 64)
    loss = losses.load("style", "gram")
    exact, rough = loss.stats(x)["gram"], loss.stats(x.bfloat16())["gram"]
    assert float((exact - rough).norm() / exact.norm()) < 5e-3
    assert np.isfinite(rough.numpy()).all()


REFERENCES = np.load(Path(__file__).parent / "data" / "loss_references.npz")
# float32 against float64, the ridge of the covariances, the floor below which a feature has no direction.
REFERENCE_TOLERANCE = 0.01


@pytest.mark.parametrize("case", [name for name in REFERENCES if "/" in name])
def test_the_figures_of_an_independent_implementation(case: str) -> None:
    """See loss_references.py for what each is computed by."""
    kind, name = case.split("/")
    x, target = (torch.from_numpy(REFERENCES[key]) for key in ("x", "photo" if kind == "content" else "style"))
    loss = losses.load(kind, name)
    if isinstance(loss, SampleLoss) and loss.joint:
        # Every feature once: samples at places of the picture take those of so small a map unevenly.
        found = loss.distance({"samples": x}, loss.reference({"samples": target}))
    else:
        found = distance(loss, x, target)
    assert float(found) == pytest.approx(float(REFERENCES[case]), rel=REFERENCE_TOLERANCE)


def test_hypercolumns_are_the_features_of_all_layers_at_a_place() -> None:
    """Each layer counts as its weight says, however strong its features, and a coarse one is seen at its places."""
    loss = losses.load("style", "remd")
    assert isinstance(loss, SampleLoss)
    sides = {"fine": (32, 1.0), "coarse": (16, 50.0)}
    x, target = ({layer: features(seed, height=side, width=side) * gain for layer, (side, gain) in sides.items()}
                 for seed in (1, 2))  # fmt: skip
    weights = {"fine": 3.0, "coarse": 1.0}
    stats = [{layer: loss.stats(own, Place.all_of(own)) for layer, own in maps.items()} for maps in (x, target)]
    terms = [
        Term("style", "remd", layer, loss, weight, 0.0, constants=stats[1][layer]) for layer, weight in weights.items()
    ]
    (group,) = grouped(terms)

    def column(maps: dict[str, Tensor]) -> Tensor:
        parts = [maps["fine"], maps["coarse"].repeat_interleave(2, 1).repeat_interleave(2, 2)]
        lengths = [of_target.square().sum(0).mean().sqrt() for of_target in target.values()]
        return torch.cat([part / n * w**0.5 for part, n, w in zip(parts, lengths, weights.values(), strict=True)])

    wanted = loss.distance({"samples": column(x)}, loss.reference({"samples": column(target)}))
    assert float(group.distance(list(stats[0].values()))) == pytest.approx(float(wanted), rel=1e-3)


@pytest.mark.parametrize("part", [slice(None), slice(2, 11)], ids=["whole", "cut out"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_grams_gradient_is_added_to_what_comes_from_behind(dtype: torch.dtype, part: slice) -> None:
    def lines(seed: int) -> Tensor:
        return features(seed).to(dtype).permute(1, 2, 0).contiguous().permute(2, 0, 1)[:, part, part]

    x, behind = lines(1), lines(2)
    slope = torch.randn(len(x), len(x), generator=torch.Generator().manual_seed(3))
    leaf = x.float().clone().requires_grad_()
    (own,) = torch.autograd.grad(gram_sum(leaf), leaf, slope)
    expected = own + behind.float()
    close = {"rtol": 0.02, "atol": 0.1} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(gram_gradient(x, slope).float(), own, **close)
    around = behind._base.clone() if behind._base is not None else behind.clone()
    assert gram_gradient(x, slope, behind) is behind
    torch.testing.assert_close(behind.float(), expected, **close)
    if part.start:
        changed = (behind._base != around).permute(2, 0, 1)
        assert not changed[:, : part.start].any() and not changed[:, part.stop :].any(), "rows beside the part"
        assert not changed[..., : part.start].any() and not changed[..., part.stop :].any(), "columns beside it"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_grams_sum_is_of_the_map_alone_where_that_is_cut_out_of_a_wider_one(dtype: torch.dtype) -> None:
    whole = features(1).to(dtype).permute(1, 2, 0).contiguous()
    cut = whole[2:11, 3:10]
    rows = cut.reshape(-1, cut.shape[2]).float()
    close = {"rtol": 0.02, "atol": 0.2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(gram_sum(cut.permute(2, 0, 1)), rows.T @ rows, **close)
    whole[5, 1] = float("nan")
    torch.testing.assert_close(gram_sum(cut.permute(2, 0, 1)), rows.T @ rows, **close)
