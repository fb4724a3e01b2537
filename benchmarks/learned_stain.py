"""Is the stain method `learned` better than its counterparts, on tiles that none of them has seen?

    python -m benchmarks.learned_stain [WITHOUT_DEEP WITHOUT_ALL]

Tissue of one laboratory is given the stain of another, and compared with the truth: mean CIELAB distance over tissue.
Laboratories are drawn at random. `slide`: tiles of the right half of a real slide, whose stains were exchanged; the
reference is other tiles of it. `synthetic`: tissue by the generator. The counterparts are networks of the same shape
and training, without deep features and without any statistics (`--without` of docs/train_stain.py); unless they are
given, they are trained here, about five minutes each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from skimage.color import rgb2lab

from benchmarks.stain import MEDICAL, slide_pixels
from benchmarks.verdict import verdict
from impasto.medical.learned import between_learned, measure_learned
from impasto.medical.normalizer import StainNormalizer, StainWarning
from impasto.medical.stains import METHODS, Method, vahadane_vectors
from impasto.medical.synthetic import synthetic_tissue
from impasto.medical.tissue import estimate_white, optical_density, tissue_mask

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from train_stain import Laboratories, amounts_of, as_colours

TILE, CASES, WAYS = 256, 40, ("deep", "all")
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> int:
    warnings.simplefilter("ignore", StainWarning)
    with tempfile.TemporaryDirectory() as folder:
        given = [Path(name) for name in sys.argv[1:]] or [trained(without, Path(folder)) for without in WAYS]
        for without, file in zip(WAYS, given, strict=True):
            METHODS[f"without {without}"] = Method(
                partial(measure_learned, file=file), partial(between_learned, file=file), ""
            )
        found = {name: distances(cases) for name, cases in every_case()}
    met = {}
    for name, table in found.items():
        own = table["learned"]
        print(f"\n{name}, {len(own)} cases: distance to the truth (mean, median, worst); how often `learned` is nearer")
        for method, values in table.items():
            print(f"{method:17s} {values.mean():6.2f} {np.median(values):6.2f} {values.max():6.2f} "
                  f"{(own < values).mean():5.0%}")  # fmt: skip
        for without in WAYS:
            met[f"{name}: nearer in the mean than without {without}"] = own.mean() < table[f"without {without}"].mean()
    return verdict(met)


def trained(without: str, folder: Path) -> Path:
    file = folder / f"{without}.safetensors"
    script = Path(__file__).parents[1] / "docs" / "train_stain.py"
    command = [sys.executable, str(script), str(MEDICAL / "small_HE.svs"), "-o", str(file), "--without", without]
    subprocess.run(command, check=True)
    return file


def every_case() -> Iterator[tuple[str, list[Case]]]:
    """Source, reference and truth, all in 8 bits."""
    shown, white = slide_amounts()
    for count in (1, 4, 10):
        cases = slide_cases(shown, white, count, np.random.default_rng(count))
        yield f"slide, {count} tile{'s' if count > 1 else ''} a side", cases
    yield "synthetic", synthetic_cases(np.random.default_rng(0))


def slide_amounts() -> tuple[np.ndarray, np.ndarray]:
    """Amounts (tiles, rows, columns, 3) of the tiles in the right half that show tissue, and the slide's glass."""
    whole = slide_pixels()
    right = whole[:, whole.shape[1] // 2 :]
    white = estimate_white(as_colours(whole)[::50])
    tiles = [
        right[top : top + TILE : 2, left : left + TILE : 2]
        for top in range(0, right.shape[0] - TILE, TILE)
        for left in range(0, right.shape[1] - TILE, TILE)
    ]
    tiles = [tile for tile in tiles if tissue_mask(as_colours(tile), white).mean() > 0.4]
    flat = np.concatenate([as_colours(tile) for tile in tiles])
    density, tissue = optical_density(flat, white), tissue_mask(flat, white)
    amounts = amounts_of(density, vahadane_vectors(density[tissue][::7].astype(np.float64)))
    amounts[:, :2] /= np.percentile(amounts[tissue, :2], 99, axis=0)
    return amounts.reshape(len(tiles), *tiles[0].shape), white


def slide_cases(shown: np.ndarray, white: np.ndarray, count: int, rng: np.random.Generator) -> list[Case]:
    cases = []
    for _ in range(CASES):
        order = rng.permutation(len(shown))
        first, second = (Laboratories.drawn(rng, 1) for _ in range(2))
        own, other = (np.concatenate(list(shown[part])) for part in (order[:count], order[count : 2 * count]))
        cases.append((seen(first, own, white), seen(second, other, white), seen(second, own, white)))
    return cases


def seen(laboratory: Laboratories, amounts: np.ndarray, white: np.ndarray) -> np.ndarray:
    density = laboratory.density(amounts.reshape(1, -1, 3)).reshape(amounts.shape)
    return np.clip(np.rint(255 * white * 10**-density), 0, 255).astype(np.uint8)


def synthetic_cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for seed in range(CASES):
        first, second = (stain_of(Laboratories.drawn(rng, 1)) for _ in range(2))
        coverage = rng.uniform(0.3, 0.9, 2)
        source, truth = (
            synthetic_tissue(
                192, 192, stains=stains, amounts=strengths, coverage=coverage[0], seed=seed, noise_levels=noise
            ).pixels
            for (stains, strengths), noise in ((first, 1.5), (second, 0))
        )
        reference = synthetic_tissue(
            192, 192, stains=second[0], amounts=second[1], coverage=coverage[1], seed=1000 + seed
        ).pixels
        cases.append((source, reference, truth))
    return cases


def stain_of(laboratory: Laboratories) -> tuple[np.ndarray, tuple[float, float]]:
    """Stains and usual amounts for the generator, which knows no response of a scanner."""
    stains = laboratory.matrix[0, :2]
    haematoxylin, eosin = np.linalg.norm(stains, axis=1)
    return stains, (0.9 * haematoxylin, 0.45 * eosin)


def distances(cases: list[Case]) -> dict[str, np.ndarray]:
    """By method, one a case."""
    found: dict[str, list[float]] = {"unchanged": [], **{method: [] for method in METHODS}}
    for source, reference, truth in cases:
        lab = rgb2lab(truth)
        tissue = rgb2lab(source)[..., 0] < 77
        found["unchanged"].append(mean_distance(source, lab, tissue))
        for method in METHODS:
            result = StainNormalizer(method).fit(reference).transform(source)
            found[method].append(mean_distance(result, lab, tissue))
    return {method: np.array(values) for method, values in found.items()}


def mean_distance(pixels: np.ndarray, lab: np.ndarray, tissue: np.ndarray) -> float:
    return float(np.linalg.norm(rgb2lab(pixels) - lab, axis=-1)[tissue].mean())


if __name__ == "__main__":
    sys.exit(main())
