"""The network for any style and its training: sizes, borders, the dial, files, gradients, and resuming to the bit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.errors import UserError
from impasto.nets.any_style import (
    NEAR_STRIDE,
    AnyStyle,
    Notch,
    Shape,
    blend,
    content_weight,
    from_blocks,
    load_any_style,
    to_blocks,
)
from impasto.nets.cnn import Cnn, build_cnn
from impasto.nets.layers import conv, max_pool
from impasto.nets.painter import stylize_fast
from impasto.nets.passes import ExplicitPass
from impasto.train.ahead import Ahead
from impasto.train.any_style import HeldOut, Settings, Training, train
from impasto.train.data import Folder, Source
from impasto.train.objective import CONTENT_LAYER, STYLE_LAYERS, Objective
from support import shapes_picture

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SMALL = Shape(
    code=16,
    near=8,
    far=8,
    blocks=1,
    last=1,
    inner=16,
    inner_last=16,
    experts=2,
    encoder=(8, 8, 8),
    deep=(8,),
    hidden=16,
)
SETTINGS = Settings(steps=6, sizes=(32, 40), groups=2, warm_up=2, learning_rate=1e-2)


def five_blocks() -> Cnn:
    """As small as a network with the objective's layers can be."""
    return build_cnn([*[conv(6, 3), max_pool(2)] * 4, conv(6, 3)], input_shape=(3, 32, 32), seed=1, name="five")


def to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def lively(shape: Shape = SMALL) -> AnyStyle:
    """A network in which every path counts, as after training."""
    torch.manual_seed(0)
    network = AnyStyle(shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for kind, first in (("content", 0), ("style", 50)):
        (tmp_path / kind).mkdir()
        for number in range(4):
            array = shapes_picture(48, 56, first + number)
            Image.fromarray((array * 255).astype(np.uint8)).save(tmp_path / kind / f"{number}.png")
    return tmp_path / "content", tmp_path / "style"


def source_of(folders: tuple[Path, Path], held_out: int = 0) -> Source:
    return Source(*(Folder(folder, held_out=held_out) for folder in folders))


def training_of(folders: tuple[Path, Path], settings: Settings = SETTINGS) -> Training:
    return Training(settings, source_of(folders), five_blocks(), shape=SMALL, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 40), (35, 101), (50, 32)])
def test_any_size(height: int, width: int) -> None:
    network = lively()
    photo, style = to_tensor(shapes_picture(height, width, 1)), to_tensor(shapes_picture(37, 32, 2))
    painted = stylize_fast(network, photo, network.encode(style), 0.8)
    assert painted.shape == photo.shape and painted.dtype == torch.float32
    assert painted.min() >= 0 and painted.max() <= 1


def test_too_small() -> None:
    network = lively()
    with pytest.raises(UserError, match="32 px"):
        network.encode(torch.zeros(1, 3, 31, 64))


def test_strength_zero_is_the_photo_and_low_strengths_approach_it() -> None:
    network, photo = lively(), to_tensor(shapes_picture(40, 40, 1))
    code = network.encode(to_tensor(shapes_picture(40, 40, 2)))
    assert torch.equal(stylize_fast(network, photo, code, 0.0), photo)
    far = [float((stylize_fast(network, photo, code, s) - photo).square().mean()) for s in (0.01, 0.05, 0.1, 0.2)]
    assert far == sorted(far) and far[0] < far[-1] / 100


