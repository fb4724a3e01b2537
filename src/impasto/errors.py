"""What can go wrong, each with one sentence that names the thing and the way out.

`UserError` is for what was asked (the command line exits with 2), `RunError` for what failed on the way (exit 1).
"""

import difflib
from collections.abc import Collection


class ImpastoError(Exception):
    """Base of all errors that Impasto raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UserError(ImpastoError, ValueError):
    """What was asked cannot be done as asked; nothing was written."""

    exit_code = 2


class PictureError(UserError):
    """A picture that cannot be read, is out of bounds, or cannot be written in the format asked for."""


class JobError(UserError):
    """An option, or a combination of options, that makes no sense."""


class LayerError(UserError):
    """A layer that the network does not have, or a network table that does not fit together."""


class RunError(ImpastoError, RuntimeError):
    """The job was sound and failed on the way (disk full, losses that stay infinite, ...)."""


class WeightsError(RunError):
    """Network weights that cannot be had or do not match their hash."""


def nearest(name: str, known: Collection[str]) -> str:
    """Of the known names, of which there is one at least, that which a mistaken one is most like."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
