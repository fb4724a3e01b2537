"""Each judge: zero at its target, equal to published references, worse where a fault is put in."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from skimage import data
from skimage.measure import blur_effect
from skimage.metrics import structural_similarity
from torch import Tensor

from impasto import colour
from impasto.errors import UserError, WeightsError
from impasto.evaluation import deep
from impasto.evaluation import judges as table
from impasto.evaluation.artefacts import border_score, checkerboard_score
from impasto.evaluation.case import Case, View, baselines, make_case
from impasto.evaluation.compare import Difference
from impasto.evaluation.deep import DeepJudge
from impasto.evaluation.grain import blur, noise
from impasto.evaluation.palette import palette_distance
from impasto.evaluation.statistics import bootstrapped, rank_correlation
from impasto.evaluation.structure import edge_correlation, ssim
from impasto.nets import weights
from impasto.nets.catalogue import CATALOGUE, vgg_table
from impasto.nets.cnn import build_cnn
from impasto.nets.efficientnet import EfficientNetLite
from impasto.nets.resnet import ResNetThin
from impasto.picture import Picture
from support import shapes_picture

SEEDS = st.integers(0, 50)
# Chelsea, a cat, by the thin ResNet: mean and deviation of each stage's output, by onnx's reference evaluator.
RESNET_ON_CHELSEA = {
    "stem": (0.26535, 0.30501),
    "stage1": (0.28595, 0.27085),
    "stage2": (0.24250, 0.25558),
    "stage3": (0.14816, 0.22868),
    "stage4": (0.59854, 0.92023),
}
CATS = range(281, 286)


def view(seed: int, height: int = 96, width: int = 128) -> View:
    return View(np.ascontiguousarray(shapes_picture(height, width, seed).transpose(2, 0, 1)))


def case(picture: View, photo: View, style: View) -> Case:
    return Case(picture, photo, ((style, 1.0),))


@pytest.fixture(scope="module")
def chelsea() -> Tensor:
    return torch.from_numpy(data.chelsea()[38:262, 100:324].copy()).permute(2, 0, 1)[None] / 255


def test_efficientnet_sees_a_cat(judging_networks: None, chelsea: Tensor) -> None:
    """The published weights in a forward pass of our own still tell what is in a picture."""
    found = EfficientNetLite(weights.load("efficientnet-lite0")).classes(chelsea)[0]
    assert int(found.argmax()) in CATS
    assert float(found[list(CATS)].sum()) > 0.8


def test_resnet_is_the_published_network(judging_networks: None, chelsea: Tensor) -> None:
    found = ResNetThin(weights.load("resnet50-thin")).features(chelsea)
    assert list(found) == list(RESNET_ON_CHELSEA)
    for name, (mean, deviation) in RESNET_ON_CHELSEA.items():
        assert float(found[name].mean()) == pytest.approx(mean, rel=2e-3)
        assert float(found[name].std(correction=0)) == pytest.approx(deviation, rel=2e-3)


@pytest.mark.parametrize("size", [(32, 32), (97, 64)])
def test_every_judge_is_content_with_its_target(judging_networks: None, size: tuple[int, int]) -> None:
    """The photo keeps all of the photo, the style all of the style; anything else is worse."""
    photo, style = view(1, *size), view(2, *size)
    best = {"lower": 0.0, "zero": 0.0, "higher": 1.0}
    for name, judge in table.judges([]).items():
        if judge.about not in ("style", "content", "grain"):
            continue
        target, other = (photo, style) if judge.about == "content" else (style, photo)
        assert judge.measure(case(target, photo, style)) == pytest.approx(best[judge.better], abs=1e-5), name
        worst = judge.badness(judge.measure(case(other, photo, style)))
        assert worst > judge.badness(best[judge.better]) + 1e-3, name


@pytest.mark.parametrize("name", ["efficientnet-lite0", "resnet50-thin"])
def test_networks_tell_the_styles_texture_from_others(judging_networks: None, name: str) -> None:
    """Another part of the same texture is nearer than the same colours in another order."""
    brick, gravel = (np.repeat(texture[None] / np.float32(255), 3, 0) for texture in (data.brick(), data.gravel()))
    gravel = colour.match_colour(gravel, brick).astype(np.float32)
    judge = table.judges([])[f"style/{name}"]
    parts = [View(np.ascontiguousarray(brick[:, y : y + 192, x : x + 192])) for y, x in ((0, 0), (300, 300))]
    other = View(np.ascontiguousarray(gravel[:, :192, :192]))
    near, far = (judge.measure(case(seen, other, parts[0])) for seen in (parts[1], other))
    assert near < far / 2


def test_style_of_several_styles_goes_by_their_shares(judging_networks: None) -> None:
    photo, one, other = view(1), view(2), view(3)
    for name, judge in table.judges([]).items():
        if judge.about in ("style", "grain"):
            single = [judge.measure(case(photo, photo, style)) for style in (one, other)]
            both = judge.measure(Case(photo, photo, ((one, 0.75), (other, 0.25))))
            assert both == pytest.approx(0.75 * single[0] + 0.25 * single[1], rel=1e-5, abs=1e-6), name


def test_a_network_that_was_optimised_against_does_not_judge(
    judging_networks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VGG-19 judges where it is cached, but not what was made with it."""

    def stub() -> DeepJudge:
        return DeepJudge("vgg19", lambda picture: {"all": picture}, ("all",), "all")

    monkeypatch.setitem(table.NETWORKS, "vgg19", stub)
    is_cached = weights.is_cached
    monkeypatch.setattr(weights, "is_cached", lambda name: name == "vgg19" or is_cached(name))
    assert "style/vgg19" in table.judges(["vgg16"])
    assert "style/vgg19" not in table.judges(["vgg16", "vgg19"])
    assert "content/efficientnet-lite0" in table.judges(["vgg16", "vgg19"])


