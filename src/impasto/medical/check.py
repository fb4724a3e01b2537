"""The check: whether a picture of stained tissue still shows the same tissue after its colours were changed."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, UInt8
from skimage.metrics import structural_similarity

from impasto.errors import PictureError, UserError
from impasto.medical.normalizer import StainWarning, check_pixels, sample_colours, write_text
from impasto.medical.nuclei import NUCLEUS_RADIUS_PX, find_nuclei, matched_share
from impasto.medical.stains import macenko_vectors, to_lab
from impasto.medical.tissue import (
    BACKGROUND_LIGHTNESS,
    LUMA,
    MIN_TISSUE_PIXELS,
    effect,
    estimate_white,
    lightness,
    optical_density,
    tissue_mask,
)
from impasto.picture import Picture

LEAST_SSIM: Final = 0.93
LEAST_GRADIENT: Final = 0.96
LEAST_HAEMATOXYLIN: Final = 0.95
MOST_COUNT_CHANGE: Final = 0.02
LEAST_MATCHED: Final = 0.98
MOST_DELTA_E: Final = 4.0
MOST_LOSS: Final = 2.0
_FEW_NUCLEI: Final = 50
_ROWS: Final = 1024


@dataclass(frozen=True, eq=False)
class Report:
    """What the check found. `ok` is its verdict, `reasons` say why not, `warnings` what to look at all the same.

    Figures: `background_levels` is the largest change of a background pixel (CIE lightness 85 and more before), in
    8-bit levels, `background_mean_levels` the mean change; `luminance_ssim` the SSIM of luma after mean and contrast
    are matched; `gradient_correlation` that of gradient magnitudes of luma; `haematoxylin_correlation` that of
    haematoxylin densities, each by the picture's own stain vectors; `nuclei_before`, `nuclei_after` and
    `nuclei_matched` what a simple detector found; `delta_e` the CIE76 distance of the mean tissue colour (lightness
    under 85) to the reference's, None without a reference. Figures of tissue are 1 where there is too little of it.

    Pictures: `difference` the change of each pixel, black for none; `haematoxylin` and `eosin` the two densities
    before and after, side by side.
    """

    figures: dict[str, float | int | None]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    difference: UInt8[np.ndarray, "h w 3"]
    haematoxylin: UInt8[np.ndarray, "h w2"]
    eosin: UInt8[np.ndarray, "h w2"]

    @property
    def ok(self) -> bool:
        """Whether the tissue is the same as far as the check can tell."""
        return not self.reasons

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write report.json and difference.png, haematoxylin.png and eosin.png into a folder, made where it is not."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made ({error.strerror}); choose another place.") from None
        for name in ("difference", "haematoxylin", "eosin"):
            pixels: Any = getattr(self, name)
            Picture.from_any(pixels).save(folder / f"{name}.png")
        found = {"ok": self.ok, **self.figures, "reasons": self.reasons, "warnings": self.warnings}
        write_text(folder / "report.json", json.dumps(found, indent=1) + "\n")

    def __str__(self) -> str:
        shown = [f"{name}: {_shown(value)}" for name, value in self.figures.items()]
        verdict = "verdict: " + ("the tissue is unchanged" if self.ok else "the tissue may be changed")
        return "\n".join([*shown, verdict, *(f"  because {r}" for r in self.reasons), *self.warnings])


def check(
    before: object,
    after: object,
    *,
    reference: object = None,
    radius_px: float = NUCLEUS_RADIUS_PX,
    lossy: bool = False,
) -> Report:
    """Compare a picture of stained tissue before and after a change of its colours.

    before, after: arrays (h, w, 3|4) of one size, uint8, uint16 or floats in 0..1. reference: a picture whose
    stain was wanted; adds the distance to it. radius_px: of a nucleus; 5 at 20x, twice that at 40x. lossy: the files
    were compressed with loss, which moves single background pixels; then their mean change counts.

    Raises PictureError for grey pictures, other shapes, and two sizes.
    """
    first, second = as_uint8(before, "the picture before"), as_uint8(after, "the picture after")
    if first.shape != second.shape:
        sizes = " and ".join(f"{p.shape[1]} x {p.shape[0]}" for p in (first, second))
        raise PictureError(f"The pictures have {sizes} pixels; the check needs the same picture before and after.")
    densities = [_densities(picture) for picture in (first, second)]
    nuclei = [find_nuclei(picture, radius_px) for picture in (first, second)]
    worst, mean = background_change(first, second)
    figures: dict[str, float | int | None] = {
        "background_levels": worst,
        "background_mean_levels": mean,
        "luminance_ssim": luminance_ssim(first, second),
        "gradient_correlation": gradient_correlation(first, second),
        "haematoxylin_correlation": _haematoxylin_correlation(first, second, densities),
        "nuclei_before": len(nuclei[0]),
        "nuclei_after": len(nuclei[1]),
        "nuclei_matched": matched_share(nuclei[0], nuclei[1], radius_px),
        "delta_e": None if reference is None else delta_e(second, as_uint8(reference, "the reference")),
    }
    reasons, noted = _judge(figures, lossy)
    channels = [_side_by_side(densities, stain, first.shape[:2]) for stain in range(2)]
    return Report(figures, reasons, noted, _difference(first, second), *channels)


def background_change(before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]) -> tuple[int, float]:
    """The largest and the mean change of channels of pixels whose CIE lightness is 85 or more, in levels."""
    worst, total, count = 0, 0, 0
    for a, b in zip(_strips(before), _strips(after), strict=True):
        glass = lightness(a.reshape(-1, 3).astype(np.float32) / 255) >= BACKGROUND_LIGHTNESS
        change = np.abs(a.reshape(-1, 3)[glass].astype(np.int16) - b.reshape(-1, 3)[glass])
        worst = max(worst, int(change.max(initial=0)))
        total, count = total + int(change.sum(dtype=np.int64)), count + change.size
    return worst, total / max(count, 1)


def luminance_ssim(before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]) -> float:
    """SSIM (Wang et al. 2004, Gaussian windows) of luma, that of `after` with the mean and deviation of `before`."""
    first, second = before @ LUMA, after @ LUMA
    spread = float(second.std())
    matched = (second - second.mean()) * (first.std() / spread if spread > 0 else 0) + first.mean()
    return float(structural_similarity(first, matched, data_range=255, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False))  # fmt: skip


def gradient_correlation(before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]) -> float:
    """Pearson's correlation of the gradient magnitudes of luma."""
    return correlation(*(np.hypot(*np.gradient(picture @ LUMA)) for picture in (before, after)))


