"""Learning layer weights for a network: a search by CMA-ES, a predictor fitted to its trials, and the check of both.

CMA-ES is Hansen's evolution strategy (Evolutionary Computation 2001), by the library `cmaes`.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from impasto.engines.balance import chosen_layers
from impasto.errors import UserError
from impasto.evaluation.deep import DeepJudge
from impasto.learned_layers import LearnedLayers, Predictor, pair_statistics
from impasto.learning.curves import KINDS, STARTS, factors_of
from impasto.learning.predictor import fit_predictor
from impasto.learning.scoring import PairFiles, Scorer, Weights
from impasto.learning.settings import LearningSettings
from impasto.learning.trials import Log, Row
from impasto.nets.cnn import Cnn
from impasto.nets.weight_files import digest

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
# Not resnet50-thin, so that results can still be judged by a network that had no part in them.
JUDGE = "efficientnet-lite0"
SIGMA, POPULATION = 0.7, 6
# Every so many-th picture of a folder is held out.
EVERY = 4
Numbers = Float[np.ndarray, " 6"]
NONE: Numbers = np.full(6, np.nan)
# Told after every pair of a trial: how many are done, and the trial's name.
Told = Callable[[int, str], object]


@dataclass(frozen=True)
class Learned:
    """What was learned. layers: None where plain balance was no worse on the pairs held out.

    scores: by `balance`, `constant` and, where one could be fitted, `predicted`: on each pair held out the logarithm of
    the style distance over that of the plain layers, at equal content.
    """

    layers: LearnedLayers | None
    scores: dict[str, list[float]]


def learn_layers(
    cnn: Cnn,
    judge: DeepJudge,
    content_dir: Path,
    style_dir: Path,
    log_file: Path,
    settings: LearningSettings,
    *,
    threads: int | None = None,
    told: Told = lambda done, trial: None,
    stop: Callable[[], bool] = lambda: False,
) -> Learned:
    """Search, fit and check. Every score is logged in `log_file`; where that is there already, it is gone on with.

    stop: asked before every generation whether to search no further; the check is made all the same.
    Raises UserError for folders without enough pictures and for a log of another search.
    """
    train, held_out = draw_pairs(content_dir, style_dir, settings)
    scorer = Scorer(cnn, judge, settings.size, settings.iterations, threads)
    log = Log(log_file, search_digest(cnn, judge, settings, [*train, *held_out]))
    search = Search(scorer, log, settings, train, held_out, told, stop)
    constant = factors_of(cnn, search.run())
    predictor = fit_predictor(cnn, search.trials(), search.statistics())
    scores = search.check(constant, predictor)
    means = {name: statistics.mean(values) for name, values in scores.items()}
    if means["constant"] >= means["balance"]:
        return Learned(None, scores)
    trials = len({row.trial for row in search.trials()})
    better = predictor if means.get("predicted", math.inf) < means["constant"] else None
    return Learned(as_layers(cnn, card_of(judge, settings, trials, means), constant, better), scores)


class Search:
    """The trials of one search, each on some of the pairs."""

    def __init__(
        self, scorer: Scorer, log: Log, settings: LearningSettings, train: Sequence[PairFiles],
        held_out: Sequence[PairFiles], told: Told, stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.scorer, self.log, self.settings = scorer, log, settings
        self.train, self.held_out, self.told, self.stop = train, held_out, told, stop
        # Content weights differ little from one trial to the next, and a near start saves runs.
        self.start, self.done = 1.0, 0

    def run(self) -> Numbers:
        """The starts, then CMA-ES from the best of them; what comes out is the mean of its last distribution."""
        import cmaes

        starts = [np.array(start, dtype=np.float64) for start in STARTS][: self.settings.trials]
        scores = [self.mean_score(f"start {place}", start, 0) for place, start in enumerate(starts)]
        search = cmaes.CMA(
            mean=starts[int(np.argmin(scores))], sigma=SIGMA, seed=self.settings.seed, population_size=POPULATION
        )
        generations = (self.settings.trials - len(starts)) // POPULATION
        for generation in range(generations):
            if self.stop():
                break
            asked = [search.ask() for _ in range(POPULATION)]
            names = [f"generation {generation}, {place}" for place in range(POPULATION)]
            found = [self.mean_score(name, one, generation) for name, one in zip(names, asked, strict=True)]
            search.tell(list(zip(asked, found, strict=True)))
        mean: Numbers = search.mean
        return mean

    def mean_score(self, trial: str, numbers: Numbers, generation: int) -> float:
        """Over the generation's pairs, which all of its trials share, so that luck with pairs cannot decide."""
        count = min(self.settings.pairs_a_trial, len(self.train))
        pairs = [self.train[(generation * count + place) % len(self.train)] for place in range(count)]
        return statistics.mean(self.scores(trial, lambda pair: factors_of(self.scorer.cnn, numbers), pairs, numbers))

    def scores(
        self, trial: str, factors: Callable[[PairFiles], Weights], pairs: Sequence[PairFiles], numbers: Numbers = NONE
    ) -> list[float]:
        """The trial's scores, from the log where they are there."""
        rows = []
        for pair in pairs:
            row = self.log.find(trial, str(pair.photo), str(pair.style))
            if row is None:
                score, match = self.scorer.score(pair, factors(pair), self.start)
                row = Row(
                    self.log.search, trial, str(pair.photo), str(pair.style), tuple(map(float, numbers)), score,
                    match.weight, match.off, match.runs,
                )  # fmt: skip
                self.log.add(row)
            rows.append(row)
            self.done += 1
            self.told(self.done, trial)
        self.start = statistics.median(row.content_weight for row in rows)
        return [row.score for row in rows]

    def check(self, constant: Weights, predictor: Predictor | None) -> dict[str, list[float]]:
        """Balance, the constant factors and the predicted ones on the pairs held out."""
        plain = chosen_layers(self.scorer.cnn)
        balance: Weights = {kind: dict.fromkeys(plain[kind], 1.0) for kind in KINDS}
        found = {
            "balance": self.scores("check of balance", lambda pair: balance, self.held_out),
            "constant": self.scores(f"check of {short(constant)}", lambda pair: constant, self.held_out),
        }
        if predictor is not None:
            learned = as_layers(self.scorer.cnn, "", constant, predictor)

            def predicted(pair: PairFiles) -> Weights:
                pictures = self.scorer.read(pair.photo), self.scorer.read(pair.style)
                return {kind: learned.factors(kind, *pictures) for kind in KINDS}

            trial = f"check of {short(learned.model_dump())}"
            found["predicted"] = self.scores(trial, predicted, self.held_out)
        return found

    def trials(self) -> list[Row]:
        return [row for row in self.log.rows.values() if not row.trial.startswith("check")]

    def statistics(self) -> dict[tuple[str, str], Float[np.ndarray, " 6"]]:
        """Of every pair that was learned from."""
        return {
            (str(pair.photo), str(pair.style)): pair_statistics(*map(self.scorer.read, pair)) for pair in self.train
        }