def test_content_weight_falls_evenly_with_strength() -> None:
    weights = content_weight(torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    assert weights[0] == weights[1] == pytest.approx(1.0) and weights[-1] == pytest.approx(0.02)
    assert torch.allclose(weights[2:] / weights[1:-1], weights[2] / weights[1])


def test_the_same_twice_and_in_a_batch() -> None:
    network = lively()
    photos = torch.cat([to_tensor(shapes_picture(48, 40, seed)) for seed in (1, 2)])
    codes = network.encode(torch.cat([to_tensor(shapes_picture(48, 40, seed)) for seed in (3, 4)]))
    alone = [stylize_fast(network, photos[i : i + 1], codes[i : i + 1], 0.7) for i in range(2)]
    assert torch.equal(alone[0], stylize_fast(network, photos[:1], codes[:1], 0.7))
    with torch.no_grad():
        together = network(photos, codes, torch.full((2,), 0.7))
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_half_precision_paints_the_same() -> None:
    network, photo = lively(), to_tensor(shapes_picture(64, 64, 1))
    code = network.encode(to_tensor(shapes_picture(64, 64, 2)))
    full = stylize_fast(network, photo, code)
    assert (stylize_fast(network.bfloat16(), photo, code) - full).abs().mean() < 0.02


def test_blend_of_codes() -> None:
    first, second = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(blend([first, second], [1, 0]), first)
    assert torch.allclose(blend([first, second], [2, 6]), 0.25 * first + 0.75 * second)


def test_file_and_back(tmp_path: Path) -> None:
    network, file = lively(), tmp_path / "model.safetensors"
    network.save(file, {"licence": "Apache-2.0"})
    loaded = load_any_style(file)
    assert loaded.shape == SMALL
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name].half().float())


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    lively().save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_any_style(file)
    five_blocks().save(file)
    with pytest.raises(UserError, match="no any-style network"):
        load_any_style(file)


def test_objective_against_autograd() -> None:
    cnn = five_blocks()
    generator = torch.Generator().manual_seed(0)
    pictures, photos, styles = torch.rand(3, 4, 3, 48, 40, generator=generator).unbind()
    photos, styles, photo_of = photos[:2], styles[:2] ** 3, torch.tensor([0, 1, 0, 1])
    mix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [1.0, 0.0]])
    weight = torch.tensor([0.02, 0.1, 0.5, 1.0])
    objective = Objective(ExplicitPass(cnn, [*STYLE_LAYERS, CONTENT_LAYER], dtype=torch.float32, device=CPU), hard=0.3)
    targets = objective.targets(photos, objective.grams(styles), photo_of, mix, weight)
    found, told = objective(pictures, targets)

    leaf = pictures.clone().requires_grad_()
    features = cnn.features(leaf, STYLE_LAYERS)
    total = leaf.diff(dim=2).square().mean() + leaf.diff(dim=3).square().mean()
    for name in STYLE_LAYERS:
        flat = features[name].flatten(2)
        gram = flat @ flat.mT / flat.shape[2]
        distance = (gram - targets.grams[name]).square().sum((1, 2)) / targets.grams[name].square().sum((1, 2))
        assert torch.allclose(distance, told[name], rtol=1e-4)
        total = total + torch.where(distance > 0.3, 2 * (0.3 * distance).sqrt() - 0.3, distance).mean() / 5
    wanted = targets.content
    content = (features[CONTENT_LAYER] - wanted).square().sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))
    (total + (weight * content).mean()).backward()
    assert leaf.grad is not None
    assert (found - leaf.grad).abs().max() < 1e-4 * leaf.grad.abs().max()
    assert min(told[name].min() for name in STYLE_LAYERS) < 0.3 < max(told[name].max() for name in STYLE_LAYERS)


def test_damaged_pictures_are_skipped_and_counted(folders: tuple[Path, Path]) -> None:
    (folders[0] / "1.png").write_bytes(b"no picture")
    (folders[0] / "2.png").write_bytes((folders[0] / "2.png").read_bytes()[:300])
    source = source_of(folders)
    for step in range(8):
        source.batch(step, 32, range(1))
    assert {file.name for file in source.photos.skipped} == {"1.png", "2.png"}
    assert not source.styles.skipped


def test_a_folder_without_any_picture_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures"):
        Folder(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="can be read"):
        Folder(tmp_path).draw(np.random.default_rng(0))


