"""`impasto PHOTO STYLE [STYLE ...] -o OUT`: stylise one picture."""

from __future__ import annotations

import itertools
import json
import shlex
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from impasto import __version__
from impasto.cli.main import COMMANDS, INTERRUPTED
from impasto.cli.options import job_of, job_options
from impasto.errors import JobError
from impasto.events import Listener, Step
from impasto.job import StyleJob, flag_of, parse_style

if TYPE_CHECKING:
    from impasto.run import Result

# Its lines stay as they are (click's \b).
EPILOG = "\b\nOther commands, each with --help:\n" + "\n".join(
    f"  {'impasto ' + name:18} {text}" for name, (_, _, text) in COMMANDS.items()
)


@click.command(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=False,
)
@click.argument("pictures", nargs=-1, metavar="PHOTO STYLE [STYLE ...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT",
    help="The result; its extension is its format. Default: PHOTO-STYLE.png beside the photo, never over a file.",
)  # fmt: skip
@job_options
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="DIR",
    help="Write history.csv, job.json, loss curves, frames, checkpoints and a page that shows them.",
)  # fmt: skip
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="DIR",
    help="Go on with the interrupted run whose report is in DIR.",
)  # fmt: skip
@click.option(
    "--job", type=click.Path(path_type=Path), metavar="FILE", help="Run a saved job; options given change it."
)
@click.option("--dry-run", is_flag=True, help="Only tell the plan: scales, tiles, iterations, memory, seconds.")
@click.option(
    "--variations", "count", type=click.IntRange(2, 99), metavar="N",
    help="Paint N different pictures, OUT-1, OUT-2, ..., by seeds from --seed on; OUT shows all of them.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout and nothing else.")
