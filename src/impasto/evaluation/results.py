"""Which results are to be judged, and what each was made of.

A result is known by the job saved beside it (`NAME.png` and `NAME.job.json`), or is the report folder of a run; where
there is no job, photo and style have to be given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from impasto import report as report_folder
from impasto.errors import JobError, UserError
from impasto.imaging.formats import WRITE_SUFFIXES
from impasto.job import Style, StyleJob, parse_style
from impasto.picture import Picture
from impasto.run import Result

IN_MEMORY = "a picture in memory"


@dataclass(frozen=True)
class Found:
    """A result to be judged. picture, photo, styles: files, or pictures of any kind that `Picture.from_any` takes.

    pair: the names of its photo and styles, by which results of two settings are matched. backbone: whose features it
    was optimised against, the empty text where that is not known.
    """

    name: str
    picture: Any
    photo: Any
    styles: tuple[tuple[Any, float], ...]
    backbone: str = ""
    seconds: float | None = None
    peak_bytes: int | None = None

    @property
    def pair(self) -> str:
        return " + ".join(name_of(picture) for picture in (self.photo, *(style for style, _ in self.styles)))


def find_results(results: Any, photo: Any = None, style: Any = None) -> list[Found]:
    """Every result in files, folders and pictures, in the order given, those of a folder by name.

    photo, style: instead of what the jobs say, for all results; several styles as a list. UserError where there is no
    result, or a result's photo or style cannot be told or is not there.
    """
    given = Given(photo, styles_given(style))
    several = results if isinstance(results, list | tuple) else [results]
    found = [one for result in several for one in results_of(result, given)]
    if not found:
        raise UserError("No results were given: name a picture, or a folder of them.")
    return found


def left_out(results: Any, found: Sequence[Found]) -> list[str]:
    """Pictures in the folders that are not judged, having no job, and are no photo or style of those that are."""
    several = results if isinstance(results, list | tuple) else [results]
    known = [(one.picture, one.photo, *(style for style, _ in one.styles)) for one in found]
    used = {Path(picture).resolve() for pictures in known for picture in pictures if is_path(picture)}
    folders = [Path(result) for result in several if is_path(result) and Path(result).is_dir()]
    pictures = [file for folder in folders if not is_report(folder) for file in pictures_in(folder)]
    return [str(file) for file in pictures if file.resolve() not in used]


def pictures_in(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix.lower() in WRITE_SUFFIXES]


@dataclass(frozen=True)
class Given:
    """Photo and styles that stand for those of every job; None where the jobs say."""

    photo: Any
    styles: tuple[tuple[Any, float], ...] | None

    @property
    def complete(self) -> bool:
        return self.photo is not None and self.styles is not None


def styles_given(style: Any) -> tuple[tuple[Any, float], ...] | None:
    if style is None:
        return None
    styles = style if isinstance(style, list | tuple) else [style]
    described = [Style(**parse_style(os.fspath(one))) if is_path(one) else Style(file="") for one in styles]
    if not any(one.weight > 0 for one in described):
        raise JobError("All style weights are 0: give at least one style a weight above 0.")
    return tuple((known.file or one, known.weight) for known, one in zip(described, styles, strict=True))


def is_path(picture: Any) -> bool:
    return isinstance(picture, str | os.PathLike)


def name_of(picture: Any) -> str:
    return Path(picture).name if is_path(picture) else IN_MEMORY


def results_of(result: Any, given: Given) -> list[Found]:
    if isinstance(result, Result):
        known = from_job(result.job, given, Path(), result.job.photo or IN_MEMORY, result.picture)
        return [with_run(known, result.seconds, result.peak_bytes)]
    if not is_path(result):
        if not given.complete:
            raise UserError("A picture in memory does not tell what it was made of: give its photo and style.")
        return [Found(IN_MEMORY, result, given.photo, given.styles or ())]
    path = Path(result)
    if path.is_dir():
        return in_folder(path, given)
    if not path.is_file():
        raise UserError(f"There is no result {path}: check the path.")
    return [from_file(path, given, runs_beside(path))]


def in_folder(folder: Path, given: Given) -> list[Found]:
    """The pictures that have a job; else the reports; else, where photo and style are given, all pictures."""
    if is_report(folder):
        return [from_report(folder, given)]
    entries = sorted(folder.iterdir())
    pictures = pictures_in(folder)
    jobs = [file for file in entries if file.name.endswith(".job.json")]
    for job in jobs:
        if not any(job_of(picture) == job for picture in pictures):
            raise UserError(f"The picture of {job} is not beside it any more: move it there, or delete the job.")
    reports = [entry for entry in entries if is_report(entry)]
    if jobs:
        runs = runs_of(reports)
        return [from_file(picture, given, runs) for picture in pictures if job_of(picture) in jobs]
    if reports:
        return [from_report(report, given) for report in reports]
    if not given.complete or not pictures:
        lacking = "no picture" if not pictures else "no NAME.job.json, by which results tell their photo and style"
        raise UserError(
            f"There are no results in {folder}: it holds {lacking}. Name the folder that impasto wrote to, or give "
            "--photo and --style."
        )
    return [from_file(picture, given, {}) for picture in pictures]


def job_of(picture: Path) -> Path:
    """Where `Result.save` puts the job of a picture."""
    return picture.with_suffix(".job.json")


def is_report(folder: Path) -> bool:
    return (folder / report_folder.JOB).is_file() and (folder / report_folder.PICTURE).is_file()


def runs_beside(picture: Path) -> dict[str, Path]:
    return runs_of([entry for entry in sorted(picture.parent.iterdir()) if is_report(entry)])


def runs_of(reports: Sequence[Path]) -> dict[str, Path]:
    """Report folders by their jobs: a result with the same job is of that run."""
    return {StyleJob.load(report / report_folder.JOB).model_dump_json(): report for report in reports}


def from_file(picture: Path, given: Given, runs: dict[str, Path]) -> Found:
    saved = job_of(picture)
    if saved.is_file():
        job = StyleJob.load(saved)
        known = from_job(job, given, saved.parent, str(picture), picture)
        report = runs.get(job.model_dump_json())
        return with_run(known, *run_of(report)) if report else known
    if not given.complete:
        raise UserError(
            f"{picture} has no {saved.name} beside it that tells its photo and style: give --photo and --style."
        )
    return Found(str(picture), picture, given.photo, given.styles or ())


def from_report(report: Path, given: Given) -> Found:
    job = StyleJob.load(report / report_folder.JOB)
    return with_run(from_job(job, given, report, str(report), report / report_folder.PICTURE), *run_of(report))


def from_job(job: StyleJob, given: Given, folder: Path, name: str, picture: Picture | Path) -> Found:
    photo = given.photo if given.photo is not None else located(job.photo, folder, name, "photo")
    styles = given.styles
    if styles is None:
        if not job.styles:
            raise UserError(f"The job of {name} names no style: give it with --style.")
        styles = tuple((located(style.file, folder, name, "style"), style.weight) for style in job.styles)
    return Found(name, picture, photo, styles, job.backbone)


def located(file: str, folder: Path, name: str, what: str) -> Path:
    """A file that a job names: from where we are, as when it was run, or from the job's own folder."""
    if not file:
        raise UserError(f"The {what} of {name} was {IN_MEMORY}: give it with --{what}.")
    for path in (Path(file), folder / file):
        if path.is_file():
            return path
    raise UserError(f"The {what} {file} of {name} is not there any more: give it with --{what}.")


def run_of(report: Path) -> tuple[float | None, int | None]:
    """Seconds and peak memory that a report tells of its run."""
    file = report / report_folder.RUN
    if not file.is_file():
        return None, None
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        return float(run["seconds"]), int(run["peak_bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} does not tell of a run: delete it, or run the job again.") from error


def with_run(found: Found, seconds: float | None, peak_bytes: int | None) -> Found:
    return replace(found, seconds=seconds, peak_bytes=peak_bytes)
