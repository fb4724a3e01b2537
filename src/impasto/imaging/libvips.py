"""libvips, which reads, writes and resizes pictures."""

import logging
import re
from functools import cache
from typing import Any

import numpy as np


@cache
def vips() -> Any:
    """The pyvips module, set up for us; imported late, since it is not needed for arrays."""
    import pyvips

    # Warnings of libvips about odd files go through this logger, and would land on stderr without a handler.
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    # We do nothing twice, so that kept operations would only cost memory (and confuse files that change).
    pyvips.cache_set_max(0)
    # Loaders that libvips holds to be unsafe with files from strangers.
    pyvips.block_untrusted_set(True)
    return pyvips


def reason(error: Exception) -> str:
    """The last line of what libvips says, which comes closest to the cause, without the name of its part."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^\w+: +", "", lines[-1]).rstrip(".") if lines else "no reason given"


def to_numpy(image: Any) -> np.ndarray:
    """The values (h, w, c) of a libvips image, which leaves the channel axis out where there is one only."""
    values: np.ndarray = image.numpy().reshape(image.height, image.width, image.bands)
    return values


def blob(image: Any, field: str) -> bytes | None:
    return bytes(image.get(field)) if field in image.get_fields() else None


def tagged(image: Any, field: str, blob: bytes) -> Any:
    """A copy of the image that has the metadata."""
    tagged = image.copy()
    tagged.set_type(vips().GValue.blob_type, field, blob)
    return tagged
