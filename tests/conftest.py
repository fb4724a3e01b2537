"""What the tests share: small pictures, a small network, and the real VGG-16."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

# Types and shapes in signatures are checked while testing, and only then.
install_import_hook("impasto", "typechecked.checked")

from impasto.evaluation.deep import NEEDED
from impasto.nets import weights
from impasto.nets.catalogue import network
from impasto.nets.cnn import Cnn, build_cnn
from support import SMALL_TABLE, shapes_picture

torch.set_num_threads(os.cpu_count() or 1)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Pictures and networks as small as a test's wait for a second thread longer than it works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_cnn() -> Cnn:
    return build_cnn(SMALL_TABLE, input_shape=(3, 64, 64), seed=3, name="small")


@pytest.fixture(scope="session")
def vgg16() -> Cnn:
    """The real network; `make test` has fetched its weights, and a second fetch is no work."""
    weights.fetch("vgg16")
    return network("vgg16")


@pytest.fixture(scope="session")
def judging_networks() -> None:
    """The networks that judge, in the user's cache."""
    for name in NEEDED:
        weights.fetch(name)


@pytest.fixture
def photo_array() -> np.ndarray:
    return shapes_picture(48, 64, 1)


@pytest.fixture
def style_array() -> np.ndarray:
    return shapes_picture(56, 56, 2)


@pytest.fixture
def files(tmp_path: Path, photo_array: np.ndarray, style_array: np.ndarray, small_cnn: Cnn) -> Path:
    """A folder with photo.png (64x48), style.png, style2.png (56x56) and the small network in net.safetensors."""
    from PIL import Image

    pictures = {"photo": photo_array, "style": style_array, "style2": shapes_picture(56, 56, 5)}
    for name, array in pictures.items():
        Image.fromarray((array * 255).round().astype(np.uint8)).save(tmp_path / f"{name}.png")
    small_cnn.save(tmp_path / "net.safetensors")
    return tmp_path
