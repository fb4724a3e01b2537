"""The log of a search: one row of CSV a trial and pair, written as soon as known; a search is gone on with from it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from impasto.errors import RunError, UserError

NUMBER_NAMES = ("content_tilt", "content_bend", "content_usual", "style_tilt", "style_bend", "style_usual")
COLUMNS = ("search", "trial", "photo", "style", *NUMBER_NAMES, "score", "content_weight", "off", "runs")


@dataclass(frozen=True)
class Row:
    """The score of a trial on a pair. search: digest of all that decides the search; trial: its name within it."""

    search: str
    trial: str
    photo: str
    style: str
    numbers: tuple[float, ...]
    score: float
    content_weight: float
    off: float
    runs: int

    def cells(self) -> list[str]:
        values = (*self.numbers, self.score, self.content_weight, self.off)
        return [self.search, self.trial, self.photo, self.style, *map(repr, values), str(self.runs)]

    @classmethod
    def of(cls, cells: list[str]) -> Row:
        search, trial, photo, style, *values, runs = cells
        *numbers, score, weight, off = map(float, values)
        return cls(search, trial, photo, style, tuple(numbers), score, weight, off, int(runs))


@dataclass
class Log:
    """Rows by trial and pair. UserError for a file that is no log, or one of another search."""

    file: Path
    search: str
    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file.exists():
            for row in read_rows(self.file):
                if row.search != self.search:
                    raise UserError(
                        f"{self.file} is the log of a search with other settings, network or pictures: name another "
                        "with --log, or delete it."
                    )
                self.rows[row.trial, row.photo, row.style] = row

    def find(self, trial: str, photo: str, style: str) -> Row | None:
        return self.rows.get((trial, photo, style))

    def add(self, row: Row) -> None:
        self.rows[row.trial, row.photo, row.style] = row
        try:
            new = not self.file.exists()
            with self.file.open("a", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([COLUMNS, row.cells()] if new else [row.cells()])
        except OSError as error:
            raise RunError(f"{self.file} could not be written ({error.strerror}): make room, then go on.") from error


def read_rows(file: Path) -> list[Row]:
    """A last row that an interrupted write left unfinished is dropped from the file."""
    text = file.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8", newline="")
    try:
        header, *lines = csv.reader(whole.splitlines())
        if tuple(header) != COLUMNS:
            raise ValueError
        return [Row.of(line) for line in lines]
    except (ValueError, IndexError, TypeError) as error:
        raise UserError(f"{file} is not the log of a search: name another with --log.") from error
