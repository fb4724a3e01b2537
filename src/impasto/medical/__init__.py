"""Pictures from medicine and biology: appearance changes, the tissue does not. No medical device.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.medical.augment import FittedStains as FittedStains
    from impasto.medical.augment import StainAugment as StainAugment
    from impasto.medical.fluorescence import compare_nuclei as compare_nuclei
    from impasto.medical.harmonization import harmonize as harmonize
    from impasto.medical.landmarks import Landmarks as Landmarks
    from impasto.medical.normalizer import StainNormalizer as StainNormalizer
    from impasto.medical.scans import Scan as Scan
    from impasto.medical.scans import read_scan as read_scan

HOMES = {
    "FittedStains": "augment", "StainAugment": "augment", "Landmarks": "landmarks", "harmonize": "harmonization",
    "Scan": "scans", "read_scan": "scans", "compare_nuclei": "fluorescence", "StainNormalizer": "normalizer",
}  # fmt: skip

__all__ = list(HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'impasto.medical' has no attribute {name!r}")
    return getattr(import_module(f"impasto.medical.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
