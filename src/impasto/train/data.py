"""Training pictures: folders that skip what cannot be read, crops at random scale, and changes that make new styles.

Everything drawn for a sample comes from a generator seeded by (seed, step, position in the batch): the step alone says
where a training stands in the data and in its randomness, on one process or on several.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from impasto.errors import PictureError, UserError
from impasto.picture import read_picture

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".gif"}
Rng = np.random.Generator
# How far gamma, contrast and saturation are changed, in logarithms.
TONES = (0.45, 0.3, 0.5)


class Folder:
    """Pictures of a folder and those below it, decoded when asked for and kept while they fit.

    held_out: every so many-th picture is left out of training, and is in `held_out` instead; 0 keeps all.
    side_px: pictures are made smaller to this shortest side. cache_bytes: memory for decoded pictures.
    `skipped` tells of every file met that could not be read, and why.
    """

    def __init__(self, root: str | Path, *, side_px: int = 512, held_out: int = 0, cache_bytes: int = 1 << 31) -> None:
        files = sorted(path for path in Path(root).rglob("*") if path.suffix.lower() in SUFFIXES)
        self.held_out = files[held_out - 1 :: held_out] if held_out else []
        self.files = [file for file in files if file not in set(self.held_out)]
        if not self.files:
            raise UserError(f"There are no pictures to train on in {root}.")
        self.side_px, self.cache_bytes = side_px, cache_bytes
        self.skipped: dict[Path, str] = {}
        self.cache: OrderedDict[Path, UInt8[Tensor, "3 h w"]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.files)

    def draw(self, rng: Rng) -> UInt8[Tensor, "3 h w"]:
        """A picture, each with the same chance; one that cannot be read is skipped for the next that can."""
        first = int(rng.integers(len(self.files)))
        for offset in range(len(self.files)):
            picture = self.get(self.files[(first + offset) % len(self.files)])
            if picture is not None:
                return picture
        raise UserError(f"None of the {len(self.files)} pictures can be read, such as {self.files[0]}.")

    def get(self, file: Path) -> UInt8[Tensor, "3 h w"] | None:
        """A picture in 0..255, or None for one that cannot be read."""
        if file in self.skipped:
            return None
        if file in self.cache:
            self.cache.move_to_end(file)
            return self.cache[file]
        try:
            picture = read_uint8(file, self.side_px)
        except PictureError as error:
            self.skipped[file] = str(error)
            return None
        self.cache[file] = picture
        while sum(kept.numel() for kept in self.cache.values()) > self.cache_bytes:
            self.cache.popitem(last=False)
        return picture


def read_uint8(file: Path, side_px: int) -> UInt8[Tensor, "3 h w"]:
    picture = read_picture(file)
    factor = side_px / min(picture.size_hw)
    if factor < 1:
        picture = picture.resized(round(picture.height * factor), round(picture.width * factor))
    return torch.from_numpy((picture.pixels * 255).round().astype(np.uint8))


def crop(picture: UInt8[Tensor, "3 h w"], size: int, smallest: float, rng: Rng) -> Float[Tensor, "3 size size"]:
    """A crop of random place, scale and slight stretch, brought to size x size, in 0..1.

    smallest: of the shortest side, the least that a crop's side covers; smaller shows finer detail.
    """
    height, width = picture.shape[1:]
    side = min(height, width) * math.exp(rng.uniform(math.log(smallest), 0))
    stretch = math.exp(rng.uniform(-0.15, 0.15))
    rows, columns = (max(8, min(int(side * k), limit)) for k, limit in ((stretch, height), (1 / stretch, width)))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = picture[:, top : top + rows, left : left + columns][None].float() / 255
    part = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    return part.flip(2) if rng.random() < 0.5 else part


@dataclass(frozen=True)
class Variety:
    """How often a style is changed into one that no painter made; all are chances for one sample.

    turn: a quarter or half turn. colours: channels exchanged or hues turned. tone: gamma, contrast and saturation.
    mosaic: half of the picture from another style. photo: a photo in the style's place. same: the photo itself is
    the style, and should come back unchanged.
    """

    turn: float = 0.3
    colours: float = 0.35
    tone: float = 0.4
    mosaic: float = 0.12
    photo: float = 0.08
    same: float = 0.02


def vary(style: Float[Tensor, "3 n n"], variety: Variety, rng: Rng) -> Float[Tensor, "3 n n"]:
    """A style turned, recoloured or toned, each by its chance."""
    if rng.random() < variety.turn:
        style = torch.rot90(style, int(rng.integers(1, 4)), (1, 2))
    if rng.random() < variety.colours:
        style = recoloured(style, rng)
    if rng.random() < variety.tone:
        style = toned(style, rng)
    return style.clamp(0, 1)


def recoloured(style: Float[Tensor, "3 n n"], rng: Rng) -> Float[Tensor, "3 n n"]:
    return torch.einsum("ij,jhw->ihw", recolouring(rng), style)


def recolouring(rng: Rng) -> Float[Tensor, "3 3"]:
    """What exchanges the channels, or turns all hues by one angle around the grey axis (Rodrigues' formula)."""
    if rng.random() < 0.5:
        return torch.eye(3)[torch.from_numpy(rng.permutation(3))]
    angle = rng.uniform(-math.pi, math.pi)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return math.cos(angle) * torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) / 3


