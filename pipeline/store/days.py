"""The days of the derived files: when, which label, which scalars, and where their fields lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec, Piece
from pipeline.core.errors import InputError, shorten


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
    """The samples that one monthly file gives: ``places`` on its time axis become rows ``start`` and on."""

    name: str
    path: Path
    places: NDArray[np.int64]
    start: int

    def blocks(self, days: int) -> Iterator[Month]:
        """Yield the month in parts of at most ``days`` days."""
        for first in range(0, len(self.places), days):
            yield Month(self.name, self.path, self.places[first : first + days], self.start + first)


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
    """Return, for each monthly file with samples, which of its days become which rows."""
    starts = np.flatnonzero(np.diff(days.piece, prepend=-1))
    ends = np.append(starts[1:], len(days))
    return [
        Month(
            Path(pieces[days.piece[start]].file).stem,
            folder / pieces[days.piece[start]].file,
            days.place[start:end],
            int(start),
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _read_piece(folder: Path, spec: DerivedSpec, number: int, scalars: Sequence[str]) -> Days:
    import xarray

    path = folder / spec.pieces[number].file
    try:
        with xarray.open_dataset(path, engine="h5netcdf", drop_variables=list(spec.fields)) as data:
            values = {name: np.asarray(data[name].values) for name in ("time", "date", "label", *scalars)}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a derived file that can be read ({error}); delete it and run derive") from None
    count = len(values["time"])
    table = np.array([values[name] for name in scalars], np.float64).reshape(len(scalars), count).T
    _refuse_not_finite(path, scalars, table, values["date"])
    return Days(
        time=values["time"].astype("datetime64[s]"),
        date=_text(values["date"]).astype("datetime64[D]"),
        label=np.char.strip(_text(values["label"])),
        scalars=table,
        piece=np.full(count, number, np.int64),
        place=np.arange(count, dtype=np.int64),
    )


def _text(values: NDArray[Any]) -> NDArray[np.str_]:
    plain = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    return np.array(plain, dtype=np.str_)


def _refuse_not_finite(path: Path, scalars: Sequence[str], table: NDArray[np.float64], dates: NDArray[Any]) -> None:
    for column, name in enumerate(scalars):
        bad = ~np.isfinite(table[:, column])
        if bad.any():
            days = shorten(_text(dates[bad]))
            raise InputError(f"{path}: scalar {name} is missing or infinite on {bad.sum()} days ({days}); run derive")
