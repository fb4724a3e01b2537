"""The nuclei check: it finds them, lets every curve pass, and no change of structure."""

from __future__ import annotations

import numpy as np
import pytest

from impasto.errors import UserError
from impasto.medical.fluorescence import compare_nuclei, find_nuclei, match
from impasto.medical.phantoms import nuclei_phantom


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    return nuclei_phantom(count=40, seed=3)


def test_every_nucleus_is_found(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    picture, labels = phantom
    found = find_nuclei(picture)
    assert found.max() == labels.max() == len(match(found, labels))
    pairs = match(found, labels)
    sizes, true_sizes = (
        np.bincount(each.ravel())[column] for each, column in zip((found, labels), pairs.T, strict=True)
    )
    assert np.corrcoef(sizes, true_sizes)[0, 1] > 0.9


@pytest.mark.parametrize("gamma", [0.7, 1.0, 1.4])
def test_a_curve_leaves_them_the_same(gamma: float, phantom: tuple[np.ndarray, np.ndarray]) -> None:
    picture, labels = phantom
    after = 3000 * ((picture - picture.min()) / np.ptp(picture)) ** gamma + 70
    check = compare_nuclei(picture, after, labels)
    assert check.reasons == []
    assert check.rank > 0.999
    assert str(check).endswith("the same nuclei")


def spoilt(kind: str, picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    after = picture.astype(np.float64)
    some = np.isin(labels, range(1, 9))
    if kind == "erased":
        after[some] = 110
    elif kind == "painted":
        after[5:20, 5:20] = after[60:70, 230:240] = after[120:130, 5:15] = after[240:252, 240:252] = 900
    elif kind == "grown":
        from scipy.ndimage import grey_dilation

        after = grey_dilation(after, 5)
    elif kind == "inverted":
        for label in range(1, labels.max() + 1):
            inside = labels == label
            after[inside] = 1100 - after[inside].mean()
    return after


@pytest.mark.parametrize(
    ("kind", "reason"), [("erased", "centres"), ("painted", "count"), ("grown", "area"), ("inverted", "brightness")]
)
def test_a_change_of_structure_is_seen(kind: str, reason: str, phantom: tuple[np.ndarray, np.ndarray]) -> None:
    check = compare_nuclei(phantom[0], spoilt(kind, *phantom), phantom[1])
    assert any(reason in text for text in check.reasons), check


def test_stacks_and_pictures_without_nuclei(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    z = np.abs(np.arange(-8, 9))[:, None, None]
    stack = np.where(z < 6, phantom[0][None, :128, :128], 100)
    assert compare_nuclei(stack, 2 * stack).reasons == []
    assert find_nuclei(np.full((40, 40), 3)).max() == 0
    with pytest.raises(UserError, match="no nuclei"):
        compare_nuclei(np.full((40, 40), 3), np.full((40, 40), 3))
    with pytest.raises(UserError, match="one size"):
        compare_nuclei(phantom[0], phantom[0][1:])
