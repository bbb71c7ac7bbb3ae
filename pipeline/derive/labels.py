"""Labels of local days from CSV files, kept as the text that stands there (``NA`` is a label, not a missing value)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import event
from pipeline.derive.config import LabelFile

_DATES = (
    re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})"),
    re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})"),
    re.compile(r"(\d{4})(\d\d)(\d\d)"),
)


def read_labels(paths: Sequence[Path], columns: LabelFile) -> dict[str, str]:
    """Return ``{YYYY-MM-DD: label}`` of all files; blanks around a label are cut off, an empty label is no label.

    Raises:
        InputError: with file and line: a column is missing, a date cannot be read, or a day has two labels.
    """
    labels: dict[str, str] = {}
    places: dict[str, str] = {}
    for path in paths:
        for place, day, label in _rows(path, columns):
            if labels.get(day, label) != label:
                raise InputError(f"{place}: {day} has label {label!r}, but {labels[day]!r} in {places[day]}; keep one")
            labels[day], places[day] = label, place
    if paths and not labels:
        raise InputError(f"{shorten(paths)}: holds no label at all; check derive.labels")
    return labels


def report_labels(labels: dict[str, str], dates: Sequence[str]) -> dict[str, int]:
    """Log and return how labels and days match.

    Raises:
        InputError: there are labels, but for none of ``dates``.
    """
    if not labels:
        return {}
    days = set(dates)
    matched = len(days & labels.keys())
    if matched == 0:
        raise InputError(
            f"derive.labels.files: no label for any day of the data: labels {min(labels)} … {max(labels)}, "
            f"data {min(days)} … {max(days)}; add label or raw files of the same days"
        )
    counts = {"labelled": matched, "unlabelled": len(days) - matched, "outside": len(labels) - matched}
    event(
        f"labels for {matched} of {len(days)} days; {counts['outside']} labels are of days that the data do not have",
        **counts,
    )
    return counts


def _rows(path: Path, columns: LabelFile) -> Iterator[tuple[str, str, str]]:
    """Yield ``file:line``, the day and the label of each line that has one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            yield from _parse(csv.reader(stream), path, columns)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(reader: Iterator[list[str]], path: Path, columns: LabelFile) -> Iterator[tuple[str, str, str]]:
    header: list[str] | None = None
    for row in reader:
        place = f"{path}:{getattr(reader, 'line_num', 0)}"
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if header is None:
            header = cells
            at = _column(header, columns.date_column, "date_column", place)
            of = _column(header, columns.label_column, "label_column", place)
            continue
        if len(cells) <= max(at, of):
            raise InputError(f"{place}: {len(cells)} columns, the header has {len(header)}; complete the line")
        if "\0" in cells[of]:
            raise InputError(f"{place}: holds a NUL character; save it as CSV in UTF-8")
        if cells[of]:
            yield place, _day(cells[at], place), cells[of]


def _column(header: list[str], name: str, setting: str, place: str) -> int:
    if name not in header:
        joined = len(header) == 1 and any(sign in header[0] for sign in ";\t")
        raise InputError(
            f"{place}: no column {name!r} (derive.labels.{setting}){near(name, header)} There are {shorten(header, 20)}"
            f"{'; separate columns with commas' if joined else ''}"
        )
    return header.index(name)


def _day(text: str, place: str) -> str:
    for form in _DATES:
        if found := form.fullmatch(text):
            with suppress(ValueError):
                return date(*map(int, found.groups())).isoformat()
    raise InputError(f"{place}: {text!r} is not a date; write it as YYYY-MM-DD")
