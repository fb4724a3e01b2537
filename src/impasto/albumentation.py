"""Our augmentations as a transform of albumentations, which decides when it is applied and draws its seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from impasto.errors import UserError

# Otherwise the library asks the network for news of itself when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
try:
    from albumentations import ImageOnlyTransform
except ImportError:
    raise UserError("albumentations is not installed: pip install albumentations.") from None

Change = Callable[[Shaped[np.ndarray, "h w 3"], torch.Generator], Shaped[np.ndarray, "h w 3"]]


class ImageAugment(ImageOnlyTransform):  # type: ignore[misc]
    """A change of the image alone (h, w, 3), uint8 or float in 0..1; masks, boxes and points stay.

    change: given the image and a generator for all that is drawn. p: the chance that it is applied.
    """

    def __init__(self, change: Change, p: float) -> None:
        super().__init__(p=p)
        self.change = change

    def get_params(self) -> dict[str, Any]:
        # From the generator that Compose seeds, so that its seed, its workers and its replays hold for us too.
        return {"seed": self.py_random.getrandbits(63)}

    def apply(self, img: Shaped[np.ndarray, "h w 3"], seed: int, **params: Any) -> Shaped[np.ndarray, "h w 3"]:
        return self.change(img, torch.Generator().manual_seed(seed))
