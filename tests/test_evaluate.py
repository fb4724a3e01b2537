"""`impasto evaluate` and `impasto compare`: which results are found, what is said of them, what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto import colour
from impasto.cli.main import main
from impasto.errors import UserError
from impasto.job import StyleJob
from impasto.nets.cnn import Cnn
from impasto.picture import Picture, read_picture, write_picture
from support import impasto as process
from support import shapes_picture

PAIRS = 4
EVIL = '<script>alert("x")&'


def save_result(folder: Path, name: str, pixels: np.ndarray, photo: str, style: str, **fields: object) -> Path:
    """A result and its job, as `Result.save` leaves them."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.png"
    write_picture(Picture(pixels=np.ascontiguousarray(pixels, dtype=np.float32)), file)
    job = StyleJob.of({"photo": photo, "styles": [style], **fields})
    file.with_suffix(".job.json").write_text(job.model_dump_json())
    return file


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, judging_networks: None) -> Path:
    """Photos and a style; in `near` results that have a third of the style's pixels and its colours, in `far` the
    photos with a little of it."""
    folder = tmp_path_factory.mktemp("studio")
    style = np.ascontiguousarray(shapes_picture(48, 64, 9).transpose(2, 0, 1))
    write_picture(Picture(pixels=style), folder / "style.png")
    for number in range(PAIRS):
        photo = np.ascontiguousarray(shapes_picture(48, 64, number).transpose(2, 0, 1))
        write_picture(Picture(pixels=photo), folder / f"photo{number}.png")
        recoloured = colour.match_colour(photo, style)
        for name, share in (("near", 0.33), ("far", 0.05)):
            pixels = (1 - share) * (recoloured if name == "near" else photo) + share * style
            save_result(folder / name, f"result{number}", pixels, f"photo{number}.png", "style.png")
    return folder


