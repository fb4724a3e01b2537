"""A folder that shows a run: history.csv, job.json, run.json, loss curves, frames, and one page with all of them.

The folder also holds the run's checkpoint, from which `--resume` goes on.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from impasto.curves import loss_curves
from impasto.errors import JobError
from impasto.events import Entry, Step
from impasto.job import StyleJob
from impasto.picture import write_picture

if TYPE_CHECKING:
    from impasto.run import Result

CHECKPOINT = "checkpoint.safetensors"
JOB, RUN, PICTURE = "job.json", "run.json", "result.png"
# Seconds between checkpoints: seldom enough to cost little beside the iterations.
CHECKPOINT_EVERY_S = 20.0
FRAMES = 12

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
 img { max-width: 100%; height: auto; border-radius: 4px }
 .frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem }
 figure { margin: 0 } figcaption { color: #666; font-size: .85rem }
 table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top }
 td:last-child { font-variant-numeric: tabular-nums }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
<figure><img src="result.png" alt="The result"></figure>
{% if losses %}<h2>Losses</h2>
<figure><img src="losses.png" alt="Loss curves"><figcaption>Every distance by kind and layer, before weighting;
<a href="history.csv">history.csv</a> holds the figures.</figcaption></figure>
<table>{% for name, value in losses.items() %}<tr><td>{{ name }}</td><td>{{ "%.5g"|format(value) }}</td></tr>
{% endfor %}</table>{% endif %}
<h2>On the way</h2>
<div class="frames">{% for frame in frames %}<figure><img src="{{ frame.name }}" alt="">
<figcaption>iteration {{ frame.iteration }}</figcaption></figure>{% endfor %}</div>
<h2>The job</h2>
<table>{% for name, value in job.items() %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}</table>
<p><code>impasto --job job.json -o OUT</code> runs it again.</p>
</body></html>
"""


class Report:
    """A listener that fills the folder while the run goes on; `finish` writes what needs the result.

    The folder is made at the first step, so that a job refused before it leaves nothing behind.
    """

    def __init__(self, folder: Path, job: StyleJob) -> None:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise JobError(f"The report cannot be written to {folder}: {there} is not a folder that can be written to.")
        self.folder, self.job = folder, job
        self.frames: list[Path] = []
        self.started = False
        self.saved = time.monotonic()

    def start(self, iteration: int) -> None:
        self.started = True
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("frame-*.png"):
            # Of an earlier run; those before the iteration that a resumed run begins with are its own.
            if int(old.stem.partition("-")[2]) >= iteration:
                old.unlink()
        self.frames = sorted(self.folder.glob("frame-*.png"))
        self.write(JOB, self.job.model_dump_json(indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def __call__(self, step: Step) -> None:
        if not self.started:
            self.start(step.iteration)
        every = max(1, step.iterations // FRAMES)
        if step.iteration % every == 0:
            frame = self.folder / f"frame-{step.iteration:06d}.png"
            write_picture(step.preview(), frame)
            self.frames.append(frame)
        if step.snapshot and time.monotonic() - self.saved > CHECKPOINT_EVERY_S:
            step.snapshot().save(self.folder / CHECKPOINT, self.job.model_dump_json())
            self.saved = time.monotonic()

    def finish(self, result: Result) -> None:
        """Write history, curves, result and page; a run that came to its end needs no checkpoint any more."""
        self.write("history.csv", history_csv(result.history))
        if result.losses:
            loss_curves(result.history).savefig(self.folder / "losses.png", dpi=110)
        write_picture(result.picture, self.folder / PICTURE)
        self.write(RUN, json.dumps(result.facts(), indent=2) + "\n")
        self.write("index.html", page(result, self.frames))
        if result.snapshot:
            result.snapshot.save(self.folder / CHECKPOINT, self.job.model_dump_json())
        else:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)


def history_csv(history: Sequence[Entry]) -> str:
    """One line an iteration; the distances are before weighting."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(history[0].losses)
    writer.writerow(["iteration", "scale", "height", "width", "seconds", "total", "content", "style", *names])
    for e in history:
        row = [e.iteration, e.scale, e.height, e.width, e.seconds, e.total, e.content, e.style]
        writer.writerow([*row, *(e.losses[name] for name in names)])
    return text.getvalue()


def page(result: Result, frames: Sequence[Path]) -> str:
    """The HTML page; every text of the user's is escaped."""
    template = jinja2.Environment(autoescape=True).from_string(PAGE)
    names = [Path(style.file).name for style in result.job.styles] or ["a style"]
    return template.render(
        title=f"{Path(result.job.photo).name or 'A photo'} in the style of {', '.join(names)}",
        summary=f"{result.summary}.",
        losses=result.losses,
        frames=[{"name": frame.name, "iteration": int(frame.stem.partition("-")[2])} for frame in frames],
        job=result.job.model_dump(mode="json", exclude_none=True),
    )
