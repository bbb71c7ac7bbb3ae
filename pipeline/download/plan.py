"""The table of the config against what is there: which requests are missing.

Days are kept as bits of an integer, one integer for each (variable, level, hour, year): thirty years of hourly fields
are compared in milliseconds.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipeline.core.choose import near
from pipeline.core.errors import InputError
from pipeline.download.config import DownloadConfig, Row
from pipeline.download.request import Request, accumulated, whole_months
from pipeline.raw.variables import RAW, lookup

Cell = tuple[str, int | None, int, int]
"""Variable, level [hPa], hour [UTC], year."""
Cover = Mapping[Cell, int]
"""For each cell the days of the year, the first in the lowest bit."""
LEVELS = (
    1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 450, 500, 550, 600, 650, 700,
    750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000,
)  # fmt: skip
"""Pressure levels of ERA5 in hPa (Hersbach et al., 2020)."""
_LONG_NAME = re.compile(r"[a-z0-9_]{6,}")


@dataclass(frozen=True)
class Need:
    """Days of one year that the same request can bring: ``variables`` × ``levels`` × ``hours`` lack all of them."""

    variables: tuple[str, ...]
    levels: tuple[int, ...]
    hours: tuple[int, ...]
    year: int
    days: int
    """Bits, as in :data:`Cover`."""

    @property
    def whole_year(self) -> bool:
        """Whether every day of the year is missing."""
        return self.days == _all_days(self.year)

    def request(self, months: Sequence[int], days: tuple[int, ...] = ()) -> Request:
        """Return the request for ``months``, or for ``days`` of one month."""
        period = {"months": tuple(months), "days": days} if days else whole_months(months)
        return Request(self.variables, self.levels, self.hours, self.year, **period)


def wanted(config: DownloadConfig, first: date, last: date) -> dict[Cell, int]:
    """Return what the table asks for from ``first`` to ``last``.

    Raises:
        InputError: a variable or a level that does not exist, or a level where there is none.
    """
    years = {year: _span(year, first, last) for year in range(first.year, last.year + 1)}
    cells: dict[Cell, int] = {}
    for place, row in enumerate(config.requests):
        for variable, level in _keys(row, f"download.requests[{place}]"):
            for hour in row.hours or config.hours:
                cells |= {(variable, level, hour, year): days for year, days in years.items()}
    return cells


def _keys(row: Row, setting: str) -> Iterator[tuple[str, int | None]]:
    for level in row.levels:
        if level not in LEVELS:
            nearest = min(LEVELS, key=lambda known: abs(known - level))
            raise InputError(f"{setting}: ERA5 has no level of {level} hPa; the nearest is {nearest} hPa")
    for name in row.variables:
        key = lookup(name) or name
        if key not in RAW and not _LONG_NAME.fullmatch(name):
            raise InputError(
                f"{setting}: unknown variable {name!r}{near(name, RAW)} Write a name of docs/data.md, or the data "
                "centre's own in full (such as 2m_dewpoint_temperature)"
            )
        if key in RAW and not RAW[key].cds:
            raise InputError(f"{setting}: {name!r} is not in ERA5; take it out of the table")
        if key in RAW and RAW[key].on_levels != bool(row.levels):
            add = "comes on pressure levels: add levels, for example levels: [500, 850]"
            raise InputError(f"{setting}: {name!r} {add if RAW[key].on_levels else 'has no levels: take them out'}")
        yield from ((key, level) for level in row.levels or (None,))


def covered(requests: Iterable[Request]) -> dict[Cell, int]:
    """Return what ``requests`` bring together."""
    cells: dict[Cell, int] = defaultdict(int)
    for request in requests:
        days = days_of(request)
        for cell in cells_of(request):
            cells[cell] |= days
    return cells


def cells_of(request: Request) -> Iterator[Cell]:
    """Yield the cells that a request touches."""
    for variable in request.variables:
        for level in request.levels or (None,):
            for hour in request.hours:
                yield variable, level, hour, request.year


def days_of(request: Request) -> int:
    """Return the days of a request as bits."""
    start = date(request.year, 1, 1)
    return sum(1 << (day - start).days for day in request.dates)


def asks_for(cells: Cover, request: Request) -> tuple[bool, bool]:
    """Return whether ``cells`` ask for any, and for all, of what a request brings."""
    days = days_of(request)
    found = [cells.get(cell, 0) & days for cell in cells_of(request)]
    return any(found), all(part == days for part in found)


def needs(cells: Cover, have: Cover) -> list[Need]:
    """Return what ``cells`` ask for and ``have`` lacks, put together as far as one request may hold it.

    Instantaneous and accumulated variables never share a request (the data centre answers with a ZIP where they do),
    nor does a variable of unknown kind share one with any other.
    """
    hours: dict[tuple[str, int | None, int, int], list[int]] = defaultdict(list)
    for (variable, level, hour, year), days in cells.items():
        lacking = days & ~have.get((variable, level, hour, year), 0)
        if lacking:
            hours[variable, level, year, lacking].append(hour)
    levels: dict[tuple[str, tuple[int, ...], int, int], list[int]] = defaultdict(list)
    for (variable, level, year, days), several in hours.items():
        levels[variable, tuple(sorted(several)), year, days] += [] if level is None else [level]
    variables: dict[tuple[object, tuple[int, ...], tuple[int, ...], int, int], list[str]] = defaultdict(list)
    for (variable, at, year, days), several in levels.items():
        kind = accumulated(variable)
        variables[variable if kind is None else kind, tuple(sorted(several)), at, year, days].append(variable)
    found = [
        Need(tuple(sorted(names)), levels_of, at, year, days)
        for (_, levels_of, at, year, days), names in variables.items()
    ]
    return sorted(found, key=lambda need: (need.year, bool(need.levels), need.variables, need.levels, need.hours))


def requests_of(need: Need, most_months: Callable[[Need], int]) -> list[Request]:
    """Return the requests for ``need``: whole years in parts of ``most_months(need)``, else month by month."""
    if need.whole_year:
        step = most_months(need)
        return [need.request(range(month, min(month + step, 13))) for month in range(1, 13, step)]
    found = []
    for month in range(1, 13):
        days = _days_in(need, month)
        if len(days) == monthrange(need.year, month)[1]:
            found.append(need.request([month]))
        elif days:
            found.append(need.request([month], days))
    return found


def _days_in(need: Need, month: int) -> tuple[int, ...]:
    before = (date(need.year, month, 1) - date(need.year, 1, 1)).days
    length = monthrange(need.year, month)[1]
    return tuple(day for day in range(1, length + 1) if need.days >> (before + day - 1) & 1)


def _all_days(year: int) -> int:
    return (1 << 365 + isleap(year)) - 1


def _span(year: int, first: date, last: date) -> int:
    start, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
    offset, count = (start - date(year, 1, 1)).days, (end - start).days + 1
    return ((1 << count) - 1) << offset


CDS_DELAY = timedelta(days=6)
"""Preliminary ERA5 appears about five days after the day it describes."""


def period(config: DownloadConfig, latest: date) -> tuple[date, date]:
    """Return the first and last day; ``latest`` is the last that the source has.

    Raises:
        InputError: they lie where the source has nothing.
    """
    if config.start is None:
        raise InputError("download.start: is empty; write the first day, for example 1991-01-01")
    for name, day in (("start", config.start), ("end", config.end)):
        if day and day > latest:
            raise InputError(
                f"download.{name}: {day} is later than {latest}, the latest day to be had; "
                + ("leave it empty for the latest" if name == "end" else "choose an earlier one")
            )
    return config.start, config.end or latest
