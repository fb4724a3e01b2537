"""Ways to compare features: one small file each, one row of a literal table each.

A third-party package adds a row through an entry point of the group `impasto.content_losses` or
`impasto.style_losses`, written like the values below. Nothing here imports torch until a loss is loaded.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal

from impasto import errors
from impasto.errors import JobError

if TYPE_CHECKING:
    from impasto.losses.base import Loss

Kind = Literal["content", "style"]

LOSSES: dict[Kind, dict[str, str]] = {
    "content": {
        "mse": "impasto.losses.mse:Mse",
        "ssim": "impasto.losses.ssim:MapSsim",
        "laplacian": "impasto.losses.laplacian:Laplacian",
        "self_similarity": "impasto.losses.self_similarity:SelfSimilarity",
    },
    "style": {
        "gram": "impasto.losses.gram:Gram",
        "wasserstein": "impasto.losses.wasserstein:Wasserstein",
        "mean_std": "impasto.losses.mean_std:MeanStd",
        "moments": "impasto.losses.moments:Moments",
        "histogram": "impasto.losses.histogram:Histogram",
        "sliced": "impasto.losses.sliced:Sliced",
        "nearest": "impasto.losses.nearest:Nearest",
        "remd": "impasto.losses.remd:Remd",
        "mse": "impasto.losses.mse:Mse",
        "ssim": "impasto.losses.ssim:CorrelationSsim",
    },
}


def rows(kind: Kind) -> dict[str, EntryPoint]:
    """Every loss of a kind by name, ours and those that installed packages add."""
    group = f"impasto.{kind}_losses"
    own = {name: EntryPoint(name, value, group) for name, value in LOSSES[kind].items()}
    return {**{found.name: found for found in entry_points(group=group)}, **own}


def load(kind: Kind, name: str) -> Loss:
    """The loss called `name`; JobError, with the nearest name, where there is none."""
    check(kind, name)
    # Looking through all packages takes longer than a short run's iterations.
    row = EntryPoint(name, LOSSES[kind][name], "") if name in LOSSES[kind] else rows(kind)[name]
    loss: Loss = row.load()()
    return loss


def check(kind: Kind, name: str) -> None:
    """JobError unless there is a loss of this kind and name."""
    if name in LOSSES[kind]:
        return
    known = rows(kind)
    if name not in known:
        # By its module, since a loss's own module is called nearest too.
        near = errors.nearest(name, known)
        raise JobError(f"There is no {kind} loss {name!r}: did you mean {near!r}? Known: {', '.join(sorted(known))}.")
