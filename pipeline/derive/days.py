"""From times in UTC to local days and local months."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError, shorten

Seconds = NDArray[np.int64]


@dataclass(frozen=True)
class Month:
    """The times of one local month, ascending."""

    name: str
    """``YYYY-MM``."""
    seconds: Seconds
    dates: tuple[str, ...]
    """The local day of each time, ``YYYY-MM-DD``."""


def common_times(series: Mapping[str, Seconds]) -> Seconds:
    """Return the times that all variables share.

    Raises:
        InputError: a variable lacks a time that another one has; nothing is dropped in silence.
    """
    times = np.unique(np.concatenate(list(series.values())))
    for name, seconds in series.items():
        lacking = np.setdiff1d(times, seconds)
        if len(lacking):
            have = shorten(other for other, theirs in series.items() if np.isin(lacking[0], theirs))
            raise InputError(
                f"derive.raw: {name} lacks {len(lacking)} times that {have} has, first {_text(lacking[0])} UTC; "
                f"download what is missing, or leave the other files of these times out{_other_hours(series)}"
            )
    return times


def _other_hours(series: Mapping[str, Seconds]) -> str:
    """Return the advice to name the hours, if variables are there at different hours of the day."""
    hours = [set((seconds % 86400).tolist()) for seconds in series.values()]
    shared = set.intersection(*hours)
    if not shared or all(own == shared for own in hours):
        return ""
    text = shorten(sorted(time // 3600 for time in shared if time % 3600 == 0), 24)
    return f"; or keep the hours that all have: derive.hours=[{text}]" if text else ""


def keep_hours(seconds: Seconds, hours: Sequence[int]) -> Seconds:
    """Return the times at the full UTC ``hours``; all of them if ``hours`` is empty.

    Raises:
        InputError: none is left.
    """
    if not hours:
        return seconds
    kept = seconds[np.isin(seconds % 86400, np.asarray(hours) * 3600)]
    if not len(kept):
        there = sorted({f"{time // 3600:02d}:{time % 3600 // 60:02d}" for time in np.unique(seconds % 86400).tolist()})
        raise InputError(f"derive.hours: no time at {shorten(hours)} UTC; the raw files have {shorten(there, 24)} UTC")
    return kept


def keep_days(seconds: Seconds, timezone: str, days: Collection[str]) -> Seconds:
    """Return the times on the local ``days`` (``YYYY-MM-DD``); all of them if ``days`` is empty.

    Raises:
        InputError: none is left.
    """
    if not days:
        return seconds
    zone = ZoneInfo(timezone)
    mine = [datetime.fromtimestamp(time, zone).date().isoformat() in days for time in seconds.tolist()]
    if not any(mine):
        raise InputError(f"derive.raw: no time on {shorten(sorted(days))} ({timezone}) in the raw files; add its files")
    return np.asarray(seconds[np.array(mine)])


def local_months(seconds: Seconds, timezone: str, hours: Sequence[int]) -> tuple[Month, ...]:
    """Divide times by the calendar of ``timezone``.

    Raises:
        InputError: a local day has more times than ``hours`` asks for.
    """
    zone = ZoneInfo(timezone)
    dates = [datetime.fromtimestamp(time, zone).date().isoformat() for time in seconds.tolist()]
    day, count = Counter(dates).most_common(1)[0]
    if count > 1 and not hours:
        there = sorted({int(time) // 3600 for time in np.unique(seconds % 86400)})
        raise InputError(
            f"derive.hours: {count} times on the local day {day} ({timezone}); set the UTC hour to keep, "
            f"for example derive.hours=[{there[0]}] (the raw files have hours {shorten(there, 24)})"
        )
    if count > max(1, len(hours)):
        raise InputError(
            f"derive.hours: {count} times on the local day {day}, because summer time of {timezone} begins or ends "
            f"around {shorten(hours)} UTC; set another hour, or a zone without summer time"
        )
    rows = groupby(zip(seconds.tolist(), dates, strict=True), key=lambda row: row[1][:7])
    months = []
    for name, items in rows:
        times, days = zip(*items, strict=True)
        months.append(Month(name, np.array(times, np.int64), days))
    return tuple(months)


def missing_days(dates: Sequence[str]) -> list[str]:
    """Return the days between the first and the last of ``dates`` (ascending) that are not among them."""
    present = set(dates)
    first, last = date.fromisoformat(dates[0]), date.fromisoformat(dates[-1])
    span = ((first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1))
    return [day for day in span if day not in present]


def check_gaps(names: Sequence[str]) -> None:
    """Check that no whole month (``YYYY-MM``) is missing between the first and the last of ``names``.

    Raises:
        InputError: one is; all of them are named as runs.
    """
    numbers = [int(name[:4]) * 12 + int(name[5:]) - 1 for name in names]
    gaps = [(before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1]
    if gaps:
        count = sum(last - first + 1 for first, last in gaps)
        runs = shorten(_run(first, last) for first, last in gaps)
        raise InputError(
            f"derive.raw: {count} whole months are missing between {names[0]} and {names[-1]}: {runs}; "
            "download them, or set derive.allow_gaps=true if they are left out on purpose"
        )


def _run(first: int, last: int) -> str:
    """Return ``YYYY-MM``, a range of them, or the years where they are whole."""
    start, end = (f"{number // 12:04}-{number % 12 + 1:02}" for number in (first, last))
    if first % 12 == 0 and last % 12 == 11:
        start, end = start[:4], end[:4]
    return start if start == end else f"{start} to {end}"


def _text(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s"))
