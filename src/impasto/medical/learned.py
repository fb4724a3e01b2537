"""The method `learned`: a small pointwise network, steered by deep features of the two appearances.

Measured are means, deviations and soft maxima, over tissue, of deep features of single colours (layers of 1 x 1
convolutions). From those of source and target one network makes the weights of another, which corrects the linear
optimal transport of densities, colour by colour. None of them sees where a pixel stands, so no structure can be
invented. `docs/train_stain.py` trains them; the card in their file says on what.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file

from impasto.errors import UserError
from impasto.medical.tissue import NOISE, ColourMap, Colours, Statistics, Weight, light, mix, optical_density
from impasto.medical.transport import monge

SHIPPED: Final = Path(__file__).parents[1] / "data" / "stain.safetensors"

SHARPNESS: Final = 4.0
"""Of the soft maximum over colours; higher is nearer to the maximum."""

SPREAD: Final = 4.0
"""What second moments, of densities over their mean, are multiplied by, to vary about as much as features do."""

REACH: Final = 0.7
"""The largest entry of the linear correction."""

_LEAST_DENSITY: Final = 1e-3

Layers = list[tuple[np.ndarray, np.ndarray]]


@cache
def fingerprint(file: Path = SHIPPED) -> np.ndarray:
    """A number of the network's own, so that appearances that two versions of it measured are not taken for alike."""
    return np.array([zlib.crc32(file.read_bytes()) % 1_000_000], np.float64)


@cache
def network(file: Path = SHIPPED) -> dict[str, Layers]:
    """Weights (out, in) and biases by part: `features` of a colour, `side` of one appearance, `both`, and `pixel`."""
    tensors = {name: values.astype(np.float32) for name, values in load_file(file).items()}
    parts: dict[str, Layers] = {"features": [], "side": [], "both": [], "pixel": []}
    for name in sorted(name for name in tensors if name.endswith(".weight")):
        part = name.split(".")[0]
        parts[part].append((tensors[name], tensors[name.replace(".weight", ".bias")]))
    return parts


def measure_learned(colours: Colours, white: Float[np.ndarray, " 3"], file: Path = SHIPPED) -> dict[str, np.ndarray]:
    """The density's mean and second moments, and the deep statistics. file: another network, to compare with."""
    density = optical_density(colours, white)
    mean = np.maximum(density.mean(axis=0, dtype=np.float64), _LEAST_DENSITY)
    shares = density / mean.astype(np.float32)
    features = perceptron(network(file)["features"], shares).astype(np.float64)
    soft = np.exp(SHARPNESS * (features - features.max(axis=0)))
    moments = density.astype(np.float64).T @ density / len(density)
    spread = SPREAD * (moments / np.outer(mean, mean) - 1)
    return {
        "network": fingerprint(file),
        "white": white.astype(np.float64),
        "density_mean": mean,
        "density_moments": moments,
        "deep": np.concatenate(
            [
                features.mean(axis=0), features.std(axis=0), (soft * features).sum(axis=0) / soft.sum(axis=0),
                spread[np.triu_indices(3)], np.log(mean),
            ]
        ),
    }  # fmt: skip


def between_learned(source: Statistics, target: Statistics, file: Path = SHIPPED) -> ColourMap:
    """Linear optimal transport of densities (as in `between_transport`), then the network's correction.

    With z the transported density over the target's mean: z + z D + p(z) - q(z). D, and the gains and shifts by which p
    differs from q, follow from both sides' deep statistics, and are none where these are alike: then nothing changes.
    Raises UserError for statistics that another network measured.
    """
    if not source["network"] == target["network"] == fingerprint(file):
        raise UserError("A stain was measured by the learned method of another version of Impasto; measure it again.")
    noise = NOISE**2 * np.eye(3)
    mean = target["density_mean"]
    matrix = monge(source["density_moments"] + noise, target["density_moments"] + noise) / mean
    parts = network(file)
    own, other = (perceptron(parts["side"], one["deep"][None].astype(np.float32)) for one in (source, target))
    code = np.subtract(*(perceptron(parts["both"], np.concatenate([one, other], axis=1))[0] for one in (own, other)))
    linear = np.eye(3, dtype=np.float32) + REACH * np.tanh(code[:9].reshape(3, 3))
    steered: Layers = [
        (weight * (1 + gain)[:, None], bias * (1 + gain) + shift)
        for (weight, bias), (gain, shift) in zip(parts["pixel"][:2], code[9:].reshape(2, 2, -1), strict=True)
    ]
    white = source["white"].astype(np.float32)

    def correct(colours: Colours, weight: Weight) -> Colours:
        shares = mix(optical_density(colours, white), matrix.astype(np.float32))
        bent = perceptron([*steered, parts["pixel"][2]], shares) - perceptron(parts["pixel"], shares)
        density = np.maximum((mix(shares, linear) + bent) * mean.astype(np.float32), 0)
        result: Colours = colours + weight[:, None] * (light(density, white) - colours)
        return result

    return correct


def perceptron(layers: Layers, rows: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n d"]:
    """Each row through the layers, with SiLU between them; by sums, as `weigh` does it and for its reason."""
    for place, (weight, bias) in enumerate(layers):
        if place:
            # x / (1 + exp(-x)), without overflow.
            rows = rows * (0.5 + 0.5 * np.tanh(0.5 * rows))
        result = np.broadcast_to(bias, (len(rows), len(bias))).copy()
        for channel in range(weight.shape[1]):
            result += rows[:, channel, None] * weight[:, channel]
        rows = result
    return rows