@pytest.fixture
def here(studio: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(studio)
    return studio


def test_a_folder_is_judged_beside_its_baselines(here: Path) -> None:
    found = impasto.evaluate("near")
    assert [result.name for result in found.results] == [str(Path("near") / f"result{n}.png") for n in range(PAIRS)]
    assert found.results[1].pair == "photo1.png + style.png"
    assert set(found.names) == set(found.figures), "neither time nor memory is known"
    for name in found.names:
        mean = found.mean(name)
        assert mean.low is not None
        assert mean.high is not None
        assert mean.low <= mean.mean <= mean.high
    for network in ("efficientnet-lite0", "resnet50-thin"):
        assert found.mean(f"style/{network}").mean < found.baseline("photo", f"style/{network}")
        assert found.baseline("photo", f"content/{network}") == 0
    assert found.baseline("colour transfer", "palette") < found.baseline("photo", "palette")
    agreement = found.agreement()
    assert all(value is None or -1 <= value <= 1 for value in agreement.values())
    assert ("style/efficientnet-lite0", "style/resnet50-thin") in agreement


def test_the_same_result_by_every_way_to_name_it(here: Path) -> None:
    """As a file with its job, as a picture with photo and style, as an array."""
    by_job = impasto.evaluate("near/result2.png").results[0].figures
    Image.open("near/result2.png").save("alone.png")
    by_hand = impasto.evaluate("alone.png", photo="photo2.png", style="style.png").results[0].figures
    array = np.asarray(Image.open("alone.png"))
    in_memory = impasto.evaluate(array, photo=Image.open("photo2.png"), style=["style.png:3"]).results[0].figures
    (here / "alone.png").unlink()
    assert by_job == by_hand
    assert by_job == pytest.approx(in_memory, abs=1e-6)


def test_photo_and_style_given_stand_for_those_of_the_jobs(here: Path) -> None:
    own = impasto.evaluate("near/result0.png")
    other = impasto.evaluate("near/result0.png", photo="photo1.png", style=["style.png", "photo3.png:0.5"])
    assert other.results[0].pair == "photo1.png + style.png + photo3.png"
    assert set(other.results[0].pictures) == {"photo", "style", "style 2", "colour transfer", "result"}
    for name in ("content/resnet50-thin", "style/resnet50-thin", "ssim", "palette"):
        assert own.values(name) != other.values(name), name


def test_photo_beside_the_job_is_found_from_anywhere(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job names files from where it was run; what lies beside the job serves too."""
    monkeypatch.chdir(studio.parent)
    pixels = read_picture(studio / "photo0.png").pixels
    file = save_result(studio, "beside", pixels, "photo0.png", "style.png")
    assert impasto.evaluate(file).values("ssim") == [1.0]
    file.unlink()
    file.with_suffix(".job.json").unlink()


def test_a_run_and_its_report_tell_time_and_memory(
    files: Path, small_cnn: Cnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    run = ["photo.png", "style.png", "--iterations", "3", "--quiet", "--backbone", "net.safetensors"]
    run += ["--content-layers", "block2_conv2", "--style-layers", "block1_conv1"]
    assert main([*run, "-o", "out.png", "--report", "report"]) == 0
    told = json.loads((files / "report" / "run.json").read_text())
    for results in ("out.png", ".", "report"):
        found = impasto.evaluate(results).results
        assert len(found) == 1, results
        assert found[0].figures["seconds"] == told["seconds"]
        assert found[0].figures["peak_mib"] == told["peak_bytes"] / 2**20
    result = impasto.stylize("photo.png", "style.png", cnn=small_cnn, iterations=2, content_layers="block2_conv2",
                             style_layers="block1_conv1")  # fmt: skip
    assert impasto.evaluate([result]).results[0].figures["seconds"] == result.seconds
    (files / "report" / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json does not tell of a run"):
        impasto.evaluate("report")


def test_pictures_without_a_job_are_named_and_not_judged(here: Path, tmp_path: Path) -> None:
    """Photo and styles of the results lie in the same folder by rights; anything else is told."""
    for name in ("photo0.png", "style.png", "stray.png"):
        Image.open(name if name != "stray.png" else "photo1.png").save(tmp_path / name)
    own = (str(tmp_path / "photo0.png"), str(tmp_path / "style.png"))
    save_result(tmp_path, "result", read_picture("near/result0.png").pixels, *own)
    assert impasto.evaluate(tmp_path).left_out == (str(tmp_path / "stray.png"),)
    assert impasto.evaluate("near").left_out == ()
    done = process("evaluate", tmp_path, cwd=here)
    assert done.stdout.startswith(f"1 result, judged at 512 px. Left out, having no job: {tmp_path / 'stray.png'}.\n")


def test_size_is_that_of_the_networks_and_not_of_the_artefacts(here: Path) -> None:
    small, large = (impasto.evaluate("near/result0.png", size=size) for size in (44, 64))
    for name, figure in small.figures.items():
        same = small.values(name) == large.values(name)
        assert same == (figure.about in ("grain", "artefacts")), name


def test_compare_finds_the_better_one_and_how_sure_it_is(here: Path) -> None:
    found = impasto.compare("near", "far")
    assert found.style.sure == "A"
    assert found.content.sure == "B"
    assert found.better is None, "a trade is no gain"
    assert found.verdict.startswith("A is closer to the style, in 4 of 4 pairs, 99.9% sure. B keeps more of the photo")
    assert found.differences["palette"].better == "A"
    assert found.differences["ssim"].better == "B"
    mirrored = impasto.compare("far", "near")
    assert mirrored.style.sure == "B"
    assert mirrored.differences["ssim"].mean.mean == -found.differences["ssim"].mean.mean


def test_compare_of_the_same_is_undecided(here: Path) -> None:
    found = impasto.compare("near", "near")
    assert all(difference.better is None for difference in found.differences.values())
    assert found.better is None
    assert found.verdict == (
        "Neither is closer to the style. Neither keeps more of the photo. Neither is surely better: compare more pairs."
    )


def test_more_of_both_is_better(here: Path) -> None:
    """The photo's content kept and the style's texture taken, against noise that has neither."""
    generator = np.random.default_rng(0)
    for number in range(PAIRS):
        save_result(here / "noise", f"r{number}", generator.random((3, 48, 64)), f"photo{number}.png", "style.png")
    found = impasto.compare("near", "noise")
    assert found.better == "A"
    assert found.verdict.endswith("A is better.")


def test_one_pair_has_no_sureness(here: Path) -> None:
    found = impasto.compare("near/result0.png", "far/result0.png")
    assert found.style.better == "A"
    assert found.style.sureness is None
    assert found.better is None
    assert "One pair tells nothing of others" in found.verdict


class Page(HTMLParser):
    """What a browser would make of a page: its text, its pictures, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_command_says_it_in_a_table_csv_and_html(here: Path, tmp_path: Path) -> None:
    name = f"{EVIL.replace('/', '')}.png"
    odd = tmp_path / "odd"
    odd.mkdir()
    Image.open("photo0.png").save(odd / name)
    save_result(odd, "result", read_picture("near/result0.png").pixels, str(odd / name), "style.png")
    done = process("evaluate", "near", odd, "--csv", tmp_path / "f.csv", "--html", tmp_path / "f.html", cwd=here)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "5 results, judged at 512 px."
    assert lines[1].split()[:2] == ["figure", "best"]
    assert any(line.startswith("style/efficientnet-lite0") for line in lines)
    assert any(line.startswith("How alike figures rank") for line in lines)
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    assert [row["picture"] for row in rows] == ["result", "photo", "colour transfer"] * (PAIRS + 1)
    assert rows[-1]["pair"] == f"{name} + style.png"
    assert float(rows[1]["ssim"]) == 1
    page = Page((tmp_path / "f.html").read_text())
    assert "script" not in page.tags
    assert f"{name} + style.png" in page.text
    assert len(page.sources) == (PAIRS + 1) * 4
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in page.sources)


def test_compare_says_it_in_a_table_csv_and_html(here: Path, tmp_path: Path) -> None:
    done = process("compare", "near", "far", "--csv", tmp_path / "f.csv", "--html", tmp_path / "f.html", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "A is closer to the style, in 4 of 4 pairs, 99.9% sure." in done.stdout
    assert "style, all networks" in done.stdout
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    assert [row["side"] for row in rows] == ["A"] * 3 * PAIRS + ["B"] * 3 * PAIRS
    page = Page((tmp_path / "f.html").read_text())
    assert len(page.sources) == PAIRS * 5
    assert "A is closer to the style" in page.text


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["evaluate", "near", "--size", "40"], {"size", "left_out", "figures", "results", "agreement"}),
        (["compare", "near", "far"],
         {"better", "verdict", "style", "content", "figures", "agreement", "a", "b"}),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)  # fmt: skip
