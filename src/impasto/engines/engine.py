"""What an engine is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from impasto.engines.optimize import Outcome
from impasto.engines.state import Snapshot
from impasto.events import Listener


@runtime_checkable
class Engine(Protocol):
    """What makes the picture, everything that it needs being loaded."""

    @property
    def name(self) -> str: ...

    def run(self, listeners: Sequence[Listener], resume: Snapshot | None) -> Outcome: ...
