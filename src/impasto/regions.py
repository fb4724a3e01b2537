"""Where each style is painted and where the photo stays: masks, protection and transparency, as maps over the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32

from impasto.errors import JobError
from impasto.job import StyleJob
from impasto.picture import Picture, read_picture

Map = Float32[np.ndarray, "h w"]
# Half a step of 8 bits: less is nothing.
NOTHING = 0.5 / 255


@dataclass(frozen=True)
class Regions:
    """Shares of each pixel, 0..1.

    styles: of each style that is painted, in the job's order, those of its masks last. keep: of the photo itself.
    both None where every style counts everywhere. notes: sentences on what was changed to make the masks fit.
    """

    styles: tuple[Map, ...] | None = None
    keep: Map | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many maps there are."""
        return len(self.styles or ()) + (self.keep is not None)

    def resized(self, height: int, width: int) -> Regions:
        """The same at the size of a scale."""
        styles = None if self.styles is None else tuple(scaled(share, height, width) for share in self.styles)
        keep = None if self.keep is None else scaled(self.keep, height, width)
        return Regions(styles, keep)


def read_regions(job: StyleJob, photo: Picture, rest_styles: int) -> Regions:
    """The regions of a job. rest_styles: how many styles are painted where no mask says another; 0 keeps the photo.

    Masks of another size are scaled to the photo's; where they overlap their shares are made to add up to 1. Raises
    JobError for a mask without anything in it, and where nothing would be left to paint.
    """
    notes: list[str] = []
    masks = [read_map(mask.file, "mask", job, photo, notes) for mask in job.mask]
    if not masks and not job.protect and photo.alpha is None:
        return Regions()
    masks = without_overlap(masks, notes)
    covered = sum(masks, np.zeros(photo.size_hw, np.float32))
    shares = [1 - covered] * rest_styles + masks
    visible = np.ones(photo.size_hw, np.float32) if photo.alpha is None else photo.alpha
    paintable = np.ones(photo.size_hw, np.float32)
    if job.protect:
        paintable = 1 - read_map(job.protect, "protect", job, photo, notes)
    if job.seamless:
        notes.append("With --seamless the photo is made to fit first: what is kept of it changes at its borders.")
    keep = 1 - (visible > NOTHING) * paintable * (1 if rest_styles else covered)
    if keep.min() > 1 - NOTHING:
        raise JobError(f"Nothing of {photo.name} would be painted: all of it is protected, transparent or unmasked.")
    return Regions(tuple(share * visible * paintable for share in shares), keep.astype(np.float32), notes)


def read_style_masks(
    job: StyleJob, styles: Sequence[Picture], notes: list[str]
) -> list[Float32[np.ndarray, "_ _"] | None]:
    """How much each pixel of each mask's style counts, 0..1; None where all count alike. styles: those of the masks."""
    return [
        None if mask.style_mask is None else read_map(mask.style_mask, "mask", job, style, notes)
        for mask, style in zip(job.mask, styles, strict=True)
    ]


def read_map(file: str, option: str, job: StyleJob, over: Picture, notes: list[str]) -> Map:
    """A picture's lightness as a map over another, of that one's size: white is 1, black and transparent 0."""
    picture = read_picture(file, max_pixels=job.max_pixels)
    values: Map = picture.pixels.mean(0) * (1 if picture.alpha is None else picture.alpha)
    if values.max() <= NOTHING:
        raise JobError(f"--{option} {file} is black all over: paint white what it is for.")
    if values.shape != over.size_hw:
        size, wanted = (f"{width}x{height}" for height, width in (values.shape, over.size_hw))
        notes.append(f"{file} is {size} px and was scaled to the {wanted} px of {over.name}.")
        values = scaled(values, *over.size_hw)
    return values


def without_overlap(masks: Sequence[Map], notes: list[str]) -> list[Map]:
    """Masks whose sum is nowhere above 1."""
    total = sum(masks, np.zeros((1, 1), np.float32))
    # Edges that are drawn soft on both sides, and rounding to 8 bits, are no overlap to speak of.
    if total.max() > 1 + 4 * NOTHING:
        notes.append("The masks overlap: there their styles are mixed, in the masks' proportions.")
    return [mask / np.maximum(total, 1).astype(np.float32) for mask in masks]


def scaled(values: Map, height: int, width: int) -> Float32[np.ndarray, "rows columns"]:
    """A map at another size."""
    if values.shape == (height, width):
        return values
    # Linear, since any other would put ripples where a map is all 0 or all 1.
    whole = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
    return F.interpolate(whole, (height, width), mode="bilinear", antialias=True)[0, 0].clamp(0, 1).numpy()
