"""Landmarks: percentiles of a scan's intensities, and the voxels that they are of.

`nyul`: the percentiles 1, 10, 20, ..., 90, 99 (Nyul, Udupa & Zhang, IEEE TMI 19(2), 2000; percentiles of Shah et al.,
2011). `histogram`: all from 0 to 100, which between two scans is optimal transport of one histogram to the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from impasto.errors import UserError
from impasto.job import explain
from impasto.medical.scans import Part, Scan, replaced

Method = Literal["nyul", "histogram"]
Mask = Bool[np.ndarray, "*whole"]

PERCENTILES: dict[str, list[float]] = {
    "nyul": [1, *range(10, 100, 10), 99],
    "histogram": [float(percent) for percent in range(101)],
}
# Between these two every scan of an atlas is brought to one scale before landmarks are averaged.
ENDS = (1.0, 99.0)
# The background reaches so many robust standard deviations above its level, of which fewer must fit below the mean.
SPREADS, LEAST_SPREADS = 5 * 1.4826, 3 * 1.4826
BINS = 64
# More than this share of voxels below the background's own spread: it is not the darkest part.
MOST_BELOW = 0.05
LEAST_VOXELS = 100


class Landmarks(BaseModel):
    """Percentiles of intensities, one list a channel, of one scan or the average of several; saved as JSON.

    voxels: whether they are of the tissue (without the background, or within masks) or of all voxels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["impasto-landmarks-1"] = "impasto-landmarks-1"
    method: Method
    voxels: Literal["tissue", "all"] = "tissue"
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
        cls,
        scans: Sequence[Scan],
        masks: Sequence[Mask | None] | Literal["all"] | None = None,
        *,
        method: Method = "nyul",
    ) -> Landmarks:
        """The landmarks of a scan, or the atlas of several: each is brought to one scale, then they are averaged.

        masks: which voxels of each scan are tissue, True or False on its grid; None for all but its background; "all"
        for all voxels, background included. Raises UserError for scans of different modalities or channels, without
        tissue, or without a background that stands apart where none is told.
        """
        if not scans:
            raise UserError("An atlas needs at least one scan.")
        modalities = {scan.modality for scan in scans}
        if len(modalities) > 1:
            raise UserError(f"References of different modalities ({', '.join(map(str, modalities))}): use one kind.")
        if len({scan.channels for scan in scans}) > 1:
            raise UserError("References with different numbers of channels: use one kind.")
        whole = masks == "all"
        if masks is None or isinstance(masks, str):
            masks = [np.ones(scan.shape, bool) if whole else None for scan in scans]
        every = [
            [measured(scan, channel, mask, method)[0] for channel in range(scan.channels)]
            for scan, mask in zip(scans, masks, strict=True)
        ]
        return cls(
            method=method, voxels="all" if whole else "tissue", values=averaged(np.array(every), method).tolist(),
            modality=scans[0].modality, scans=len(scans),
        )  # fmt: skip

    @classmethod
    def load(cls, file: str | Path) -> Landmarks:
        """The landmarks that `save` wrote; UserError for any other file."""
        try:
            return cls.model_validate_json(Path(file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{file} does not exist; check the path.") from None
        except (ValidationError, UnicodeDecodeError) as error:
            why = explain(error.errors()[0]) if isinstance(error, ValidationError) else "it is no text."
            raise UserError(f"{file} holds no landmarks: {why}") from None

    def save(self, file: str | Path) -> None:
        """Write them as JSON, whole or not at all."""
        with replaced(Path(file)) as partial:
            partial.write_text(json.dumps(self.model_dump(), indent=2) + "\n", encoding="utf-8")


def averaged(every: Float64[np.ndarray, "scans channels n"], method: Method) -> Float64[np.ndarray, "channels n"]:
    """The mean landmarks of scans, each brought by a line to the mean of their ends first (Nyul et al., step 2)."""
    low, high = (every[..., PERCENTILES[method].index(end), None] for end in ENDS)
    scale = (high.mean(0) - low.mean(0)) / (high - low)
    mean: np.ndarray = (low.mean(0) + (every - low) * scale).mean(0)
    return mean


def measured(
    scan: Scan, channel: int, mask: Mask | None, method: Method
) -> tuple[Float64[np.ndarray, " n"], float | None]:
    """The percentiles of a channel within a mask, or without one of all but its background; and up to where that is.

    Raises UserError where there is one intensity only, or no background where none is told.
    """
    values = valid_values(scan, channel, mask)
    name = f"{scan.name}, channel {channel + 1}," if scan.channels > 1 else scan.name
    background = None if mask is not None else background_of(values, name)
    tissue = values if background is None else values[values > background]
    if tissue.size < LEAST_VOXELS or np.ptp(np.percentile(tissue, ENDS)) == 0:
        raise UserError(f"{name} has no tissue of different intensities: choose another scan.")
    return np.percentile(tissue, PERCENTILES[method]), background


def inside(part: Part, mask: Mask | None) -> Bool[np.ndarray, "*grid"]:
    """Which voxels of a part are measurements within a mask."""
    valid = part.valid()
    return valid if mask is None else valid & np.broadcast_to(mask[part.place], part.stored.shape)


def valid_values(scan: Scan, channel: int, mask: Mask | None) -> Float64[np.ndarray, " n"]:
    parts = [part for part in scan.parts if part.channel == channel]
    return np.concatenate([part.values()[inside(part, mask)] for part in parts])


def background_of(values: Float64[np.ndarray, " n"], name: str) -> float:
    """Up to which intensity there is background: the commonest one below the mean, and the noise over it.

    The noise is taken from the side below, where no tissue adds to it. UserError where no such background stands apart.
    """
    mean = float(values.mean())
    level = commonest(values[values <= mean])
    under = values[values < level]
    spread = float(np.median(level - under)) if under.size else 0.0
    if values.min() == values.max():
        raise UserError(f"{name} has no tissue of different intensities: choose another scan.")
    if level + LEAST_SPREADS * spread >= mean or np.mean(values < level - LEAST_SPREADS * spread) > MOST_BELOW:
        raise UserError(f"{name} has no background apart from its tissue: give masks of the tissue, or --mask all.")
    return min(level + SPREADS * spread, mean)


def commonest(values: Float64[np.ndarray, " n"]) -> float:
    """The mode: the median of what lies in the fullest of some bins."""
    counts, edges = np.histogram(values, BINS)
    fullest = int(counts.argmax())
    return float(np.median(values[(values >= edges[fullest]) & (values <= edges[fullest + 1])]))
