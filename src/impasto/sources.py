"""The pictures of a job: read, at the result's size, and at any size that a scale asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from impasto import colour
from impasto.engines.surface import Controls
from impasto.errors import JobError
from impasto.job import SMALLEST_SIDE_PX, StyleJob
from impasto.periodic import periodic
from impasto.picture import Picture, read_picture
from impasto.regions import Regions, read_regions, read_style_masks, scaled

TEXTURE_PX = 512


@dataclass
class Sources:
    """The pictures of a job, read and at the result's size; styles are resized when a scale asks for them.

    spendable: nobody else needs the photo's pixels, so that their memory may become the picture's. style_masks: how
    much each pixel of each style counts, 0..1; None where all count alike. notes: sentences on what was changed or left
    out.
    """

    photo: Picture
    styles: tuple[Picture, ...]
    style_scale: float
    device: torch.device
    spendable: bool
    regions: Regions = field(default_factory=Regions)
    seamless: bool = False
    style_masks: tuple[Float32[np.ndarray, "_ _"] | None, ...] = ()
    notes: list[str] = field(default_factory=list)
    cache: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    cached_controls: dict[tuple[int, int], Controls] = field(default_factory=dict)

    def photo_at(self, height: int, width: int) -> Tensor:
        if (height, width) not in self.cache:
            photo = self.photo.resized(height, width)
            photo = photo.with_pixels(periodic(photo.pixels)) if self.seamless else photo
            self.cache[height, width] = to_tensor(photo, self.device)
        return self.cache[height, width]

    def spare_photo_at(self, height: int, width: int) -> Tensor:
        """The photo, to be changed: in memory of its own, or for the last time in the photo's."""
        photo = self.photo_at(height, width)
        if (height, width) != self.size or not self.spendable:
            return photo.clone()
        del self.cache[height, width]
        return photo

    def styles_at(self, height: int, width: int) -> list[Tensor]:
        """Each style scaled so that its longest side is the result's times `style_scale`."""
        sizes = self.style_sizes(height, width)
        return [to_tensor(style.resized(*size), self.device) for style, size in zip(self.styles, sizes, strict=True)]

    def style_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        longest = max(height, width) * self.style_scale
        return [fitted(style, longest) for style in self.styles]

    def controls_at(self, height: int, width: int) -> Controls:
        """Where on the picture what happens."""
        if (height, width) not in self.cached_controls:
            regions = self.regions.resized(height, width)
            shares = None if regions.styles is None else [self.on_device(share) for share in regions.styles]
            keep = None if regions.keep is None else self.on_device(regions.keep)
            style_shares = [
                None if mask is None else self.on_device(scaled(mask, *size))
                for mask, size in zip(self.style_masks, self.style_sizes(height, width), strict=True)
            ]
            self.cached_controls[height, width] = Controls(shares, keep, self.seamless, style_shares)
        return self.cached_controls[height, width]

    def small_size(self, longest_px: int, narrowest_px: int) -> tuple[int, int]:
        """Height and width with at most that longest side; long strips are made wider than they would be."""
        sides = zip(fitted(self.photo, min(longest_px, max(self.size))), self.size, strict=True)
        height, width = (max(side, min(narrowest_px, own)) for side, own in sides)
        return height, width

    def small(self, longest_px: int, narrowest_px: int) -> Sources:
        """The same with a photo of at most that longest side, and nothing of it kept."""
        photo = self.photo.resized(*self.small_size(longest_px, narrowest_px))
        return Sources(photo, self.styles, self.style_scale, self.device, spendable=False, style_masks=self.style_masks)

    def on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    @property
    def size(self) -> tuple[int, int]:
        return self.photo.height, self.photo.width

    @property
    def style_px(self) -> float:
        """Pixels of all styles for each pixel of the result."""
        return sum(map(math.prod, self.style_sizes(*self.size))) / math.prod(self.size)

    @property
    def maps(self) -> float:
        """Values of masks for each pixel of the result."""
        sizes = zip(self.style_masks, self.style_sizes(*self.size), strict=True)
        of_styles = sum(math.prod(size) for mask, size in sizes if mask is not None)
        return self.regions.count + of_styles / math.prod(self.size)


def to_tensor(picture: Picture, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.pixels))[None].to(device)


def fitted(picture: Picture, longest: float) -> tuple[int, int]:
    """Height and width with the given longest side, neither under the smallest that networks read."""
    factor = longest / max(picture.height, picture.width)
    return max(SMALLEST_SIDE_PX, round(picture.height * factor)), max(SMALLEST_SIDE_PX, round(picture.width * factor))


def read_sources(
    job: StyleJob, photo: Picture | None, styles: Sequence[Picture] | None, device: torch.device
) -> Sources:
    def read(file: str) -> Picture:
        return read_picture(file, max_pixels=job.max_pixels)

    given = photo
    if photo is None:
        photo = read(job.photo) if job.photo else no_photo(job)
    if styles is None:
        styles = [read(style.file) for style in job.styles]
    styles = [*styles, *([read(job.mask_rest)] if job.mask_rest else [])]
    photo = at_size(photo, job.size)
    regions = read_regions(job, photo, len(styles))
    own = [read(mask.style) for mask in job.mask]
    notes = [f"{style.file} has a weight of 0 and is left out." for style in job.styles if not style.weight]
    notes += regions.notes
    style_masks = (*[None] * len(styles), *read_style_masks(job, own, notes))
    styles = [*styles, *own]
    if not styles and not job.model:
        raise JobError("The job names no style picture: give at least one.")
    if job.match_colour:
        styles = [style.with_pixels(colour.match_colour(style.pixels, photo.pixels)) for style in styles]
    spendable = photo is not given and not job.keep_colour and regions.keep is None and device.type == "cpu"
    return Sources(photo, tuple(styles), job.style_scale, device, spendable, regions, job.seamless, style_masks, notes)


def no_photo(job: StyleJob) -> Picture:
    """What stands for the photo where a texture is made of the style alone: its size."""
    if job.content_weight:
        raise JobError("The job names no photo: give one.")
    if job.keep_colour or job.match_colour:
        raise JobError("The job names no photo whose colours could be had: leave out keep_colour and match_colour.")
    side = job.size or TEXTURE_PX
    return Picture(np.full((3, side, side), 0.5, np.float32), name="the texture")


def at_size(photo: Picture, size: int | None) -> Picture:
    """The photo with the given longest side, or as it is."""
    if size is None:
        return photo
    factor = size / max(photo.height, photo.width)
    height, width = round(photo.height * factor), round(photo.width * factor)
    if min(height, width) < SMALLEST_SIDE_PX:
        least = math.ceil(SMALLEST_SIDE_PX * max(photo.height, photo.width) / min(photo.height, photo.width))
        raise JobError(
            f"--size {size} would make {photo.name} {width}x{height} px, and no side may be under "
            f"{SMALLEST_SIDE_PX} px: use --size {least} or more."
        )
    if height * width > 268_435_456 * 4:
        raise JobError(f"--size {size} would make a picture of {width}x{height} px: use a smaller size.")
    return photo.resized(height, width)
