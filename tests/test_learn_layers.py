"""Learning layer weights: comparison at equal content, the search and its log, the predictor, and what auto reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.cli.main import main
from impasto.engines.balance import chosen_layers
from impasto.errors import UserError
from impasto.job import StyleJob
from impasto.learned_layers import SHIPPED, LearnedLayers, pair_statistics, read_learned
from impasto.learning.curves import STARTS, factors_of
from impasto.learning.learn import LearningSettings, draw_pairs, search_digest
from impasto.learning.matching import Match, Measured, at_equal_content
from impasto.learning.predictor import fit_predictor
from impasto.learning.scoring import OUT_OF_REACH, Scorer, content_place, convolutions, score_of
from impasto.learning.trials import Log, Row
from impasto.nets.cnn import Cnn, load_cnn
from impasto.picture import Picture, read_picture
from impasto.run import aim_of
from support import impasto, shapes_picture

NAMES = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1"]
QUICK = ["--trials", "9", "--pairs", "3", "--pairs-a-trial", "2", "--held-out", "2", "--size", "48", "--threads", "1"]


@given(st.floats(-1.5, -0.2), st.floats(-2, 2), st.floats(0.01, 100))
@settings(deadline=None)
def test_content_is_made_equal(power: float, level: float, start: float) -> None:
    """For any falling curve, and the style interpolated between the runs is the one at that content."""
    # Without any content weight, a run must be further from the photo than is wanted.
    assume(math.exp(level) * 0.1**power > 0.55)
    tried: list[float] = []

    def measure(weight: float) -> Measured:
        tried.append(weight)
        content = math.exp(level) * (weight + 0.1) ** power
        return Measured(content, 1 / content)

    match = at_equal_content(measure, 0.5, start=start, tolerance=0.01, most_runs=25)
    assert match.off <= 0.01
    assert match.runs == len(tried)
    assert match.style == pytest.approx(2, rel=0.02)


def test_near_runs_on_both_sides_are_enough() -> None:
    def runs(interval: float) -> Match:
        return at_equal_content(
            lambda w: Measured(1 / (1 + w), 3.0), 0.5, start=0.8, tolerance=1e-3, most_runs=9, interval=interval
        )

    assert runs(1.5).runs == 2
    assert runs(1.5).between
    assert runs(1.5).off > 1e-3
    assert runs(1.0).off <= 1e-3


def test_an_unchanged_photo_does_not_win() -> None:
    """However good its style looks: its content cannot be brought to that of the plain layers."""
    match = at_equal_content(lambda weight: Measured(0.0, 1e-6), 0.5, start=1.0, tolerance=0.05, most_runs=4)
    assert not match.between
    assert score_of(match, reference=0.3) == OUT_OF_REACH > 0
    assert score_of(Match(1.0, 0.15, 0.0, False, 1), reference=0.3) == pytest.approx(math.log(0.5))


def test_few_numbers_make_all_weights(vgg16: Cnn) -> None:
    usual = factors_of(vgg16, np.array(STARTS[0], dtype=float))
    for kind, names in chosen_layers(vgg16).items():
        heaviest = sorted(usual[kind], key=usual[kind].__getitem__)[-len(names) :]
        assert sorted(heaviest) == sorted(names)
    alike = factors_of(vgg16, np.zeros(6))
    assert all(list(alike[kind]) == convolutions(vgg16) for kind in alike)
    assert set(alike["style"].values()) == {1.0}
    shallow = factors_of(vgg16, np.array([0, 0, 0, 1.0, 0, 0]))["style"]
    assert list(shallow.values()) == sorted(shallow.values(), reverse=True)
    steep = factors_of(vgg16, np.array([0, 0, 0, -9.0, 0, 0]))["style"]
    assert "block1_conv1" not in steep
    assert steep["block5_conv3"] == 1
    assert content_place(vgg16) == "block4_conv1"


def test_a_real_score(judging_networks: None, files: Path, small_cnn: Cnn) -> None:
    """Plain layers against themselves are no better and no worse; balanced ones are something else."""
    from impasto.evaluation.judges import judging_network
    from impasto.learning.scoring import PairFiles

    scorer = Scorer(small_cnn, judging_network("efficientnet-lite0"), 48, 6, 1)
    files_ = PairFiles(files / "photo.png", files / "style.png")
    pair = scorer.pair(files_)
    plain = {
        kind: {name: 1 / pair.balance[kind][name] for name in names} for kind, names in chosen_layers(small_cnn).items()
    }
    score, match = scorer.score(files_, plain, 5.0)
    assert score == pytest.approx(0, abs=1e-6)
    assert match.runs == 1
    assert match.off == pytest.approx(0, abs=1e-6)
    score, _ = scorer.score(files_, {kind: dict.fromkeys(names, 1.0) for kind, names in plain.items()}, 5.0)
    assert score != 0


@pytest.fixture
def folders(files: Path) -> Path:
    """Eight photos and eight styles, beside the small network."""
    for kind, first in (("photos", 10), ("styles", 40)):
        (files / kind).mkdir()
        for number in range(8):
            pixels = (shapes_picture(40, 48, first + number) * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(files / kind / f"{number}.png")
    return files


def scored(wanted: float) -> Callable[..., tuple[float, Match]]:
    """Instead of runs: the nearer block1_conv1's share of the style to what is wanted, the better."""

    def score(self: Scorer, pair: object, factors: dict, start: float) -> tuple[float, Match]:
        style = factors["style"]
        share = style.get("block1_conv1", 0.0) / sum(style.values())
        return 10 * (share - wanted) ** 2, Match(start, 1.0, 0.0, True, 1)

    return score


