"""The engine: every optimizer gets closer, keeps to 0..1, stops as told, recovers, resumes to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import impasto
from impasto.engines.anchor import Anchor
from impasto.engines.objective import Aim, build_objective
from impasto.engines.optimize import detail_in_common, emphasis_of_content, kept_detail
from impasto.engines.optimizers import OPTIMIZERS, Adam, Lbfgs, fast_length
from impasto.engines.scales import plan_scales
from impasto.engines.state import Snapshot
from impasto.errors import RunError, UserError
from impasto.events import Step
from impasto.job import StyleJob
from impasto.nets.cnn import Cnn, build_cnn
from impasto.nets.layers import conv, max_pool
from impasto.nets.passes import ExplicitPass
from impasto.picture import Picture
from impasto.run import Result, prepare_run
from support import shapes_picture

LAYERS = {"content_layers": "block2_conv2", "style_layers": "block1_conv1,block2_conv1,block3_conv1"}


@pytest.fixture
def stylise(photo_array: np.ndarray, style_array: np.ndarray, small_cnn: Cnn) -> Callable[..., Result]:
    def call(**fields: object) -> Result:
        given = {"iterations": 12, "precision": "fp32", "cnn": small_cnn, **LAYERS, **fields}
        return impasto.stylize(photo_array, style_array, **given)

    return call


def test_a_run_starts_from_the_draft_where_the_program_chooses(stylise: Callable[..., Result]) -> None:
    first = {init: stylise(init=init, iterations=1).losses["total"] for init in ("auto", "draft", "content")}
    assert first["auto"] == first["draft"] != first["content"]
    assert stylise(engine="optimize", iterations=1).losses["total"] == first["content"]
    assert (
        stylise(init="auto", seamless=True, iterations=1).losses
        == stylise(init="content", seamless=True, iterations=1).losses
    )


def test_lbfgs_moves_broad_changes_first() -> None:
    optimizer = OPTIMIZERS["lbfgs"]()
    broad, fine = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.5)
    fine[..., ::2] += 0.1
    fine[..., 1::2] -= 0.1
    broad[..., :8] += 0.1
    broad[..., 8:] -= 0.1
    moved = optimizer.smoothed(broad - 0.5).std(), optimizer.smoothed(fine - 0.5).std()
    assert moved[0] > 2 * moved[1]
    # Symmetric and positive: every step made of it descends.
    one, two = torch.randn(2, 1, 3, 15, 22, generator=torch.Generator().manual_seed(1))
    there, back = (one * optimizer.smoothed(two)).sum(), (two * optimizer.smoothed(one)).sum()
    assert there == pytest.approx(back.item(), rel=1e-3)
    assert (one * optimizer.smoothed(one)).sum() > 0


@given(st.integers(1, 20_000))
def test_transforms_are_of_lengths_that_are_fast(length: int) -> None:
    found = fast_length(length)
    assert found >= length
    assert found % 4 == 0
    assert found - length <= max(4, length / 8)
    for factor in (2, 3, 5, 7, 11):
        while found % factor == 0:
            found //= factor
    assert found == 1


def by_two_loops(pairs: list[tuple[torch.Tensor, torch.Tensor]], gradient: torch.Tensor) -> torch.Tensor:
    """L-BFGS's direction as books write it (Nocedal & Wright, algorithm 7.4), begun from its smoothing."""
    smoothed, result, along = Lbfgs().smoothed, gradient.clone(), []
    for move, change in reversed(pairs):
        along.append(torch.sum(move * result) / torch.sum(move * change))
        result -= along[-1] * change
    move, change = pairs[-1]
    result = smoothed(result) * torch.sum(move * change) / torch.sum(change * smoothed(change))
    for (move, change), share in zip(pairs, reversed(along), strict=True):
        result += (share - torch.sum(change * result) / torch.sum(move * change)) * move
    return result


