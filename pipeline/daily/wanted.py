"""What a run reads of a local day: which variables at which times in UTC, and the table of requests for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.core.errors import InputError
from pipeline.daily.config import DailyConfig, Fetch
from pipeline.derive.plan import needs_of
from pipeline.derive.recipe import Need, choose_fields
from pipeline.download.config import DownloadConfig
from pipeline.download.request import ON_LEVELS, SINGLE
from pipeline.predict.finished import FinishedRun

_HOUR = 3600
_MAP = Need("msl")
"""Isobars are drawn whether the run reads them or not."""
_SAME = 1e-3
"""Of a step of the grid, by which steps may differ: raw files hold coordinates as float32."""


@dataclass(frozen=True)
class Wanted:
    """The raw values that a local day takes."""

    needs: tuple[Need, ...]
    hours: tuple[int, ...]
    """UTC hours of the maps."""
    zone: ZoneInfo

    def times(self, day: date) -> list[int]:
        """Return the Unix seconds of the maps of a local day."""
        around = (day + timedelta(shift) for shift in (-1, 0, 1))
        moments = (datetime(d.year, d.month, d.day, hour, tzinfo=UTC) for d in around for hour in self.hours)
        return sorted(int(moment.timestamp()) for moment in moments if moment.astimezone(self.zone).date() == day)

    def by_name(self, day: date) -> dict[str, set[int]]:
        """Return the Unix seconds that a local day takes of each variable."""
        found: dict[str, set[int]] = {}
        for need in self.needs:
            found.setdefault(need.variable, set()).update(t - _HOUR * need.hours_before for t in self.times(day))
        return found

    def dates(self, day: date, earlier: bool) -> list[date]:
        """Return the days in UTC of its maps, or of what is needed from some hours ``earlier``."""
        seconds = {t - _HOUR * need.hours_before for need in self._needs(earlier) for t in self.times(day)}
        return sorted({datetime.fromtimestamp(second, UTC).date() for second in seconds})

    def newest(self, last: date) -> date:
        """Return the last local day whose maps lie on days in UTC up to ``last``."""
        day = last + timedelta(1)
        while max(self.dates(day, earlier=False), default=last) > last:
            day -= timedelta(1)
        return day

    def table(self, earlier: bool) -> list[dict[str, Any]]:
        """Return the rows of ``download.requests`` for the maps, or for what is needed from some hours earlier."""
        rows: dict[tuple[str, float | None], set[int]] = {}
        for need in self._needs(earlier):
            rows.setdefault(need.key, set()).update((hour - need.hours_before) % 24 for hour in self.hours)
        return [
            {"variables": [name], "levels": [] if level is None else [round(level)], "hours": sorted(hours)}
            for (name, level), hours in sorted(rows.items(), key=str)
        ]

    def datasets(self) -> tuple[str, ...]:
        """Return the collections of the Climate Data Store that hold all of it."""
        levels = {need.level is not None for need in self.needs}
        return tuple(name for name, there in ((SINGLE, False in levels), (ON_LEVELS, True in levels)) if there)

    def _needs(self, earlier: bool) -> list[Need]:
        return [need for need in self.needs if bool(need.hours_before) == earlier]


def wanted_by(run: FinishedRun, hours: Sequence[int]) -> Wanted:
    """Return what the model of ``run`` reads; ``hours`` in UTC.

    Raises:
        InputError: it was trained on images.
    """
    if run.of_images:
        raise InputError(f"daily.run: {run.name} was trained on images; the daily job classifies weather maps")
    inputs = run.norm["inputs"]
    channels = inputs["grid"]["channels"] if "grid" in inputs else run.settings.derive.fields[:1]
    needs = dict.fromkeys([*needs_of(choose_fields(channels)), _MAP])
    return Wanted(tuple(needs), tuple(sorted(hours)), ZoneInfo(run.settings.derive.timezone))


def hours_of(config: DailyConfig, run: FinishedRun, downloaded: DownloadConfig) -> list[int]:
    """Return the UTC hours of a day's maps.

    Raises:
        InputError: nobody has told them.
    """
    told = config.hours or run.settings.derive.hours
    if not told and downloaded.source in ("cds", "arco"):
        told = downloaded.hours
    if not told:
        raise InputError(
            f"daily.hours: {run.name} does not tell the UTC hour of its maps (derive.hours is empty and it was not "
            "downloaded); set it, for example daily.hours=[0]"
        )
    return list(told)


def frame_of(fetch: Fetch, run: FinishedRun, downloaded: DownloadConfig) -> dict[str, Any]:
    """Return ``area``, ``grid`` and ``format`` of the raw files.

    Raises:
        InputError: they are not set and do not follow from the run.
    """
    if fetch.area:
        return {"area": fetch.area, "grid": fetch.grid}
    if downloaded.source in ("cds", "arco"):
        return {"area": downloaded.area, "grid": fetch.grid or downloaded.grid, "format": downloaded.format}
    store, axes = run.settings.store, run.norm.get("grid", {})
    north_south, west_east = axes.get("latitude", ()), axes.get("longitude", ())
    if store.region or store.coarsen > 1 or not (_even(north_south) and _even(west_east)):
        raise InputError(
            f"download.area: {run.name} was not downloaded, and its raw grid does not follow from the maps that it was "
            "trained on; set download.area and download.grid as its raw files were"
        )
    edges = [north_south[0], west_east[0], north_south[-1], west_east[-1]]
    steps = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in (north_south, west_east)]
    return {"area": [round(edge, 6) for edge in edges], "grid": [round(abs(step), 6) for step in steps]}


def _even(axis: Sequence[float]) -> bool:
    if len(axis) < 2:
        return False
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    return all(abs(value - axis[0] - place * step) < _SAME * abs(step) for place, value in enumerate(axis))


def days_between(first: date, last: date) -> list[date]:
    """Return all days from ``first`` to ``last``; none if that lies before."""
    return [first + timedelta(number) for number in range((last - first).days + 1)]


def overlapping(entries: Mapping[str, Mapping[str, Any]], names: Mapping[str, Iterable[int]]) -> list[str]:
    """Return those of a manifest's files that may hold any of the times (Unix seconds) of any variable of ``names``."""
    return sorted(
        file
        for file, entry in entries.items()
        if any(_reaches(entry, second) for name in entry["variables"] for second in names.get(name, ()))
    )


def covers(entries: Mapping[str, Mapping[str, Any]], names: Mapping[str, Iterable[int]]) -> bool:
    """Tell whether the files reach over every time (Unix seconds) of every variable of ``names``."""
    return all(
        any(name in entry["variables"] and _reaches(entry, second) for entry in entries.values())
        for name, seconds in names.items()
        for second in seconds
    )


def _reaches(entry: Mapping[str, Any], second: int) -> bool:
    first, last = (datetime.fromisoformat(entry[end]).replace(tzinfo=UTC).timestamp() for end in ("first", "last"))
    return bool(first <= second <= last)
