"""One request: some variables on some levels at some hours of some days of one year."""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import digest8
from pipeline.raw.variables import RAW, lookup

SINGLE, ON_LEVELS = "reanalysis-era5-single-levels", "reanalysis-era5-pressure-levels"
GLOBE = (90.0, -180.0, -90.0, 179.75)
_LONGEST_LABEL = 24
_MONTH_DAYS = tuple(range(1, 32))


@dataclass(frozen=True)
class Frame:
    """What all requests of a folder share: area [N, W, S, E in degrees], spacing [latitude, longitude], file format."""

    area: tuple[float, float, float, float] = GLOBE
    grid: tuple[float, ...] = ()
    format: Literal["netcdf", "grib"] = "netcdf"

    @property
    def suffix(self) -> str:
        """The end of file names."""
        return ".nc" if self.format == "netcdf" else ".grib"

    @property
    def spacing(self) -> tuple[float, float]:
        """Degrees of latitude and longitude between points; ERA5's own is 0.25."""
        return (self.grid[0], self.grid[1]) if self.grid else (0.25, 0.25)

    @property
    def points(self) -> int:
        """Grid points of a field."""
        north, west, south, east = self.area
        rows, columns = (north - south) / self.spacing[0], (east - west) / self.spacing[1]
        around = round(360 / self.spacing[1])
        return (int(rows + 1e-6) + 1) * min(int(columns + 1e-6) + 1, around)

    @property
    def whole_globe(self) -> bool:
        """Whether no area needs to be named."""
        north, west, south, east = self.area
        return (north, south) == (90, -90) and east - west >= 360 - self.spacing[1] - 1e-6


@dataclass(frozen=True)
class Request:
    """The fields ``variables`` × ``levels`` × ``hours`` on every real day of ``year`` × ``months`` × ``days``.

    ``variables``: keys of :data:`pipeline.raw.variables.RAW`, or the data centre's own names. ``levels`` in hPa, empty
    for single-level variables. ``hours`` in UTC. All ascending and each once.
    """

    variables: tuple[str, ...]
    levels: tuple[int, ...]
    hours: tuple[int, ...]
    year: int
    months: tuple[int, ...]
    days: tuple[int, ...]

    @property
    def dataset(self) -> str:
        """The data centre's name of the collection."""
        return ON_LEVELS if self.levels else SINGLE

    @property
    def dates(self) -> list[date]:
        """The days, ascending."""
        return [
            date(self.year, month, day)
            for month in self.months
            for day in self.days
            if day <= monthrange(self.year, month)[1]
        ]

    @property
    def seconds(self) -> NDArray[np.int64]:
        """The times in Unix seconds, ascending."""
        midnights = [int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) for d in self.dates]
        return np.array([start + 3600 * hour for start in midnights for hour in self.hours], dtype=np.int64)

    @property
    def keys(self) -> tuple[tuple[str, float | None], ...]:
        """Every (variable, level) in it."""
        levels: Sequence[float | None] = [float(level) for level in self.levels] or [None]
        return tuple((variable, level) for variable in self.variables for level in levels)

    @property
    def fields(self) -> int:
        """How many maps it asks for."""
        return len(self.keys) * len(self.hours) * len(self.dates)

    def halves(self) -> list[Request]:
        """Return two smaller requests for the same: by months, variables, levels, days, hours; none for one field."""
        for name in ("months", "variables", "levels", "days", "hours"):
            values = self._real_days() if name == "days" else getattr(self, name)
            if len(values) > 1:
                middle = len(values) // 2
                changes: list[dict[str, Any]] = [{name: values[:middle]}, {name: values[middle:]}]
                return [replace(self, **change) for change in changes]
        return []

    def _real_days(self) -> tuple[int, ...]:
        return tuple(sorted({day.day for day in self.dates}))

    def as_sent(self, frame: Frame) -> dict[str, Any]:
        """Return the request in the words of the Climate Data Store, which is how the manifest keeps it."""
        sent: dict[str, Any] = {
            "product_type": ["reanalysis"],
            "variable": [_name_there(variable) for variable in self.variables],
        }
        if self.levels:
            sent["pressure_level"] = [str(level) for level in self.levels]
        sent |= {
            "year": [f"{self.year:04d}"],
            "month": [f"{month:02d}" for month in self.months],
            "day": [f"{day:02d}" for day in self.days],
            "time": [f"{hour:02d}:00" for hour in self.hours],
            "data_format": frame.format,
            "download_format": "unarchived",
        }
        if not frame.whole_globe:
            sent["area"] = list(frame.area)
        if frame.grid:
            # In the order of MARS: west-east spacing first.
            sent["grid"] = [frame.grid[1], frame.grid[0]]
        return sent

    @classmethod
    def of(cls, sent: Mapping[str, Any]) -> Request:
        """Read what :meth:`as_sent` wrote."""
        return cls(
            variables=tuple(sorted(lookup(name) or name for name in sent["variable"])),
            levels=tuple(int(level) for level in sent.get("pressure_level", ())),
            hours=tuple(int(time[:2]) for time in sent["time"]),
            year=int(sent["year"][0]),
            months=tuple(int(month) for month in sent["month"]),
            days=tuple(int(day) for day in sent["day"]),
        )

    def stem(self, usual_hours: Sequence[int]) -> str:
        """Return a file name without suffix that people can read; hours are named where they are not the usual ones."""
        parts = ["pl" if self.levels else "sl", self._label()]
        if self.levels:
            parts.append("-".join(map(str, self.levels)) if len(self.levels) <= 6 else f"{len(self.levels)}levels")
        parts.append(self._period())
        if tuple(usual_hours) != self.hours:
            few = len(self.hours) <= 4
            parts.append("-".join(f"{h:02d}" for h in self.hours) + "utc" if few else f"{len(self.hours)}hours")
        return re.sub(r"[^\w.-]", "-", "_".join(parts))

    def _label(self) -> str:
        names = "-".join(self.variables)
        if len(names) <= _LONGEST_LABEL or len(self.variables) == 1:
            return names
        return "accum" if accumulated(self.variables[0]) else "instant"

    def _period(self) -> str:
        dates = self.dates
        if len(dates) == 365 + isleap(self.year):
            return f"{self.year:04d}"
        first, last = f"{self.year:04d}-{self.months[0]:02d}", f"{self.months[-1]:02d}"
        if len(self._real_days()) >= monthrange(self.year, self.months[-1])[1]:
            return first if len(self.months) == 1 else f"{first}to{last}"
        if len(dates) == 1:
            return dates[0].isoformat()
        return f"{dates[0]}to{dates[-1]:%m-%d}" if len(self.months) > 1 else f"{dates[0]}to{dates[-1]:%d}"

    @property
    def digest(self) -> str:
        """Eight digits that tell it from any other request."""
        return digest8([self.variables, self.levels, self.hours, self.year, self.months, self.days])


def dataset_of(sent: Mapping[str, Any]) -> str:
    """Return the collection that a request in the data centre's words belongs to."""
    return ON_LEVELS if "pressure_level" in sent else SINGLE


def accumulated(variable: str) -> bool | None:
    """Tell whether values are sums over a period; ``None`` for a variable that is not in the table."""
    return RAW[variable].accumulated if variable in RAW else None


def whole_months(months: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the months and days of a request for whole months; days that a month lacks are no matter."""
    return {"months": tuple(months), "days": _MONTH_DAYS}


def _name_there(variable: str) -> str:
    return RAW[variable].cds if variable in RAW else variable
