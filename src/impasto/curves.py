"""The loss curves of a run, as a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from impasto.events import Entry


def loss_curves(history: Sequence[Entry]) -> Any:
    """A matplotlib figure: the weighted objective on the left, every distance by layer on the right."""
    # A figure of its own rather than pyplot's, which would need a display and keep the figure alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    finite = [entry for entry in history if math.isfinite(entry.total)]
    steps = [entry.iteration for entry in finite]
    for name in ("total", "content", "style"):
        left.plot(steps, [getattr(entry, name) for entry in finite], label=name)
    for name in finite[0].losses if finite else ():
        right.plot(steps, [entry.losses[name] for entry in finite], label=name, linewidth=1.2)
    for axes, title in ((left, "Objective, weighted"), (right, "Distances, by kind and layer")):
        axes.set(title=title, xlabel="iteration", yscale="log")
        axes.grid(alpha=0.3)
        # Beside the curves, which leave no corner free.
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        for before, entry in zip(finite, finite[1:], strict=False):
            if entry.scale != before.scale:
                axes.axvline(entry.iteration - 0.5, color="grey", linestyle=":", linewidth=1)
    return figure
