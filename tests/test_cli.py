"""The command line as a user meets it: a process, its files, its words and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cli.main import COMMANDS, main
from impasto.cli.stylize import Interruption
from impasto.events import Entry, Step
from impasto.job import StyleJob
from impasto.picture import Picture, read_picture
from support import impasto

NET = ["--backbone", "net.safetensors"]
SMALL = [*NET, "--content-layers", "block2_conv2", "--style-layers", "block1_conv1,block3_conv1"]


def test_help_names_every_option_and_is_made_without_torch() -> None:
    code = (
        "import sys; from impasto.cli.main import main; code = main(['--help']); "
        "assert 'torch' not in sys.modules; assert 'pyvips' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in StyleJob.model_fields:
        if name not in ("photo", "styles"):
            assert f"--{name.replace('_', '-')}" in done.stdout
    for command in COMMANDS:
        assert f"impasto {command}" in done.stdout


def test_a_picture_a_job_and_a_report(files: Path) -> None:
    arguments = ["photo.png", "style.png", "-o", "out.png", "--iterations", 8, "--report", "report", *SMALL]
    done = impasto(*arguments, cwd=files)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("out.png: 8 iterations in ")
    assert "8/8" in done.stderr
    assert Image.open(files / "out.png").size == (64, 48)
    assert StyleJob.load(files / "out.job.json") == StyleJob.load(files / "report" / "job.json")
    names = {path.name for path in (files / "report").iterdir()}
    assert names >= {"history.csv", "job.json", "losses.png", "result.png", "index.html", "frame-000000.png"}
    assert "checkpoint.safetensors" not in names, "nothing is left to resume"
    history = (files / "report" / "history.csv").read_text().splitlines()
    assert len(history) == 9
    assert history[0].startswith("iteration,scale,height,width,seconds,total,content,style,content_mse/block2_conv2")
    page = (files / "report" / "index.html").read_text()
    assert all(f'src="{name}"' in page for name in ("result.png", "losses.png", "frame-000000.png"))


def test_json_is_one_line_and_nothing_else(files: Path) -> None:
    done = impasto("photo.png", "style.png", "-o", "out.png", "--iterations", 3, "--json", *SMALL, cwd=files)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert set(said) == {"output", "engine", "iterations", "stopped_by", "losses", "seconds", "peak_bytes"}
    assert (said["output"], said["iterations"], said["stopped_by"]) == ("out.png", 3, "iterations")
    assert said["peak_bytes"] > 50e6


def test_quiet_says_nothing(files: Path) -> None:
    done = impasto("photo.png", "style.png", "-o", "out.png", "--iterations", 3, "--quiet", *SMALL, cwd=files)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_output_a_free_name_beside_the_photo(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    for name in ("photo-style.png", "photo-style-2.png"):
        assert main(["photo.png", "style.png", "--iterations", "1", *SMALL]) == 0
        assert (files / name).is_file()
    first = (files / "photo-style.png").read_bytes()
    assert main(["photo.png", "style.png", "--iterations", "1", *SMALL]) == 0
    assert (files / "photo-style.png").read_bytes() == first


def test_saved_job_is_run_again_and_changed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    assert main(["photo.png", "style.png", "-o", "a.png", "--iterations", "5", "--quiet", *SMALL]) == 0
    assert main(["--job", "a.job.json", "-o", "b.png", "--quiet"]) == 0
    assert (files / "a.png").read_bytes() == (files / "b.png").read_bytes()
    assert main(["--job", "a.job.json", "-o", "c.png", "--quiet", "--iterations", "9"]) == 0
    assert (files / "a.png").read_bytes() != (files / "c.png").read_bytes()
    assert StyleJob.load(files / "c.job.json").iterations == 9


def test_style_weight_or_a_file_of_that_very_name(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    run = ["--iterations", "2", "--quiet", *SMALL]
    assert main(["photo.png", "style.png:2", "style2.png", "-o", "a.png", *run]) == 0
    assert [(s.file, s.weight) for s in StyleJob.load("a.job.json").styles] == [("style.png", 2), ("style2.png", 1)]
    (files / "style.png").rename(files / "style.png:2")
    assert main(["photo.png", "style.png:2", "-o", "b.png", *run]) == 0
    assert [(s.file, s.weight) for s in StyleJob.load("b.job.json").styles] == [("style.png:2", 1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_saves_its_picture_and_resumes_to_the_same(files: Path, number: signal.Signals) -> None:
    run = ["photo.png", "style.png", "--iterations", "400", "--precision", "fp32", "--pyramid-from", "off", *SMALL]
    assert impasto(*run, "-o", "whole.png", "--quiet", cwd=files).returncode == 0
    command = [sys.executable, "-m", "impasto", *run, "-o", "part.png", "--report", "report"]
    process = subprocess.Popen(command, cwd=files, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "impasto --resume report -o part.png" in rest
    assert read_picture(files / "part.png").pixels.shape == (3, 48, 64)
    assert len((files / "report" / "history.csv").read_text().splitlines()) < 400
    done = impasto("--resume", "report", "-o", "part.png", cwd=files)
    assert done.returncode == 0, done.stderr
    assert (files / "part.png").read_bytes() == (files / "whole.png").read_bytes()
    assert len((files / "report" / "history.csv").read_text().splitlines()) == 401
    assert not (files / "report" / "checkpoint.safetensors").exists()


def test_killed_run_resumes_from_its_last_checkpoint(files: Path) -> None:
    run = ["photo.png", "style.png", "--iterations", "500", "--precision", "fp32", *SMALL]
    often = "import impasto.report as r; r.CHECKPOINT_EVERY_S = 0.2; import impasto.cli.main as m; m.entry_point()"
    command = [sys.executable, "-c", often, *run, "-o", "part.png", "--report", "report"]
    process = subprocess.Popen(command, cwd=files, stderr=subprocess.DEVNULL)
    checkpoint = files / "report" / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (files / "part.png").exists()
    saved = json.loads((files / "report" / "job.json").read_text())
    assert saved["iterations"] == 500
    done = impasto("--resume", "report", "-o", "part.png", cwd=files)
    assert done.returncode == 0, done.stderr
    assert impasto(*run, "-o", "whole.png", "--quiet", cwd=files).returncode == 0
    assert (files / "part.png").read_bytes() == (files / "whole.png").read_bytes()


def test_signals_before_the_first_step_end_the_program() -> None:
    entry = Entry(0, 0, 8, 8, 0.0, 1.0, 0.5, 0.5, {})
    step = Step(entry, [entry], 2, 1, lambda: Picture(np.zeros((3, 16, 16), np.float32)), None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        interruption = Interruption()
        entry = Entry(0, 0, 16, 16, 0.0, 1.0, 0.5, 0.5, {})
        step = Step(entry, [entry], 1, 1, lambda: pytest.fail("not asked for"), lambda: pytest.fail("not asked for"))
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption(step) is None
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption(step) == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


BAD = [
    ([], "No photo and no style"),
    (["photo.png"], "No style was given for photo.png"),
    (["absent.png", "style.png"], "absent.png"),
    (["photo.png", "absent.png"], "absent.png"),
    ([".", "style.png"], "."),
    (["photo.png", "style.png", "-o", "photo.png"], "photo.png"),
    (["photo.png", "style.png", "-o", "style.png"], "style.png"),
    (["photo.png", "style.png", "-o", "out.xyz"], "out.xyz"),
    (["photo.png", "style.png", "-o", "nowhere/out.png"], "nowhere"),
    (["photo.png", "style.png", "--iterations", "0"], "--iterations must be greater than or equal to 1, not '0'"),
    (["photo.png", "style.png", "--iterations", "many"], "--iterations must be a valid integer"),
    (["photo.png", "style.png", "--style-weight", "-3"], "--style-weight must be greater than or equal to 0"),
    (["photo.png", "style.png", "--content-weight", "nan"], "--content-weight must be a finite number"),
    (["photo.png", "style.png", "--style-layers", "block1_conv1=-1"], "--style-layers.block1_conv1 must be greater"),
    (["photo.png", "style.png", "--content-layers", "block2_conv1", "--style-layers", "block1_conv22"],
     "did you mean 'block1_conv2'"),
    (["photo.png", "style.png", "--content-layers", "fc1"], "small has no layer 'fc1'"),
    (["photo.png", "style.png", "--style-layers", ""], "at least one layer"),
    (["photo.png", "style.png", "--content-weight", "0", "--style-weight", "0"], "both 0"),
    (["photo.png", "style.png:0"], "All style weights are 0"),
    (["photo.png", "style.png:-1"], "weight must be greater than or equal to 0"),
    (["photo.png", "style.png", "--optimizer", "sgd"], "--optimizer must be 'auto', 'adam', 'lbfgs' or 'gd'"),
    (["photo.png", "style.png", "-o", "new/../out.png", *SMALL], "the folder new/.. does not exist"),
    (["photo.png", "style.png", "--memory-budget", "much"], "--memory-budget must be a size such as 4GiB or 500MB"),
    (["photo.png", "style.png", "--memory-budget", "1MiB", *SMALL], "MiB is the least that would do"),
    (["photo.png", "style.png", "--style-loss", "gramm"], "did you mean 'gram'"),
    (["photo.png", "style.png", "--size", "8"], "--size must be greater than or equal to 16"),
    (["photo.png", "style.png", "--size", "18"], "--size 22 or more"),
    (["photo.png", "style.png", "--pyramid-from", "often"], "must be off or a length"),
    (["photo.png", "style.png", "--time-budget", "soon"], "--time-budget must be a valid number"),
    (["photo.png", "style.png", "--backbone", "vgg166"], "did you mean 'vgg16'"),
    (["photo.png", "style.png", "--backbone", "photo.safetensors"], "no network file photo.safetensors"),
    (["photo.png", "style.png", "--init", "absent.png"], "absent.png"),
    (["photo.png", "style.png", "--keep-colour", "--match-colour"], "contradict"),
    (["photo.png", "style.png", "--mask", "photo.png"], "must name a style, as in FILE=STYLE"),
    (["photo.png", "--mask", "photo.png=absent.png"], "absent.png"),
    (["photo.png", "style.png", "--mask", "out.png=style.png", "-o", "style.png"], "style.png"),
    (["photo.png", "style.png", "--mask-rest", "style.png"], "add --mask FILE=STYLE"),
    (["photo.png", "style.png", "--init", "random", "--start-noise", "0.5"], "leave out --start-noise"),
    (["photo.png", "style.png", "--max-pixels", "100"], "--max-pixels"),
    (["photo.png", "style.png", "--engine", "fats"], "--engine must be"),
    (["photo.png", "style.png", "--bogus"], "No such option"),
    (["photo.png", "style.png", "--report", "photo.png"], "photo.png is not a folder"),
    (["--job", "absent.json"], "absent.json cannot be read"),
    (["--job", "photo.png"], "not JSON"),
    (["--resume", "."], "nothing to resume"),
    (["--resume", ".", "photo.png"], "leave out photo.png"),
    (["weights", "fetch", "vgg166"], "vgg16"),
    (["weights", "nonsense"], "No such command"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_mistakes_get_one_sentence_and_write_nothing(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    stylising = arguments and arguments[0] not in ("weights", "--job", "--resume")
    if stylising and "--backbone" not in arguments:
        arguments = ["--backbone", "net.safetensors", *arguments]
    if stylising and "--style-layers" not in arguments and "--content-layers" not in arguments:
        arguments = [*SMALL[2:], *arguments]
    assert main(arguments) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("impasto: ")
    assert said.err.count("\n") == 1, said.err
    assert words in said.err
    assert "Traceback" not in said.err
    assert sorted(files.rglob("*")) == before


def test_weights_out_of_reach_fail_with_the_way_out(files: Path) -> None:
    environment = {**os.environ, "IMPASTO_CACHE": str(files / "empty")}
    done = impasto("photo.png", "style.png", "-o", "out.png", "--engine", "optimize", cwd=files, env=environment)
    assert done.returncode == 1
    assert "impasto weights fetch vgg16" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (files / "out.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to stand for a full disk")
def test_a_full_disk_fails_and_leaves_nothing(files: Path) -> None:
    import resource

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(files / "noise.png")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = ["noise.png", "style.png", "-o", "out.png", "--iterations", "1", "--quiet", *SMALL]
    done = impasto(*run, cwd=files, preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("impasto: ")
    assert "Traceback" not in done.stderr
    assert not [path for path in files.iterdir() if path.name.startswith(("out", ".", "tmp"))]


def test_weights_list_and_verify(capfd: pytest.CaptureFixture[str], vgg16: object) -> None:
    assert main(["weights", "list"]) == 0
    said = capfd.readouterr().out
    assert all(name in said for name in ("vgg16", "vgg19", "CC BY 4.0", "Simonyan"))
    assert main(["weights", "verify", "vgg16"]) == 0
    assert main(["weights", "fetch"]) == 0
    assert "already here" in capfd.readouterr().out
