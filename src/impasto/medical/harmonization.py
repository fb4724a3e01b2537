"""Harmonising scans: intensities go through one nondecreasing curve a channel, so nothing can appear or disappear.

The curve takes landmarks of the scan's tissue to those of a reference, or of an atlas of several. `nyul`: the
percentiles 1, 10, 20, ..., 90, 99 (Nyul, Udupa & Zhang, IEEE TMI 19(2), 2000; percentiles of Shah et al., 2011).
`histogram`: all percentiles from 0 to 100, which is optimal transport of one histogram to the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from impasto import __version__
from impasto.errors import UserError
from impasto.job import explain
from impasto.medical.scans import Part, Scan, by, replaced

Method = Literal["nyul", "histogram"]
Mask = Bool[np.ndarray, "*whole"]

PERCENTILES: dict[str, list[float]] = {
    "nyul": [1, *range(10, 100, 10), 99],
    "histogram": [float(percent) for percent in range(101)],
}
# Between these two every scan of an atlas is brought to one scale before landmarks are averaged.
ENDS = (1.0, 99.0)
PHYSICAL = {"CT": "Hounsfield units", "PT": "activity", "RTDOSE": "a dose"}
# Files without a modality: air at -1000 and much of it is what only CT has.
AIR_HU, LEAST_AIR = (-1050, -950), 0.05
# The background reaches so many robust standard deviations above its level.
SPREADS = 3 * 1.4826
BINS = 64
# More than this share of voxels below the background's own spread: it is not the darkest part.
MOST_BELOW = 0.05
# Voxels of a chunk, which bounds the memory of float64 copies.
CHUNK = 1 << 22
LEAST_VOXELS = 100


class Landmarks(BaseModel):
    """Percentiles of tissue intensities, one list a channel, of one scan or the average of several; saved as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["impasto-landmarks-1"] = "impasto-landmarks-1"
    method: Method
    values: list[list[float]]
    modality: str | None = None
    scans: int = 1

    @field_validator("values")
    @classmethod
    def _rise(cls, values: list[list[float]]) -> list[list[float]]:
        if not values or any(np.any(np.diff(channel) < 0) for channel in values):
            raise ValueError("must be one rising list of intensities a channel")
        return values

    def model_post_init(self, context: Any) -> None:
        if any(len(channel) != len(PERCENTILES[self.method]) for channel in self.values):
            raise ValueError(f"values must be {len(PERCENTILES[self.method])} a channel for {self.method}")

    @classmethod
    def fit(
        cls, scans: Sequence[Scan], masks: Sequence[Mask | None] | None = None, *, method: Method = "nyul"
    ) -> Landmarks:
        """The landmarks of a scan, or the atlas of several: each is brought to one scale, then they are averaged.

        masks: which voxels of each scan are tissue, True or False on its grid; None for those above the scan's mean
        (Nyul's choice). Raises UserError for scans of different modalities or channels, and for ones without tissue.
        """
        if not scans:
            raise UserError("An atlas needs at least one scan.")
        modalities = {scan.modality for scan in scans}
        if len(modalities) > 1:
            raise UserError(f"References of different modalities ({', '.join(map(str, modalities))}): use one kind.")
        if len({scan.channels for scan in scans}) > 1:
            raise UserError("References with different numbers of channels: use one kind.")
        every = [
            landmarks_of(scan, mask, method) for scan, mask in zip(scans, masks or [None] * len(scans), strict=True)
        ]
        values = averaged(np.array(every), method)
        return cls(method=method, values=values.tolist(), modality=scans[0].modality, scans=len(scans))

    @classmethod
    def load(cls, file: str | Path) -> Landmarks:
        try:
            return cls.model_validate_json(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{file} does not exist; check the path.") from None
        except (ValidationError, UnicodeDecodeError) as error:
            why = explain(error.errors()[0]) if isinstance(error, ValidationError) else "it is no text."
            raise UserError(f"{file} holds no landmarks: {why}") from None

    def save(self, file: str | Path) -> None:
        with replaced(Path(file)) as partial:
            partial.write_text(json.dumps(self.model_dump(), indent=2) + "\n", encoding="utf-8")


def averaged(every: Float64[np.ndarray, "scans channels n"], method: Method) -> Float64[np.ndarray, "channels n"]:
    """The mean landmarks of scans, each brought by a line to the mean of their ends first (Nyul et al., step 2)."""
    at = [PERCENTILES[method].index(end) for end in ENDS]
    low, high = (every[..., position, None] for position in at)
    scale = (high.mean(0) - low.mean(0)) / (high - low)
    mean: np.ndarray = (low.mean(0) + (every - low) * scale).mean(0)
    return mean


def landmarks_of(scan: Scan, mask: Mask | None, method: Method) -> Float64[np.ndarray, "channels n"]:
    """Percentiles of the tissue of each channel; UserError where it has one value only."""
    rows = []
    for channel in range(scan.channels):
        values = valid_values(scan, channel, mask)
        tissue = values if mask is not None else values[values > values.mean()]
        if tissue.size < LEAST_VOXELS or np.ptp(np.percentile(tissue, ENDS)) == 0:
            raise UserError(
                f"{channel_name(scan, channel)} has no tissue of different intensities: choose another scan."
            )
        rows.append(np.percentile(tissue, PERCENTILES[method]))
    return np.array(rows)


def channel_name(scan: Scan, channel: int) -> str:
    return f"{scan.name}, channel {channel + 1}," if scan.channels > 1 else scan.name


def inside(part: Part, mask: Mask | None) -> Bool[np.ndarray, "*grid"]:
    """Which voxels of a part are to be mapped."""
    valid = part.valid()
    return valid if mask is None else valid & np.broadcast_to(mask[part.place], part.stored.shape)


def valid_values(scan: Scan, channel: int, mask: Mask | None) -> Float64[np.ndarray, " n"]:
    parts = [part for part in scan.parts if part.channel == channel]
    return np.concatenate([part.values()[inside(part, mask)] for part in parts])


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
    if background is not None:
        before, after = np.append(background, before), np.append(background, after)
    # Landmarks that fall together are one point, at the mean of where they go.
    points, index = np.unique(before, return_inverse=True)
    goals = np.bincount(index, after) / np.bincount(index)
    first = (goals[1] - goals[0]) / (points[1] - points[0])
    return IntensityMap(points, goals, first if background is None else 1.0)


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

    mask: True where voxels are mapped, on the scan's grid; all others stay bit for bit. Without one, the scan's
    background (all up to its level and noise) stays, and tissue is what is brighter than the mean. `"all"`: every
    voxel is mapped, by the percentiles of all. force: map CT, PET and doses too, whose numbers then lose their meaning.

    Raises UserError for those, another modality, another number of channels, a scan without tissue or without a
    background that can stay, and where the result would not fit into the file's integers.
    """
    check_kind(scan, to, force)
    if isinstance(mask, np.ndarray) and mask.shape != scan.shape:
        raise UserError(f"The mask has {by(mask.shape)} voxels and {scan.name} {by(scan.shape)}: give one on its grid.")
    chosen = np.ones(scan.shape, bool) if isinstance(mask, str) else mask
    found = landmarks_of(scan, chosen, to.method)
    goals = np.array(to.values)
    backgrounds = [None if chosen is not None else background_of(scan, c, goals[c, 0]) for c in range(scan.channels)]
    maps = [intensity_map(*row) for row in zip(found, goals, backgrounds, strict=True)]
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


def background_of(scan: Scan, channel: int, lowest_goal: float) -> float:
    """Up to which intensity a channel is background: the commonest one below the mean, and the noise over it.

    The noise is taken from the side below, where no tissue adds to it. Raises UserError where no such background stands
    apart, and where it would be above the reference's darkest tissue.
    """
    values = valid_values(scan, channel, None)
    mean = float(values.mean())
    level = commonest(values[values <= mean])
    under = values[values < level]
    spread = SPREADS * float(np.median(level - under)) if under.size else 0.0
    name = channel_name(scan, channel)
    if level + spread >= mean or np.mean(values < level - spread) > MOST_BELOW:
        raise UserError(
            f"{name} has no background apart from its tissue: say by --mask FILE or all what is to be mapped."
        )
    if level + spread > lowest_goal:
        raise UserError(
            f"{name} has background up to {level + spread:.4g}, above the reference's darkest tissue "
            f"({lowest_goal:.4g}), so it cannot stay: give a --mask, or all to map the background too."
        )
    return level + spread


def commonest(values: Float64[np.ndarray, " n"]) -> float:
    """The mode: the median of what lies in the fullest of some bins."""
    counts, edges = np.histogram(values, BINS)
    fullest = int(counts.argmax())
    return float(np.median(values[(values >= edges[fullest]) & (values <= edges[fullest + 1])]))


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
