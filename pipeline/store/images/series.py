"""Numeric series from CSV files: rows in order of time for each data set, checked cell by cell."""

from __future__ import annotations

import glob
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import read_time, to_utc, zone
from pipeline.store.images.table import csv_rows
from pipeline.store.sections.series import SeriesConfig

Floats = NDArray[np.float64]
_TIMES = ("timestamp", "datetime", "date", "time")
_DATASET = "dataset_id"
_MISSING = ("", "na", "n/a", "nan", "null", "none")
_STEM = re.compile(r"(?:fix_labeled_data_)?(?P<dataset>.+?)_(?P<timeframe>\d+(?:min|mo|[smhdwMHDW]))(?:_\d{12})?")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Bars:
    """The rows of one series in order of time, R × F; NaN where a cell was empty."""

    time: NDArray[np.int64]
    """Microseconds of UTC, ascending, each once."""
    values: Floats


@dataclass(frozen=True)
class Series:
    """The series of each data set; one object may serve several of them."""

    features: tuple[str, ...]
    of: dict[str, Bars]
    files: tuple[Path, ...]


class _Rows(NamedTuple):
    """Rows of one file for one data set, as they lie there."""

    path: Path
    time: NDArray[np.int64]
    values: Floats
    lines: NDArray[np.int64]


def microseconds(time: datetime) -> int:
    """Return a moment in UTC (without a zone) as microseconds since 1970."""
    step = time - _EPOCH
    return (step.days * 86400 + step.seconds) * 1_000_000 + step.microseconds


def read_series(config: SeriesConfig, home: Path, groups: Sequence[str]) -> Series:
    """Read the files of ``store.series`` for the data sets ``groups``; relative paths start from ``home``.

    Raises:
        InputError: a file, column, time or number is not as it must be (its line is named), times occur twice with
            different values, or it is not known which data set a file belongs to.
    """
    paths = _paths(config, home)
    features = tuple(config.feature_columns) or _all_features(paths[0], config)
    parts: dict[str, list[_Rows]] = {}
    for path, owner in _owners(paths, config, groups):
        for name, rows in _read(path, config, features).items():
            parts.setdefault(owner if name is None else name, []).append(rows)
    shared = _joined(parts.pop("*")) if "*" in parts else None
    joined = {group: _joined(parts[group]) for group in groups if group in parts}
    if shared is not None:
        return Series(features, {group: joined.get(group, shared) for group in groups}, tuple(paths))
    absent = [group for group in groups if group not in parts]
    if absent:
        raise InputError(
            f"store.series.files: no rows for data set {shorten(absent)}; {_DATASET} and file names give "
            f"{shorten(sorted(parts), 10) or 'none'}{near(absent[0], parts)} Set store.series.shared: true if one "
            "series serves all"
        )
    other = sorted(set(parts) - set(groups))
    if other:
        logs.log.info("series: rows of %s belong to no image and are left out", shorten(other))
    return Series(features, joined, tuple(paths))


def _paths(config: SeriesConfig, home: Path) -> list[Path]:
    found: dict[Path, None] = {}
    for text in config.files:
        matches = sorted(glob.glob(str(home / text))) if glob.has_magic(text) else [str(home / text)]
        if not matches:
            raise InputError(f"store.series.files: {text}: no file matches this pattern")
        found |= dict.fromkeys(Path(match) for match in matches)
    return list(found)


def _owners(paths: Sequence[Path], config: SeriesConfig, groups: Sequence[str]) -> list[tuple[Path, str]]:
    """Return, for each file without ``dataset_id``, whose rows it holds (``*``: everybody's)."""
    with_ids = [path for path in paths if _DATASET in _header(path)]
    plain = [path for path in paths if path not in with_ids]
    owners = [(path, "") for path in with_ids]
    if config.shared or not plain:
        return owners + [(path, "*") for path in plain]
    named = {path: _owner_by_name(path.stem, groups) for path in plain}
    if any(named.values()):
        strange = [path.name for path, owner in named.items() if not owner]
        if strange:
            logs.log.warning("series: %s is of none of the data sets of the images and is left out", shorten(strange))
        return owners + [(path, owner) for path, owner in named.items() if owner]
    if len(groups) == 1:
        return owners + [(path, groups[0]) for path in plain]
    raise InputError(
        f"store.series.files: {plain[0]}: no column {_DATASET} and no data set in its name, though the images are of "
        f"{shorten(groups)}; name it {{dataset}}_{{timeframe}}.csv, add the column, or set store.series.shared: true"
    )


def _owner_by_name(stem: str, groups: Sequence[str]) -> str:
    found = _STEM.fullmatch(stem)
    names = [f"{found['dataset']}_{found['timeframe']}", found["dataset"]] if found else [stem]
    return next((name for name in names if name in groups), "")


def _header(path: Path) -> list[str]:
    return next(csv_rows(path, "store.series.files"))[1]


def _time_column(path: Path, header: Sequence[str], config: SeriesConfig) -> str:
    wanted = (config.time_column,) if config.time_column else _TIMES
    found = [name for name in wanted if name in header]
    if not found:
        raise InputError(
            f"{path}:1: no time column ({' or '.join(wanted)}); found {shorten(header, 10)}; set "
            "store.series.time_column"
        )
    return found[0]