def test_lbfgs_goes_where_the_two_loops_go_also_past_its_memory_and_past_pairs_without_curvature() -> None:
    generator = torch.Generator().manual_seed(0)
    depth, middle = torch.rand(2, 1, 3, 20, 30, generator=generator).mul(10).add(0.1).unbind()
    optimizer, pairs, refused = Lbfgs(), list[tuple[torch.Tensor, torch.Tensor]](), 0
    picture, last = torch.full_like(middle, 0.5), None
    for _ in range(2 * Lbfgs.memory):
        # A sum of hollows on waves: it curves up and down.
        gradient = depth * (picture - middle / 10) + 2 * torch.sin(30 * picture)
        if last is not None:
            move, change = picture - last[0], gradient - last[1]
            curved = bool(torch.sum(move * change) > 0)
            pairs, refused = ([*pairs, (move, change)][-Lbfgs.memory :] if curved else pairs), refused + (not curved)
        last = (picture, gradient)
        proposed = optimizer.step(picture, gradient, 1.0, 0.0)
        if pairs:
            way = optimizer.rate * by_two_loops(pairs, gradient)
            assert float((picture - way - proposed).norm() / way.norm()) < 1e-3
        picture = proposed.clamp(0, 1)
    assert optimizer.pairs is not None and optimizer.pairs.taken > Lbfgs.memory and refused


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("init", ["content", "random", "style"])
def test_every_optimizer_gets_closer_from_every_start(
    stylise: Callable[..., Result], optimizer: str, init: str
) -> None:
    result = stylise(optimizer=optimizer, init=init, iterations=30)
    totals = [entry.total for entry in result.history]
    assert len(totals) == 30
    assert result.losses["total"] == min(totals)
    assert min(totals) < (0.9 if optimizer == "gd" else 0.5) * totals[0]
    assert result.picture.pixels.min() >= 0
    assert result.picture.pixels.max() <= 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_evaluated_picture_is_in_range(
    stylise: Callable[..., Result], optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.engines.objective import Objective

    seen: list[tuple[float, float]] = []
    evaluate = Objective.evaluate

    def watched(self: Objective, picture: torch.Tensor) -> object:
        seen.append((float(picture.min()), float(picture.max())))
        return evaluate(self, picture)

    monkeypatch.setattr(Objective, "evaluate", watched)
    stylise(optimizer=optimizer, learning_rate={"adam": 0.5, "lbfgs": 3.0, "gd": 1e-4}[optimizer])
    assert len(seen) == 12
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1


def test_content_counts_more_at_first(small_cnn: Cnn) -> None:
    assert emphasis_of_content(0, 0.0) == 5 and emphasis_of_content(10, 0.01) == 3
    assert emphasis_of_content(20, 0.01) == emphasis_of_content(3, 0.2) == emphasis_of_content(900, 0.9) == 1
    aim = Aim("mse", "gram", {"block2_conv2": 1.0}, {"block2_conv1": 1.0}, 5.0, 100.0, 0.0, (1.0,))
    network = ExplicitPass(small_cnn, aim.layers, dtype=torch.float32, device=torch.device("cpu"))
    photo, style, picture = (
        torch.from_numpy(shapes_picture(48, 64, seed).transpose(2, 0, 1)[None].copy()) for seed in (1, 2, 3)
    )
    objective = build_objective(network, aim, photo, [style])
    value, gradient = objective.evaluate(picture)
    alone = build_objective(network, replace(aim, style_weight=0.0), photo, [style])
    of_content = alone.evaluate(picture)[1]
    objective.emphasis = 4.0
    again, more = objective.evaluate(picture)
    assert again == value, "what is told is the objective that was asked for"
    assert float((more - gradient - 3 * of_content).norm() / of_content.norm()) < 1e-4


def test_a_short_run_keeps_more_content_for_having_begun_with_it(
    stylise: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def content_after(factor: float) -> float:
        monkeypatch.setattr("impasto.engines.optimize.CONTENT_FIRST", factor)
        run = stylise(init="style", iterations=10, pyramid_from="off")
        return run.history[-1].losses["content_mse/block2_conv2"]

    assert content_after(5.0) < 0.98 * content_after(1.0)


def test_adam_takes_no_full_step_where_the_gradient_is_next_to_nothing() -> None:
    picture, total = torch.full((1, 3, 8, 8), 0.5), 7.0
    gradient = torch.full_like(picture, 30 * total / picture.numel())
    gradient[..., 4:] = 1e-3 * total / picture.numel()
    moved = picture - Adam(0.01).step(picture, gradient, total, 0.0)
    assert moved[..., :4].min() > 0.009
    assert moved[..., 4:].max() < 0.0001


def test_history_names_every_loss_by_kind_and_layer(stylise: Callable[..., Result]) -> None:
    result = stylise(tv_weight=3.0, content_weight=5, style_weight=100)
    entry = result.history[7]
    assert set(entry.losses) == {
        "content_mse/block2_conv2", "tv",
        "style_gram/block1_conv1", "style_gram/block2_conv1", "style_gram/block3_conv1",
    }  # fmt: skip
    assert entry.content == pytest.approx(5 * entry.losses["content_mse/block2_conv2"], rel=1e-5)
    style = [value for name, value in entry.losses.items() if name.startswith("style")]
    assert entry.style == pytest.approx(100 * sum(style) / 3, rel=1e-5)
    assert entry.total == pytest.approx(entry.content + entry.style + 3 * entry.losses["tv"], rel=1e-5)


def test_both_names_of_a_layer_mean_the_same(stylise: Callable[..., Result]) -> None:
    keras = stylise(content_layers="block2_conv2", style_layers="block1_conv1=2,block3_conv1")
    other = stylise(content_layers="relu2_2", style_layers="relu1_1,block1_conv1,conv3_1")
    assert np.array_equal(keras.picture.pixels, other.picture.pixels)
    assert list(other.history[0].losses) == list(keras.history[0].losses)


def test_the_best_picture_is_returned_not_the_last(stylise: Callable[..., Result], small_cnn: Cnn) -> None:
    result = stylise(optimizer="adam", learning_rate=0.4, iterations=8, init="content")
    totals = [entry.total for entry in result.history]
    assert min(totals) < totals[-1], "the case needs a run that overshoots"
    again = stylise(init="content", iterations=1, optimizer="gd", learning_rate=1e-30)
    assert again.history[0].total == pytest.approx(totals[0], rel=1e-4)
    assert result.losses["total"] == min(totals)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "iterations"),
        ({"tolerance": 0.5, "iterations": 200}, "tolerance"),
        ({"time_budget": 1e-3, "iterations": 200}, "time_budget"),
        ({"on_step": lambda step: step.iteration < 4}, "on_step"),
    ],
)
def test_a_run_says_why_it_stopped(stylise: Callable[..., Result], fields: dict, reason: str) -> None:
    result = stylise(**fields)
    assert result.stopped_by == reason
    if reason == "on_step":
        assert result.iterations == 5


