"""One CSV file: its cells as text, its times and its numbers, with the line that is wrong named."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import read_time, to_utc

TIMES = ("timestamp", "datetime", "date", "time")
MISSING = ("", "na", "n/a", "nan", "null", "none")
"""Cells that say that nothing is known, in lower case."""
NO_LABEL = ("", "nan", "null", "none")
"""Cells without a label, in lower case; ``NA`` may be one."""
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Sheet:
    """The cells of a CSV file, stripped, row by row; empty lines are left out."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]
    cells: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column that is in the header."""
        place = self.header.index(name)
        return [row[place] for row in self.cells]

    def need(self, names: Sequence[str], setting: str) -> None:
        """Check that columns are there.

        Raises:
            InputError: one is not.
        """
        absent = [name for name in names if name not in self.header]
        if absent:
            raise InputError(
                f"{setting}: {shorten(absent)} not in {self.path}{near(absent[0], self.header)} Its columns: "
                f"{shorten(self.header, 20)}"
            )

    def time_column(self, wanted: str, setting: str) -> str:
        """Return the name of the time column: ``wanted``, or the first of the usual names.

        Raises:
            InputError: there is none.
        """
        names = (wanted,) if wanted else TIMES
        found = [name for name in names if name in self.header]
        if not found:
            raise InputError(
                f"{self.path}:1: no time column ({' or '.join(names)}); found {shorten(self.header, 10)}; set {setting}"
            )
        return found[0]

    def times(self, name: str, place: ZoneInfo) -> NDArray[np.int64]:
        """Return the times of a column as microseconds of UTC.

        Raises:
            InputError: a cell is not a time.
        """
        moments = np.empty(len(self.cells), np.int64)
        for row, text in enumerate(self.column(name)):
            time = read_time(text)
            if time is None:
                raise InputError(
                    f"{self.path}:{self.lines[row]}: time {text!r}; expected a date and time such as 2024-01-31 09:15"
                )
            moments[row] = microseconds(time, place)
        return moments

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return the numbers of a column, NaN where a cell is empty.

        Raises:
            InputError: a cell is not a finite number.
        """
        texts = self.column(name)
        values = np.array([np.nan if text.lower() in MISSING else _number(text) for text in texts], np.float64)
        wrong = [row for row in np.flatnonzero(~np.isfinite(values)) if texts[row].lower() not in MISSING]
        if wrong:
            raise InputError(
                f"{self.path}:{self.lines[wrong[0]]}: {name} is {texts[wrong[0]]!r}, not a finite number; leave the "
                "cell empty if missing"
            )
        return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")  # told apart from NaN by the caller, and reported with its line


def read_sheet(path: Path, setting: str) -> Sheet:
    """Read a CSV file in UTF-8; ``,``, ``;`` and tab are known as separators, by the header.

    Raises:
        InputError: it cannot be read, has no header, no rows or a column twice, or a row is longer or shorter.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(",;\t", key=first.count))
            header = tuple(name.strip() for name in next(reader, []))
            rows = [(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader if any(cells)]
    except FileNotFoundError:
        raise InputError(f"{setting}: {path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{setting}: {path}: cannot be read as CSV in UTF-8 ({error})") from None
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated or not any(header):
        raise InputError(f"{path}:1: {f'column {repeated[0]!r} occurs twice' if repeated else 'no header'}")
    for line, cells in rows:
        if len(cells) != len(header):
            raise InputError(f"{path}:{line}: {len(cells)} cells, the header has {len(header)}")
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return Sheet(path, header, tuple(line for line, _ in rows), tuple(cells for _, cells in rows))


def microseconds(time: datetime, place: ZoneInfo) -> int:
    """Return a moment as microseconds of UTC since 1970; a time without a zone is one of ``place``."""
    step = to_utc(time, place) - _EPOCH
    return (step.days * 86400 + step.seconds) * 1_000_000 + step.microseconds
