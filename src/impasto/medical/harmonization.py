"""Harmonising scans: intensities go through one nondecreasing curve a channel, so nothing can appear or disappear.

The curve takes the landmarks of the scan to those of a reference, or of an atlas of several (`landmarks`). It is
nowhere much steeper than on the whole: where two scans hold different shares of a tissue, or different noise, the
landmarks alone would ask for steps, which show noise as structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Integer, Shaped

from impasto import __version__
from impasto.errors import UserError
from impasto.medical.landmarks import Landmarks, Mask, Method, inside, measured, valid_values
from impasto.medical.scans import Part, Scan, by

# How many times steeper a piece of the curve may be than the whole between its first and last landmark.
STEEPEST = 3.0
# Of the landmarks, how many must lie above the background that stays.
LEAST_ABOVE = 0.5
PHYSICAL = {"CT": "Hounsfield units", "PT": "activity", "RTDOSE": "a dose"}
# Files without a modality: air at -1000 and much of it is what only CT has.
AIR_HU, LEAST_AIR = (-1050, -950), 0.05
# Voxels of a chunk, which bounds the memory of float64 copies.
CHUNK = 1 << 22


@dataclass(frozen=True)
class IntensityMap:
    """A nondecreasing curve through (before, after), linear between and beyond them.

    below: slope under the first point; above the last it goes on as steep as the last piece.
    """

    before: Float64[np.ndarray, " n"]
    after: Float64[np.ndarray, " n"]
    below: float

    def __call__(self, values: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        above = (self.after[-1] - self.after[-2]) / (self.before[-1] - self.before[-2])
        mapped: np.ndarray = np.interp(values, self.before, self.after)
        mapped += np.minimum(values - self.before[0], 0) * self.below
        mapped += np.maximum(values - self.before[-1], 0) * above
        return mapped


def intensity_map(
    before: Float64[np.ndarray, " n"], after: Float64[np.ndarray, " n"], background: float | None = None
) -> IntensityMap:
    """The curve from landmarks to landmarks, both rising; intensities up to `background` stay what they are."""
    # Landmarks that fall together are one point, at the mean of where they go.
    points, index, counts = np.unique(before, return_inverse=True, return_counts=True)
    goals = limited(points, np.bincount(index, after) / counts, counts)
    if background is None:
        return IntensityMap(points, goals, (goals[1] - goals[0]) / (points[1] - points[0]))
    above = (points > background) & (goals > background)
    return IntensityMap(np.append(background, points[above]), np.append(background, goals[above]), 1.0)


def limited(
    points: Float64[np.ndarray, " n"], goals: Float64[np.ndarray, " n"], counts: Integer[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The goals with steps flattened to `STEEPEST` times the slope of the whole: the nearest rising ones, in least
    squares over the landmarks, so that a step moves to where there are few voxels. counts: landmarks at each point."""
    from scipy.optimize import lsq_linear

    steepest = STEEPEST * (goals[-1] - goals[0]) / (points[-1] - points[0]) * np.diff(points)
    if (np.diff(goals) <= steepest).all():
        return goals
    # The unknowns are the first goal and the steps from each to the next.
    sums, weights = np.tril(np.ones((len(points), len(points)))), np.sqrt(counts)
    bounds = np.append(-np.inf, np.zeros(len(steepest))), np.append(np.inf, steepest)
    found = lsq_linear(sums * weights[:, None], goals * weights, bounds, method="bvls")
    nearest: np.ndarray = sums @ found.x
    return nearest


@dataclass(frozen=True, eq=False)
class Harmonized:
    """A harmonised scan. stored: its new voxels, one array for each of `scan.parts`; maps: one curve a channel.

    backgrounds: for each channel up to where its background was left as it is, None where the mask says that.
    levels: how many intensities there were and are, where voxels are integers: rounding can make two of them one.
    warnings: what should be looked at. voxels: how many were mapped.
    """

    scan: Scan
    stored: list[Shaped[np.ndarray, "*grid"]]
    maps: list[IntensityMap]
    backgrounds: list[float | None]
    levels: tuple[int, int] | None
    voxels: int
    warnings: list[str]
    method: Method

    def save(self, path: str | Path) -> None:
        """Write the scan with its new voxels and its own header, whole or not at all; see `Scan.write`."""
        text = f"Intensities mapped by one nondecreasing curve ({self.method} landmarks of a reference), "
        self.scan.write(self.stored, Path(path), text + f"Impasto {__version__}")

    def channel(self, channel: int = 0) -> Shaped[np.ndarray, "*grid"]:
        """The new stored voxels of a channel: its parts stacked, or the one part there is."""
        pieces = [new for new, part in zip(self.stored, self.scan.parts, strict=True) if part.channel == channel]
        return np.stack(pieces) if len(pieces) > 1 else pieces[0]


