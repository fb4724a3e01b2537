"""Pictures from medicine and biology: appearance changes, the tissue does not. No medical device.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.medical.normalizer import StainNormalizer as StainNormalizer

HOMES = {"StainNormalizer": "normalizer"}

__all__ = list(HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'impasto.medical' has no attribute {name!r}")
    return getattr(import_module(f"impasto.medical.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
