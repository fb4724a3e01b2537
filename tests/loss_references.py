"""The figures that the losses are held to, by other means: NumPy and SciPy, float64, from the definitions.

Optimal transport is solved as a linear programme, matrix roots by Schur decomposition, neighbours by trying all.
Made anew by `python tests/loss_references.py`, which needs SciPy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "loss_references.npz"
Array = np.ndarray


def feature_maps() -> dict[str, Array]:
    """`x` to judge; `style` of another size; `photo` of x's. Not negative, channels of different strength."""
    generator = np.random.default_rng(5)
    mixing = generator.normal(size=(6, 6)) / 2 + np.eye(6)
    strengths = np.array([0.4, 1, 1.5, 0.7, 2, 1.2])

    def one(height: int, width: int, gain: float) -> Array:
        values = np.einsum("ab,bhw->ahw", mixing, generator.normal(size=(6, height, width)))
        values = np.maximum(values + 0.3, 0) * (strengths**gain)[:, None, None]
        return values.astype(np.float32)

    return {"x": one(9, 11, 1), "style": one(8, 13, 1.5), "photo": one(9, 11, 1)}


def rows(values: Array) -> Array:
    return values.reshape(len(values), -1).T.astype(np.float64)


def transport(x: Array, y: Array) -> float:
    """Squared 2-Wasserstein distance of two sets of numbers: the cheapest plan there is."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    n, m = len(x), len(y)
    costs = (x[:, None] - y[None]) ** 2
    leaving = kron(eye_array(n), np.ones((1, m)))
    arriving = kron(np.ones((1, n)), eye_array(m))
    limits = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return float(linprog(costs.ravel(), A_eq=vstack([leaving, arriving]), b_eq=limits, method="highs").fun)


def wasserstein(x: Array, style: Array) -> float:
    from scipy.linalg import sqrtm

    mean_x, mean_s = x.mean(0), style.mean(0)
    cov_x, cov_s = np.cov(x.T, bias=True), np.cov(style.T, bias=True)
    root = sqrtm(cov_s)
    bures = np.trace(cov_x + cov_s - 2 * sqrtm(root @ cov_x @ root)).real
    return (((mean_x - mean_s) ** 2).sum() + bures) / ((mean_s**2).sum() + np.trace(cov_s))


def histogram(x: Array, style: Array) -> float:
    return sum(transport(a, b) for a, b in zip(x.T, style.T, strict=True)) / (style**2).mean(0).sum()


def sliced(x: Array, style: Array, directions: Array) -> float:
    return histogram(x @ directions.T, style @ directions.T)


def moments(x: Array, style: Array) -> float:
    from scipy.stats import moment

    total = ((x.mean(0) - style.mean(0)) ** 2).sum() / np.sqrt((style**4).mean(0)).sum()
    for order in (2, 3, 4):
        error = ((moment(x, order) - moment(style, order)) ** 2).sum()
        total += error / ((style**4).mean(0) ** (order / 2)).sum() / 4 ** (order - 1)
    return float(total)


def cosine_distances(x: Array, y: Array) -> Array:
    return np.array([[1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in y] for a in x])


def nearest(x: Array, style: Array) -> float:
    mean = style.mean(0)
    return float(cosine_distances(x - mean, style - mean).min(1).mean())


def remd(x: Array, style: Array) -> float:
    costs = cosine_distances(x, style)
    found = max(costs.min(1).mean(), costs.min(0).mean())
    for moment_of in (lambda v: v.mean(0), lambda v: np.cov(v.T, bias=True)):
        found += abs(moment_of(x) - moment_of(style)).sum() / abs(moment_of(style)).sum()
    return float(found)


def self_similarity(x: Array, photo: Array) -> float:
    shares = [costs / costs.sum(0) for costs in (cosine_distances(x, x), cosine_distances(photo, photo))]
    return float(abs(shares[0] - shares[1]).sum() / len(x))


def laplacian(x: Array, photo: Array) -> float:
    from scipy.ndimage import convolve

    kernel = np.array([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]])
    of_x, of_photo = (np.stack([convolve(c.astype(float), kernel, mode="nearest") for c in v]) for v in (x, photo))
    return float(((of_x - of_photo) ** 2).sum() / (of_photo**2).sum())


def main() -> None:
    from impasto.losses.sliced import directions

    maps = feature_maps()
    x, style, photo = (rows(maps[name]) for name in ("x", "style", "photo"))
    figures = {
        "style/wasserstein": wasserstein(x, style),
        "style/histogram": histogram(x, style),
        "style/sliced": sliced(x, style, directions(6).double().numpy()),
        "style/moments": moments(x, style),
        "style/nearest": nearest(x, style),
        "style/remd": remd(x, style),
        "content/self_similarity": self_similarity(x, photo),
        "content/laplacian": laplacian(maps["x"], maps["photo"]),
    }
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **maps, **{name: np.float64(value) for name, value in figures.items()})
    for name, value in figures.items():
        print(f"{name}: {value:.6f}")


if __name__ == "__main__":
    main()
