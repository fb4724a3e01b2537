"""Whether the nuclei of a fluorescence picture are the same before and after: found by a simple detector of its own.

Smoothing, Otsu's threshold and a watershed from the brightest points: nothing of it knows how the picture was changed,
so it can judge the change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer, Shaped

from impasto.errors import UserError

# Of the picture, and of what seeds are looked for in: more than one peak within a nucleus is smoothed away.
SMOOTH_PX, SEED_PX = 1.0, 2.0
# Nuclei with a smaller radius than this are taken for dirt.
LEAST_RADIUS_PX = 3.0
# What must hold: count within 2 %, centres found again, area and order of brightness kept. A curve moves the outline of
# soft edges a little, since half of a nucleus's height lies elsewhere then: more than AREA is another outline.
COUNT, MATCHED, AREA, RANK = 0.02, 0.98, 0.15, 0.98

Labels = Integer[np.ndarray, "*grid"]


@dataclass(frozen=True)
class NucleiCheck:
    """Nuclei before and after. matched: share of those before whose centre lies in one after, one to one.

    area: median change of a matched nucleus's area (volume in stacks), as a share. rank: Spearman's correlation of the
    mean intensities of the nuclei before and after: 1 where their order of brightness is the same. reasons: which of
    the limits are missed; empty where the nuclei are the same.
    """

    before: int
    after: int
    matched: float
    area: float
    rank: float
    reasons: list[str]

    def __str__(self) -> str:
        verdict = "the same nuclei" if not self.reasons else "not the same nuclei"
        return (
            f"nuclei: {self.before} before, {self.after} after, {self.matched:.1%} matched, area {self.area:+.1%}, "
            f"rank correlation of brightness {self.rank:.3f}: {verdict}"
        )


def find_nuclei(picture: Shaped[np.ndarray, "*grid"]) -> Labels:
    """Label every bright nucleus of a picture or stack (1, 2, ...; 0 is background). Any intensities; 2-D or 3-D."""
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed

    smooth = ndimage.gaussian_filter(picture.astype(np.float64), SMOOTH_PX)
    if np.ptp(smooth) == 0:
        return np.zeros(picture.shape, np.int32)
    # The root makes faint nuclei stand out, and the threshold depend less on the detector's gamma.
    low, high = np.percentile(smooth, [1, 99.5])
    tone = np.sqrt(np.maximum(smooth - low, 0) / max(high - low, np.finfo(float).tiny))
    bright = ndimage.binary_fill_holes(tone > threshold_otsu(tone))
    hills = ndimage.gaussian_filter(tone, SEED_PX)
    peaks = peak_local_max(
        hills, min_distance=round(2 * LEAST_RADIUS_PX), labels=ndimage.label(bright)[0], exclude_border=False
    )
    seeds = np.zeros(picture.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: np.ndarray = watershed(-hills, seeds, mask=bright)
    sizes = np.bincount(labels.ravel())
    least = np.pi * LEAST_RADIUS_PX**2 if picture.ndim == 2 else 4 / 3 * np.pi * LEAST_RADIUS_PX**3
    kept = np.flatnonzero(sizes >= least)
    kept = kept[kept > 0]
    renumber = np.zeros(len(sizes), np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    found: np.ndarray = renumber[labels]
    return found


def brightness(picture: Shaped[np.ndarray, "*grid"], labels: Labels) -> Float64[np.ndarray, " n"]:
    """Mean intensity of every nucleus, in the order of their labels."""
    from scipy import ndimage

    return np.asarray(ndimage.mean(picture.astype(np.float64), labels, np.arange(1, labels.max() + 1)))


def match(before: Labels, after: Labels) -> Integer[np.ndarray, "n 2"]:
    """Pairs of labels, of which each one's centre lies in the other."""
    there, back = (inside_of(*pair) for pair in ((before, after), (after, before)))
    return np.array([(a, b) for a, b in there.items() if back.get(b) == a], np.int64).reshape(-1, 2)


def inside_of(labels: Labels, others: Labels) -> dict[int, int]:
    """In which of the others the centre of each nucleus lies."""
    from scipy import ndimage

    every = np.arange(1, labels.max() + 1)
    centres = np.rint(ndimage.center_of_mass(labels > 0, labels, every)).astype(int).reshape(-1, labels.ndim)
    found = others[tuple(centres.T)]
    return {int(label): int(other) for label, other in zip(every, found, strict=True) if other}


def compare_nuclei(
    before: Shaped[np.ndarray, "*grid"], after: Shaped[np.ndarray, "*other"], labels: Labels | None = None
) -> NucleiCheck:
    """Find the nuclei of a picture or stack before and after a change, and tell whether they are the same.

    labels: the true nuclei, where they are known (1, 2, ...): the order of brightness is then taken over them. Raises
    UserError for pictures of two sizes, and for one without nuclei.
    """
    if before.shape != after.shape:
        raise UserError(f"Pictures of {before.shape} and {after.shape} cannot be compared: give two of one size.")
    first, second = find_nuclei(before), find_nuclei(after)
    if not first.max():
        raise UserError("There are no nuclei in the picture before the change: leave the check out.")
    pairs = match(first, second)
    sizes, new_sizes = np.bincount(first.ravel())[pairs[:, 0]], np.bincount(second.ravel())[pairs[:, 1]]
    area = float(np.median(new_sizes / sizes)) - 1 if len(pairs) else -1.0
    known = first if labels is None else labels
    rank = rank_correlation(brightness(before, known), brightness(after, known))
    count, matched = int(second.max()) / int(first.max()) - 1, len(pairs) / int(first.max())
    limits = {
        f"their count changed by {count:+.1%}": abs(count) <= COUNT,
        f"only {matched:.1%} of the centres were found again": matched >= MATCHED,
        f"their area changed by {area:+.1%}": abs(area) <= AREA,
        f"the order of their brightness changed (rank correlation {rank:.3f})": rank >= RANK,
    }
    reasons = [reason for reason, met in limits.items() if not met]
    return NucleiCheck(int(first.max()), int(second.max()), matched, area, rank, reasons)


def rank_correlation(first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " n"]) -> float:
    """Spearman's; 1 for fewer than two nuclei, whose order cannot change."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic) if len(first) > 1 else 1.0