def test_a_run_stops_at_a_loss(stylise: Callable[..., Result]) -> None:
    half = stylise().history[0].total / 2
    result = stylise(stop_loss=half)
    assert result.stopped_by == "stop_loss"
    assert result.history[-1].total <= half < result.history[-2].total


def test_steps_tell_scale_losses_and_a_preview(stylise: Callable[..., Result]) -> None:
    steps: list[Step] = []
    previews: list[Picture] = []

    def listen(step: Step) -> None:
        steps.append(step)
        if step.iteration in (0, 11):
            previews.append(step.preview())

    stylise(on_step=listen, pyramid_from=32, iterations=12)
    assert [step.iteration for step in steps] == list(range(12))
    assert all((step.iterations, step.scales) == (12, 1) for step in steps)
    assert previews[0].pixels.shape == (3, 48, 64)
    assert abs(previews[1].pixels - previews[0].pixels).mean() > 0.005


def test_pyramid_goes_from_coarse_to_fine(small_cnn: Cnn) -> None:
    photo, style = shapes_picture(130, 256, 1), shapes_picture(128, 128, 2)
    fields = {"cnn": small_cnn, "iterations": 12, "precision": "fp32", **LAYERS}
    result = impasto.stylize(photo, style, pyramid_from=128, **fields)
    groups = itertools.groupby((entry.height, entry.width) for entry in result.history)
    sizes = [(size, len(list(group))) for size, group in groups]
    assert sizes == [((65, 128), 8), ((130, 256), 4)]
    assert result.picture.pixels.shape == (3, 130, 256)
    # The fine scale begins nearer than the photo does: what the coarse one did was carried up.
    alone = impasto.stylize(photo, style, pyramid_from="off", **fields)
    assert result.history[8].total < 0.5 * alone.history[0].total
    # Stopped on the coarse scale, the result still has the full size.
    early = impasto.stylize(photo, style, pyramid_from=128, on_step=lambda s: s.iteration < 3, **fields)
    assert early.picture.pixels.shape == (3, 130, 256)


