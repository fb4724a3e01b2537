"""Random stains for training on haematoxylin and eosin: one model then meets the stains of many laboratories.

Both changes are linear in optical density, D = -log10(I), and pointwise: no structure can appear or disappear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from impasto.augment import Augment, uniform
from impasto.errors import UserError

# Optical density of haematoxylin, eosin and diaminobenzidine in R, G, B (Ruifrok & Johnston, Anal Quant Cytol Histol
# 23(4), 2001); rows of length 1.
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
HED /= np.linalg.norm(HED, axis=1, keepdims=True)
# Intensities count from one step of 256 up, so that the density of black is finite.
STEPS = 256


@dataclass(frozen=True, eq=False)
class FittedStains:
    """A laboratory's stains. vectors: (2, 3), optical density of haematoxylin and eosin in R, G, B, rows of length 1.
    strength: (2,), how much of each there is (such as the 99th percentile over tissue, in optical density)."""

    vectors: np.ndarray
    strength: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors.shape != (2, 3) or self.strength.shape != (2,):
            raise UserError(f"Stains of {self.vectors.shape} and {self.strength.shape}: give (2, 3) and (2,).")
        if not (np.isfinite(self.vectors).all() and np.linalg.matrix_rank(self.vectors, tol=0.01) == 2):
            raise UserError("Stain vectors that are one and the same cannot be told apart: fit them on other tissue.")
        if not (self.strength > 0).all():
            raise UserError(f"Stains of strength {self.strength.tolist()}: each must be above 0.")

    @classmethod
    def load(cls, file: str | Path) -> FittedStains:
        """From JSON that holds `stains` (the vectors) and `most` (their strength), by themselves or, as in a profile of
        `impasto stain fit --method macenko`, under `statistics`."""
        try:
            fields = json.loads(Path(file).read_text(encoding="utf-8"))
            fields = fields.get("statistics", fields)
            return cls(np.array(fields["stains"], float), np.array(fields["most"], float))
        except FileNotFoundError:
            raise UserError(f"{file} does not exist; check the path.") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise UserError(f"{file}: {error}") from None
            raise UserError(f"{file} holds no stains: it needs `stains` (2, 3) and `most` (2).") from None


class StainAugment(Augment):
    """Random stains on H&E tiles, as a torch module, or by `albumentations()` as a transform of that library.

    scale: each of haematoxylin, eosin and DAB is multiplied by a factor of 1 - scale to 1 + scale. shift: as much
    optical density of each is added, -shift to +shift, which tints the background too. Larger is more varied; these two
    are the HED jitter of Tellez et al. (IEEE TMI 37(9), 2018). bank: fitted stains of other laboratories, of which each
    tile gets one at random (before the jitter), and source: those of the tiles themselves, without which it is not
    known what to exchange. Colours outside 0..1 are clipped, as a camera would.
    """

    def __init__(
        self,
        *,
        scale: float = 0.2,
        shift: float = 0.01,
        bank: Sequence[FittedStains | str | Path] = (),
        source: FittedStains | str | Path | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= scale < 1:
            raise UserError(f"scale {scale}: give 0 (no change) to less than 1.")
        if not 0 <= shift <= 1:
            raise UserError(f"shift {shift}: give 0 (no change) to 1, in optical density.")
        if bool(bank) != (source is not None):
            raise UserError("bank and source belong together: give the stains to take, and those of the tiles.")
        self.scale, self.shift = scale, shift
        matrices = [exchange(loaded(source), loaded(stains)) for stains in bank] if source is not None else [np.eye(3)]
        self.bank: Tensor
        self.register_buffer("bank", torch.from_numpy(np.stack(matrices)).float())

    def change(self, images: Shaped[Tensor, "n 3 h w"], generator: torch.Generator | None) -> Tensor:
        matrices, shifts = self.draw(len(images), generator)
        out = torch.empty_like(images)
        # One by one: a tile and its densities stay in the cache, and nothing as large as the batch is made.
        for index, image in enumerate(images):
            stain(image, matrices[index].to(image.device), shifts[index].to(image.device), out[index])
        return out

    def draw(
        self, count: int, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
        """Matrices and shifts on optical density (R, G, B as columns), one an image."""
        chosen = self.bank.cpu()[torch.randint(len(self.bank), (count,), generator=generator)]
        to_density = torch.from_numpy(HED.T).float()
        factors = uniform((count, 3), 1 - self.scale, 1 + self.scale, generator)
        jitter = to_density @ torch.diag_embed(factors) @ torch.linalg.inv(to_density)
        shifts = uniform((count, 3), -self.shift, self.shift, generator) @ to_density.T
        return jitter @ chosen, shifts


def loaded(stains: FittedStains | str | Path) -> FittedStains:
    return stains if isinstance(stains, FittedStains) else FittedStains.load(stains)


def exchange(source: FittedStains, target: FittedStains) -> Float64[np.ndarray, "3 3"]:
    """The matrix on optical density that turns the stains of one laboratory into another's, strength for strength.

    What is neither of the two stains stays as it is.
    """
    amounts = np.linalg.pinv(source.vectors.T)
    goal = target.vectors.T * (target.strength / source.strength)
    matrix: np.ndarray = np.eye(3) + (goal - source.vectors.T) @ amounts
    return matrix


def stain(
    image: Shaped[Tensor, "3 h w"],
    matrix: Float[Tensor, "3 3"],
    shift: Float[Tensor, " 3"],
    out: Shaped[Tensor, "3 h w"],
) -> None:
    """Write the image to `out` with its optical densities D as matrix D + shift; no change gives the image again."""
    whole = image.dtype == torch.uint8
    steps = image.float().flatten(1) if whole else image.float().flatten(1) * (STEPS - 1)
    log = steps.add_(1).mul_(1 / STEPS).log_()
    # log = -D ln 10, so the shift is subtracted.
    mixed = torch.addmm(shift[:, None] * -np.log(10), matrix, log).exp_().mul_(STEPS).sub_(1)
    if whole:
        mixed.add_(0.5).clamp_(0, STEPS - 1)
    else:
        mixed.mul_(1 / (STEPS - 1)).clamp_(0, 1)
    out.copy_(mixed.view(image.shape))
