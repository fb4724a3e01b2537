"""The stain method `learned`: what it was trained for, what it cannot do, and its training in a few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from impasto.errors import UserError
from impasto.medical import StainNormalizer
from impasto.medical.check import delta_e
from impasto.medical.learned import SHIPPED, between_learned, measure_learned, perceptron
from tissue_files import purple, rose, write_svs

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
import train_stain  # noqa: E402 - docs/ is no package

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_reference_of_another_mixture_is_no_hindrance() -> None:
    """Much glass and few nuclei on one side must not change the stain that is found: the truth is known here."""
    few, many = rose(coverage=0.4), purple(coverage=0.95, seed=5)
    truth = purple(coverage=0.4, seed=1, noise_levels=0)
    result = StainNormalizer("learned").fit(many.pixels).transform(few.pixels)
    assert delta_e(result, truth.pixels) < delta_e(few.pixels, truth.pixels) / 4


def test_statistics_of_another_network_are_refused() -> None:
    colours = rose().pixels.reshape(-1, 3)[::9].astype(np.float32) / 255
    own = measure_learned(colours, np.ones(3, np.float32))
    with pytest.raises(UserError, match="measure it again"):
        between_learned(own, own | {"network": own["network"] + 1})


def test_a_row_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1001, 3)).astype(np.float32)
    layers = [
        (rng.normal(size=(7, 3)).astype(np.float32), np.ones(7, np.float32)),
        (rng.normal(size=(3, 7)).astype(np.float32), np.zeros(3)),
    ]
    whole = perceptron(layers, rows)
    parts = [perceptron(layers, rows[first : first + 13]) for first in range(0, len(rows), 13)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_what_is_trained_is_what_is_applied(tmp_path: Path) -> None:
    network, _ = train_stain.train([train_stain.synthetic_amounts(2)], 12, "nothing")
    file = tmp_path / "network.safetensors"
    save_file({name: values.contiguous() for name, values in network.state_dict().items()}, file)
    # Colours cannot show densities below the glass's.
    source, reference = (side.clamp(min=0) for side in train_stain.Source([], seed=5).batch()[:2])
    with torch.no_grad():
        wanted = train_stain.colours(network(source, reference)).numpy()
        colours = [train_stain.colours(side).numpy() for side in (source, reference)]
    assert np.abs(wanted - colours[0]).max() > 0.05
    for place in range(3):
        own, other = (measure_learned(side[place], train_stain.WHITE, file) for side in colours)
        found = between_learned(own, other, file)(colours[0][place], np.ones(len(wanted[place]), np.float32))
        assert np.abs(found - wanted[place]).max() < 1e-3


@pytest.mark.parametrize("without", ["nothing", "deep", "all"])
def test_training_writes_a_network_with_its_card(tmp_path: Path, without: str) -> None:
    write_svs(tmp_path / "rose.svs", rose().pixels)
    command = [sys.executable, str(DOCS / "train_stain.py"), str(tmp_path / "rose.svs"), "--steps", "3"]
    subprocess.run([*command, "-o", str(tmp_path / "n.safetensors"), "--without", without], check=True)
    with safe_open(tmp_path / "n.safetensors", "np") as file:
        assert "3 steps" in file.metadata()["card"]
        seen = np.abs(file.get_tensor("side.0.weight").astype(np.float32)).sum(axis=0) > 0
    assert [seen[:96].any(), seen[96:].any()] == [without == "nothing", without != "all"]


def test_the_shipped_network_is_small_and_says_what_it_is() -> None:
    assert SHIPPED.stat().st_size < 200_000
    with safe_open(SHIPPED, "np") as file:
        card = file.metadata()["card"]
    assert all(word in card for word in ("Data:", "Loss:", "steps", "Limits:", "Licence: Apache-2.0"))
