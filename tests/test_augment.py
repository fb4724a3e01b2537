"""Augmentation: what the changes do to stains and styles, and that draws are repeatable and differ between workers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import hed2rgb, rgb2hed
from torch.utils.data import DataLoader, Dataset

import impasto
from impasto.errors import UserError
from impasto.medical import FittedStains, StainAugment
from impasto.medical.augment import HED, exchange, stain
from impasto.nets.any_style import AnyStyle, Shape
from support import shapes_picture

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations  # noqa: E402

ONE = FittedStains(np.array([[0.60, 0.73, 0.33], [0.12, 0.95, 0.28]]), np.array([0.9, 0.6]))
TWO = FittedStains(np.array([[0.70, 0.62, 0.36], [0.22, 0.88, 0.42]]), np.array([0.6, 0.9]))


def tiles(count: int = 4, side: int = 32) -> torch.Tensor:
    """Tiles stained by ONE: random amounts of its two stains, a white corner."""
    amounts = torch.rand(count, 2, side, side, generator=torch.Generator().manual_seed(0)) * 0.5
    amounts[..., :4, :4] = 0
    density = torch.einsum("nshw,sc->nchw", amounts, torch.from_numpy(ONE.vectors).float())
    return (10**-density * 255).round().to(torch.uint8)


def density(images: torch.Tensor) -> np.ndarray:
    return -np.log10((images.numpy() + 1.0) / 256)


@settings(deadline=None)
@given(arrays(np.uint8, (3, 4, 4)))
def test_no_change_is_the_same_image(image: np.ndarray) -> None:
    nothing = StainAugment(scale=0, shift=0)
    assert torch.equal(nothing(torch.from_numpy(image)), torch.from_numpy(image))
    floats = torch.from_numpy(image).float() / 255
    torch.testing.assert_close(nothing(floats), floats, atol=1e-6, rtol=0)


@settings(deadline=None)
@given(
    image=arrays(np.float32, (3, 4, 4), elements=st.floats(0.125, 0.875, width=32)),
    factors=st.tuples(*[st.floats(0.8, 1.2)] * 3),
)
def test_the_jitter_is_that_of_the_usual_colour_deconvolution(image: np.ndarray, factors: tuple[float, ...]) -> None:
    """skimage's stains in their own units: they are rows of unequal length, and only scaling is free of units."""
    basis = torch.from_numpy(HED.T).float()
    matrix = basis @ torch.diag(torch.tensor(factors, dtype=torch.float32)) @ torch.linalg.inv(basis)
    out = torch.empty(3, 4, 4)
    stain(torch.from_numpy(image), matrix, torch.zeros(3), out)
    from skimage.color import hed_from_rgb, rgb_from_hed

    amounts = -np.log(image.transpose(1, 2, 0)) @ hed_from_rgb
    expected = np.exp(-(amounts * factors) @ rgb_from_hed).transpose(2, 0, 1)
    assert hed2rgb(rgb2hed(image.transpose(1, 2, 0))).shape == (4, 4, 3)
    np.testing.assert_allclose(out.numpy(), expected.clip(0, 1), atol=0.012)


def test_a_bank_exchanges_the_stains_strength_for_strength() -> None:
    source = tiles()
    done = StainAugment(scale=0, shift=0, bank=[TWO], source=ONE)(source)
    amounts = np.einsum("nchw,cs->nshw", density(source), np.linalg.pinv(ONE.vectors))
    expected = np.einsum("nshw,sc->nchw", amounts * (TWO.strength / ONE.strength)[:, None, None], TWO.vectors)
    np.testing.assert_allclose(density(done), expected, atol=0.03)
    assert (done[..., :4, :4] == source[..., :4, :4]).all(), "white stays white"
    there_and_back = exchange(TWO, ONE) @ exchange(ONE, TWO) @ ONE.vectors.T
    np.testing.assert_allclose(there_and_back, ONE.vectors.T, atol=1e-9)
    of_both = StainAugment(scale=0, shift=0, bank=[ONE, TWO], source=ONE)(tiles(40, 8))
    changed = (of_both != tiles(40, 8)).flatten(1).any(1)
    assert 5 < int(changed.sum()) < 35