def delta_e(picture: UInt8[np.ndarray, "h w 3"], reference: UInt8[np.ndarray, "h2 w2 3"]) -> float | None:
    """CIE76 distance of the mean colours of tissue (lightness under 85); None where one has no tissue."""
    means = [mean_tissue_lab(image) for image in (picture, reference)]
    if means[0] is None or means[1] is None:
        return None
    return float(np.linalg.norm(means[0] - means[1]))


def mean_tissue_lab(picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " 3"] | None:
    """Mean CIELAB of the pixels whose lightness is under 85."""
    total, count = np.zeros(3), 0
    for strip in _strips(picture):
        lab = to_lab(strip.reshape(-1, 3).astype(np.float32) / np.float32(255))
        lab = lab[lab[:, 0] < BACKGROUND_LIGHTNESS]
        total, count = total + lab.sum(axis=0, dtype=np.float64), count + len(lab)
    return total / count if count else None


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 1 where both are flat, 0 where only one is."""
    spreads = float(first.std()), float(second.std())
    if min(spreads) == 0:
        return float(max(spreads) == 0)
    return float(((first - first.mean()) * (second - second.mean())).mean(dtype=np.float64) / (spreads[0] * spreads[1]))


def as_uint8(image: object, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in 8 bits without its alpha."""
    pixels: Any = np.asarray(image)
    check_pixels(pixels, name)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels[..., :3])
    top = 1 if pixels.dtype.kind == "f" else 65535
    result: np.ndarray = np.rint(pixels[..., :3] * (255 / top)).astype(np.uint8)
    return result


