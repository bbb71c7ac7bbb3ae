"""What a request to the Climate Data Store selects: its words checked, and turned into fields, times and points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.raw.variables import RAW, lookup
from pipeline.synthetic.files import ACCUMULATED, VARIABLES

SINGLE, ON_LEVELS = "reanalysis-era5-single-levels", "reanalysis-era5-pressure-levels"
DATASETS = {
    SINGLE: "ERA5 hourly data on single levels from 1940 to present",
    ON_LEVELS: "ERA5 hourly data on pressure levels from 1940 to present",
}
LEVELS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, *range(100, 250, 25), *range(250, 750, 50), *range(750, 1001, 25))
FIRST = date(1940, 1, 1)
_DAY, _HOUR = 86_400, 3600


class Invalid(Exception):
    """The request selects nothing that exists; the message is what the service answers."""


@dataclass(frozen=True)
class Selection:
    """The fields a request asks for: ``names`` × ``levels`` (hPa, descending) × ``days`` × ``hours`` (UTC).

    ``area``: north, west, south, east; ``None``: the globe. ``grid``: spacing of longitude and latitude in degrees, in
    the order of MARS; ``None``: the data's own. All lists are sorted and hold each item once.
    """

    names: tuple[str, ...]
    levels: tuple[int, ...]
    days: tuple[date, ...]
    hours: tuple[int, ...]
    area: tuple[float, float, float, float] | None
    grid: tuple[float, float] | None
    grib: bool
    zipped: bool

    @property
    def fields(self) -> int:
        """Number of fields: what the service calls the size of a request."""
        return len(self.names) * max(len(self.levels), 1) * len(self.days) * len(self.hours)

    @property
    def seconds(self) -> NDArray[np.int64]:
        """The times [s since 1970], ascending."""
        midnights = np.array([(day - date(1970, 1, 1)).days * _DAY for day in self.days], np.int64)
        return (midnights[:, None] + np.array(self.hours, np.int64) * _HOUR).ravel()

    @property
    def step_types(self) -> dict[str, tuple[str, ...]]:
        """The variables of each file that the service makes: instantaneous and accumulated ones never share one."""
        kinds = {"instant": tuple(name for name in self.names if name not in ACCUMULATED)}
        kinds["accum"] = tuple(name for name in self.names if name in ACCUMULATED)
        return {kind: names for kind, names in kinds.items() if names}

    def points(self, native: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latitude (descending) and longitude of the points inside the area; ``native``: the data's spacing.

        Points lie on multiples of the spacing, as MARS crops; an area between two points is empty.
        """
        across, along = self.grid or (native, native)
        north, west, south, east = self.area or (90.0, 0.0, -90.0, 360.0)
        lat = _multiples(south, north, along)[::-1]
        lon = _multiples(west, east, across)
        return lat, lon[lon < west + 360 - 1e-6]


def _multiples(low: float, high: float, step: float) -> NDArray[np.float64]:
    first, last = int(np.ceil(low / step - 1e-6)), int(np.floor(high / step + 1e-6))
    return np.round(np.arange(first, last + 1) * step, 6)


def select(dataset: str, inputs: Mapping[str, Any], latest: date) -> Selection:
    """Read a request; days after ``latest`` are left out, as the service does while some are there.

    Raises:
        Invalid: a word that the data set does not know, or nothing is left.
    """
    words = {key: _list(value) for key, value in inputs.items()}
    names, levels = _names(dataset, words), _levels(dataset, words)
    days, hours = _days(words), _hours(words)
    if not (names and days and hours) or words.get("product_type", ["reanalysis"]) != ["reanalysis"]:
        raise Invalid(_no_combination(inputs))
    present = tuple(day for day in days if FIRST <= day <= latest)
    if not present:
        raise Invalid(
            "None of the data you have requested is available yet, please revise the period requested. "
            f"The latest date available for this dataset is: {latest} 23:00"
        )
    form = str(words.get("data_format", words.get("format", ["grib"]))[0])
    if form not in ("grib", "netcdf"):
        raise Invalid(f"The '{form}' format is deprecated and no longer supported. Please use 'netcdf' or 'grib'.")
    zipped = words.get("download_format", ["unarchived"])[0] == "zip"
    return Selection(names, levels, present, hours, _area(words), _grid(words), form == "grib", zipped)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _no_combination(inputs: Mapping[str, Any]) -> str:
    text = json.dumps(inputs, sort_keys=True)
    return f"Request has not produced a valid combination of values, please check your selection.\n{text}"