@click.option("--quiet", is_flag=True, help="No progress; warnings and failures stay.")
@click.version_option(__version__, prog_name="impasto")
def stylize(
    pictures: tuple[str, ...],
    output: Path | None,
    report: Path | None,
    resume: Path | None,
    job: Path | None,
    dry_run: bool,
    count: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Paint PHOTO in the style of STYLE; several styles are blended, STYLE:2 gives one a weight.

    The method is gradient descent on the picture until the features of a deep network agree with the photo's
    content and the style's texture; --engine fast has a trained network do it in one pass.
    """
    if resume:
        wanted, report = resumed_job(resume, pictures, job, options), resume
    else:
        wanted = asked_job(pictures, job, options)
    target = output or free_name(wanted)
    check_target(target, wanted)
    if dry_run:
        return tell_plan(wanted, as_json)
    if count:
        return work_variations(wanted, count, target, report or resume, as_json, quiet)
    return work(wanted, target, report, resume, as_json, quiet)


def asked_job(pictures: tuple[str, ...], job: Path | None, options: dict[str, Any]) -> StyleJob:
    base = saved_fields(job, options) if job else {}
    if pictures:
        base["photo"] = pictures[0]
    if len(pictures) > 1:
        base["styles"] = [parse_style(style) for style in pictures[1:]]
    if not base.get("photo") and base.get("content_weight") != 0:
        raise JobError("No photo and no style were given: impasto PHOTO STYLE -o OUT. See 'impasto --help'.")
    if not base.get("styles") and not any(base.get(name) or options[name] for name in ("model", "mask")):
        raise JobError(f"No style was given for {base['photo']}: impasto PHOTO STYLE -o OUT.")
    return job_of(options, base)


def saved_fields(file: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a saved job; under another look, those that its own look did not decide."""
    saved = StyleJob.load(file)
    return saved.own_fields() if options["look"] else saved.model_dump(exclude_unset=True)


def resumed_job(folder: Path, pictures: tuple[str, ...], job: Path | None, options: dict[str, Any]) -> StyleJob:
    """The job of a checkpoint; it cannot be changed on the way."""
    from impasto.engines.state import saved_job
    from impasto.report import CHECKPOINT

    changed = [flag_of(name) for name, value in options.items() if value is not None]
    if pictures or job or changed:
        extra = changed[0] if changed else "--job" if job else pictures[0]
        raise JobError(f"--resume goes on with the saved job as it is: leave out {extra}.")
    if not (folder / CHECKPOINT).is_file():
        raise JobError(f"There is nothing to resume in {folder}: it holds no {CHECKPOINT}.")
    return StyleJob.of(json.loads(saved_job(folder / CHECKPOINT)))


def free_name(job: StyleJob) -> Path:
    """PHOTO-STYLE.png beside the photo, with a number where such a file is there already."""
    first = job.style_files[0] if job.style_files else str(job.model)
    photo, style = Path(job.photo or first), Path(first)
    numbers = ("" if number == 1 else f"-{number}" for number in itertools.count(1))
    names = (photo.parent / f"{photo.stem}-{style.stem}{number}.png" for number in numbers)
    return next(name for name in names if not name.exists())


def check_target(target: Path, job: StyleJob) -> None:
    from impasto.imaging.formats import check_output

    check_output(target, [Path(name) for name in job.input_files])


def work(job: StyleJob, target: Path, report: Path | None, resume: Path | None, as_json: bool, quiet: bool) -> int:
    """Run the job, write what came of it, and say so."""
    result = paint(job, target, report, resume, quiet or as_json)
    tell(result, target, report, as_json, quiet)
    return INTERRUPTED if result.stopped_by == "interrupted" else 0


def work_variations(job: StyleJob, count: int, target: Path, report: Path | None, as_json: bool, quiet: bool) -> int:
    """Run the job with one seed after another; write the pictures and one that shows all."""
    if report:
        raise JobError("--variations are several runs, and a report is of one: leave out --report and --resume.")
    files = [target.with_stem(f"{target.stem}-{number}") for number in range(1, count + 1)]
    for file in (target, *files):
        check_target(file, job)
    results: list[Result] = []
    for varied, file in zip(job.variations(count), files, strict=True):
        results.append(paint(varied, file, None, None, quiet or as_json))
        if results[-1].stopped_by == "interrupted":
            break
    # numpy is imported from here on.
    from impasto.sheet import contact_sheet

    contact_sheet([result.picture for result in results]).save(target)
    if as_json:
        parts = [{"output": str(file), **result.facts()} for result, file in zip(results, files, strict=False)]
        click.echo(json.dumps({"output": str(target), "variations": parts}))
    elif not quiet:
        click.echo(f"{target}: shows {', '.join(str(file) for file in files[: len(results)])}.")
    return INTERRUPTED if results[-1].stopped_by == "interrupted" else 0


def paint(job: StyleJob, target: Path, report: Path | None, resume: Path | None, silent: bool) -> Result:
    """Run the job and write what came of it."""
    interruption = Interruption()
    # torch is imported from here on: what was asked for is known to make sense.
    from impasto.cli.progress import progress
    from impasto.imaging.formats import check_output
    from impasto.report import CHECKPOINT, Report
    from impasto.run import prepare_run

    prepared = prepare_run(job)
    for note in prepared.notes:
        click.echo(f"impasto: {note}", err=True)
    check_output(target, [], alpha=prepared.sources.photo.alpha is not None, size_hw=prepared.sources.size)
    folder = Report(report, job) if report else None
    snapshot = prepared.snapshot(resume / CHECKPOINT) if resume else None
    with progress(silent) as shown:
        listeners: list[Listener] = [interruption, shown, *([folder] if folder else [])]
        result = prepared.run(listeners, snapshot)
    result.save(target)
    if folder:
        folder.finish(result)
    return result


def tell_plan(job: StyleJob, as_json: bool) -> int:
    """What the run would do and take; nothing is written."""
    from impasto.hardware import in_words
    from impasto.run import prepare_run

    plan = prepare_run(job).plan
    if plan is None:
        click.echo(json.dumps({"engine": "fast"}) if as_json else "One pass of the fast engine.")
        return 0
    if as_json:
        click.echo(json.dumps(plan.facts()))
        return 0
    for planned in plan.stages:
        stage = planned.stage
        size = f"{stage.scale.width}x{stage.scale.height}"
        tiles = f"{planned.tiles} tiles of {stage.tile_px} px" if stage.tile_px else "whole"
        if stage.kept_in:
            tiles += f", kept in {stage.kept_in}"
        seconds = f"{planned.seconds:.0f} s" if planned.seconds is not None else "time unknown"
        click.echo(
            f"{size}: {stage.scale.iterations} iterations of {stage.optimizer}, {tiles}, "
            f"{in_words(planned.peak_bytes)}, {seconds}"
        )
    known = f"about {plan.seconds:.0f} s" if plan.seconds is not None else "time unknown until 'impasto doctor' has run"
    click.echo(f"In all {known}, at most {in_words(plan.peak_bytes)} of the {in_words(plan.budget_bytes)} allowed.")
    return 0


class Interruption:
    """Ctrl-C and SIGTERM: before the first step they end the program, after it the run, which keeps its picture.

    A second one does not wait for the iteration to end.
    """

    def __init__(self) -> None:
        self.running = self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.running or self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __call__(self, _step: Step) -> str | None:
        self.running = True
        return "interrupted" if self.requested else None


def tell(result: Result, target: Path, report: Path | None, as_json: bool, quiet: bool) -> None:
    """The last words: one JSON line, or a sentence."""
    if as_json:
        click.echo(json.dumps({"output": str(target), **result.facts()}))
    elif not quiet:
        click.echo(f"{target}: {result.summary}.")
        if report:
            click.echo(f"{report / 'index.html'}: loss curves, frames, history.csv and job.json.")
    if result.stopped_by == "interrupted":
        again = (
            f" Go on with: impasto --resume {shlex.quote(str(report))} -o {shlex.quote(str(target))}" if report else ""
        )
        click.echo(f"impasto: Interrupted; the best picture so far is in {target}.{again}", err=True)