def test_json_is_one_line_and_nothing_else(
    here: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], keys: set[str]
) -> None:
    assert main([*arguments, "--json"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    found = json.loads(said.out)
    assert set(found) == keys
    figures = (found if "size" in found else found["a"])["figures"]
    assert figures["ssim"]["baselines"]["photo"] == 1


def test_quiet_says_the_table_alone(here: Path, tmp_path: Path) -> None:
    done = process("evaluate", "near/result0.png", "--quiet", "--csv", tmp_path / "f.csv", cwd=here)
    assert done.stderr == ""
    assert "written" not in done.stdout
    assert done.stdout.startswith("1 result, judged at 512 px.\nfigure")
    assert (tmp_path / "f.csv").read_text().startswith("name,pair,picture,style/efficientnet-lite0,")


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_help_is_made_without_torch(name: str) -> None:
    code = (
        f"import sys; from impasto.cli.main import main; code = main(['{name}', '--help']); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(flag in done.stdout for flag in ("--photo", "--style", "--size", "--csv", "--html", "--json"))


BAD = [
    (["evaluate"], "Missing argument"),
    (["evaluate", "absent.png"], "There is no result absent.png"),
    (["evaluate", "empty"], "There are no results in empty: it holds no picture"),
    (["evaluate", "plain"], "There are no results in plain: it holds no NAME.job.json"),
    (["evaluate", "plain", "--photo", "photo0.png"], "give --photo and --style"),
    (["evaluate", "plain/alone.png"], "plain/alone.png has no alone.job.json beside it"),
    (["evaluate", "lost"], "The picture of lost/r.job.json is not beside it any more"),
    (["evaluate", "moved"], "The photo gone.png of moved/r.png is not there any more: give it with --photo"),
    (["evaluate", "memory"], "The photo of memory/r.png was a picture in memory: give it with --photo"),
    (["evaluate", "broken"], "broken/r.job.json is not a job"),
    (["evaluate", "turned"], "turned/r.png has 48x64 px and photo0.png 64x48 px, which are other proportions"),
    (["evaluate", "near/result0.job.json"], "near/result0.job.json"),
    (["evaluate", "near", "--photo", "absent.png"], "absent.png does not exist"),
    (["evaluate", "near", "--style", "style.png:0"], "All style weights are 0"),
    (["evaluate", "near", "--size", "16"], "16 is not in the range x>=32"),
    (["evaluate", "near", "--csv", "nowhere/f.csv"], "there is no folder nowhere"),
    (["evaluate", "near", "--html", "plain"], "plain is a folder"),
    (["compare", "near"], "Missing argument"),
    (["compare", "near", "fewer"], "Only A has a result of photo1.png + style.png"),
    (["compare", "fewer", "near"], "Only B has a result of photo1.png + style.png"),
    (["compare", "near", "twice"], "B has more than one result of photo0.png + style.png"),
]  # fmt: skip


@pytest.fixture(scope="module")
def mistakes(studio: Path) -> Path:
    """Folders in which something is wrong."""
    pixels = read_picture(studio / "near" / "result0.png").pixels
    own = ("photo0.png", "style.png")
    for name in ("empty", "plain", "broken"):
        (studio / name).mkdir()
    write_picture(Picture(pixels=pixels), studio / "plain" / "alone.png")
    save_result(studio / "lost", "r", pixels, *own).unlink()
    save_result(studio / "moved", "r", pixels, "gone.png", "style.png")
    save_result(studio / "memory", "r", pixels, "", "style.png")
    save_result(studio / "broken", "r", pixels, *own).with_suffix(".job.json").write_text("[]")
    save_result(studio / "turned", "r", pixels.transpose(0, 2, 1), *own)
    save_result(studio / "fewer", "r", pixels, *own)
    for name in ("r", "s"):
        save_result(studio / "twice", name, pixels, *own)
    return studio


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_mistakes_get_one_sentence_and_write_nothing(
    mistakes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(mistakes)
    before = sorted(mistakes.rglob("*"))
    assert main([*arguments, "--json"]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("impasto: ")
    assert said.err.count("\n") == 1, said.err
    assert words in said.err.replace("\\", "/")
    assert sorted(mistakes.rglob("*")) == before


def test_a_picture_in_memory_needs_its_photo_and_style(here: Path) -> None:
    with pytest.raises(UserError, match="does not tell what it was made of"):
        impasto.evaluate(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(UserError, match="No results were given"):
        impasto.evaluate([])
    with pytest.raises(UserError, match="must be 32 px or more, not 8"):
        impasto.evaluate("near", size=8)


def test_networks_that_are_not_here_name_the_command(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    assert main(["evaluate", "near", "--csv", "f.csv"]) == 1
    assert "impasto weights fetch efficientnet-lite0 resnet50-thin" in capfd.readouterr().err
    assert not (here / "f.csv").exists()