def test_a_batch_follows_from_its_step_and_splits_over_processes(folders: tuple[Path, Path]) -> None:
    whole = source_of(folders).batch(5, 32, range(2))
    parts = [source_of(folders).batch(5, 32, range(at, at + 1)) for at in range(2)]
    assert torch.equal(whole.photos, torch.cat([part.photos for part in parts]))
    assert torch.equal(whole.styles, torch.cat([part.styles for part in parts]))
    assert torch.equal(whole.strength, torch.cat([part.strength for part in parts]))
    assert torch.equal(whole.mix, torch.block_diag(*(part.mix for part in parts)))
    assert torch.allclose(whole.mix.sum(1), torch.ones(8)) and whole.photo_of.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert not torch.equal(whole.photos, source_of(folders).batch(6, 32, range(2)).photos)


def test_held_out_pictures_are_not_trained_on(folders: tuple[Path, Path]) -> None:
    folder = Folder(folders[0], held_out=2)
    assert [file.name for file in folder.held_out] == ["1.png", "3.png"]
    assert [file.name for file in folder.files] == ["0.png", "2.png"]


def test_resumed_to_the_bit(folders: tuple[Path, Path], tmp_path: Path) -> None:
    straight = training_of(folders)
    lines = [straight.run_step() for _ in range(6)]
    stopped = training_of(folders)
    first = [stopped.run_step() for _ in range(3)]
    stopped.save(tmp_path / "training.safetensors")
    resumed = training_of(folders)
    resumed.load(tmp_path / "training.safetensors")
    assert first + [resumed.run_step() for _ in range(3)] == lines
    for one, other in ((straight.network, resumed.network), (straight.average, resumed.average)):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    for kind, moments in straight.moments().items():
        assert all(torch.equal(moments[name], other) for name, other in resumed.moments()[kind].items())


def test_a_compact_checkpoint_goes_on_from_the_average(folders: tuple[Path, Path], tmp_path: Path) -> None:
    training = training_of(folders)
    for _ in range(3):
        training.run_step()
    training.save(tmp_path / "compact.safetensors", compact=True)
    resumed = training_of(folders)
    resumed.load(tmp_path / "compact.safetensors")
    assert resumed.step == 3
    for name, wanted in training.average.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], wanted.half().float())
    for name, wanted in training.moments()["exp_avg_sq"].items():
        assert torch.allclose(resumed.moments()["exp_avg_sq"][name], wanted, rtol=1e-2)
    size = sum(tensor.numel() for tensor in training.average.state_dict().values())
    assert (tmp_path / "compact.safetensors").stat().st_size < 6 * size + 40_000


def test_training_brings_the_objective_down(folders: tuple[Path, Path]) -> None:
    training = training_of(folders, Settings(steps=80, sizes=(32,), groups=1, warm_up=5, learning_rate=3e-3))
    batch = training.source.batch(1000, 32, range(4))

    def left() -> float:
        targets = training.objective.targets(
            batch.photos,
            training.objective.grams(batch.styles),
            batch.photo_of,
            batch.mix,
            content_weight(batch.strength),
        )
        with torch.no_grad():
            pictures = training.network(
                batch.photos[batch.photo_of], batch.mix @ training.network.encode(batch.styles), batch.strength
            )
        told = training.objective(pictures, targets)[1]
        return float(torch.stack([distance.clamp(max=1) for distance in told.values()]).mean())

    before = left()
    for _ in range(80):
        training.run_step()
    assert left() < 0.85 * before


def test_train_logs_and_goes_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    training = Training(
        Settings(steps=20, sizes=(32,), groups=1),
        source_of(folders, held_out=2),
        five_blocks(),
        shape=SMALL,
        device=CPU,
        dtype=torch.float32,
    )
    assert len(HeldOut.of(training.source).pairs) == 2
    train(training, out, HeldOut.of(training.source), sheet_every=10)
    assert (out / "log.csv").read_text().count("\n") == 2
    assert (out / "held_out.csv").read_text().count("\n") == 1 + 2 * 3
    assert Image.open(out / "sheet-000010.png").size == (5 * 256, 2 * 256)
    assert load_any_style(out / "network.safetensors").shape == SMALL
    other = Training(Settings(steps=20, groups=1), source_of(folders), five_blocks(), device=CPU, dtype=torch.float32)
    with pytest.raises(UserError, match="another network"):
        other.load(out / "training.safetensors")