def harmonize(
    scan: Scan, to: Landmarks, *, mask: Mask | Literal["all"] | None = None, force: bool = False
) -> Harmonized:
    """Bring a scan's intensities to those of a reference or an atlas (`Landmarks.fit`), by one curve a channel.

    mask: True where there is tissue, on the scan's grid; all else stays bit for bit. None: all but the background,
    which is all up to its level and noise, and stays. "all": every voxel; then the landmarks must be of all too.
    force: map CT, PET and doses too, whose numbers then lose their meaning.

    Raises UserError for those, another modality, another number of channels, a scan without tissue or without a
    background that can stay, and where the result would not fit into the file's integers.
    """
    check_kind(scan, to, force)
    if isinstance(mask, np.ndarray) and mask.shape != scan.shape:
        raise UserError(f"The mask has {by(mask.shape)} voxels and {scan.name} {by(scan.shape)}: give one on its grid.")
    if isinstance(mask, str) != (to.voxels == "all"):
        raise UserError(f"The landmarks are of {to.voxels} voxels: all must be of all, for the scan and the reference.")
    chosen = np.ones(scan.shape, bool) if isinstance(mask, str) else mask
    maps, backgrounds = [], list[float | None]()
    for channel, goals in enumerate(np.array(to.values)):
        found, background = measured(scan, channel, chosen, to.method)
        check_background(scan, background, goals)
        maps.append(intensity_map(found, goals, background))
        backgrounds.append(background)
    stored, voxels = [], 0
    for part in scan.parts:
        where = inside(part, chosen)
        background = backgrounds[part.channel]
        if background is not None:
            where &= part.values() > background
        stored.append(mapped(scan, part, maps[part.channel], where))
        voxels += int(where.sum())
    levels = levels_of(scan, stored)
    return Harmonized(scan, stored, maps, backgrounds, levels, voxels, warnings_of(levels), to.method)


def check_kind(scan: Scan, to: Landmarks, force: bool) -> None:
    """UserError where the numbers are physical, or the two scans are of different kinds."""
    kind = PHYSICAL.get(scan.modality or "")
    if kind is None and scan.modality is None and looks_like_ct(scan):
        kind = "Hounsfield units, by its air at -1000"
    if kind and not force:
        raise UserError(
            f"{scan.name} holds {kind}: harmonising would destroy its numbers; --force does it all the same."
        )
    if scan.modality and to.modality and scan.modality != to.modality:
        raise UserError(f"{scan.name} is {scan.modality} and the reference {to.modality}: use one of the same kind.")
    if scan.channels != len(to.values):
        raise UserError(
            f"{scan.name} has {scan.channels} channels and the reference {len(to.values)}: use one like it."
        )


def looks_like_ct(scan: Scan) -> bool:
    values = valid_values(scan, 0, None)
    return bool(np.mean((values > AIR_HU[0]) & (values < AIR_HU[1])) >= LEAST_AIR and values.max() > 0)


def check_background(scan: Scan, background: float | None, goals: Float64[np.ndarray, " n"]) -> None:
    """UserError where the reference's tissue would lie within the background that stays: the units are others."""
    if background is not None and np.mean(goals > background) < LEAST_ABOVE:
        raise UserError(
            f"{scan.name} has background up to {background:.4g}, and most of the reference's tissue is darker "
            f"(half of it below {np.median(goals):.4g}), so it cannot stay: give --mask FILE, or all."
        )


def mapped(scan: Scan, part: Part, curve: IntensityMap, chosen: Mask) -> Shaped[np.ndarray, "*grid"]:
    """The part's new stored voxels; UserError where they would not fit."""
    out = part.stored.copy()
    flat, where = out.reshape(-1), chosen.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        piece, taken = flat[start : start + CHUNK], where[start : start + CHUNK]
        goal = (curve(piece[taken] * np.float64(part.slope) + part.intercept) - part.intercept) / part.slope
        if part.is_integer:
            goal = np.rint(goal)
        if goal.size and (goal.min() < part.lowest or goal.max() > part.highest):
            worst = goal.max() if goal.max() > part.highest else goal.min()
            raise UserError(
                f"{scan.name} would reach {worst:.6g}, but its file holds {part.lowest:.6g} to {part.highest:.6g}: "
                "choose a reference in its units, or save it with more bits first."
            )
        piece[taken] = goal.astype(out.dtype)
    return out


def levels_of(scan: Scan, stored: Sequence[np.ndarray]) -> tuple[int, int] | None:
    """How many different integers were and are stored, in the fullest part."""
    if not scan.parts[0].is_integer:
        return None
    return max(len(np.unique(part.stored)) for part in scan.parts), max(len(np.unique(new)) for new in stored)


def warnings_of(levels: tuple[int, int] | None) -> list[str]:
    if levels and levels[1] < levels[0] / 2:
        return [f"rounding leaves {levels[1]} of {levels[0]} intensities: convert the scan to more bits first"]
    return []
