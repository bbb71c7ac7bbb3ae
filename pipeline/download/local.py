"""Source ``local``: files that are there already, opened, read to the last value and entered, not copied or changed."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import sha256
from pipeline.core.errors import InputError, shorten
from pipeline.download.check import GRIB, check_installed
from pipeline.download.grib import check_messages, is_preliminary_grib
from pipeline.download.survey import Target, find, is_preliminary, look, look_grib
from pipeline.raw.reader import opened
from pipeline.raw.variables import RAW

Entry = dict[str, Any]
"""What the manifest says of a file: bytes, sha256, preliminary, variables, first, last, missing_share."""


@dataclass(frozen=True)
class _File:
    """A file and the known variables in it."""

    path: Path
    targets: dict[str, Target]


def register(patterns: Sequence[str], home: Path, known: Mapping[str, Entry] | None = None) -> dict[str, Entry]:
    """Check the files that ``patterns`` (files or globs, relative to ``home``) name; return entries by absolute name.

    Every file is opened, its layout found, all its known variables read: units understood, times ascending, values
    finite and plausible. All files must be on one grid, and no variable at a level and a time may be in two of them.
    A file of ``known`` (earlier entries) with the same checksum is not read again.

    Raises:
        InputError: a pattern without a file, or a file that fails; the message names it.
    """
    files = [_file(path) for path in _expand(patterns, home)]
    _check_grids(files)
    _check_overlaps(files)
    return {str(file.path): _entry(file, (known or {}).get(str(file.path))) for file in files}


def _expand(patterns: Iterable[str], home: Path) -> list[Path]:
    """Return the absolute paths of all files, each once, in order of their names."""
    found: set[Path] = set()
    for pattern in patterns:
        # Links are kept: the name that the user gave is the one that the manifest shows.
        names = glob.glob(str(home.absolute() / Path(pattern).expanduser()), recursive=True)
        paths = {Path(name) for name in names if Path(name).is_file()}
        if not paths:
            raise InputError(f"{pattern}: no such file (looked for in {home.absolute()}); correct download.files")
        found |= paths
    return sorted(found)


def _file(path: Path) -> _File:
    magic = _magic(path)
    check_installed(path, magic)
    if magic == GRIB:
        check_messages(path)
    targets, names = find(path, tuple(RAW))
    if not targets:
        raise InputError(
            f"{path}: holds no variable that is known here, but {shorten(names, 10)}; known are {shorten(RAW, 30)}"
        )
    return _File(path, targets)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _check_grids(files: Sequence[_File]) -> None:
    grid = next(iter(files[0].targets.values())).grid
    for file in files:
        for target in file.targets.values():
            if not target.grid.same(grid):
                raise InputError(
                    f"{file.path}: is on {target.grid.describe()}, while {files[0].path} is on {grid.describe()}; "
                    "register one grid at a time"
                )


def _check_overlaps(files: Sequence[_File]) -> None:
    """Check that no variable × level × time is in two files."""
    parts: dict[tuple[str, float | None], list[tuple[_File, NDArray[np.int64]]]] = {}
    for file in files:
        for key, target in file.targets.items():
            levels: Sequence[float | None] = target.levels or (None,)
            for level in levels:
                parts.setdefault((key, level), []).append((file, target.seconds))
    for (key, level), pieces in parts.items():
        if len(pieces) > 1:
            _check_once(f"{key} at {level:g} hPa" if level is not None else key, pieces)


def _check_once(what: str, pieces: Sequence[tuple[_File, NDArray[np.int64]]]) -> None:
    seconds = np.concatenate([times for _, times in pieces])
    owner = np.repeat(np.arange(len(pieces)), [len(times) for _, times in pieces])
    order = np.argsort(seconds, kind="stable")
    twice = np.flatnonzero(np.diff(seconds[order]) == 0)
    if len(twice):
        one, other = (pieces[owner[order[twice[0] + step]]][0].path for step in (0, 1))
        when = np.datetime64(int(seconds[order[twice[0]]]), "s")
        raise InputError(
            f"{other}: {what} at {len(twice)} times, first {when} UTC, is in {one} as well; name one of them"
        )


def _entry(file: _File, known: Entry | None) -> Entry:
    digest = sha256(file.path)
    size = file.path.stat().st_size
    if known and (known.get("bytes"), known.get("sha256")) == (size, digest):
        return dict(known)
    if _magic(file.path) == GRIB:
        surveys = {key: look_grib(target, file.path) for key, target in file.targets.items()}
        preliminary = is_preliminary_grib(file.path)
    else:
        with opened(file.path) as data:
            surveys = {key: look(data, target, file.path) for key, target in file.targets.items()}
            preliminary = is_preliminary(data) or any(survey.preliminary for survey in surveys.values())
    ends = (min(t.seconds[0] for t in file.targets.values()), max(t.seconds[-1] for t in file.targets.values()))
    first, last = (str(np.datetime64(int(seconds), "s")) for seconds in ends)
    return {
        "bytes": size,
        "sha256": digest,
        "preliminary": preliminary,
        "variables": sorted(surveys),
        "first": first,
        "last": last,
        "missing_share": {key: survey.missing_share for key, survey in sorted(surveys.items())},
    }