def _all_features(path: Path, config: SeriesConfig) -> tuple[str, ...]:
    header = _header(path)
    time = _time_column(path, header, config)
    features = tuple(name for name in header if name not in (time, _DATASET))
    if not features:
        raise InputError(f"{path}:1: no feature column beside {time}")
    return features


def _read(path: Path, config: SeriesConfig, features: Sequence[str]) -> dict[str | None, _Rows]:
    """Return the rows of one file by ``dataset_id`` (``None`` where there is no such column)."""
    rows = csv_rows(path, "store.series.files")
    _, header = next(rows)
    time = header.index(_time_column(path, header, config))
    absent = [name for name in features if name not in header]
    if absent:
        raise InputError(
            f"store.series.feature_columns: {shorten(absent)} not in {path}{near(absent[0], header)} Its columns: "
            f"{shorten(header, 20)}"
        )
    owner = header.index(_DATASET) if _DATASET in header else None
    places = [header.index(name) for name in features]
    lines, times, table, owners = list[int](), list[str](), list[list[str]](), list[str]()
    for line, cells in rows:
        lines.append(line)
        times.append(cells[time])
        table.append([cells[place] for place in places])
        owners.append("" if owner is None else cells[owner])
    if not table:
        raise InputError(f"{path}: no rows below the header")
    moments = _times(path, lines, times, zone(config.timezone, "store.series.timezone"))
    values = _numbers(path, lines, table, features)
    number = np.array(lines, np.int64)
    if owner is None:
        return {None: _Rows(path, moments, values, number)}
    ids = np.array(owners, np.str_)
    kept = {name: ids == name for name in dict.fromkeys(owners)}
    return {name: _Rows(path, moments[mask], values[mask], number[mask]) for name, mask in kept.items()}


def _times(path: Path, lines: Sequence[int], texts: list[str], place: ZoneInfo) -> NDArray[np.int64]:
    if place.key == "UTC" and all(text[:4].isdigit() and text[4:5] == "-" for text in texts):
        try:
            with warnings.catch_warnings():
                # numpy warns of a time with a zone; those are read one by one.
                warnings.simplefilter("error")
                return np.array(texts, "datetime64[us]").astype(np.int64)
        except (ValueError, Warning):
            logs.log.debug("%s: times are read one by one", path)
    moments = np.empty(len(texts), np.int64)
    for row, text in enumerate(texts):
        time = read_time(text)
        if time is None:
            raise InputError(f"{path}:{lines[row]}: time {text!r}; expected a date and time such as 2024-01-31 09:15")
        moments[row] = microseconds(to_utc(time, place))
    return moments


def _numbers(path: Path, lines: Sequence[int], cells: list[list[str]], features: Sequence[str]) -> Floats:
    try:
        values = np.array(cells, np.float64)
    except ValueError:
        values = np.array([[_number(path, line, name, cell) for name, cell in zip(features, row, strict=True)]
                           for line, row in zip(lines, cells, strict=True)])  # fmt: skip
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, column = infinite[0].tolist()
        raise InputError(f"{path}:{lines[row]}: {features[column]} is {cells[row][column]!r}, not a finite number")
    return values


def _number(path: Path, line: int, name: str, cell: str) -> float:
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{path}:{line}: {name} is {cell!r}, not a number; leave the cell empty if missing") from None


def _joined(parts: Sequence[_Rows]) -> Bars:
    """Put the rows of all files in order of time; rows that are there twice alike count once."""
    time = np.concatenate([part.time for part in parts])
    values = np.concatenate([part.values for part in parts])
    if (np.diff(time) < 0).any():
        logs.log.info("series: %s: rows are not in order of time; sorted", shorten(part.path for part in parts))
    order = np.argsort(time, kind="stable")
    time, values = time[order], values[order]
    twice = np.flatnonzero(np.diff(time) == 0)
    differ = [row for row in twice.tolist() if not np.array_equal(values[row], values[row + 1], equal_nan=True)]
    if differ:
        origin = [f"{part.path}:{line}" for part in parts for line in part.lines.tolist()]
        row = differ[0]
        raise InputError(
            f"{origin[order[row]]} and {origin[order[row + 1]]}: the same time "
            f"({np.datetime64(int(time[row]), 'us').astype('datetime64[s]')}Z) with different values; keep one row, or "
            f"add a column {_DATASET} if they are of different data sets"
        )
    if len(twice):
        logs.log.info("series: %d rows occur twice with the same values and count once", len(twice))
        keep = np.append(True, np.diff(time) > 0)
        time, values = time[keep], values[keep]
    return Bars(time, values)


def describe(series: Series) -> Mapping[str, object]:
    """Return what the preflight says of the series: rows, first and last time, empty cells of each data set."""

    def stamp(moment: int) -> str:
        return str(np.datetime64(int(moment), "us").astype("datetime64[s]")) + "Z"

    return {
        group: {
            "rows": len(bars.time),
            "first": stamp(bars.time[0]),
            "last": stamp(bars.time[-1]),
            "empty_cells": int(np.isnan(bars.values).sum()),
        }
        for group, bars in series.of.items()
    }