def _names(dataset: str, words: Mapping[str, list[Any]]) -> tuple[str, ...]:
    keys = [lookup(str(name)) for name in words.get("variable", [])]
    for name, key in zip(words.get("variable", []), keys, strict=True):
        known = key in VARIABLES and RAW[key].on_levels == (dataset == ON_LEVELS) and name == RAW[key].cds
        if not known:
            raise Invalid(_no_combination({"variable": [name]}))
    # The order of the table, whatever the order of the request: the same fields make the same file.
    return tuple(name for name in VARIABLES if name in keys)


def _levels(dataset: str, words: Mapping[str, list[Any]]) -> tuple[int, ...]:
    if dataset != ON_LEVELS:
        return ()
    found = _numbers("pressure_level", words)
    if not found or set(found) - set(LEVELS):
        raise Invalid(_no_combination({"pressure_level": words.get("pressure_level", [])}))
    return tuple(sorted(set(found), reverse=True))


def _numbers(name: str, words: Mapping[str, list[Any]]) -> list[int]:
    try:
        return [int(str(value)) for value in words.get(name, [])]
    except ValueError:
        raise Invalid(_no_combination({name: words[name]})) from None


def _days(words: Mapping[str, list[Any]]) -> tuple[date, ...]:
    """Return the real days of ``date`` (days or ranges with a slash) or of year × month × day."""
    if "date" in words:
        return tuple(sorted({day for text in words["date"] for day in _range(str(text))}))
    found = set()
    for year in _numbers("year", words):
        for month in _numbers("month", words):
            for day in _numbers("day", words):
                try:
                    found.add(date(year, month, day))
                except ValueError:
                    # 30 February is in every request for all days of some months.
                    continue
    return tuple(sorted(found))


def _range(text: str) -> list[date]:
    try:
        first, last = date.fromisoformat(text.split("/")[0]), date.fromisoformat(text.split("/")[-1])
    except ValueError:
        raise Invalid(_no_combination({"date": [text]})) from None
    return [first + timedelta(number) for number in range((last - first).days + 1)]


def _hours(words: Mapping[str, list[Any]]) -> tuple[int, ...]:
    try:
        found = {int(str(value).split(":")[0]) for value in words.get("time", [])}
    except ValueError:
        found = {-1}
    if any(not 0 <= hour <= 23 for hour in found):
        raise Invalid(_no_combination({"time": words["time"]}))
    return tuple(sorted(found))


def _area(words: Mapping[str, list[Any]]) -> tuple[float, float, float, float] | None:
    if "area" not in words or words["area"] == ["global"]:
        return None
    numbers = _floats("area", words, 4)
    north, west, south, east = numbers
    if not -90 <= south <= north <= 90:
        raise Invalid(_no_combination({"area": words["area"]}))
    # An area over the date line is written with west greater than east.
    return north, west, south, east if east >= west else east + 360


def _grid(words: Mapping[str, list[Any]]) -> tuple[float, float] | None:
    if "grid" not in words:
        return None
    across, along = _floats("grid", words, 2)
    if min(across, along) <= 0:
        raise Invalid(_no_combination({"grid": words["grid"]}))
    return across, along


def _floats(name: str, words: Mapping[str, list[Any]], count: int) -> list[float]:
    texts = [part for value in words[name] for part in str(value).split("/")]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise Invalid(_no_combination({name: words[name]}))
    return numbers


def today() -> date:
    """Return the day (UTC) on which the service is asked."""
    return datetime.now(UTC).date()