def draw_pairs(
    content_dir: Path, style_dir: Path, settings: LearningSettings
) -> tuple[list[PairFiles], list[PairFiles]]:
    """Pairs to learn from and pairs held out, which share no picture."""
    rng = np.random.default_rng(settings.seed)
    learned_from: list[list[Path]] = []
    held_out: list[list[Path]] = []
    for folder in (content_dir, style_dir):
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        if len(files) < EVERY:
            raise UserError(f"There are {len(files)} pictures in {folder}, and {EVERY} are needed at least.")
        kept = files[EVERY - 1 :: EVERY]
        rest = [file for file in files if file not in set(kept)]
        learned_from.append([rest[place] for place in rng.permutation(len(rest))])
        held_out.append([kept[place] for place in rng.permutation(len(kept))])
    return pairs_of(settings.pairs, *learned_from), pairs_of(settings.held_out, *held_out)


def pairs_of(count: int, photos: list[Path], styles: list[Path]) -> list[PairFiles]:
    """Different pairs, of different pictures as long as there are any."""
    most = min(count, len(photos) * len(styles))
    # Along the diagonals of the table of all pairs, one after the other.
    steps = ((turn, place) for turn in range(len(styles)) for place in range(max(len(photos), len(styles))))
    pairs = dict.fromkeys(
        PairFiles(photos[place % len(photos)], styles[(place + turn) % len(styles)]) for turn, place in steps
    )
    return list(pairs)[:most]


def search_digest(cnn: Cnn, judge: DeepJudge, settings: LearningSettings, pairs: Sequence[PairFiles]) -> str:
    """Of all that a trial's score depends on; how many trials there are to be is not among it."""
    told = [digest(cnn.parameters), judge.name, settings.model_dump_json(exclude={"trials"}), *map(str, pairs)]
    return short(told)


def short(thing: Any) -> str:
    return hashlib.sha256(repr(thing).encode()).hexdigest()[:12]


def as_layers(cnn: Cnn, card: str, factors: Weights, predictor: Predictor | None) -> LearnedLayers:
    return LearnedLayers(
        network=cnn.name, card=card, content=dict(factors["content"]), style=dict(factors["style"]), predictor=predictor
    )


def card_of(judge: DeepJudge, settings: LearningSettings, trials: int, means: dict[str, float]) -> str:
    """What the file says of itself."""
    brought = ", ".join(f"{name} {np.exp(value):.3f}" for name, value in means.items())
    return (
        f"Learned by impasto learn-layers: {trials} trials, on {settings.pairs_a_trial} of {settings.pairs} pairs, "
        f"{settings.size} px, {settings.iterations} iterations, seed {settings.seed}, judged by {judge.name}. Style "
        f"distance at equal content on {settings.held_out} pairs held out, against plain layers at equal weights: "
        f"{brought}."
    )