def toned(style: Float[Tensor, "3 n n"], rng: Rng) -> Float[Tensor, "3 n n"]:
    return in_tone(style, *(math.exp(rng.uniform(-most, most)) for most in TONES))


def in_tone(
    style: Float[Tensor, "*count 3 n n"], gamma: Tensor | float, contrast: Tensor | float, saturation: Tensor | float
) -> Float[Tensor, "*count 3 n n"]:
    """A style, or several each with its own numbers, with other gamma, contrast and saturation; 1 leaves each."""
    style = style.clamp(1e-3, 1) ** gamma
    grey = style.mean(-3, keepdim=True)
    style = grey + saturation * (style - grey)
    middle = style.mean((-3, -2, -1), keepdim=True)
    return middle + contrast * (style - middle)


@dataclass(frozen=True)
class Batch:
    """photos and styles of one step; sample i paints photo `photo_of[i]` in the style of row i of `mix` @ styles.

    Photos and styles come in groups of two, and each photo of a group meets each of its styles: that saves half of the
    passes that make the targets. mix: rows are weights of styles; a row of two weights asks for a style in between.
    """

    photos: Float[Tensor, "m 3 n n"]
    styles: Float[Tensor, "k 3 _ _"]
    photo_of: Int64[Tensor, " batch"]
    mix: Float[Tensor, "batch k"]
    strength: Float[Tensor, " batch"]

    @classmethod
    def of_groups(
        cls,
        photos: Float[Tensor, "m 3 n n"],
        styles: Float[Tensor, "k 3 _ _"],
        mixes: Sequence[Float[Tensor, "4 2"]],
        strength: Float[Tensor, " batch"],
    ) -> Batch:
        """mixes: the shares of its two styles in the four samples of each group."""
        photo_of = torch.arange(2 * len(mixes)).view(-1, 2).repeat(1, 2).flatten()
        return cls(photos, styles, photo_of, torch.block_diag(*mixes), strength)

    def to(self, device: torch.device) -> Batch:
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """In memory that a GPU reads by itself; torch's DataLoader asks for it."""
        return self.each(lambda tensor: tensor.pin_memory())

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(*map(change, (self.photos, self.styles, self.photo_of, self.mix, self.strength)))


@runtime_checkable
class Batches(Protocol):
    """Where a training's samples come from; the step alone says which they are."""

    @property
    def skipped(self) -> int:
        """Files met that could not be read."""
        ...

    def batch(self, step: int, size: int, groups: range) -> Batch:
        """The samples of some groups of a step; each group is four samples of size x size."""
        ...


@dataclass(frozen=True)
class Source:
    """Draws the batches of a training. smallest_photo, smallest_style: as in `crop`; between: the chance that a
    sample's style lies between the two of its group; boldest: lower end of the strengths drawn half of the time."""

    photos: Folder
    styles: Folder
    seed: int = 0
    variety: Variety = Variety()
    smallest_photo: float = 0.45
    smallest_style: float = 0.35
    between: float = 0.1
    least_strength: float = 0.2
    bold: float = 0.6

    @property
    def skipped(self) -> int:
        return len(self.unread)

    @property
    def unread(self) -> set[Path]:
        """Files met that could not be read."""
        return {*self.photos.skipped, *self.styles.skipped}

    def batch(self, step: int, size: int, groups: range) -> Batch:
        parts = [self.group(np.random.default_rng([self.seed, step, index]), size) for index in groups]
        photos, styles, mixes, strengths = zip(*parts, strict=True)
        return Batch.of_groups(torch.cat(photos), torch.cat(styles), mixes, torch.cat(strengths))

    def group(self, rng: Rng, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        photos = [crop(self.photos.draw(rng), size, self.smallest_photo, rng) for _ in range(2)]
        styles = [self.style(rng, size, photo) for photo in photos]
        mix = mix_of(rng, self.between)
        lows = np.where(rng.random(4) < 0.5, self.bold, self.least_strength)
        return torch.stack(photos), torch.stack(styles), mix, torch.from_numpy(rng.uniform(lows, 1.0)).float()

    def style(self, rng: Rng, size: int, photo: Float[Tensor, "3 n n"]) -> Float[Tensor, "3 n n"]:
        kind = rng.random()
        if kind < self.variety.same:
            return photo
        folder = self.photos if kind < self.variety.same + self.variety.photo else self.styles
        style = vary(crop(folder.draw(rng), size, self.smallest_style, rng), self.variety, rng)
        if rng.random() < self.variety.mosaic:
            other = vary(crop(self.styles.draw(rng), size, self.smallest_style, rng), self.variety, rng)
            half = size // 2
            style = torch.cat([style[..., :half], other[..., half:]], -1)
        return style


def mix_of(rng: Rng, between: float) -> Float[Tensor, "4 2"]:
    """The shares of a group's two styles in its samples: one of them, or by the chance `between` both."""
    mix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    for row in mix:
        if rng.random() < between:
            share = rng.uniform(0.2, 0.8)
            row.copy_(torch.tensor([share, 1 - share]))
    return mix
