"""Plans: what fits a memory budget, what is told beforehand, and that tiles change nothing but the memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import impasto
from impasto import calibration, hardware, losses
from impasto.cli.main import main
from impasto.engines.objective import Aim
from impasto.engines.optimize import Stage
from impasto.engines.scales import Scale
from impasto.errors import JobError, RunError
from impasto.events import Step
from impasto.job import StyleJob, parse_bytes
from impasto.nets.cnn import Cnn
from impasto.picture import Picture
from impasto.plan import MIB, Work, budget_of, make_plan, ways_of
from impasto.run import Optimize, Prepared, Result, prepare_run
from support import grained_picture
from support import impasto as command_line

CPU = torch.device("cpu")
LAYERS: dict[str, Any] = {"content_layers": "block2_conv2", "style_layers": "block1_conv1,block2_conv1,block3_conv1"}
SCALE = Scale(2000, 3000, 10)


def work_of(cnn: Cnn, **more: Any) -> Work:
    layers = {"block1_conv1": 1.0, "block3_conv1": 1.0}
    aim = Aim("mse", "gram", {"block2_conv2": 1.0}, layers, 5.0, 100.0, 0.0, (1.0,))
    work = Work(aim, cnn.layers, 3, torch.float32, style_px=1.0, spends_photo=True, held_bytes=300 * MIB)
    return replace(work, **more)


def test_a_smaller_budget_takes_smaller_tiles_until_none_fits(small_cnn: Cnn) -> None:
    work, budget, seen = work_of(small_cnn), 1 << 40, []
    while True:
        try:
            plan = make_plan([SCALE], "auto", work, budget, rate=None)
        except JobError as error:
            least = parse_bytes(str(error).split(": ")[1].split(" ")[0])
            break
        assert plan.peak_bytes <= budget
        seen.append(plan.stages[0].stage)
        budget = plan.peak_bytes - 1
    assert seen[0] == Stage(SCALE, "lbfgs") and seen[-1].optimizer == "adam" and seen[-1].in_place
    assert [stage.optimizer for stage in seen] == sorted((stage.optimizer for stage in seen), reverse=True)
    # Rounded is what nothing else fits, and tiles are larger again then.
    rounded = [stage.kept == torch.bfloat16 for stage in seen]
    assert rounded == sorted(rounded) and any(rounded) and not all(rounded)
    assert make_plan([SCALE], "auto", work, least, rate=None).stages[0].stage == seen[-1]
    with pytest.raises(JobError):
        make_plan([SCALE], "auto", work, least - MIB, rate=None)


def least_of(work: Work) -> int:
    """Bytes of the way of working that takes the least."""
    with pytest.raises(JobError) as refused:
        make_plan([SCALE], "auto", work, 1, rate=None)
    return int(parse_bytes(str(refused.value).split(": ")[1].split(" ")[0]))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "gd"])
def test_the_optimizer_asked_for_is_the_one_used(small_cnn: Cnn, optimizer: str) -> None:
    for stage in ways_of(SCALE, optimizer, torch.float32):
        assert stage.optimizer == optimizer
        assert stage.in_place == (stage.tile_px is not None and optimizer != "lbfgs")
    with pytest.raises(JobError, match=f"with --optimizer {optimizer}: .* least that would do"):
        make_plan([SCALE], optimizer, work_of(small_cnn), 310 * MIB, rate=None)


def test_the_plan_grows_with_what_is_kept(small_cnn: Cnn) -> None:
    def peak(**more: Any) -> int:
        return least_of(work_of(small_cnn, **more))

    plain = peak()
    assert peak(spends_photo=False) - plain == pytest.approx(3 * 4 * 2000 * 3000, abs=MIB)
    assert plain < peak(held_bytes=400 * MIB)
    assert peak(kernels=[5 * MIB, 3 * MIB]) - plain == pytest.approx(5 * MIB, abs=MIB), "one at a time"


def test_where_tiles_are_small_kernels_are_made_one_by_one(small_cnn: Cnn) -> None:
    def whole(**more: Any) -> int:
        return make_plan([SCALE], "lbfgs", work_of(small_cnn, **more), 1 << 40, rate=None).peak_bytes

    assert whole(kernels=[5 * MIB, 3 * MIB]) - whole() == 8 * MIB


def test_bfloat16_features_are_kept_as_they_are(small_cnn: Cnn) -> None:
    in_place = [stage for stage in ways_of(SCALE, "auto", torch.bfloat16) if stage.in_place]
    assert in_place and all(stage.kept == torch.bfloat16 for stage in in_place)
    assert len({stage.tile_px for stage in in_place}) == len(in_place), "no way of working twice"


def test_time_is_told_from_the_measured_rate(small_cnn: Cnn) -> None:
    work = work_of(small_cnn)
    assert make_plan([SCALE], "lbfgs", work, 1 << 40, rate=None).seconds is None
    plan = make_plan([SCALE], "lbfgs", work, 1 << 40, rate=1e9)
    # Ten iterations forward and back, and one pass forward for each target.
    assert plan.seconds == pytest.approx((2 * 10 + 2) * work.cost.flops * 6e6 / 1e9)
    tiled = make_plan([SCALE], "gd", work, least_of(work), rate=1e9)
    assert tiled.seconds is not None and tiled.seconds > 1.4 * plan.seconds


def groups(folder: Path, own: str, limits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    for name, limit in limits.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
    (folder / "own").write_text(own + "\n")
    monkeypatch.setattr(hardware, "CGROUPS", folder)
    monkeypatch.setattr(hardware, "OWN_GROUPS", folder / "own")


def test_limits_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version2 = {"memory.max": "9000000000", "a/memory.max": "2000000000", "a/b/memory.max": "max"}
    groups(tmp_path / "2", "0::/a/b", version2, monkeypatch)
    assert hardware.cgroup_limit() == 2_000_000_000
    version1 = {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/a/memory.limit_in_bytes": "1500000000",
    }
    groups(tmp_path / "1", "4:memory:/a\n0::/", version1, monkeypatch)
    assert hardware.cgroup_limit() == 1_500_000_000
    assert hardware.free_bytes(CPU) <= 1_500_000_000
    groups(tmp_path / "none", "0::/", {}, monkeypatch)
    assert hardware.cgroup_limit() is None


def test_the_peak_of_a_process_is_not_that_of_the_one_that_began_it() -> None:
    """Begun by one that holds 400 MB."""
    held = "held = bytearray(b'1') * 400_000_000\n"
    asked = "from impasto.hardware import peak_bytes; print(peak_bytes())"
    begun = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asked!r}], check=True)"
    peaks = [
        int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
        for code in (asked, held + begun, held + asked)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.1) and peaks[2] > peaks[0] + 390e6


def test_a_budget_over_the_groups_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups(tmp_path, "0::/", {"memory.max": str(2048 * MIB)}, monkeypatch)
    with pytest.raises(JobError, match=r"--memory-budget 4.0 GiB is more than the 2.0 GiB .* ask for 2048MiB or less"):
        budget_of(4 << 30, CPU)
    assert budget_of(1 << 30, CPU) == 1 << 30
    assert budget_of(None, CPU) < 2048 * MIB + hardware.held_bytes(CPU)


def prepared(files: Path, stage: dict[str, Any], **fields: Any) -> Prepared:
    """A small job whose only scale is worked on as `stage` says, whatever the budget."""
    job = StyleJob.of(
        {
            "photo": str(files / "photo.png"), "styles": [str(files / "style.png")], "iterations": 8,
            "backbone": str(files / "net.safetensors"), "precision": "fp32", "pyramid_from": "off", **LAYERS, **fields,
        }
    )  # fmt: skip
    Picture(grained_picture(112, 150, 1).transpose(2, 0, 1)).save(files / "photo.png")
    ready = prepare_run(job)
    assert isinstance(ready.engine, Optimize)
    stages = [replace(ready.engine.task.stages[0], **stage)]
    ready.sources.spendable = stages[0].in_place and not job.keep_colour
    return replace(ready, engine=replace(ready.engine, task=replace(ready.engine.task, stages=stages)))


def nearly_the_same(first: Result, second: Result) -> bool:
    """Within 1/255 but for single values: where two values of a pooling window are equal but for rounding, either can
    be the largest, and takes the whole gradient."""
    difference = abs(first.picture.pixels - second.picture.pixels)
    return bool(np.quantile(difference, 0.999) <= 1 / 255 and difference.mean() <= 0.01 / 255)


@pytest.mark.parametrize("loss", losses.LOSSES["content"])
def test_a_picture_of_which_less_is_kept_is_nearly_the_same(files: Path, loss: str) -> None:
    stage = {"optimizer": "adam", "tile_px": 32, "in_place": True}
    fields = {"content_loss": loss, "learning_rate": 0.005}
    exact, rounded = (prepared(files, stage | {"kept": kept}, **fields).run() for kept in (None, torch.bfloat16))
    difference = abs(exact.picture.pixels - rounded.picture.pixels)
    assert 0 < difference.mean() <= 0.5 / 255
    assert rounded.history[-1].total == pytest.approx(exact.history[-1].total, rel=0.01)


@pytest.mark.parametrize("optimizer", ["adam", "gd"])
@pytest.mark.parametrize(
    "fields", [{}, {"tv_weight": 50.0}, {"content_loss": "ssim", "style_loss": "mean_std"}], ids=str
)
def test_a_picture_changed_in_place_is_the_same(files: Path, optimizer: str, fields: dict[str, Any]) -> None:
    # Small steps, so that every iteration is better than the one before: the best picture is then the last.
    more = {"iterations": 16, "learning_rate": 0.005 if optimizer == "adam" else 1e-6, **fields}
    whole = prepared(files, {"optimizer": optimizer}, **more).run()
    tiled = prepared(files, {"optimizer": optimizer, "tile_px": 32, "in_place": True}, **more).run()
    start = Picture.from_any(files / "photo.png").pixels
    assert abs(whole.picture.pixels - start).mean() > (3 if optimizer == "adam" else 0.02) / 255
    assert nearly_the_same(whole, tiled)
    assert [e.total for e in tiled.history] == pytest.approx([e.total for e in whole.history], rel=1e-3)


def test_lbfgs_in_tiles_is_the_same(files: Path) -> None:
    whole = prepared(files, {"optimizer": "lbfgs"}, iterations=4).run()
    tiled = prepared(files, {"optimizer": "lbfgs", "tile_px": 32}, iterations=4).run()
    assert nearly_the_same(whole, tiled)


def test_keep_colour_has_the_photo_although_its_memory_is_short(files: Path) -> None:
    fields = {"keep_colour": True, "learning_rate": 0.005}
    whole = prepared(files, {"optimizer": "adam"}, **fields).run()
    tiled = prepared(files, {"optimizer": "adam", "tile_px": 32, "in_place": True}, **fields).run()
    assert nearly_the_same(whole, tiled)


def test_a_picture_changed_in_place_is_resumed_to_the_bit(files: Path, tmp_path: Path) -> None:
    stage = {"optimizer": "adam", "tile_px": 32, "in_place": True}
    straight = prepared(files, stage).run()
    stopped = prepared(files, stage).run([lambda step: step.iteration < 3])
    assert stopped.snapshot is not None
    stopped.snapshot.save(tmp_path / "checkpoint.safetensors", "{}")
    again = prepared(files, stage)
    resumed = again.run(resume=again.snapshot(tmp_path / "checkpoint.safetensors"))
    assert resumed.iterations == 8
    assert np.array_equal(resumed.picture.pixels, straight.picture.pixels)


def test_a_preview_does_not_change_with_the_picture(files: Path) -> None:
    previews: list[Picture] = []

    def look(step: Step) -> None:
        previews.append(step.preview())

    prepared(files, {"optimizer": "adam", "tile_px": 32, "in_place": True}).run([look])
    assert not np.array_equal(previews[1].pixels, previews[3].pixels)


def test_a_gradient_that_is_not_finite_ends_a_run_in_place(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(files, {"optimizer": "adam", "tile_px": 32, "in_place": True})
    monkeypatch.setattr("impasto.engines.optimizers.Adam.move", lambda self, gradient, *_: gradient * float("nan"))
    with pytest.raises(RunError, match="not finite at iteration 0 .*in the tile of rows 0-43, columns 0-43"):
        ready.run()


def test_a_torch_module_has_no_plan(photo_array: np.ndarray, style_array: np.ndarray) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    options: dict[str, Any] = {"content_layers": "0", "style_layers": "0", "num_iterations": 2}
    assert impasto.style_transfer(photo_array, style_array, module, **options).iterations == 2
    with pytest.raises(JobError, match="--memory-budget is for networks made by build_cnn"):
        impasto.style_transfer(photo_array, style_array, module, memory_budget="4GiB", **options)


@pytest.mark.parametrize(
    ("text", "count"),
    [("4GiB", 4 << 30), ("500MB", 500_000_000), ("2G", 2 << 30), ("1.5 GiB", 3 << 29), ("4096", 4096), (77, 77)],
)
def test_sizes_of_memory(text: Any, count: int) -> None:
    assert StyleJob.of({"memory_budget": text}).memory_budget == count


@pytest.mark.parametrize("text", ["much", "4 GiBi", "-1GiB", "1.2.3G", "", "0"])
def test_what_is_no_size_of_memory(text: str) -> None:
    with pytest.raises(JobError, match="memory_budget"):
        StyleJob.of({"memory_budget": text})


def test_dry_run_tells_and_writes_nothing(files: Path) -> None:
    net = ["--backbone", "net.safetensors", "--content-layers", "block2_conv2", "--style-layers", "block1_conv1"]
    arguments = ["photo.png", "style.png", "-o", "out.png", "--size", "300", "--pyramid-from", "100", *net]
    done = command_line(*arguments, "--dry-run", cwd=files)
    assert done.returncode == 0, done.stderr
    assert "100x75: " in done.stdout and "300x225: " in done.stdout and "of lbfgs, whole" in done.stdout
    assert "at most" in done.stdout
    told = json.loads(command_line(*arguments, "--dry-run", "--json", cwd=files).stdout)
    assert [stage["width"] for stage in told["scales"]] == [100, 200, 300]
    assert told["peak_bytes"] <= told["budget_bytes"]
    assert not (files / "out.png").exists()


def test_doctor_measures_what_dry_run_tells(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "SIZE", 64)
    assert calibration.rate(CPU, torch.float32) is None
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "GFLOP/s" in told and "weights vgg16: not here: impasto weights fetch vgg16" in told
    dtype = hardware.choose_dtype("auto", CPU)
    assert calibration.rate(CPU, dtype) is not None
    calibration.file().write_text("{")
    assert calibration.rate(CPU, dtype) is None
    assert calibration.calibrate(CPU, dtype) == calibration.rate(CPU, dtype)
