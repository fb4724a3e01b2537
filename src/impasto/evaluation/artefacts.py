"""Artefacts that networks and optimisers leave: burned borders, and checkerboards."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.evaluation.case import Case, View

BANDS_PX = (1, 2, 4, 8)
# Steps between neighbouring bands, and deviations of a wave, below which nobody sees them (OKLab; sRGB).
INVISIBLE_STEP, INVISIBLE_WAVE = 0.01, 0.5 / 255
BLOCK_PX, PERIOD_PX = 32, 8
MOST_BLOCKS = 4096


def border(case: Case) -> float:
    """How much more the picture changes at its borders than inside, as a factor: under 1 is usual, a burned or pale
    frame has more.

    Lines along each side are told by mean colour and spread of lightness; the step between the outermost band of 1, 2,
    4 or 8 lines and the next is compared with the root mean square of such steps inside. The root mean square
    over bands, since a frame of 8 lines is even within, which takes from the narrower bands what it adds to the widest;
    then the mean over sides: the worst of them alone would not rise where a second side is burned too.
    """
    return border_score(case.picture)


def checkerboard(case: Case) -> float:
    """Regular patterns of 2, 4 or 8 px, in dB over what the picture has at neighbouring frequencies; 0 to 1 is usual.

    Power spectra of the luma in windows of 32 px, averaged in dB: by power, the few windows of most contrast would hide
    what stands in a sky. The worst of the 31 frequencies counts.
    """
    return checkerboard_score(case.picture.luma)


def border_score(seen: View) -> float:
    sides = [lines(seen.oklab), lines(seen.oklab.transpose(0, 2, 1))]
    scores = [side_score(ordered) for side in sides for ordered in (side, side[::-1])]
    return sum(scores) / len(scores)


def lines(lab: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "h 4"]:
    """Mean colour, and spread of the lightness, of every row."""
    return np.concatenate([lab.mean(2).T, lab[0].std(1)[:, None]], axis=1)


def side_score(side: Float[np.ndarray, "n 4"]) -> float:
    """Root mean square over the widths of bands."""
    return math.sqrt(sum(band_score(side, band) ** 2 for band in BANDS_PX) / len(BANDS_PX))


def band_score(side: Float[np.ndarray, "n 4"], band: int) -> float:
    """The step at the first band, relative to steps inside."""
    sums = np.concatenate([np.zeros((1, 4)), side.cumsum(0, dtype=np.float64)])
    means = (sums[band:] - sums[:-band]) / band
    steps = np.linalg.norm(means[band:] - means[:-band], axis=1)
    inside = steps[2 * band : -2 * band]
    return float(steps[0] / (math.sqrt(np.square(inside).mean()) + INVISIBLE_STEP))


def checkerboard_score(luma: Float[Tensor, "h w"]) -> float:
    power_db = spectrum_db(luma.double())
    # Pictures have more power along the axes, and towards lower frequencies: a fit along either side follows that.
    smooth = torch.maximum(*(interpolated(power_db, axis) for axis in (0, 1)))
    step = BLOCK_PX // PERIOD_PX
    excess = (power_db - smooth)[::step, ::step]
    excess[0, 0] = 0
    return float(excess.max())


def interpolated(power_db: Float[Tensor, "block block"], axis: int) -> Float[Tensor, "block block"]:
    """The cubic through two neighbours on each side, as near as the window tells frequencies apart."""
    near, far = (power_db.roll(by, axis) + power_db.roll(-by, axis) for by in (2, 4))
    return (4 * near - far) / 6


def spectrum_db(luma: Float[Tensor, "h w"]) -> Float[Tensor, "block block"]:
    """Mean level by frequency over windows of the picture, a white noise of variance 1 having 0 dB throughout."""
    spread = math.ceil(math.sqrt(luma.numel() / (MOST_BLOCKS * (BLOCK_PX // 2) ** 2)))
    step = BLOCK_PX // 2 * spread
    blocks = luma.unfold(0, BLOCK_PX, step).unfold(1, BLOCK_PX, step).reshape(-1, BLOCK_PX, BLOCK_PX)
    hann = torch.hann_window(BLOCK_PX, dtype=luma.dtype)
    window = hann[:, None] * hann
    centred = blocks - blocks.mean((1, 2), keepdim=True)
    power = torch.fft.fft2(centred * window).abs().square()
    # Half of a wave's power is at its frequency, the other half at the mirrored one.
    unseen = (INVISIBLE_WAVE * window.sum()) ** 2 / 2
    level: Tensor = 10 * torch.log10((power + unseen) / window.square().sum()).mean(0)
    return level