def test_vgg19_judges_by_its_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights, since its own are not for every machine."""
    monkeypatch.setattr(deep, "network", lambda name: build_cnn(vgg_table(CATALOGUE[name]), name=name))
    judge, photo, style = deep.vgg19(), view(1, 32, 48), view(2, 32, 32)
    assert judge.name == "vgg19"
    assert judge.style(case(style, photo, style)) == judge.content(case(photo, photo, style)) == 0
    assert judge.style(case(photo, photo, style)) > 0
    assert judge.content(case(View(photo.pixels / 2), photo, style)) > 0


def test_networks_that_are_not_here_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="impasto weights fetch efficientnet-lite0 resnet50-thin"):
        table.judges([])


@given(SEEDS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_ssim_is_the_published_one(one: int, other: int) -> None:
    picture, photo = view(one), view(other)
    expected = structural_similarity(
        picture.luma.numpy(), photo.luma.numpy(), data_range=1, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(case(picture, photo, photo)) == pytest.approx(expected, abs=1e-4)


def test_edges_by_place_and_not_by_sign() -> None:
    photo = view(4)
    negative, mirrored = View(1 - photo.pixels), View(np.ascontiguousarray(photo.pixels[:, :, ::-1]))
    flat = View(np.full_like(photo.pixels, 0.5))
    assert edge_correlation(case(negative, photo, photo)) == pytest.approx(1, abs=1e-4)
    assert edge_correlation(case(mirrored, photo, photo)) < 0.7
    assert edge_correlation(case(flat, photo, photo)) == 0


@given(SEEDS, st.tuples(*[st.floats(-0.2, 0.2)] * 3))
@settings(max_examples=20, deadline=None)
def test_palette_moved_by_d_is_at_distance_d(seed: int, move: tuple[float, float, float]) -> None:
    style = view(seed)
    moved = View(style.pixels)
    moved.__dict__["oklab"] = style.oklab + np.float32(move)[:, None, None]
    expected = math.dist(move, (0, 0, 0))
    assert palette_distance(case(moved, style, style)) == pytest.approx(expected, abs=0.01 * expected + 1e-6)


def test_palette_does_not_see_places() -> None:
    style = view(3)
    order = np.random.default_rng(0).permutation(style.pixels[0].size)
    shuffled = View(style.pixels.reshape(3, -1)[:, order].reshape(style.pixels.shape))
    assert palette_distance(case(shuffled, style, style)) < 0.01
    assert palette_distance(case(view(4), style, style)) > 0.03


@pytest.mark.parametrize("make", [data.camera, data.brick, data.gravel])
def test_blur_is_the_published_one(make: Callable[[], np.ndarray]) -> None:
    luma = make() / np.float32(255)
    # The reference mirrors the picture at its borders, which are left out here.
    assert blur(torch.from_numpy(luma)) == pytest.approx(blur_effect(luma), abs=0.005)


@given(SEEDS, st.floats(0.005, 0.1))
@settings(max_examples=10, deadline=None)
def test_noise_is_told_in_its_own_unit(seed: int, deviation: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.linspace(0, 1, 200)[:, None].repeat(1, 200)
    noisy = smooth + deviation * torch.randn(200, 200, generator=generator)
    assert noise(smooth) == pytest.approx(0, abs=1e-5)
    assert noise(noisy) == pytest.approx(deviation, rel=0.05)


@given(SEEDS, st.sampled_from([2, 4, 8]), st.floats(0.02, 0.2))
@settings(max_examples=30, deadline=None)
def test_a_checkerboard_raises_its_score(seed: int, period: int, strength: float) -> None:
    """Of any size that upsampling by 2, 4 or 8 leaves, from what can just be seen."""
    luma = view(seed).luma * 0.5 + 0.25
    y, x = np.indices(tuple(luma.shape)) // (period // 2)
    board = torch.from_numpy(((y + x) % 2 - 0.5).astype(np.float32))
    clean = checkerboard_score(luma)
    assert checkerboard_score(luma + strength * board) > clean + 3


@pytest.mark.parametrize("make", [data.astronaut, data.chelsea, data.coffee, data.rocket])
@pytest.mark.parametrize("frequency", [(1, 1), (2, 6), (0, 4), (4, 4)])
def test_a_faint_pattern_in_a_flat_part_raises_its_score(
    make: Callable[[], np.ndarray], frequency: tuple[int, int]
) -> None:
    """However much contrast the rest of the picture has."""
    flat = View(np.ascontiguousarray(make()[::2, ::2].transpose(2, 0, 1) / np.float32(255))).luma
    noisy = 0.5 + torch.randn(flat.shape, generator=torch.Generator().manual_seed(0)) / 255
    flat[: len(flat) // 3] = noisy[: len(flat) // 3]
    y, x = np.indices(tuple(flat.shape))
    pattern = np.float32(2 / 255 * np.cos(2 * np.pi * (frequency[0] * y + frequency[1] * x) / 8))
    pattern[len(flat) // 3 :] = 0
    assert checkerboard_score(flat + torch.from_numpy(pattern)) > checkerboard_score(flat) + 1


def test_smooth_and_noisy_pictures_have_no_checkerboard() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = 0.5 + 0.1 * torch.randn(256, 256, generator=generator)
    assert checkerboard_score(torch.full((64, 64), 0.5)) == 0
    assert checkerboard_score(noisy) < 2


@given(SEEDS, st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 1, 2, 3]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_burned_border_raises_its_score(seed: int, width: int, side: int, dark: bool) -> None:
    """On any side, of any usual width, burned or pale."""
    pixels = view(seed).pixels * 0.5 + 0.25
    clean = border_score(View(pixels))
    burned = np.rot90(pixels, side, (1, 2)).copy()
    burned[:, :width] = 0.0 if dark else 1.0
    assert border_score(View(np.ascontiguousarray(burned))) > clean + 0.1


@pytest.mark.parametrize("make", [data.astronaut, data.chelsea, data.coffee, data.rocket])
def test_photos_have_no_artefacts(make: Callable[[], np.ndarray]) -> None:
    seen = View(np.ascontiguousarray(make().transpose(2, 0, 1) / np.float32(255)))
    assert border_score(seen) < 2
    assert checkerboard_score(seen.luma) < 3


def test_baselines_are_the_photo_and_its_recolouring(judging_networks: None) -> None:
    photo, style = view(1), view(2)
    found = baselines(case(view(3), photo, style))
    assert found["photo"].picture is photo
    assert np.allclose(found["colour transfer"].picture.pixels, colour.match_colour(photo.pixels, style.pixels))


def picture(height: int, width: int) -> Picture:
    return Picture(pixels=view(1, height, width).pixels, name=f"{width}x{height}.png")


def test_case_is_at_the_size_asked_for() -> None:
    made = make_case(picture(60, 90), picture(120, 180), [(picture(80, 80), 2), (picture(40, 70), 0)], 45)
    assert made.picture.pixels.shape == made.photo.pixels.shape == (3, 32, 45)
    assert [(style.pixels.shape, share) for style, share in made.styles] == [((3, 45, 45), 1.0)]


def test_results_that_cannot_be_judged() -> None:
    with pytest.raises(UserError, match=r"20x40 px, and judging needs sides of 32 px"):
        make_case(picture(40, 20), picture(40, 20), [(picture(40, 40), 1)], None)
    with pytest.raises(UserError, match="other proportions"):
        make_case(picture(40, 60), picture(60, 40), [(picture(40, 40), 1)], None)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12), st.lists(st.floats(-10, 10), min_size=12, max_size=12))
def test_rank_correlation_is_spearmans(one: list[float], other: list[float]) -> None:
    other = other[: len(one)]
    found = rank_correlation(one, other)
    if found is None:
        assert len(set(one)) == 1 or len(set(other)) == 1
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_intervals_hold_the_mean_and_narrow_with_more_pairs() -> None:
    generator = np.random.default_rng(1)
    few, many = (bootstrapped(list(generator.normal(-1, 1, count))) for count in (8, 200))
    for found in (few, many):
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.mean < found.high
    assert many.high - many.low < few.high - few.low  # type: ignore[operator]
    assert bootstrapped([1.0, 3.0]) == bootstrapped([1.0, 3.0])
    assert bootstrapped([2.0]).low is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    found = [bootstrapped(list(generator.normal(0, 1, 20))) for _ in range(200)]
    hits = sum(mean.low < 0 < mean.high for mean in found)  # type: ignore[operator]
    assert 0.88 * 200 <= hits <= 199


def test_sureness_says_who_and_how_often() -> None:
    def difference(*values: float) -> Difference:
        return Difference(bootstrapped(values), sum(v < 0 for v in values), sum(v > 0 for v in values))

    a = difference(-1, -2, -1, -3)
    assert (a.better, a.sure, a.sureness) == ("A", "A", 1)
    b = difference(1, 2, 1, 3)
    assert (b.better, b.sure, b.sureness) == ("B", "B", 1)
    undecided = difference(-1, 2, -1, 0.5)
    assert undecided.better == "B"
    assert undecided.sure is None
    assert difference(0, 0).better is None
    assert difference(-1).sureness is None
