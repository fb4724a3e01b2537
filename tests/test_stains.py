"""Stain normalisation: what holds for every method, and what each is for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.errors import PictureError, UserError
from impasto.medical import StainNormalizer
from impasto.medical.check import delta_e, gradient_correlation, luminance_ssim
from impasto.medical.normalizer import Profile, StainWarning
from impasto.medical.pointwise import PointwiseMap
from impasto.medical.stains import DEFAULT_METHOD, METHODS, from_lab, to_lab
from impasto.medical.synthetic import PURPLE
from impasto.medical.tissue import TooLittleTissue, estimate_white, lightness, luma
from impasto.medical.transport import brightened
from impasto.picture import Picture
from tissue_files import purple, rose

every_method = pytest.mark.parametrize("method", METHODS)
SOURCE, TARGET = rose(), purple()


@pytest.fixture(scope="module", params=list(METHODS))
def normalizer(request: pytest.FixtureRequest) -> StainNormalizer:
    return StainNormalizer(request.param, threads=2).fit(TARGET.pixels)


def background(pixels: np.ndarray) -> np.ndarray:
    return lightness(pixels.reshape(-1, 3).astype(np.float32) / 255).reshape(pixels.shape[:2]) >= 85


# What holds for every method.


def test_the_tissue_comes_nearer_to_the_reference(normalizer: StainNormalizer) -> None:
    result = normalizer.transform(SOURCE.pixels)
    assert delta_e(result, TARGET.pixels) < 0.3 * delta_e(SOURCE.pixels, TARGET.pixels)


def test_the_background_is_never_changed(normalizer: StainNormalizer) -> None:
    glass = background(SOURCE.pixels)
    assert glass.mean() > 0.2
    assert np.array_equal(normalizer.transform(SOURCE.pixels)[glass], SOURCE.pixels[glass])


def test_tiles_equal_the_whole_bit_for_bit(normalizer: StainNormalizer) -> None:
    slide = normalizer.measure(SOURCE.pixels)
    whole = normalizer.transform(SOURCE.pixels, slide)
    for top, left in ((0, 0), (0, 256), (256, 0), (100, 7)):
        tile = SOURCE.pixels[top : top + 256, left : left + 256]
        assert np.array_equal(normalizer.transform(tile, slide), whole[top : top + 256, left : left + 256])


def test_twice_the_same(normalizer: StainNormalizer) -> None:
    again = StainNormalizer(normalizer.method, threads=1).fit(TARGET.pixels)
    assert np.array_equal(again.transform(SOURCE.pixels), normalizer.transform(SOURCE.pixels))


def test_a_picture_of_the_reference_itself_stays(normalizer: StainNormalizer) -> None:
    change = normalizer.transform(TARGET.pixels).astype(int) - TARGET.pixels
    assert np.abs(change).max() <= 1


def test_one_colour_becomes_one_colour(normalizer: StainNormalizer) -> None:
    """So that no structure can appear: the map knows nothing of neighbours."""
    slide = normalizer.measure(SOURCE.pixels)
    shuffled = np.random.default_rng(0).permutation(SOURCE.pixels.reshape(-1, 3)).reshape(SOURCE.pixels.shape)
    whole = normalizer.transform(SOURCE.pixels, slide)
    map_of = dict(zip(map(bytes, SOURCE.pixels.reshape(-1, 3)), map(bytes, whole.reshape(-1, 3)), strict=True))
    result = normalizer.transform(shuffled, slide)
    assert all(map_of[bytes(a)] == bytes(b) for a, b in zip(shuffled[::7, 3], result[::7, 3], strict=True))


@pytest.mark.parametrize(
    "kind", ["white", "black", "grey noise", "green ink", "pale fat", "one colour", "no pixels of it"]
)
def test_tiles_without_tissue_come_back_with_a_warning(normalizer: StainNormalizer, kind: str) -> None:
    generator = np.random.default_rng(4)
    tile = np.full((64, 64, 3), 244, np.uint8)
    if kind == "black":
        tile[:] = 0
    elif kind == "grey noise":
        tile = np.repeat(generator.integers(0, 256, (64, 64, 1), dtype=np.uint8), 3, axis=2)
    elif kind == "green ink":
        tile[10:50] = (20, 130, 70)
    elif kind == "pale fat":
        tile = np.clip(generator.normal((240, 232, 240), 2, (64, 64, 3)), 0, 255).astype(np.uint8)
    elif kind == "one colour":
        tile[:] = (230, 230, 235)
    elif kind == "no pixels of it":
        tile[:5, :10] = (180, 80, 150)
    with pytest.warns(StainWarning, match="left as it was"):
        assert np.array_equal(normalizer.transform(tile), tile)


@pytest.mark.parametrize("kind", ["few", "blurred", "uniform", "pen", "dark", "one stain"])
def test_hard_tiles_do_not_fail(normalizer: StainNormalizer, kind: str) -> None:
    """Little tissue, no contrast, ink beside tissue: finite colours, and the darkest stays darker than the glass."""
    tile = SOURCE.pixels[:128, :128].copy()
    if kind == "few":
        tile = np.full((64, 64, 3), 244, np.uint8)
        tile[:11, :11] = SOURCE.pixels[SOURCE.tissue][:121].reshape(11, 11, 3)
    elif kind == "blurred":
        tile[:] = SOURCE.pixels[SOURCE.tissue].mean(axis=0)
        tile += np.random.default_rng(0).integers(0, 3, tile.shape, dtype=np.uint8)
    elif kind == "uniform":
        tile[:] = (180, 90, 150)
    elif kind == "pen":
        tile[:, :30] = (20, 40, 160)
    elif kind == "dark":
        tile = (tile * 0.25).astype(np.uint8)
    elif kind == "one stain":
        tile = rose(amounts=(0.0, 0.4)).pixels[:128, :128]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StainWarning)
        result = normalizer.transform(tile)
    assert result.shape == tile.shape
    assert result.dtype == np.uint8
    glass = background(tile)
    assert np.array_equal(result[glass], tile[glass])


def test_ink_is_not_taken_for_tissue(normalizer: StainNormalizer) -> None:
    marked = SOURCE.pixels.copy()
    marked[:40] = (20, 120, 60)
    plain, with_ink = normalizer.measure(SOURCE.pixels[40:]), normalizer.measure(marked)
    for name in set(plain.statistics) - {"sample"}:
        assert np.allclose(with_ink.statistics[name], plain.statistics[name], atol=0.05, rtol=0.05)


def test_other_kinds_of_arrays_agree_with_eight_bits(normalizer: StainNormalizer) -> None:
    slide = normalizer.measure(SOURCE.pixels)
    wanted = normalizer.transform(SOURCE.pixels, slide)
    deep = normalizer.transform(SOURCE.pixels.astype(np.uint16) * 257, slide)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - wanted).max() <= 0.51
    floats = normalizer.transform(SOURCE.pixels / np.float32(255), slide)
    assert floats.dtype == np.float32
    assert np.abs(floats * 255 - wanted).max() <= 0.51


def test_alpha_stays_and_hides_colours(normalizer: StainNormalizer) -> None:
    alpha = np.full((*SOURCE.pixels.shape[:2], 1), 255, np.uint8)
    alpha[:60] = 0
    hidden = np.concatenate([SOURCE.pixels, alpha], axis=2)
    hidden[:60, :, :3] = (10, 200, 10)
    result = normalizer.transform(hidden)
    assert np.array_equal(result[..., 3:], alpha)
    assert np.array_equal(result[60:, :, :3], normalizer.transform(SOURCE.pixels[60:]))


def test_profile_round_trip(normalizer: StainNormalizer, tmp_path: Path) -> None:
    assert normalizer.target is not None
    normalizer.target.save(tmp_path / "p.json")
    again = StainNormalizer().use(Profile.load(tmp_path / "p.json"))
    assert np.array_equal(again.transform(SOURCE.pixels), normalizer.transform(SOURCE.pixels))
    assert [file.name for file in tmp_path.iterdir()] == ["p.json"]


# What each is for.


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
@pytest.mark.parametrize(
    "tissue", [SOURCE, TARGET, rose(seed=9), rose(stains=np.array([[0.55, 0.75, 0.35], PURPLE[1]]))]
)
def test_the_true_stain_matrix_is_recovered_to_three_degrees(method: str, tissue) -> None:
    found = StainNormalizer(method).measure(tissue.pixels).statistics["stains"]
    assert np.degrees(np.arccos((found * tissue.stains).sum(axis=1))).max() <= 3


def test_the_default_meets_the_mean_colour() -> None:
    result = StainNormalizer().fit(TARGET.pixels).transform(SOURCE.pixels)
    assert delta_e(result, TARGET.pixels) <= 1


@pytest.mark.parametrize(("source", "target"), [(SOURCE, TARGET), (TARGET, SOURCE)], ids=["lighter", "darker"])
def test_the_default_keeps_the_order_of_brightness_and_never_cuts(source, target) -> None:
    normalizer = StainNormalizer().fit(target.pixels)
    result, cut = normalizer.map_from(normalizer.measure(source.pixels))(source.pixels)
    before, after = (p[source.tissue] @ np.array([0.2126, 0.7152, 0.0722]) for p in (source.pixels, result))
    order = np.argsort(before)
    assert np.diff(after[order]).min() > -2, "only rounding"
    assert cut == 0


def test_the_default_keeps_contrast_towards_a_much_paler_reference() -> None:
    """The glass cannot give way, so a line through it would press the tissue flat."""
    strong = rose(amounts=(0.9, 0.45)).pixels
    pale = purple(amounts=(0.3, 0.15)).pixels
    result = StainNormalizer().fit(pale).transform(strong)
    assert gradient_correlation(strong, result) >= 0.96
    assert luminance_ssim(strong, result) >= 0.97
    assert delta_e(result, pale) <= 4


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 20), st.floats(60, 85))
def test_the_curve_of_brightness_rises_and_leaves_the_background(slope: float, limit: float) -> None:
    greys = np.repeat(np.linspace(0, 1, 1001, dtype=np.float32)[:, None], 3, axis=1)
    mapped = brightened(greys, limit, slope)
    assert np.diff(mapped).min() > -1e-6
    glass = lightness(greys) >= limit
    assert np.abs(mapped[glass] - luma(greys)[glass]).max() < 1e-6
    assert mapped.min() > -1e-6


def test_reinhard_meets_means_and_deviations() -> None:
    normalizer = StainNormalizer("reinhard").fit(TARGET.pixels)
    assert normalizer.target is not None
    found = normalizer.measure(normalizer.transform(SOURCE.pixels)).statistics
    assert np.allclose(found["lab_mean"], normalizer.target.statistics["lab_mean"], atol=2)
    assert np.allclose(found["lab_std"], normalizer.target.statistics["lab_std"], atol=3)


def test_methods_differ() -> None:
    results = [StainNormalizer(method).fit(TARGET.pixels).transform(SOURCE.pixels) for method in METHODS]
    assert len({result.tobytes() for result in results}) == len(METHODS)


def test_several_references_lie_between_their_stains() -> None:
    both = StainNormalizer("reinhard").fit(SOURCE.pixels, TARGET.pixels).target
    one, other = (StainNormalizer("reinhard").fit(tissue.pixels).target for tissue in (SOURCE, TARGET))
    means = [profile.statistics["lab_mean"][1] for profile in (one, both, other)]  # type: ignore[union-attr]
    assert means[0] > means[1] > means[2]


def test_the_glass_of_the_source_sets_the_white() -> None:
    dim = rose(white=(200.0, 205.0, 210.0))
    assert np.allclose(estimate_white(SOURCE.pixels.reshape(-1, 3) / np.float32(255)) * 255, (244, 243, 245), atol=2)
    result = StainNormalizer().fit(TARGET.pixels).transform(dim.pixels)
    assert np.median(result[~dim.tissue], axis=0) == pytest.approx((200, 205, 210), abs=2)


# Inputs.


def test_files_and_pictures_come_back_as_pictures(tmp_path: Path) -> None:
    Image.fromarray(SOURCE.pixels).save(tmp_path / "x.png", dpi=(300, 300))
    normalizer = StainNormalizer().fit(TARGET.pixels)
    result = normalizer.transform(tmp_path / "x.png")
    assert isinstance(result, Picture)
    assert np.array_equal(result.to_uint8(), normalizer.transform(SOURCE.pixels))
    assert result.pixels_per_mm == pytest.approx((300 / 25.4,) * 2, rel=1e-3)


def test_report_comes_with_the_result() -> None:
    result, report = StainNormalizer().fit(TARGET.pixels).transform(SOURCE.pixels, report=True)
    assert result.shape == SOURCE.pixels.shape
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((40, 40), np.uint8), "grey picture"),
        (np.zeros((40, 40, 1), np.uint8), "grey picture"),
        (np.zeros((3, 40, 40), np.uint8), "channels last"),
        (np.zeros((3, 40, 3), np.uint8), "ambiguous"),
        (np.zeros((40, 40, 5), np.uint8), "channels last"),
        (np.zeros((0, 40, 3), np.uint8), "channels last"),
        (np.zeros((40, 40, 3), np.int32), "int32 values"),
        (np.full((40, 40, 3), np.nan, np.float32), "NaN"),
        (np.full((40, 40, 3), 2.0, np.float32), "scale floats"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, words: str) -> None:
    normalizer = StainNormalizer().fit(TARGET.pixels)
    for call in (normalizer.transform, normalizer.measure, StainNormalizer().fit):
        with pytest.raises(PictureError, match=words):
            call(array)


def test_references_that_are_refused() -> None:
    with pytest.raises(TooLittleTissue, match="no stained tissue"):
        StainNormalizer().fit(np.full((64, 64, 3), 240, np.uint8))
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8), 3, axis=2)
    with pytest.raises(TooLittleTissue, match="grey picture"):
        StainNormalizer().fit(grey)
    with pytest.raises(UserError, match="No reference"):
        StainNormalizer().fit()


def test_misuse_is_named() -> None:
    with pytest.raises(UserError, match="choose one of colour-transport"):
        StainNormalizer("magic")
    with pytest.raises(UserError, match="threads"):
        StainNormalizer(threads=0)
    with pytest.raises(UserError, match="call fit first"):
        StainNormalizer().transform(SOURCE.pixels)
    other = StainNormalizer("macenko").measure(SOURCE.pixels)
    with pytest.raises(UserError, match="another method"):
        StainNormalizer().fit(TARGET.pixels).transform(SOURCE.pixels, other)


def test_saturated_tissue_and_one_stain_are_told() -> None:
    burned = np.clip(SOURCE.pixels.astype(int) * 2 - 200, 0, 255).astype(np.uint8)
    with pytest.warns(StainWarning, match="limits of the range"):
        StainNormalizer().fit(burned)
    with pytest.warns(StainWarning, match="one stain only"):
        StainNormalizer("macenko").fit(rose(amounts=(0.0, 0.4), noise_levels=0.3).pixels)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"kind": "impasto stain profile", "version": 9}',
     '{"kind": "impasto stain profile", "version": 1, "method": "macenko", "white": [1, 1, 1], "tissue_share": 1}',
     '{"kind": "impasto stain profile", "version": 1, "method": "macenko", "white": [1, 1], "tissue_share": 1, '
     '"statistics": {"white": [1, 1, 1], "stains": [[1, 0, 0], [0, 1, 0]], "most": [1, 1]}}',
     '{"kind": "impasto stain profile", "version": 1, "method": "macenko", "white": [1, 1, 1], "tissue_share": 1, '
     '"statistics": {"white": [1, 1, 1], "stains": [[1, 0, NaN], [0, 1, 0]], "most": [1, 1]}}'],
)  # fmt: skip
def test_files_that_are_no_profiles(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UserError, match="profile"):
        Profile.load(tmp_path / "p.json")


# Parts.


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=50))
def test_lab_round_trip(colours: list[tuple[int, int, int]]) -> None:
    values = np.array(colours, np.float64) / 255
    assert np.abs(from_lab(to_lab(values)) - values).max() < 1e-6


def test_lab_agrees_with_scikit_image() -> None:
    from skimage.color import rgb2lab

    values = np.random.default_rng(0).random((500, 3))
    assert np.abs(to_lab(values) - rgb2lab(values)).max() < 0.05


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 300), st.integers(1, 9), st.sampled_from([3, 4]), st.integers(1, 3))
def test_the_table_of_colours_is_the_map_itself(height: int, width: int, channels: int, threads: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    pointwise = PointwiseMap(lambda colours: 1 - colours * colours, threads)
    for _ in range(2):
        result, cut = pointwise(pixels)
        wanted = np.rint((1 - (pixels[..., :3].astype(np.float32) / np.float32(255)) ** 2) * 255)
        assert np.abs(result[..., :3].astype(int) - wanted).max() <= 1
        assert np.array_equal(result[..., 3:], pixels[..., 3:])
        assert cut == 0


def test_colours_beyond_the_range_are_counted() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[0] = 200
    result, cut = PointwiseMap(lambda colours: 2 * colours, 1)(pixels)
    assert cut == 0.25
    assert result[0].min() == 255


def test_the_table_has_the_default_first() -> None:
    from impasto.cli.stain import METHODS as OFFERED

    assert tuple(METHODS) == OFFERED
    assert OFFERED[0] == DEFAULT_METHOD
