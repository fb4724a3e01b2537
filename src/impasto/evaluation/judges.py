"""The table of judges: what each figure is, which way is better, and what measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from impasto.errors import WeightsError
from impasto.evaluation import artefacts, grain, palette, structure
from impasto.evaluation.case import Case
from impasto.evaluation.deep import NEEDED, NETWORKS, DeepJudge
from impasto.nets import weights

Better = Literal["lower", "higher", "zero"]
About = Literal["style", "content", "grain", "artefacts", "run"]


@dataclass(frozen=True)
class Figure:
    """What a figure tells. better: `zero` is for figures that have a direction, and are best at 0."""

    about: About
    better: Better
    words: str

    def badness(self, value: float) -> float:
        """The figure as one of which less is better."""
        return {"lower": value, "higher": -value, "zero": abs(value)}[self.better]


@dataclass(frozen=True)
class Judge(Figure):
    """A figure that is measured on a picture.

    whole: at the result's own size, since making the picture smaller would hide what is looked for.
    """

    measure: Callable[[Case], float]
    whole: bool = False


JUDGES: dict[str, Judge] = {
    "palette": Judge("style", "lower", "distance to the style's colours, OKLab", palette.palette_distance),
    "ssim": Judge("content", "higher", "structural similarity of luma to the photo, at most 1", structure.ssim),
    "edges": Judge("content", "higher", "correlation of edges with the photo's, at most 1", structure.edge_correlation),
    "sharpness": Judge(
        "grain", "zero", "sharper (+) or softer (-) than the style, -1 to 1", grain.sharpness_against_style, whole=True
    ),
    "noise": Judge(
        "grain",
        "zero",
        "noisier (+) or smoother (-) than the style, 8-bit steps",
        grain.noise_against_style,
        whole=True,
    ),
    "border": Judge(
        "artefacts", "lower", "change at the borders over that inside; under 1 is usual", artefacts.border, whole=True
    ),
    "checkerboard": Judge(
        "artefacts", "lower", "patterns of 2, 4 or 8 px, dB; 0 to 1 is usual", artefacts.checkerboard, whole=True
    ),
}
RUN_FIGURES: dict[str, Figure] = {
    "seconds": Figure("run", "lower", "time of the run, pictures and network being loaded"),
    "peak_mib": Figure("run", "lower", "most memory that the process held, MiB"),
}


def judges(backbones: Iterable[str]) -> dict[str, Judge]:
    """All judges of results that `backbones` were optimised against: each network is left out that is one of them.

    Raises WeightsError, with the command that fetches them, where weights are not on this machine.
    """
    check_cached(NEEDED)
    loaded = [make() for name, make in NETWORKS.items() if weights.is_cached(name) and name not in set(backbones)]
    style = {
        f"style/{net.name}": Judge("style", "lower", f"distance to the style's texture by {net.name}", net.style)
        for net in loaded
    }
    content = {
        f"content/{net.name}": Judge("content", "lower", f"distance to the photo's content by {net.name}", net.content)
        for net in loaded
    }
    return style | content | JUDGES


def judging_network(name: str) -> DeepJudge:
    """One of the networks that judge; WeightsError where its weights are not on this machine."""
    check_cached([name])
    return NETWORKS[name]()


def check_cached(names: Iterable[str]) -> None:
    missing = [name for name in names if not weights.is_cached(name)]
    if missing:
        raise WeightsError(
            f"The networks that judge are not on this machine: fetch them with: impasto weights fetch "
            f"{' '.join(missing)}"
        )
