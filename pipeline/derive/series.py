"""One raw variable through all raw files: which file holds which time, and reading any times of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError, shorten
from pipeline.raw.grid import Grid
from pipeline.raw.memory import blank
from pipeline.raw.reader import RawFile, Values, read, scan_members
from pipeline.raw.times import Seconds
from pipeline.raw.variables import RAW

Key = tuple[str, float | None]
"""A variable and its pressure level in hPa, ``None`` for one without levels."""


def name_of(key: Key) -> str:
    """Return the name of a variable at a level for messages: ``msl``, ``z at 500 hPa``."""
    return key[0] if key[1] is None else f"{key[0]} at {key[1]:g} hPa"


@dataclass(frozen=True)
class Series:
    """All times of one variable: ``seconds`` ascending; for each the number of its file and its position there."""

    key: Key
    files: tuple[RawFile, ...]
    seconds: Seconds
    number: Seconds
    position: Seconds

    def _find(self, seconds: Seconds) -> tuple[Seconds, Seconds]:
        """Return the rows of ``seconds`` that exist, and where in this series they are."""
        places = np.minimum(np.searchsorted(self.seconds, seconds), len(self.seconds) - 1)
        rows = np.flatnonzero(self.seconds[places] == seconds)
        return rows, places[rows]

    def paths(self, seconds: Seconds) -> set[Path]:
        """Return the files that hold any of ``seconds``."""
        _, places = self._find(seconds)
        return {self.files[number].path for number in np.unique(self.number[places]).tolist()}

    def stretches(self, seconds: Seconds) -> Seconds:
        """Return for each of ``seconds`` a number that those share which are compressed as one; −1: by itself."""
        rows, places = self._find(seconds)
        lengths = np.array([file.layout.held[self.key[0]].stretch for file in self.files])[self.number[places]]
        found = np.full(len(seconds), -1, np.int64)
        found[rows] = np.where(lengths, self.position[places] // np.maximum(lengths, 1) * len(self.files), -1)
        found[rows] += np.where(lengths, self.number[places], 0)
        return found

    def read(self, seconds: Seconds) -> Values:
        """Return the variable at ``seconds`` (ascending): time × latitude × longitude, NaN where a time is absent."""
        rows, places = self._find(seconds)
        numbers = np.unique(self.number[places]).tolist()
        if len(numbers) == 1 and len(rows) == len(seconds):
            return read(self.files[numbers[0]], *self.key, self.position[places])
        values = blank((len(seconds), *self.files[0].layout.grid.shape))
        if len(rows) < len(seconds):
            values[...] = np.nan
        for number in numbers:
            here = self.number[places] == number
            values[rows[here]] = read(self.files[number], *self.key, self.position[places[here]])
        return values


@dataclass(frozen=True)
class Archive:
    """All series that the recipes need, on one grid."""

    series: dict[Key, Series]
    grid: Grid


def open_archive(paths: Sequence[Path], keys: Iterable[Key]) -> Archive:
    """Read the headers of ``paths`` and line up the variables ``keys`` in time.

    Raises:
        InputError: a file is broken, a variable is nowhere, grids differ, or two files hold the same time.
    """
    wanted = list(dict.fromkeys(keys))
    names = list(dict.fromkeys(name for name, _ in wanted))
    files: list[RawFile] = []
    contents: dict[Path, tuple[str, ...]] = {}
    for path in paths:
        found, contents[path] = scan_members(path, names)
        files += found
    series = {key: _line_up(key, files, contents) for key in wanted}
    _check_grids(files)
    return Archive(series, min(files, key=lambda file: int(file.layout.seconds[0])).layout.grid)


def _line_up(key: Key, files: list[RawFile], contents: dict[Path, tuple[str, ...]]) -> Series:
    variable, level = key
    holders = [file for file in files if variable in file.layout.held]
    if not holders:
        there = shorten(f"{', '.join(names) or 'nothing'} in {path.name}" for path, names in contents.items())
        long_name = RAW[variable].long_name
        raise InputError(f"derive.raw: no file holds {variable} ({long_name}); there is {there}; add the files with it")
    at_level = tuple(file for file in holders if _has_level(file, key))
    if not at_level:
        levels = sorted({value for file in holders for value in file.layout.held[variable].levels})
        raise InputError(
            f"derive.raw: {variable} is not there at {level:g} hPa, only at {shorten(f'{v:g}' for v in levels)} "
            f"(in {shorten(file.path.name for file in holders)}); add the files with that level"
        )
    seconds = np.concatenate([file.layout.seconds for file in at_level])
    number = np.repeat(np.arange(len(at_level)), [len(file.layout.seconds) for file in at_level])
    position = np.concatenate([np.arange(len(file.layout.seconds)) for file in at_level])
    order = np.argsort(seconds, kind="stable")
    result = Series(key, at_level, seconds[order], number[order], position[order])
    _check_once(result)
    return result


def _has_level(file: RawFile, key: Key) -> bool:
    variable, level = key
    return level is None or any(abs(level - found) < 0.01 for found in file.layout.held[variable].levels)


def _check_once(series: Series) -> None:
    twice = np.flatnonzero(np.diff(series.seconds) == 0)
    if len(twice):
        first, second = (series.files[int(series.number[twice[0] + more])] for more in (0, 1))
        when = np.datetime64(int(series.seconds[twice[0]]), "s")
        raise InputError(
            f"{second}: holds {name_of(series.key)} at {when} UTC, and so does {first} ({len(twice)} times in all are "
            "in two files); remove one of the files from derive.raw"
        )


def _check_grids(files: list[RawFile]) -> None:
    first = files[0]
    for file in files[1:]:
        if not file.layout.grid.same(first.layout.grid):
            raise InputError(
                f"{file}: its grid has {file.layout.grid.describe()}, but that of {first} has "
                f"{first.layout.grid.describe()}; all raw files must share one grid"
            )