@pytest.mark.parametrize(
    "option", [{"scale": 0.5}, {"shift": 0.1}, {"bank": [TWO], "source": ONE}, {"bank": [TWO], "source": TWO}]
)
def test_every_option_changes_the_result(option: dict[str, object]) -> None:
    results = [
        StainAugment(**fields)(tiles(), torch.Generator().manual_seed(3))  # type: ignore[arg-type]
        for fields in ({}, option)
    ]
    same = option.get("source") is TWO
    assert torch.equal(*results) == same, "a bank that holds the source alone changes nothing"


def test_larger_scale_and_shift_are_more_varied() -> None:
    one = tiles(1).expand(64, -1, -1, -1).contiguous()

    def spread(corner: bool, **fields: float) -> float:
        done = StainAugment(**fields)(one, torch.Generator().manual_seed(1)).float()
        return float((done[..., :4, :4] if corner else done).mean((2, 3)).std(0).mean())

    assert spread(False, scale=0.1, shift=0) < spread(False, scale=0.3, shift=0)
    assert spread(True, scale=0.3, shift=0) == 0
    assert 0 < spread(True, scale=0, shift=0.01) < spread(True, scale=0, shift=0.05)


def test_shapes_dtypes_and_generators() -> None:
    augment = StainAugment()
    batch = tiles()
    for images in (batch, batch[0], batch.float() / 255, batch.half() / 255):
        first, second = (augment(images, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(first, second)
        assert (first.shape, first.dtype) == (images.shape, images.dtype)
    torch.manual_seed(1)
    first = augment(batch)
    assert not torch.equal(first, augment(batch))
    torch.manual_seed(1)
    assert torch.equal(first, augment(batch))
    assert not torch.equal(*augment(batch[:1].expand(2, -1, -1, -1).contiguous()))
    for wrong, message in ((batch[:, :2], "give \\(3, h, w\\)"), (batch.int(), "give uint8")):
        with pytest.raises(UserError, match=message):
            augment(wrong)


class Same(Dataset):
    """One tile, over and over."""

    def __init__(self) -> None:
        self.augment, self.tile = StainAugment(), tiles(1)[0]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        changed: torch.Tensor = self.augment(self.tile)
        return changed


def test_workers_draw_apart_and_repeatably() -> None:
    def epochs() -> list[torch.Tensor]:
        loader = DataLoader(Same(), batch_size=1, num_workers=2, generator=torch.Generator().manual_seed(7))
        return [torch.cat(list(loader)) for _ in range(2)]

    first, again = epochs(), epochs()
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    every = torch.cat(first).flatten(1)
    assert len(torch.unique(every, dim=0)) == 8, "two workers of two epochs"


def test_in_a_pipeline_of_albumentations() -> None:
    image = tiles(1)[0].movedim(0, 2).numpy()
    mask = np.arange(32 * 32).reshape(32, 32)

    def results(seed: int, p: float = 1.0) -> list[np.ndarray]:
        pipeline = albumentations.Compose(
            [albumentations.HorizontalFlip(p=1), StainAugment().albumentations(p=p)], seed=seed
        )
        every = [pipeline(image=image, mask=mask) for _ in range(3)]
        assert all(np.array_equal(each["mask"], mask[:, ::-1]) for each in every)
        return [each["image"] for each in every]

    first = results(1)
    assert all(each.dtype == np.uint8 and each.shape == image.shape for each in first)
    assert np.array_equal(first, results(1))
    assert not np.array_equal(first, results(2))
    assert not np.array_equal(first[0], first[1])
    assert all(np.array_equal(each, image[:, ::-1]) for each in results(1, p=0))
    floats = albumentations.Compose([StainAugment().albumentations()])(image=(image / 255).astype(np.float32))["image"]
    assert floats.dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"scale": 1}, "scale 1"), ({"scale": -0.1}, "scale"), ({"shift": 2}, "shift 2"),
     ({"bank": [TWO]}, "belong together"), ({"source": ONE}, "belong together"),
     ({"bank": ["nothing.json"], "source": ONE}, "does not exist")],
)  # fmt: skip
def test_options_that_make_no_sense(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        StainAugment(**fields)  # type: ignore[arg-type]


def test_without_albumentations_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    monkeypatch.delitem(sys.modules, "impasto.albumentation", raising=False)
    with pytest.raises(UserError, match="pip install albumentations"):
        StainAugment().albumentations()


def test_stains_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    fields = {"stains": TWO.vectors.tolist(), "most": TWO.strength.tolist(), "more": 1}
    expected = StainAugment(bank=[TWO], source=ONE)(tiles(), torch.Generator().manual_seed(2))
    for written in (fields, {"kind": "a profile", "statistics": fields}):
        file.write_text(json.dumps(written))
        assert torch.equal(StainAugment(bank=[file], source=ONE)(tiles(), torch.Generator().manual_seed(2)), expected)
    cases = {
        "no stains": "{}",
        "holds no stains": "not json",
        r"it needs `stains` \(2, 3\)": "[1, 2]",
        "same cannot": '{"stains": [[1,0,0],[1,0,0]], "most": [1,1]}',
        "above 0": '{"stains": [[1,0,0],[0,1,0]], "most": [1,0]}',
        r"give \(2, 3\)": '{"stains": [[1,0,0]], "most": [1,1]}',
    }
    for message, text in cases.items():
        file.write_text(text)
        with pytest.raises(UserError, match=rf"two.json.*{message}"):
            FittedStains.load(file)


# Styles by the network for any style, here a small one that is not trained.


@pytest.fixture(scope="module")
def network() -> AnyStyle:
    torch.manual_seed(0)
    # Random codes have next to no effect on a new network: make them have one.
    small = AnyStyle(Shape(code=8, near=16, far=16, blocks=1, last=1, experts=2, encoder=(8, 8), deep=(8,), hidden=16))
    with torch.no_grad():
        small.out.affine.weight.normal_(0, 0.3)
        small.dial[-1].weight.normal_(0, 1)
    return small.eval()


STYLES = [shapes_picture(48, 64, seed) for seed in (1, 2, 3)]


def test_styles_are_drawn_for_each_image(network: AnyStyle, tmp_path: Path) -> None:
    photo = torch.from_numpy(shapes_picture(40, 56, 9)).movedim(2, 0)
    batch = photo.expand(6, -1, -1, -1).contiguous()
    augment = impasto.StyleAugment(network, STYLES, size_px=48)
    done = augment(batch, torch.Generator().manual_seed(1))
    assert done.shape == batch.shape
    assert len(torch.unique((done * 1e4).round().flatten(1), dim=0)) == 6
    assert 0 <= done.min() < done.max() <= 1
    whole = augment((batch * 255).to(torch.uint8), torch.Generator().manual_seed(1))
    assert (whole.float() / 255 - done).abs().mean() < 0.01
    network.save(tmp_path / "net.safetensors")
    other = impasto.StyleAugment(tmp_path / "net.safetensors", STYLES, size_px=48)
    assert (other(batch, torch.Generator().manual_seed(1)) - done).abs().mean() < 0.01
    image = (shapes_picture(40, 56, 9) * 255).astype(np.uint8)
    assert albumentations.Compose([augment.albumentations()])(image=image)["image"].shape == image.shape


def test_strength_and_size_of_styles(network: AnyStyle) -> None:
    batch = torch.from_numpy(shapes_picture(40, 56, 9)).movedim(2, 0)[None]

    def painted(**fields: object) -> torch.Tensor:
        done: torch.Tensor = impasto.StyleAugment(network, STYLES, **fields)(batch, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
        return done

    assert torch.equal(painted(strength=(0, 0)), batch)
    assert not torch.equal(painted(strength=(0.1, 0.1)), painted(strength=(1, 1)))
    assert not torch.equal(painted(size_px=48), painted(size_px=64))
    refused = {
        "bounds in 0..1": {"strength": (0.8, 0.2)},
        "styles need 32": {"size_px": 8},
        "at least one style": {"styles": []},
    }
    for message, fields in refused.items():
        with pytest.raises(UserError, match=message):
            impasto.StyleAugment(network, **({"styles": STYLES} | fields))  # type: ignore[arg-type]
