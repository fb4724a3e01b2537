"""Colour arithmetic: round trips, known values, and what the two colour transfers promise."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from impasto.colour import (
    into_gamut,
    keep_colour,
    linear_to_srgb,
    match_colour,
    oklab_to_srgb,
    srgb_to_linear,
    srgb_to_oklab,
    to_grey,
)

# The two branches of the sRGB curve, as the standard rounds them, miss each other by 3e-8.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-7}
# In float32 a channel of 0 beside bright ones comes back with their rounding, a hundredth of an 8-bit step at most.
OKLAB_TOLERANCE = {np.float32: 3.9e-5, np.float64: 1e-7}


def pictures(dtype: type) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 6))
    width = np.dtype(dtype).itemsize * 8
    return hnp.arrays(dtype, shapes, elements=st.floats(0, 1, width=width))


def muted(seed: int, size: int, base: tuple[float, float, float]) -> np.ndarray:
    """Random colours around a base, far from the edge of the gamut."""
    noise = np.random.default_rng(seed).normal(0, 1, (3, size, size))
    spread = np.array([[0.05, 0, 0], [0.02, 0.03, 0], [0.01, -0.01, 0.02]])
    return np.clip(np.array(base)[:, None, None] + np.tensordot(spread, noise, 1), 0.2, 0.8)


def mean_and_covariance(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lab = srgb_to_oklab(rgb).reshape(3, -1)
    return lab.mean(axis=1), np.cov(lab, bias=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_linear_light_and_back(dtype: type, data: st.DataObject) -> None:
    rgb = data.draw(pictures(dtype))
    linear = srgb_to_linear(rgb)
    assert linear.dtype == dtype
    assert linear.min() >= 0 and linear.max() <= 1
    np.testing.assert_allclose(linear_to_srgb(linear), rgb, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_oklab_and_back(dtype: type, data: st.DataObject) -> None:
    rgb = data.draw(pictures(dtype))
    lab = srgb_to_oklab(rgb)
    assert lab.dtype == dtype
    np.testing.assert_allclose(oklab_to_srgb(lab), rgb, atol=OKLAB_TOLERANCE[dtype])
    np.testing.assert_allclose(into_gamut(lab), rgb, atol=OKLAB_TOLERANCE[dtype])


def test_colours_at_the_edge_of_the_gamut_are_not_taken_for_others() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.random((3, 500, 500), np.float32)
    at_edge = rng.integers(0, 4, rgb.shape)
    rgb[at_edge == 0], rgb[at_edge == 1] = 0, 1
    np.testing.assert_allclose(into_gamut(srgb_to_oklab(rgb)), rgb, atol=OKLAB_TOLERANCE[np.float32])


def test_linear_light_of_middle_grey() -> None:
    assert srgb_to_linear(np.full((3, 1, 1), 0.5))[0, 0, 0] == pytest.approx(0.21404114)
    assert srgb_to_linear(np.full((3, 1, 1), 0.04))[0, 0, 0] == pytest.approx(0.04 / 12.92)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    """The values for the primaries as CSS Color 4 implementations give them."""
    colour = np.array(rgb, dtype=np.float64).reshape(3, 1, 1)
    np.testing.assert_allclose(srgb_to_oklab(colour).ravel(), lab, atol=2e-5)


def test_grey_is_bt709_luma() -> None:
    rgb = np.array([1.0, 0.5, 0.25], dtype=np.float32).reshape(3, 1, 1)
    grey = to_grey(rgb)
    assert grey.shape == (1, 1) and grey.dtype == np.float32
    assert grey[0, 0] == pytest.approx(0.2126 + 0.5 * 0.7152 + 0.25 * 0.0722)


@given(
    lightness=st.floats(-0.2, 1.2),
    a=st.floats(-0.5, 0.5),
    b=st.floats(-0.5, 0.5),
)
@example(lightness=0.0, a=-0.5, b=-0.5)
@example(lightness=0.03, a=-0.5, b=-0.5)
def test_gamut_mapping_keeps_lightness_and_hue(lightness: float, a: float, b: float) -> None:
    lab = np.array([lightness, a, b]).reshape(3, 1, 1)
    rgb = into_gamut(lab)
    assert rgb.min() >= 0 and rgb.max() <= 1
    mapped = srgb_to_oklab(rgb).ravel()
    # Compared in linear light, since the cube root blows up rounding errors near black.
    assert mapped[0] ** 3 == pytest.approx(np.clip(lightness, 0, 1) ** 3, abs=1e-5)
    if rgb.max() >= 1 / 255:
        # What is darker than any grey level has the hue of its rounding errors.
        assert a * mapped[2] == pytest.approx(b * mapped[1], abs=4e-3)
    assert np.hypot(*mapped[1:]) <= np.hypot(a, b) + 1e-4


def test_gamut_mapping_loses_no_more_chroma_than_needed() -> None:
    """A red pushed far out comes back to the edge, where one channel is at its end."""
    red = srgb_to_oklab(np.array([0.9, 0.1, 0.1]).reshape(3, 1, 1))
    rgb = into_gamut(red * np.array([1, 3, 3]).reshape(3, 1, 1))
    assert min(rgb.min(), 1 - rgb.max()) < 1e-3
    assert np.hypot(*srgb_to_oklab(rgb).ravel()[1:]) > np.hypot(*red.ravel()[1:])


def test_keep_colour_of_a_picture_with_itself_changes_nothing() -> None:
    photo = np.random.default_rng(0).random((3, 20, 30), dtype=np.float32)
    np.testing.assert_allclose(keep_colour(photo, photo), photo, atol=2e-5)


def test_keep_colour_takes_lightness_from_result_and_hue_from_photo() -> None:
    result, photo = muted(1, 16, (0.5, 0.5, 0.5)), muted(2, 16, (0.6, 0.5, 0.4))
    kept, light, tint = (srgb_to_oklab(x) for x in (keep_colour(result, photo), result, photo))
    np.testing.assert_allclose(kept[0], light[0], atol=1e-9)
    np.testing.assert_allclose(kept[1:], tint[1:], atol=1e-9)


def test_keep_colour_leaves_the_photo_alone() -> None:
    photo = muted(3, 8, (0.5, 0.4, 0.5))
    before = photo.copy()
    keep_colour(np.ones_like(photo), photo)
    np.testing.assert_array_equal(photo, before)


def test_match_colour_gives_mean_and_covariance_of_the_photo() -> None:
    style, photo = muted(4, 40, (0.55, 0.45, 0.4)), muted(5, 30, (0.4, 0.5, 0.55))
    matched = match_colour(style, photo)
    assert matched.shape == style.shape
    for got, wanted in zip(mean_and_covariance(matched), mean_and_covariance(photo), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_match_colour_to_itself_changes_nothing() -> None:
    style = muted(6, 20, (0.5, 0.5, 0.4))
    np.testing.assert_allclose(match_colour(style, style), style, atol=1e-7)


def test_match_colour_keeps_float32() -> None:
    style = muted(7, 8, (0.5, 0.5, 0.4)).astype(np.float32)
    assert match_colour(style, style).dtype == np.float32


def test_match_colour_with_a_grey_photo_gives_grey() -> None:
    grey = np.repeat(np.random.default_rng(8).uniform(0.3, 0.7, (1, 20, 20)), 3, axis=0)
    matched = match_colour(muted(9, 20, (0.6, 0.4, 0.4)), grey)
    assert np.ptp(matched, axis=0).max() < 1e-4
    assert srgb_to_oklab(matched)[0].std() == pytest.approx(srgb_to_oklab(grey)[0].std(), rel=1e-3)


def test_match_colour_of_a_grey_style_takes_the_mean_and_one_axis() -> None:
    grey = np.repeat(np.random.default_rng(10).uniform(0.3, 0.7, (1, 20, 20)), 3, axis=0)
    photo = muted(11, 20, (0.6, 0.5, 0.4))
    matched = match_colour(grey, photo)
    mean, covariance = mean_and_covariance(matched)
    np.testing.assert_allclose(mean, mean_and_covariance(photo)[0], atol=1e-6)
    assert np.linalg.eigvalsh(covariance)[1] < 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_match_colour_of_one_colour_gives_the_mean_of_the_photo(dtype: type) -> None:
    photo = muted(12, 20, (0.6, 0.5, 0.4)).astype(dtype)
    matched = match_colour(np.full((3, 4, 4), 0.3, dtype=dtype), photo)
    lab = srgb_to_oklab(matched).reshape(3, -1)
    np.testing.assert_allclose(lab.mean(axis=1), mean_and_covariance(photo)[0], atol=1e-5)
    assert lab.std(axis=1).max() < 1e-5


@given(style=pictures(np.float32), photo=pictures(np.float32))
def test_match_colour_always_gives_a_picture(style: np.ndarray, photo: np.ndarray) -> None:
    matched = match_colour(style, photo)
    assert matched.shape == style.shape
    assert matched.min() >= 0 and matched.max() <= 1