def learn(folders: Path, *more: str) -> int:
    net = ["--backbone", str(folders / "net.safetensors")]
    return main(["learn-layers", str(folders / "photos"), str(folders / "styles"), *net, *QUICK, "--quiet", *more])


def test_a_search_finds_what_is_better(
    judging_networks: None, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And auto uses it for that network from then on."""
    job = StyleJob(
        photo=str(folders / "photo.png"), styles=(str(folders / "style.png"),), style_layers="auto",
        content_layers="auto", backbone=str(folders / "net.safetensors"), precision="fp32",
    )  # fmt: skip
    before = aim_of(job)
    monkeypatch.setattr(Scorer, "score", scored(0.9))
    assert learn(folders, "--trials", "44") == 0
    assert "better on 0 of 2" in capsys.readouterr().out
    learned = read_learned(folders / "net.layers.json", load_cnn(folders / "net.safetensors"))
    assert learned.style["block1_conv1"] / sum(learned.style.values()) > 0.6
    assert "39 trials" in learned.card, "the starts and whole generations"
    after = aim_of(job)
    assert list(before.style_layers) == ["block1_conv1", "block2_conv1", "block3_conv1"]
    assert set(after.style_layers) == set(learned.style)


def test_what_is_no_better_is_not_kept(
    judging_networks: None, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Scorer, "score", lambda *_: (0.1, Match(1.0, 1.0, 0.0, True, 1)))
    assert learn(folders) == 0
    assert "Balance alone was no worse: nothing was written" in capsys.readouterr().out
    assert not (folders / "net.layers.json").exists()
    assert (folders / "net.layers.csv").exists()


def test_an_interrupted_search_goes_on(
    judging_networks: None, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Scorer, "score", scored(0.9))
    assert learn(folders, "-o", str(folders / "whole.json")) == 0
    calls = []

    def interrupted(*given: object) -> tuple[float, Match]:
        calls.append(given)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return scored(0.9)(*given)

    monkeypatch.setattr(Scorer, "score", interrupted)
    more = ["-o", str(folders / "again.json")]
    assert learn(folders, *more) == 130
    assert "run again to go on" in capsys.readouterr().err
    assert not (folders / "again.json").exists()
    with (folders / "again.csv").open("a") as stream:
        stream.write("a row that was never finis")
    assert learn(folders, *more) == 0
    assert (folders / "again.json").read_text() == (folders / "whole.json").read_text()
    assert (folders / "again.csv").read_text() == (folders / "whole.csv").read_text()
    count = len(calls)
    assert learn(folders, *more) == 0
    assert len(calls) == count, "all is in the log"
    assert learn(folders, *more, "--seed", "1") == 2
    assert "the log of a search with other settings" in capsys.readouterr().err


def test_a_time_budget_ends_the_search_and_not_the_check(
    judging_networks: None, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "score", scored(0.9))
    assert learn(folders, "--time-budget", "0s") == 0
    rows = (folders / "net.layers.csv").read_text()
    assert "generation 0" not in rows
    assert "check of balance" in rows


def test_every_setting_changes_the_search(folders: Path, small_cnn: Cnn) -> None:
    """Except how many trials: more of them go on with the same ones."""
    from impasto.evaluation.deep import DeepJudge

    judge = DeepJudge("stub", lambda picture: {"all": picture}, ("all",), "all")
    other = {"pairs": 3, "pairs_a_trial": 2, "held_out": 2, "size": 64, "iterations": 3, "seed": 7, "trials": 5}
    assert set(other) == set(LearningSettings.model_fields)

    def found(**fields: int) -> str:
        chosen = LearningSettings(**fields)
        learned_from, held_out = draw_pairs(folders / "photos", folders / "styles", chosen)
        return search_digest(small_cnn, judge, chosen, [*learned_from, *held_out])

    digests = {name: found(**{name: value}) for name, value in other.items()}
    assert digests.pop("trials") == found()
    assert len({found(), *digests.values()}) == len(digests) + 1


def test_held_out_pairs_share_no_picture(folders: Path) -> None:
    asked = LearningSettings(pairs=20, held_out=4)
    train, held_out = draw_pairs(folders / "photos", folders / "styles", asked)
    assert (len(train), len(held_out)) == (20, 4)
    assert len(set(train)) == 20
    assert len({pair.photo for pair in train[:6]}) == len({pair.style for pair in train[:6]}) == 6
    assert not {file for pair in train for file in pair} & {file for pair in held_out for file in pair}


def test_the_predictor_finds_what_moves_with_the_pair(small_cnn: Cnn) -> None:
    """Scores whose best tilt of style is the pair's first statistic."""
    rng = np.random.default_rng(0)
    statistics = {(f"p{index}", "s"): rng.normal(size=6) for index in range(30)}
    rows = []
    for trial in range(300):
        pair = list(statistics)[trial % 30]
        numbers = rng.normal(size=6)
        score = 0.5 * (numbers[3] - 0.4 * statistics[pair][0]) ** 2 + 0.1 * (np.delete(numbers, 3) ** 2).sum()
        rows.append(Row("", str(trial), *pair, tuple(numbers), float(score), 1.0, 0.0, 1))
    found = fit_predictor(small_cnn, rows, statistics)
    assert found is not None
    slopes = np.array([found.style[name] for name in NAMES])
    assert slopes[0, 0] > 0.2 > -0.2 > slopes[-1, 0]
    assert abs(slopes[:, 1:]).max() < 0.1
    assert abs(np.array(list(found.content.values()))).max() < 0.1
    assert fit_predictor(small_cnn, rows[:2], statistics) is None


def test_a_predictor_weighs_by_the_pair() -> None:
    dark, bright = (Picture.from_any(shapes_picture(40, 48, 1) * scale, name="p") for scale in (0.3, 1.0))
    assert not np.allclose(pair_statistics(dark, dark), pair_statistics(bright, bright))
    large = Picture.from_any(shapes_picture(160, 192, 1), name="p")
    assert pair_statistics(large, large) == pytest.approx(pair_statistics(bright, bright), abs=0.35)
    layers = {
        "network": "n", "card": "", "content": {"a": 1.0}, "style": {"a": 1.0, "b": 0.5},
        "predictor": {
            "mean": [0.0] * 6, "deviation": [1.0] * 6, "content": {"a": [0.0] * 6},
            "style": {"a": [3.0] + [0.0] * 5, "b": [0.0] * 6},
        },
    }  # fmt: skip
    learned = LearnedLayers.model_validate(layers)
    assert learned.factors("content", dark, dark) == {"a": 1.0}
    assert learned.factors("style", dark, dark)["b"] == learned.factors("style", bright, dark)["b"] == 0.5
    assert learned.factors("style", bright, dark)["a"] > learned.factors("style", dark, dark)["a"] > 1


def test_auto_multiplies_the_balance_by_what_was_learned(files: Path) -> None:
    job = StyleJob(
        photo=str(files / "photo.png"), styles=(str(files / "style.png"),), style_layers="auto",
        content_layers="auto", backbone=str(files / "net.safetensors"), precision="fp32",
    )  # fmt: skip
    plain = aim_of(job)
    learned = {
        "network": "small", "card": "", "content": {"block1_conv1": 1.0, "block2_conv2": 0.0},
        "style": {"block1_conv1": 1.0, "block2_conv1": 3.0, "block3_conv1": 1.0},
    }  # fmt: skip
    (files / "net.layers.json").write_text(json.dumps({"format": "impasto-layers-1", **learned}))
    found = aim_of(job)
    assert list(found.content_layers) == ["block1_conv1"]
    ratio = {name: found.style_layers[name] / plain.style_layers[name] for name in plain.style_layers}
    assert ratio["block2_conv1"] == pytest.approx(3 * ratio["block1_conv1"]) == pytest.approx(3 * ratio["block3_conv1"])
    by_hand = aim_of(job.with_changes(style_layers="block1_conv1"))
    assert by_hand.style_layers == {"block1_conv1": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"style": {"block9_conv1": 1.0}}, "was learned for another network"),
        ({"style": {}}, "holds no learned layers"),
        ({"style": {"block1_conv1": -1.0}}, "holds no learned layers"),
        ({"style": {"block1_conv1": 0.0}}, "gives no layer a weight"),
        ({"format": "impasto-layers-9"}, "holds no learned layers"),
    ],
)
def test_a_wrong_file_of_layers_is_refused(
    files: Path, change: dict, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = {
        "format": "impasto-layers-1", "network": "small", "card": "", "content": {"block1_conv1": 1.0},
        "style": {"block1_conv1": 1.0},
    }  # fmt: skip
    (files / "net.layers.json").write_text(json.dumps(learned | change))
    cnn = load_cnn(files / "net.safetensors")
    with pytest.raises(UserError, match=message):
        read_learned(files / "net.layers.json", cnn)
    asked = ["--backbone", str(files / "net.safetensors"), "--content-layers", "auto", "--style-layers", "auto"]
    pictures = [str(files / name) for name in ("photo.png", "style.png", "out.png")]
    assert main([*pictures[:2], "-o", pictures[2], *asked]) == 2
    assert message in capsys.readouterr().err
    assert not (files / "out.png").exists()


def test_bad_requests(folders: Path, judging_networks: None, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "empty").mkdir()
    net = ["--backbone", str(folders / "net.safetensors")]
    for arguments, message in [
        ([folders / "photos", folders / "empty", *net], "There are 0 pictures"),
        ([folders / "photos", folders / "styles", *net, "--trials", "0"], "--trials must be greater"),
        ([folders / "photos", folders / "styles", *net, "--time-budget", "soon"], "--time-budget must be a time"),
        ([folders / "photos", folders / "styles", *net, "-o", folders / "none" / "x.json"], "no folder"),
        ([folders / "photos", folders / "absent", *net], "does not exist"),
    ]:
        assert main(["learn-layers", *map(str, arguments)]) == 2, message
        assert message in capsys.readouterr().err
    (folders / "net.layers.csv").write_text("something else\n1,2\n")
    assert learn(folders) == 2
    assert "is not the log of a search" in capsys.readouterr().err
    assert not (folders / "net.layers.json").exists()


def test_a_log_is_written_as_it_grows(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv", "abc")
    row = Row("abc", "start 0", "a, b.png", "s.png", (0.1, 0.2, 0.3, 1e-17, math.pi, -4.0), -0.25, 3.5, 0.01, 3)
    log.add(row)
    assert Log(tmp_path / "log.csv", "abc").find("start 0", "a, b.png", "s.png") == row


def test_the_command_as_a_process(judging_networks: None, folders: Path) -> None:
    """With real runs and the real judge; what comes out depends on chance, that it comes out does not."""
    few = ["--trials", "1", "--pairs", "1", "--held-out", "2", "--size", "48", "--iterations", "2", "--threads", "1"]
    ran = impasto("learn-layers", "photos", "styles", "--backbone", "net.safetensors", *few, cwd=folders)
    assert ran.returncode == 0, ran.stderr
    assert "balance" in ran.stdout
    assert len((folders / "net.layers.csv").read_text().splitlines()) >= 1 + 1 + 2 + 2


def test_shipped_layers_are_sound(vgg16: Cnn) -> None:
    files = list(SHIPPED.glob("*.layers.json"))
    assert [file.name for file in files] == ["vgg16.layers.json"]
    for file in files:
        learned = read_learned(file, vgg16)
        assert learned.network == "vgg16"
        assert "held out" in learned.card
        photo, style = (Picture.from_any(shapes_picture(48, 64, seed), name="p") for seed in (1, 2))
        assert all(weight >= 0 for weight in learned.factors("style", photo, style).values())


def test_read_picture_sizes(folders: Path, small_cnn: Cnn) -> None:
    """A long picture is not made smaller than networks read."""
    from impasto.evaluation.deep import DeepJudge

    Image.fromarray(np.zeros((20, 400, 3), np.uint8)).save(folders / "long.png")
    judge = DeepJudge("stub", lambda picture: {"all": picture}, ("all",), "all")
    assert min(Scorer(small_cnn, judge, 64, 1).read(folders / "long.png").size_hw) >= 32
    assert read_picture(folders / "long.png").height == 20
