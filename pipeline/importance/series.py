"""The series of an analysis: rows in order of time, their columns, and the classes that the files themselves hold."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import zone
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.sheet import NO_LABEL, Sheet, read_sheet

Floats = NDArray[np.float64]
DATASET = "dataset_id"
_STEM = re.compile(r"(?P<dataset>.+?)_(?P<timeframe>\d+(?:min|mo|[smhdwMHDW]))(?:_\d{12})?")


@dataclass(frozen=True)
class Series:
    """The rows of one data set, in order of time, each time once."""

    name: str
    time: NDArray[np.int64]
    """Microseconds of UTC."""
    columns: dict[str, Floats]
    """NaN where a cell was empty."""
    classes: tuple[str, ...] = ()
    """Of each row, where ``labels.column`` is a column of the files; empty text where there is none."""


def data_paths(config: ImportanceConfig, home: Path) -> list[Path]:
    """Return the data files; relative paths start from ``home``.

    Raises:
        InputError: no file matches a pattern.
    """
    found: dict[Path, None] = {}
    for text in config.data.files:
        matches = sorted(glob.glob(str(home / text))) if glob.has_magic(text) else [str(home / text)]
        if not matches:
            raise InputError(f"data.files: {text}: no file matches this pattern")
        found |= dict.fromkeys(Path(match) for match in matches)
    return list(found)


def read_series(config: ImportanceConfig, home: Path) -> list[Series]:
    """Read the data files, one series for each ``dataset_id``, else for each data set in a file's name.

    Raises:
        InputError: a file, column, time or number is not as it must be (its line is named).
    """
    parts: dict[str, list[Series]] = {}
    paths = data_paths(config, home)
    for path, name in zip(paths, _names(paths), strict=True):
        for part in _read(read_sheet(path, "data.files"), config, name):
            parts.setdefault(part.name, []).append(part)
    first = next(iter(parts.values()))[0]
    for part in (part for group in parts.values() for part in group):
        if set(part.columns) != set(first.columns):
            differ = sorted(set(part.columns) ^ set(first.columns))
            raise InputError(f"data.files: not all files have the columns {shorten(differ)}; name those of all in raw")
    return [_joined(group) for group in parts.values()]


def _names(paths: list[Path]) -> list[str]:
    """Return the data set that each file is named after, with the timeframe where a data set has several."""
    found = [_STEM.fullmatch(path.stem) for path in paths]
    frames: dict[str, set[str]] = {}
    for stem in found:
        if stem:
            frames.setdefault(stem["dataset"], set()).add(stem["timeframe"])
    return [
        path.stem
        if stem is None
        else stem["dataset"] + (f"_{stem['timeframe']}" if len(frames[stem["dataset"]]) > 1 else "")
        for path, stem in zip(paths, found, strict=True)
    ]


def _read(sheet: Sheet, config: ImportanceConfig, name: str) -> list[Series]:
    column = sheet.time_column(config.data.time_column, "data.time_column")
    time = sheet.times(column, zone(config.data.timezone, "data.timezone"))
    label = "" if config.labels.file else config.labels.column
    if label:
        sheet.need([label], "labels.column")
    names = _wanted(sheet, config, {column, DATASET, label})
    columns = {name: sheet.numbers(name) for name in names}
    classes = tuple("" if text.lower() in NO_LABEL else text for text in sheet.column(label)) if label else ()
    owners = np.array(sheet.column(DATASET) if DATASET in sheet.header else [name] * len(time), np.str_)
    return [
        Series(
            str(owner),
            time[owners == owner],
            {name: values[owners == owner] for name, values in columns.items()},
            tuple(text for text, own in zip(classes, owners == owner, strict=True) if own) if label else (),
        )
        for owner in dict.fromkeys(owners.tolist())
    ]


def _wanted(sheet: Sheet, config: ImportanceConfig, taken: set[str]) -> list[str]:
    """Return the columns to read: those that are named, or all that are left."""
    features, rule = config.features, config.labels.rule
    if features.raw is None:
        return [name for name in sheet.header if name and name not in taken]
    sheet.need(features.raw, "features.raw")
    prices = (features.open, features.high, features.low, features.close, features.volume)
    derived = [name for family in features.indicators if family[1] for name in getattr(family[1], "columns", [])]
    sheet.need(derived, "features.indicators")
    if rule is not None:
        sheet.need([rule.column], "labels.rule.column")
    wanted = [*features.raw, *derived, *([rule.column] if rule else []), *(p for p in prices if p in sheet.header)]
    return [name for name in dict.fromkeys(wanted) if name not in taken]


def _joined(parts: list[Series]) -> Series:
    """Put the rows of all files of a data set in order of time; rows that are there twice alike count once."""
    time = np.concatenate([part.time for part in parts])
    order = np.argsort(time, kind="stable")
    if (np.diff(time) < 0).any():
        logs.log.info("%s: rows are not in order of time; sorted", parts[0].name)
    columns = {name: np.concatenate([part.columns[name] for part in parts])[order] for name in parts[0].columns}
    classes = [text for part in parts for text in part.classes]
    texts = np.array([classes[row] for row in order] if classes else [""] * len(time), np.str_)
    time = time[order]
    twice = np.flatnonzero(np.diff(time) == 0)
    for row in twice.tolist():
        same = all(np.array_equal(values[row], values[row + 1], equal_nan=True) for values in columns.values())
        if not same or texts[row] != texts[row + 1]:
            moment = np.datetime64(int(time[row]), "us").astype("datetime64[s]")
            raise InputError(
                f"data.files: {parts[0].name}: two rows of {moment}Z with different values; keep one, or add a column "
                f"{DATASET} if they are of different data sets"
            )
    keep = np.append(True, np.diff(time) > 0)
    kept = tuple(texts[keep].tolist()) if classes else ()
    return Series(parts[0].name, time[keep], {name: values[keep] for name, values in columns.items()}, kept)
