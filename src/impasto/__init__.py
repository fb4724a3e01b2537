"""Impasto: image style transfer with deep networks.

    import impasto
    result = impasto.style_transfer("photo.jpg", "style.jpg")
    result.save("out.png")

Names are loaded when they are first used, so that `import impasto` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.api import Session as Session
    from impasto.api import style_transfer as style_transfer
    from impasto.api import stylize as stylize
    from impasto.api import texture as texture
    from impasto.api import variations as variations
    from impasto.augment import StyleAugment as StyleAugment
    from impasto.errors import ImpastoError as ImpastoError
    from impasto.errors import UserError as UserError
    from impasto.evaluation.compare import compare as compare
    from impasto.evaluation.evaluate import evaluate as evaluate
    from impasto.events import Step as Step
    from impasto.job import StyleJob as StyleJob
    from impasto.nets.catalogue import network as network
    from impasto.nets.cnn import Cnn as Cnn
    from impasto.nets.cnn import build_cnn as build_cnn
    from impasto.nets.cnn import load_cnn as load_cnn
    from impasto.nets.layers import avg_pool as avg_pool
    from impasto.nets.layers import conv as conv
    from impasto.nets.layers import dense as dense
    from impasto.nets.layers import flatten as flatten
    from impasto.nets.layers import max_pool as max_pool
    from impasto.nets.layers import preprocess as preprocess
    from impasto.picture import Picture as Picture
    from impasto.run import Result as Result

HOMES = {
    "compare": "evaluation.compare", "evaluate": "evaluation.evaluate",
    "Session": "api", "style_transfer": "api", "stylize": "api",
    "texture": "api", "variations": "api",
    "StyleAugment": "augment",
    "ImpastoError": "errors", "UserError": "errors",
    "Step": "events", "StyleJob": "job", "Picture": "picture", "Result": "run",
    "network": "nets.catalogue", "Cnn": "nets.cnn", "build_cnn": "nets.cnn", "load_cnn": "nets.cnn",
    "avg_pool": "nets.layers", "conv": "nets.layers", "dense": "nets.layers", "flatten": "nets.layers",
    "max_pool": "nets.layers", "preprocess": "nets.layers",
}  # fmt: skip

__all__ = list(HOMES)  # noqa: PLE0605
__version__ = version("impasto")


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    return getattr(import_module(f"impasto.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