def made_small(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return torch.nn.functional.interpolate(torch.from_numpy(picture)[None], size, mode="area")[0].numpy()


def test_finer_scales_keep_what_the_coarsest_has_made(small_cnn: Cnn, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, style = shapes_picture(128, 256, 1), shapes_picture(256, 256, 2)
    coarse: list[np.ndarray] = []

    def keep(step: Step) -> None:
        if step.entry.scale == 0:
            coarse.append(step.preview().pixels)

    def drift() -> float:
        """Between the picture at the end of the first of two scales and the result."""
        fields = {"cnn": small_cnn, "iterations": 45, "pyramid_from": 128, "precision": "fp32", **LAYERS}
        result = impasto.stylize(photo, style, on_step=keep, **fields)
        return float(np.abs(made_small(result.picture.pixels, (64, 128)) - coarse[-1]).mean())

    held = drift()
    monkeypatch.setattr("impasto.engines.anchor.WEIGHT", 0.0)
    assert held < 0.7 * drift()


def test_a_pale_painting_does_not_get_all_of_the_photos_grain(small_cnn: Cnn) -> None:
    photo = (0.5 + 0.2 * np.random.default_rng(3).standard_normal((128, 160, 3))).clip(0, 1).astype(np.float32)
    style = 0.3 + 0.1 * shapes_picture(128, 160, 2)
    carried: list[torch.Tensor] = []

    def listen(step: Step) -> bool:
        carried.append(torch.from_numpy(step.preview().pixels))
        return step.entry.scale == 0

    fields = {"cnn": small_cnn, "iterations": 24, "pyramid_from": 80, "precision": "fp32", **LAYERS}
    impasto.stylize(photo, style, on_step=listen, **fields)
    of_photo = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous()
    begun = carried[-1][None]
    assert detail_in_common(begun, begun) < 0.1 * detail_in_common(of_photo, of_photo)


def test_how_much_detail_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    photo, other = torch.rand(2, 1, 3, 40, 50, generator=generator).unbind()
    flat = torch.full_like(photo, 0.5)
    assert kept_detail(0.3 * photo + 0.2, photo, [flat]) == pytest.approx(0.3, abs=1e-4)
    assert kept_detail(1.5 * photo, photo, [flat]) == 1 and kept_detail(1 - photo, photo, [flat]) == 0
    assert kept_detail(other, photo, [flat]) < 0.1
    assert kept_detail(flat, photo, [flat, 0.6 * other]) == pytest.approx(0.6, abs=0.02), "as much as the style has"
    assert kept_detail(flat, 0.5 * photo, [other]) == 1
    assert kept_detail(photo, flat, [flat]) == pytest.approx(0, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(8, 20), st.integers(8, 20))
def test_an_anchor_pulls_against_its_distance(height: int, width: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((height, width), (rows, columns), (height, width))
    picture, coarse, way = (torch.rand(1, 3, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    anchor = Anchor.of(coarse, height, width)
    small = torch.nn.functional.interpolate(picture, (rows, columns), mode="bilinear", antialias=True)
    assert torch.allclose(anchor.drift(picture), small - coarse, atol=1e-6)
    change = anchor.distance(anchor.drift(picture + way)) - anchor.distance(anchor.drift(picture - way))
    gradient = anchor.gradient(anchor.drift(picture), 0, height)
    assert change == pytest.approx(float(2 * (gradient * way).sum()), rel=1e-6)
    part = anchor.gradient(anchor.drift(picture), 5, 11)
    assert torch.allclose(part, gradient[:, :, 5:11], atol=1e-6)


@given(
    st.integers(16, 9000), st.integers(16, 9000), st.one_of(st.just("off"), st.integers(16, 4000)), st.integers(1, 2000)
)
def test_plan_of_scales(height: int, width: int, start: int | str, iterations: int) -> None:
    scales = plan_scales(height, width, start, iterations)  # type: ignore[arg-type]
    assert sum(scale.iterations for scale in scales) == iterations
    assert all(scale.iterations >= 1 for scale in scales)
    assert (scales[-1].height, scales[-1].width) == (height, width)
    for coarse, fine in itertools.pairwise(scales):
        assert abs(fine.width - 2 * coarse.width) <= 2 or fine is scales[-1]
        assert 1.05 < max(fine.height, fine.width) / max(coarse.height, coarse.width) < 2.25
        assert min(coarse.height, coarse.width) >= 64
    if isinstance(start, int) and len(scales) > 1 and min(height, width) * start >= 64 * max(height, width):
        assert max(scales[0].height, scales[0].width) == start
    if iterations < len(plan_scales(height, width, start, 2000)):  # type: ignore[arg-type]
        assert len(scales) == 1
    if start == "off":
        assert len(scales) == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop_at", [2, 7, 13])
def test_resumed_run_ends_with_the_same_picture(
    files: Path, optimizer: str, stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("impasto.engines.scales.NARROWEST_PX", 16)
    job = StyleJob.of(
        {
            "photo": str(files / "photo.png"), "styles": [str(files / "style.png")], "init": "random", "seed": 4,
            "backbone": str(files / "net.safetensors"), "iterations": 16, "pyramid_from": 32, "optimizer": optimizer,
            "precision": "fp32", **LAYERS,
        }
    )  # fmt: skip
    whole = prepare_run(job).run()
    assert whole.history[-1].scale == 1
    part = prepare_run(job).run([lambda step: step.iteration < stop_at])
    assert part.snapshot is not None
    part.snapshot.save(tmp_path / "checkpoint.safetensors", job.model_dump_json())
    prepared = prepare_run(job)
    resumed = prepared.run(resume=prepared.snapshot(tmp_path / "checkpoint.safetensors"))
    assert np.array_equal(resumed.picture.pixels, whole.picture.pixels)
    assert [e.total for e in resumed.history] == [e.total for e in whole.history]
    assert resumed.history[stop_at + 1].seconds >= part.seconds * 0.9, "time goes on from where it stood"


def test_snapshot_of_another_picture_or_file_is_refused(
    stylise: Callable[..., Result], tmp_path: Path, small_cnn: Cnn, style_array: np.ndarray
) -> None:
    snapshot = stylise(on_step=lambda step: False).snapshot
    assert snapshot is not None
    job = StyleJob.of({"iterations": 12, "precision": "fp32", **LAYERS})
    other = prepare_run(
        job, photo=Picture.from_any(style_array), styles=[Picture.from_any(style_array)], network=small_cnn
    )
    with pytest.raises(UserError, match="another size"):
        other.run(resume=snapshot)
    (tmp_path / "text").write_text("not a checkpoint")
    with pytest.raises(UserError, match="damaged"):
        Snapshot.load(tmp_path / "text", torch.device("cpu"))
    small_cnn.save(tmp_path / "net.safetensors")
    with pytest.raises(UserError, match="no checkpoint"):
        Snapshot.load(tmp_path / "net.safetensors", torch.device("cpu"))


class Sometimes(nn.Module):
    """Gives features that are not a number at the calls named, counting from the first after the targets."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Identity()
        self.bad, self.calls = bad, -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Size checks and targets are run without a gradient, evaluations with one.
        self.calls += torch.is_grad_enabled() and x.requires_grad
        out = self.conv(x)
        return self.out(out * float("nan") if x.requires_grad and self.calls in self.bad else out)


def test_steps_are_halved_after_losses_that_are_not_finite(photo_array: np.ndarray, style_array: np.ndarray) -> None:
    torch.manual_seed(0)
    options = {"content_layers": "out", "style_layers": "out", "num_iterations": 20, "precision": "fp32"}
    steps: list[Step] = []
    module = Sometimes({3, 4, 9})
    result = impasto.style_transfer(photo_array, style_array, module, on_step=steps.append, **options)
    assert [e.iteration for e in result.history if not np.isfinite(e.total)] == [3, 4, 9]
    assert steps[-1].snapshot().failures == 3
    assert np.isfinite(result.picture.pixels).all()
    assert result.losses["total"] < result.history[0].total
    with pytest.raises(RunError, match="not finite at iteration 8 .*5 halved steps"):
        impasto.style_transfer(photo_array, style_array, Sometimes({3, 4, 5, 6, 7, 8}), **options)
    with pytest.raises(RunError, match="iteration 0"):
        impasto.style_transfer(photo_array, style_array, Sometimes({0}), **options)


def test_several_styles_are_weighed(photo_array: np.ndarray, style_array: np.ndarray, small_cnn: Cnn) -> None:
    other = shapes_picture(56, 56, 8)
    fields = {"cnn": small_cnn, "iterations": 40, "precision": "fp32", "content_weight": 0.01, **LAYERS}

    def distance_to(result: Result, style: np.ndarray) -> float:
        judged = impasto.stylize(result.picture, style, **{**fields, "iterations": 1, "init": "content"})
        return judged.history[0].style

    mostly_first, mostly_second = (
        impasto.stylize(photo_array, [style_array, other], styles=[{"file": "", "weight": w} for w in pair], **fields)
        for pair in ((9, 1), (1, 9))
    )
    assert distance_to(mostly_first, style_array) < distance_to(mostly_second, style_array)
    assert distance_to(mostly_first, other) > distance_to(mostly_second, other)


def test_one_channel_networks_are_given_grey_pictures(photo_array: np.ndarray, style_array: np.ndarray) -> None:
    table = [conv(8), max_pool(2), conv(12)]
    cnn = build_cnn(table, input_shape=(1, 64, 64), seed=1)
    result = impasto.style_transfer(
        photo_array, style_array, cnn, "block2_conv1", "block1_conv1,block2_conv1", 15, precision="fp32"
    )
    assert result.losses["total"] < 0.7 * result.history[0].total
    change = result.picture.pixels - photo_array.transpose(2, 0, 1)
    assert abs(change).mean() > 0.01
    # Only the luma matters to the network, so its gradient has one direction in colour.
    direction = change[:, (result.picture.pixels.min(0) > 0.01) & (result.picture.pixels.max(0) < 0.99)]
    assert np.linalg.svd(direction, compute_uv=False)[1] < 0.2 * np.linalg.svd(direction, compute_uv=False)[0]


def test_a_session_loads_its_network_once(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    from impasto.nets import loaded

    load = loaded.network

    def counted(name: str, **more: object) -> Cnn:
        loads.append(name)
        return load(name, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loaded, "network", counted)
    net = str(files / "net.safetensors")
    with impasto.Session(backbone=net, iterations=3, precision="fp32", **LAYERS) as session:
        first = session.stylize(files / "photo.png", files / "style.png")
        second = session.stylize(files / "photo.png", files / "style2.png", iterations=4)
    assert loads == [net]
    assert (first.iterations, second.iterations) == (3, 4)
    assert first.job.backbone == net
    fields = {"backbone": net, "iterations": 3, "precision": "fp32", **LAYERS}
    alone = impasto.stylize(files / "photo.png", files / "style.png", **fields)
    assert np.array_equal(first.picture.pixels, alone.picture.pixels)


def test_saved_job_runs_again(files: Path, tmp_path: Path) -> None:
    net = str(files / "net.safetensors")
    result = impasto.stylize(
        files / "photo.png", files / "style.png", backbone=net, iterations=3, precision="fp32", **LAYERS
    )
    result.save(tmp_path / "a.png")
    job = StyleJob.load(tmp_path / "a.job.json")
    assert job == result.job
    assert np.array_equal(prepare_run(job).run().picture.pixels, result.picture.pixels)
    assert replace(result, history=result.history[:2]).iterations == 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Time that passes by a second with every evaluation of 64 px of width, by its pixels' share at other widths."""
    from impasto.engines.objective import Objective

    now = [0.0]
    measure = Objective.measure

    def slow(self: Objective, picture: torch.Tensor) -> object:
        now[0] += (picture.shape[3] / 64) ** 2
        return measure(self, picture)

    monkeypatch.setattr(Objective, "measure", slow)
    monkeypatch.setattr("impasto.engines.optimize.time.perf_counter", lambda: now[0])
    return lambda: now[0]


def test_a_time_budget_alone_is_used_up(stylise: Callable[..., Result], clock: Callable[[], float]) -> None:
    result = stylise(iterations=None, time_budget=300)
    assert result.stopped_by == "time_budget"
    assert 297 <= result.seconds <= 300


def test_scales_share_a_time_budget(small_cnn: Cnn, clock: Callable[[], float]) -> None:
    photo, style = shapes_picture(256, 256, 1), shapes_picture(200, 256, 2)
    fields = {"cnn": small_cnn, "precision": "fp32", "pyramid_from": 64, "time_budget": 300, **LAYERS}
    result = impasto.stylize(photo, style, **fields)
    spent = {width: sum((width / 64) ** 2 for e in result.history if e.width == width) for width in (64, 128, 256)}
    # An iteration of twice the side takes four times as long, and there are half as many of them.
    assert spent[64] == pytest.approx(300 / 7, abs=2) and spent[128] == pytest.approx(600 / 7, abs=5)
    assert 300 - 16 <= result.seconds <= 300 and result.stopped_by == "time_budget"
    estimates: list[int] = []
    impasto.stylize(photo, style, on_step=lambda step: estimates.append(step.iterations), **fields)
    assert len(result.history) <= estimates[-1] < 1.1 * len(result.history)


def test_a_time_budget_is_not_spent_on_sizes_far_below_the_results(small_cnn: Cnn, clock: Callable[[], float]) -> None:
    photo, style = shapes_picture(300, 400, 1), shapes_picture(200, 256, 2)
    fields = {"cnn": small_cnn, "precision": "fp32", "time_budget": 2000, "iterations": 6, **LAYERS}
    widths = [
        {e.width for e in impasto.stylize(photo, style, **fields | own).history} for own in ({}, {"pyramid_from": 256})
    ]
    assert widths == [{400}, {256, 400}]


def test_a_scale_that_time_is_too_short_for_is_left_out(small_cnn: Cnn, clock: Callable[[], float]) -> None:
    photo, style = shapes_picture(256, 256, 1), shapes_picture(200, 256, 2)
    fields = {"cnn": small_cnn, "precision": "fp32", "pyramid_from": 64, "time_budget": 15, **LAYERS}
    result = impasto.stylize(photo, style, **fields)
    assert {e.width for e in result.history} == {64, 128}
    assert result.picture.size_hw == (256, 256) and result.seconds <= 15


def test_fewer_iterations_than_there_is_time_for(stylise: Callable[..., Result], clock: Callable[[], float]) -> None:
    result = stylise(iterations=7, time_budget=300)
    assert (result.iterations, result.stopped_by) == (7, "iterations")