def _densities(picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 2"] | None:
    """Haematoxylin and eosin of each pixel by the picture's own stain vectors; None without tissue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StainWarning)
        colours = sample_colours(picture, "picture")
    white = estimate_white(colours)
    tissue = colours[tissue_mask(colours, white) & (effect(colours, white) == 1)]
    if len(tissue) < MIN_TISSUE_PIXELS:
        return None
    unmix = np.linalg.pinv(macenko_vectors(optical_density(tissue, white).astype(np.float64))).astype(np.float32)
    strips = [optical_density(s.reshape(-1, 3).astype(np.float32) / 255, white) @ unmix for s in _strips(picture)]
    return np.concatenate(strips).reshape(*picture.shape[:2], 2)


def _haematoxylin_correlation(
    before: np.ndarray, after: np.ndarray, densities: list[Float[np.ndarray, "h w 2"] | None]
) -> float:
    if np.array_equal(before, after):
        return 1.0
    first, second = densities
    return 1.0 if first is None or second is None else correlation(first[..., 0], second[..., 0])


def _judge(figures: dict[str, Any], lossy: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why the tissue may be changed, and what should be looked at all the same."""
    reasons, noted = [], []
    changed = f"the background changed by up to {figures['background_levels']} levels"
    if figures["background_levels"] > 0 and not lossy or figures["background_mean_levels"] > MOST_LOSS:
        reasons.append(changed)
    elif figures["background_levels"] > 0:
        noted.append(f"warning: {changed}, {figures['background_mean_levels']:.2f} on average, as lossy files do")
    for name, least in (("luminance_ssim", LEAST_SSIM), ("gradient_correlation", LEAST_GRADIENT)):
        if figures[name] < least:
            reasons.append(f"{name} is {figures[name]:.3f}, less than {least}")
    before, after = figures["nuclei_before"], figures["nuclei_after"]
    # Of few nuclei one more or less says nothing about the change.
    if max(before, after) >= _FEW_NUCLEI:
        if abs(after - before) > MOST_COUNT_CHANGE * before:
            reasons.append(f"the detector finds {after} nuclei instead of {before}")
        if figures["nuclei_matched"] < LEAST_MATCHED:
            reasons.append(f"only {figures['nuclei_matched']:.1%} of the nuclei are where they were")
    if figures["haematoxylin_correlation"] < LEAST_HAEMATOXYLIN:
        found = figures["haematoxylin_correlation"]
        noted.append(f"warning: haematoxylin_correlation is {found:.3f}, less than {LEAST_HAEMATOXYLIN}")
    if figures["delta_e"] is not None and figures["delta_e"] > MOST_DELTA_E:
        noted.append(f"warning: delta_e to the reference is {figures['delta_e']:.1f}, more than {MOST_DELTA_E:g}")
    return tuple(reasons), tuple(noted)


def _difference(before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    result: np.ndarray = np.maximum(before, after) - np.minimum(before, after)
    return result


def _side_by_side(
    densities: list[Float[np.ndarray, "h w 2"] | None], stain: int, size_hw: tuple[int, ...]
) -> UInt8[np.ndarray, "h w2"]:
    """One stain before and after, dark where there is much, each on the scale of its own 99.5th percentile."""
    shown = []
    for density in densities:
        if density is None:
            shown.append(np.full(size_hw, 255, np.uint8))
            continue
        amount = density[..., stain]
        most = max(float(np.percentile(amount[::4, ::4], 99.5)), 1e-3)
        shown.append((255 * (1 - np.clip(amount / most, 0, 1))).astype(np.uint8))
    return np.concatenate(shown, axis=1)


def _strips(picture: UInt8[np.ndarray, "h w 3"]) -> list[UInt8[np.ndarray, "r w 3"]]:
    """The picture in pieces, so that floats of it do not fill the memory."""
    return [picture[top : top + _ROWS] for top in range(0, len(picture), _ROWS)]


def _shown(value: float | int | None) -> str:
    if value is None:
        return "no reference"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
