"""The days of the derived files: when, which label, which scalars, and where their fields lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec, Piece
from pipeline.core.errors import InputError, shorten

_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


@dataclass(frozen=True)
class Days:
    """N samples in order of time, one a local day unless several hours were derived."""

    time: NDArray[np.datetime64]
    """UTC, in seconds."""
    date: NDArray[np.datetime64]
    """Local day."""
    label: NDArray[np.str_]
    """Label text without white space around it; empty where there is none."""
    scalars: NDArray[np.float64]
    """N × S."""
    piece: NDArray[np.int64]
    """Which monthly file holds the fields."""
    place: NDArray[np.int64]
    """Position on the time axis of that file."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.date)

    def take(self, rows: NDArray[np.int64]) -> Days:
        """Return the days ``rows``."""
        return Days(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Month:
    """The samples that one monthly file gives: those at ``places`` on its time axis."""

    name: str
    path: Path
    places: NDArray[np.int64]

    def blocks(self, days: int) -> Iterator[Month]:
        """Yield the month in parts that span at most ``days`` places each."""
        cuts = np.flatnonzero(np.diff((self.places - self.places[0]) // days)) + 1
        for places in np.split(self.places, cuts):
            yield Month(self.name, self.path, places)


@contextmanager
def derived_file(path: Path) -> Iterator[Any]:
    """Open a derived file with ``h5py``.

    Raises:
        InputError: it, or something in it, cannot be read.
    """
    import h5py
    import hdf5plugin  # noqa: F401  (registers the LZ4 filter)

    try:
        with h5py.File(path, "r") as data:
            yield data
    except OSError as error:
        # The HDF5 library's own complaints carry no number; a full disk on the writing side does.
        if error.errno is not None:
            raise
        raise InputError(f"{path}: cannot be read ({error}); delete it and run derive again") from None


def read_days(folder: Path, spec: DerivedSpec, scalars: Sequence[str]) -> Days:
    """Read time, date, label and ``scalars`` of all derived files in ``folder``.

    Raises:
        InputError: a file cannot be read or lacks a variable, times do not ascend, or a scalar is NaN or infinite.
    """
    parts = [_read_piece(folder, spec, number, scalars) for number in range(len(spec.pieces))]
    if not parts:
        raise InputError(f"{folder}: no derived month; check derive.raw and run derive")
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in Days.__dataclass_fields__]
    days = Days(*columns)
    steps = np.diff(days.time.astype(np.int64)) <= 0
    steps |= np.diff(days.date.astype(np.int64)) < 0
    if steps.any():
        place = int(np.argmax(steps))
        raise InputError(
            f"{folder}: times do not ascend: {days.time[place]} is followed by {days.time[place + 1]}; run derive again"
        )
    return days


def months_of(days: Days, folder: Path, pieces: Sequence[Piece]) -> list[Month]:
    """Return the monthly files that samples come from, in order of time, with the places of those samples."""
    starts = np.flatnonzero(np.diff(days.piece, prepend=-1))
    files = [pieces[number].file for number in days.piece[starts].tolist()]
    places = np.split(days.place, starts[1:])
    return [Month(Path(file).stem, folder / file, part) for file, part in zip(files, places, strict=True)]


def _read_piece(folder: Path, spec: DerivedSpec, number: int, scalars: Sequence[str]) -> Days:
    path = folder / spec.pieces[number].file
    with derived_file(path) as data:
        try:
            time = _times(data["time"])
            date, label = (_text(data[name][:]) for name in ("date", "label"))
            table = np.array([data[name][:] for name in scalars], np.float64).reshape(len(scalars), len(time)).T
            days = date.astype("datetime64[D]")
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: not a derived file ({error}); delete it and run derive again") from None
    _refuse_not_finite(path, scalars, table, date)
    numbers, places = np.full(len(time), number, np.int64), np.arange(len(time), dtype=np.int64)
    return Days(time, days, np.char.strip(label), table, numbers, places)


def _times(variable: Any) -> NDArray[np.datetime64]:
    """Decode CF times such as ``seconds since 1970-01-01``, which derive writes in UTC as whole numbers."""
    units = variable.attrs["units"]
    unit, _, since = (units.decode() if isinstance(units, bytes) else str(units)).partition(" since ")
    if unit not in _UNITS:
        raise ValueError(f"time has units {units!r}")
    steps = np.rint(np.asarray(variable[:], np.float64) * _UNITS[unit]).astype("timedelta64[s]")
    return np.datetime64(since.strip().replace(" ", "T").rstrip("Z"), "s") + steps


def _text(values: NDArray[Any]) -> NDArray[np.str_]:
    plain = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    return np.array(plain, dtype=np.str_)


def _refuse_not_finite(path: Path, scalars: Sequence[str], table: NDArray[np.float64], dates: NDArray[np.str_]) -> None:
    for column, name in enumerate(scalars):
        bad = ~np.isfinite(table[:, column])
        if bad.any():
            days = shorten(dates[bad])
            raise InputError(f"{path}: scalar {name} is missing or infinite on {bad.sum()} days ({days}); run derive")