def test_steady_brings_a_moved_photo_to_the_moved_picture(folders: tuple[Path, Path]) -> None:
    photo, style = (to_tensor(shapes_picture(64, 64, seed)) for seed in (90, 91))

    def unsteadiness(steady: float) -> float:
        settings = SETTINGS.model_copy(update={"steps": 40, "steady": steady})
        training = training_of(folders, settings)
        for _ in range(40):
            training.run_step()
        network = training.network
        whole = stylize_fast(network, photo, network.encode(style), 0.7)
        moved = stylize_fast(network, photo[..., 3:, 2:], network.encode(style), 0.7)
        return float((whole[..., 3:, 2:] - moved)[..., 8:-8, 8:-8].square().mean())

    assert unsteadiness(300.0) < 0.6 * unsteadiness(0.0)


def test_batches_made_ahead_are_the_same(folders: tuple[Path, Path]) -> None:
    (folders[0] / "broken.png").write_bytes(b"no picture")
    source = source_of(folders)
    ahead = Ahead(source_of(folders), SETTINGS, workers=2)
    for step in (0, 1, 2, 4, 5):
        size = SETTINGS.size_at(step)
        wanted, found = source.batch(step, size, range(2)), ahead.batch(step, size, range(2))
        for name in ("photos", "styles", "photo_of", "mix", "strength"):
            assert torch.equal(getattr(found, name), getattr(wanted, name))
    assert ahead.skipped == source.skipped == 1


STEPS = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
sys.path.insert(0, sys.argv[2])
from test_any_style import training_of
torch.set_num_threads(1)
dist.init_process_group("gloo")
training = training_of((Path(sys.argv[1]) / "content", Path(sys.argv[1]) / "style"))
lines = [training.run_step() for _ in range(4)]
if dist.get_rank() == 0:
    print(json.dumps(lines))
dist.destroy_process_group()
"""


def test_two_processes_train_as_one(folders: tuple[Path, Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", STEPS, str(folders[0].parent), str(Path(__file__).parent)]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    workers = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    told = [worker.communicate(timeout=240)[0] for worker in workers]
    training = training_of(folders)
    alone = [training.run_step() for _ in range(4)]
    for line, own in zip(json.loads(told[0].splitlines()[-1]), alone, strict=True):
        assert line == pytest.approx(own, rel=1e-3)


@pytest.mark.parametrize(
    ("across", "down", "left"),
    [
        (0.25, 0.25, 0.3), (0.25, -0.25, 0.3), (0.25, 0, 0.3), (0, 0.25, 0.3),
        (0, 0.5, 1), (0.5, 0.5, 1), (0.25, 0.5, 1), (0.125, 0, 1), (0.125, 0.125, 1), (0.3125, 0.25, 1), (0, 0, 1),
    ],
)  # fmt: skip
def test_the_notch_weakens_patterns_of_4_px_alone(across: float, down: float, left: float) -> None:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    wave = 0.4 * torch.cos(2 * torch.pi * (across * columns + down * rows) + 0.4).expand(1, 3, -1, -1)
    weakened = from_blocks(Notch()(to_blocks(0.5 + wave, NEAR_STRIDE)), NEAR_STRIDE)
    inside = (..., slice(24, -24), slice(24, -24))
    assert torch.allclose(weakened[inside], 0.5 + left * wave[inside], atol=0.01)


@pytest.mark.parametrize("turned", [False, True])
def test_the_notch_leaves_slopes_and_nearly_all_of_an_edge(turned: bool) -> None:
    slope = torch.linspace(0.1, 0.9, 96).expand(1, 3, 64, -1)
    for picture, most in ((slope, 1e-4), ((slope > 0.52).float() * 0.8 + 0.1, 0.06)):
        given = picture.mT.contiguous() if turned else picture
        weakened = from_blocks(Notch()(to_blocks(given, NEAR_STRIDE)), NEAR_STRIDE)
        assert (weakened - given)[..., 24:-24, 24:-24].abs().max() < most
