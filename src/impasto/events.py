"""`Step`, the one event of a run. Progress bars, previews, loss curves, checkpoints and budgets listen to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impasto.engines.state import Snapshot
    from impasto.picture import Picture


@dataclass(frozen=True)
class Entry:
    """One iteration in the history: what the objective was before the picture took its step.

    total: the weighted objective. losses: each unweighted distance, by `KIND_LOSS/LAYER`
    (`content_mse/block4_conv2`, `style_gram/block1_conv1`, ...) and `tv`. An engine without an objective has no losses,
    and NaN for the rest.
    """

    iteration: int
    scale: int
    height: int
    width: int
    seconds: float
    total: float
    content: float
    style: float
    losses: Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """An iteration has been evaluated.

    entry: its line of the history, the last of `history`. iterations, scales: planned totals; under a time budget as
    many iterations as it will be at this pace. preview(): the best picture of this scale so far. snapshot(): all that
    is needed to go on from here in another process; None where an engine has no use for it.
    """

    entry: Entry
    history: Sequence[Entry] = field(repr=False)
    iterations: int
    scales: int
    preview: Callable[[], Picture] = field(repr=False)
    snapshot: Callable[[], Snapshot] | None = field(repr=False)

    @property
    def iteration(self) -> int:
        """Counted from 0 over all scales."""
        return self.entry.iteration

    @property
    def total(self) -> float:
        return self.entry.total

    @property
    def losses(self) -> Mapping[str, float]:
        return self.entry.losses


Listener = Callable[[Step], bool | str | None]
"""Returns False, or the reason as a word, to stop the run; anything else lets it go on."""
