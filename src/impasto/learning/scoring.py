"""The score of layer weights on a pair: the judge's style distance at the content distance of plain layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from impasto.engines.balance import balanced, chosen_layers, conv_blocks
from impasto.evaluation.case import Case, View, fitted, make_case
from impasto.evaluation.deep import DeepJudge, relative
from impasto.hardware import choose_device, choose_dtype
from impasto.job import Style, StyleJob
from impasto.learning.matching import Match, Measured, at_equal_content
from impasto.losses import Kind
from impasto.nets.cnn import Cnn
from impasto.nets.passes import ExplicitPass
from impasto.picture import Picture, read_picture
from impasto.run import pulls_of, run

Weights = Mapping[Kind, Mapping[str, float]]
# Content that agrees to within this is called equal; between runs that are nearer than INTERVAL, style is interpolated.
TOLERANCE, INTERVAL, MOST_RUNS = 0.04, 1.4, 4
# Score of weights that cannot be brought to the content wanted, such as those that leave the photo unchanged.
OUT_OF_REACH = math.log(4.0)


class PairFiles(NamedTuple):
    photo: Path
    style: Path

    def __str__(self) -> str:
        return f"{self.photo.name} + {self.style.name}"


@dataclass(frozen=True)
class Pair:
    """A photo and a style at the size of the search, with what all runs on them share.

    balance: weights of all convolutions, by kind, that make each pull alike. content, style: distances that the plain
    layers of the network's structure reach at the default weights: the content to agree in, and the style to beat.
    """

    photo: Picture
    style: Picture
    case: Case
    features: Tensor
    balance: Weights
    content: float
    reference: float


def score_of(match: Match, reference: float) -> float:
    """Whoever cannot be brought to the content wanted has won nothing, however near to the style."""
    if match.off > 2 * TOLERANCE and not match.between:
        return OUT_OF_REACH
    return math.log(match.style / reference)


def convolutions(cnn: Cnn) -> list[str]:
    return [name for block in conv_blocks(cnn) for name in block]


def content_place(cnn: Cnn) -> str:
    """The layer at which content is said to be equal: the first convolution of the block that holds the content."""
    (chosen,) = chosen_layers(cnn)["content"]
    return next(block[0] for block in conv_blocks(cnn) if chosen in block)


@dataclass
class Scorer:
    """Runs and judges. A picture is read, and its plain run made, when its pair is first scored."""

    cnn: Cnn
    judge: DeepJudge
    size: int
    iterations: int
    threads: int | None = None
    pairs: dict[PairFiles, Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = choose_device("auto")
        self.place = content_place(self.cnn)
        self.look = ExplicitPass(self.cnn, [self.place], dtype=choose_dtype("auto", device), device=device)

    def score(self, files: PairFiles, factors: Weights, start: float) -> tuple[float, Match]:
        """Logarithm of the style distance over that of plain layers at equal content: below 0 is better than they.

        factors: of the balanced weights, by kind and layer. start: the content weight to begin with.
        """
        pair = self.pair(files)
        weights: Weights = {
            kind: {name: factor * pair.balance[kind][name] for name, factor in factors[kind].items()}
            for kind in ("content", "style")
        }
        match = at_equal_content(
            lambda weight: self.measure(pair, self.job(weights, weight)), pair.content,
            start=start, tolerance=TOLERANCE, interval=INTERVAL, most_runs=MOST_RUNS,
        )  # fmt: skip
        return score_of(match, pair.reference), match

    def job(self, weights: Weights, content_weight: float | None = None) -> StyleJob:
        more = {} if content_weight is None else {"content_weight": content_weight}
        return StyleJob.of(
            {
                "look": "classic", "styles": [Style(file="")], "iterations": self.iterations, "pyramid_from": "off",
                "threads": self.threads, "content_layers": dict(weights["content"]),
                "style_layers": dict(weights["style"]), **more,
            }
        )  # fmt: skip

    def pair(self, files: PairFiles) -> Pair:
        if files not in self.pairs:
            photo, style = (self.read(file) for file in files)
            case = make_case(photo, photo, [(style, 1.0)], None)
            every = dict.fromkeys(convolutions(self.cnn), 1.0)
            pulls = pulls_of(self.job({"content": every, "style": every}), self.cnn, photo, [style])
            balance: Weights = {"content": balanced(pulls[0]), "style": balanced(pulls[1])}
            pair = Pair(photo, style, case, self.seen(photo), balance, math.nan, math.nan)
            plain = {kind: dict.fromkeys(names, 1.0) for kind, names in chosen_layers(self.cnn).items()}
            content, reference = self.measure(pair, self.job(plain))
            self.pairs[files] = Pair(photo, style, case, pair.features, balance, content, reference)
        return self.pairs[files]

    def read(self, file: Path) -> Picture:
        picture = read_picture(file)
        return picture.resized(*fitted(picture, self.size))

    def measure(self, pair: Pair, job: StyleJob) -> Measured:
        result = run(job, photo=pair.photo, styles=[pair.style], network=self.cnn)
        if result.stopped_by == "interrupted":
            raise KeyboardInterrupt
        content = relative(self.seen(result.picture), pair.features)
        return Measured(content, self.judge.style(pair.case.of(View(result.picture.pixels))))

    def seen(self, picture: Picture) -> Tensor:
        """Features at the layer where content is compared."""
        pixels = torch.from_numpy(picture.pixels)[None].to(self.look.device)
        return self.look.forward(pixels, keep=False).features[self.place][0].float()
