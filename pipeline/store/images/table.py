"""A CSV list of images: ``file,label`` and, where known, ``time``, ``group`` and ``split``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.contract.store import SPLITS
from pipeline.core.choose import near
from pipeline.core.errors import InputError
from pipeline.core.times import read_time, to_utc, zone
from pipeline.store.images.pictures import SUFFIXES, Picture
from pipeline.store.sections.images import ImagesConfig

_KNOWN = ("file", "label", "time", "group", "split")
_NEEDED = ("file", "label")


def read_table(config: ImagesConfig, home: Path) -> list[Picture]:
    """Read the list ``store.images.table``; files in it are relative to its folder.

    Raises:
        InputError: the list cannot be read, a column is missing or unknown, or a row is wrong (its line is named).
    """
    path = home / config.table
    place = zone(config.timezone, "store.images.timezone")
    pictures, lines = list[Picture](), dict[str, int]()
    rows = csv_rows(path, "store.images.table")
    _, header = next(rows)
    _check_header(path, header)
    for line, cells in rows:
        picture = _picture(path, line, dict(zip(header, cells, strict=True)), place)
        if picture.id in lines:
            raise InputError(f"{path}:{line}: {picture.id} is listed in line {lines[picture.id]} already; keep one")
        lines[picture.id] = line
        pictures.append(picture)
    if not pictures:
        raise InputError(f"{path}: lists no image")
    for column in ("time", "split"):
        filled = [getattr(picture, column) not in (None, "") for picture in pictures]
        if any(filled) and not all(filled):
            line = list(lines.values())[filled.index(False)]
            raise InputError(f"{path}:{line}: no {column}, though other rows have one; give all of them or none")
    return pictures


def csv_rows(path: Path, setting: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row of a CSV file, the header first.

    Cells are stripped, empty lines are left out; ``,``, ``;`` and tab are known as separators, by the header.

    Raises:
        InputError: the file cannot be read, has no header or a column twice, or a row is longer or shorter than it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(",;\t", key=first.count))
            header = [name.strip() for name in next(reader, [])]
            _check_names(path, header)
            yield 1, header
            for cells in reader:
                if len(cells) == len(header):
                    yield reader.line_num, [cell.strip() for cell in cells]
                elif any(cell.strip() for cell in cells):
                    raise InputError(f"{path}:{reader.line_num}: {len(cells)} cells, the header has {len(header)}")
    except FileNotFoundError:
        raise InputError(f"{setting}: {path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{setting}: {path}: cannot be read as CSV in UTF-8 ({error})") from None


def _check_names(path: Path, header: Sequence[str]) -> None:
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated or not any(header):
        raise InputError(f"{path}:1: {f'column {repeated[0]!r} occurs twice' if repeated else 'no header'}")


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            raise InputError(f"{path}:1: no column {name!r}{near(name, header)} Expected file,label[,time][,group]")
    unknown = [name for name in header if name not in _KNOWN]
    if unknown:
        hint = near(unknown[0], _KNOWN)
        raise InputError(f"{path}:1: unknown column {unknown[0]!r}{hint} Known: {', '.join(_KNOWN)}")


def _picture(table: Path, line: int, row: dict[str, str], place: ZoneInfo) -> Picture:
    path = Path(os.path.abspath(table.parent / row["file"]))
    if not row["file"] or not path.is_file():
        raise InputError(f"{table}:{line}: {row['file'] or 'empty file name'}: no such file (looked for {path})")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{table}:{line}: {row['file']}: not an image file; they end in {', '.join(SUFFIXES)}")
    if not row["label"]:
        raise InputError(f"{table}:{line}: {row['file']}: no label")
    split = row.get("split", "")
    if split not in ("", *SPLITS):
        raise InputError(f"{table}:{line}: split {split!r}; allowed: {', '.join(SPLITS)}")
    local = _time(table, line, row.get("time", ""))
    return Picture(
        path=path,
        id=Path(os.path.relpath(path, table.parent)).as_posix(),
        label=row["label"],
        split=split,
        group=row.get("group", ""),
        time=None if local is None else to_utc(local, place),
        local=None if local is None else local.replace(tzinfo=None),
    )


def _time(table: Path, line: int, text: str) -> datetime | None:
    if not text:
        return None
    time = read_time(text)
    if time is None:
        raise InputError(f"{table}:{line}: time {text!r}; expected a date and time such as 2024-01-31 09:15")
    return time
