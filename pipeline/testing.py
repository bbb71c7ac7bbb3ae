"""Worlds with known truth: raw files as the Climate Data Store delivers ERA5, made from an invented weather.

``write_world(World(days=60), folder)`` writes NetCDF files and ``labels.csv``; ``truth(world)`` says which base types
stand on which day; ``plant("nan", folder)`` spoils a file in a known way. The same world gives the same bytes again
(with the same versions of numpy and the netCDF library). Patterns: :mod:`pipeline.synthetic.plan`; fields:
:mod:`pipeline.synthetic.fields`; file layouts: :mod:`pipeline.synthetic.files`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import netCDF4
import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import make_folder, write_text, writing
from pipeline.core.choose import choose
from pipeline.core.errors import InputError, IsobarError
from pipeline.experiment import home
from pipeline.synthetic.fields import FIELDS, Atmosphere, Grid
from pipeline.synthetic.files import (
    GROUPS,
    LAYOUTS,
    VARIABLES,
    Content,
    Header,
    create,
    read_content,
    relayout,
    write_content,
)
from pipeline.synthetic.plan import TYPES, Weather, labels_of

NORTH, SOUTH, WEST, EAST = 55.0, 15.0, 115.0, 155.0  # degrees
FIRST_DAY = 719_163  # proleptic ordinal of 1970-01-01
DAY = 86_400  # seconds


# Cells without a value: (day, lat, lon) or (lat, lon). ERA5 leaves the inhibition out where there is no CAPE.
_MISSING: dict[str, Callable[[Atmosphere, Grid], NDArray[np.bool_]]] = {
    "sst": lambda air, grid: np.broadcast_to(grid.land, (len(air.days), *grid.land.shape)),
    "cin": lambda air, grid: _values(air, grid, "cape", None) < 1,
}


@dataclass(frozen=True)
class World:
    """What to make. Grid 55..15 °N × 115..155 °E, one time a day, 00 UTC.

    ``types``: base types that may occur. ``seasonality``: 1 as in Japan, 0 every type at any time of year (short
    worlds). ``noise``: 1 is about 4 hPa. ``groups``: names of :data:`GROUPS`, or ``("all",)``. ``layout``: a name of
    :data:`LAYOUTS`.

    Raises:
        InputError: a name that does not exist, or a size below 2 × 2 points and 1 day.
    """

    start: date = date(1995, 1, 1)
    days: int = 60
    lat_points: int = 9
    lon_points: int = 9
    seed: int = 0
    groups: tuple[str, ...] = ("msl",)
    per: Literal["month", "year"] = "month"
    noise: float = 1.0
    types: tuple[str, ...] = TYPES
    seasonality: float = 1.0
    layout: str = "cds"

    def __post_init__(self) -> None:
        groups = (self.groups,) if isinstance(self.groups, str) else tuple(self.groups)
        object.__setattr__(self, "groups", tuple(GROUPS) if groups == ("all",) else groups)
        object.__setattr__(self, "types", tuple(self.types))
        for group in self.groups:
            choose(GROUPS, group, "World.groups")
        for kind in self.types:
            choose(dict.fromkeys(TYPES), kind, "World.types")
        choose(LAYOUTS, self.layout, "World.layout")
        choose(dict.fromkeys(("month", "year")), self.per, "World.per")
        small = min(self.lat_points - 1, self.lon_points - 1, self.days, len(self.types), len(self.groups))
        if small < 1 or self.seed < 0:
            raise InputError("World: needs ≥ 2 × 2 points, ≥ 1 day, ≥ 1 type, ≥ 1 group and a seed ≥ 0")

    @property
    def weather(self) -> Weather:
        """What decides the fields of a day."""
        return Weather(self.seed, self.types, self.noise, self.seasonality)

    @property
    def dates(self) -> list[date]:
        """The days, in order; 00 UTC is 09 local time of the same day in Japan."""
        return [self.start + timedelta(day) for day in range(self.days)]

    def grid(self) -> Grid:
        """The grid: latitude descending, longitude ascending."""
        return Grid(np.linspace(NORTH, SOUTH, self.lat_points), np.linspace(WEST, EAST, self.lon_points))


@dataclass(frozen=True)
class Raw:
    """What :func:`write_world` wrote: NetCDF files in order of time and group, and the label file."""

    files: tuple[Path, ...]
    labels: Path


def truth(world: World) -> dict[date, tuple[str, ...]]:
    """Return the base types of each local day; a change goes from the first to the second."""
    return {day: labels_of(world.weather, day)[0] for day in world.dates}


def labels(world: World) -> dict[date, str]:
    """Return the label of each local day: one base type, two joined by ``+`` (both) or by ``-`` (a change)."""
    found = {day: labels_of(world.weather, day) for day in world.dates}
    return {day: joint.join(kinds) for day, (kinds, joint) in found.items()}


def write_world(world: World, folder: Path) -> Raw:
    """Write ``era5_<group>_<YYYY-MM or YYYY>.nc`` files and ``labels.csv`` (``date,label``) into ``folder``.

    Streamed: memory holds the fields of one month, and with another layout than ``cds`` one file.

    Raises:
        EnvironmentFault: the disk is full or closed.
    """
    make_folder(folder)
    grid = world.grid()
    files: list[Path] = []
    for period, months in _periods(world):
        files += _write_period(world, grid, folder, period, months)
    rows = "".join(f"{day},{label}\n" for day, label in labels(world).items())
    write_text(folder / "labels.csv", "date,label\n" + rows)
    return Raw(tuple(files), folder / "labels.csv")


def _periods(world: World) -> Iterator[tuple[str, list[list[date]]]]:
    """Yield the name of each file period and its days by month."""
    periods: dict[str, dict[str, list[date]]] = {}
    for day in world.dates:
        month = day.isoformat()[:7]
        periods.setdefault(month[: 4 if world.per == "year" else 7], {}).setdefault(month, []).append(day)
    for period, months in periods.items():
        yield period, list(months.values())


def _write_period(world: World, grid: Grid, folder: Path, period: str, months: list[list[date]]) -> list[Path]:
    paths = {group: folder / f"era5_{group}_{period}.nc" for group in world.groups}
    times = _seconds([day for month in months for day in month])
    with ExitStack() as stack:
        sets = {}
        for group, path in paths.items():
            names, levels = GROUPS[group]
            header = Header(times, grid.lat, grid.lon, levels, names)
            sets[group] = stack.enter_context(_raw_file(path, header, world.layout))
        first = 0
        for month in months:
            air = Atmosphere(world.weather, month)
            for group, dataset in sets.items():
                _fill(dataset, group, air, grid, slice(first, first + len(month)))
            first += len(month)
    return list(paths.values())


@contextmanager
def _raw_file(path: Path, header: Header, layout: str) -> Iterator[netCDF4.Dataset]:
    """Yield an open data set to fill; it is brought into its layout before it gets its name."""
    with writing(path) as part:
        with netCDF4.Dataset(part, "w") as dataset:
            create(dataset, header)
            yield dataset
        relayout(part, layout)


def _seconds(days: list[date]) -> NDArray[np.int64]:
    return np.array([(day.toordinal() - FIRST_DAY) * DAY for day in days], np.int64)


def _fill(dataset: netCDF4.Dataset, group: str, air: Atmosphere, grid: Grid, where: slice) -> None:
    names, levels = GROUPS[group]
    for name in names:
        if levels:
            dataset[name][where] = np.stack([_values(air, grid, name, level) for level in levels], axis=1)
        else:
            dataset[name][where] = _values(air, grid, name, None)


def _values(air: Atmosphere, grid: Grid, name: str, level: int | None) -> NDArray[np.float32]:
    """Return (day, lat, lon) of a variable, packed as GRIB does, NaN where ERA5 has none."""
    variable = VARIABLES[name]
    values = grid.sample(FIELDS[f"{name}{level or ''}"](air))
    values = np.round(np.clip(values, variable.low, variable.high) / variable.step) * variable.step
    if name in _MISSING:
        values[_MISSING[name](air, grid)] = np.nan
    return values.astype(np.float32)


# --- faults ----------------------------------------------------------------------------------------------------------
def plant(fault: str, where: Path | Raw) -> Path:
    """Spoil one raw file of today's layout in place with a fault of :data:`FAULTS`, and return its path.

    ``where``: a file, or a folder or :class:`Raw`, of which the middle file is taken. Faults of single times strike
    the middle of the file.

    Raises:
        InputError: no such fault; no file; a file of another layout or too short for the fault.
    """
    spoil = choose(FAULTS, fault, "plant")
    path = _middle_file(where)
    if fault == "truncated_file":
        # Not atomic on purpose: this is what a killed download leaves.
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        return path
    content = read_content(path)
    if len(content.header.times) < 4:
        raise InputError(f"{path}: has {len(content.header.times)} times; plant({fault!r}) needs at least 4")
    write_content(path, spoil(content))
    return path


def _middle_file(where: Path | Raw) -> Path:
    if isinstance(where, Path) and where.is_file():
        return where
    files = where.files if isinstance(where, Raw) else sorted(where.glob("*.nc"))
    if not files:
        raise InputError(f"{where}: holds no .nc file to spoil; call write_world first")
    return files[len(files) // 2]


def _take(content: Content, times: list[int]) -> Content:
    header = replace(content.header, times=content.header.times[times])
    return Content(header, {name: values[times] for name, values in content.arrays.items()})


def _missing_days(content: Content) -> Content:
    """Two days in a row are absent."""
    count = len(content.header.times)
    return _take(content, [day for day in range(count) if day not in (count // 2, count // 2 + 1)])


def _duplicate_times(content: Content) -> Content:
    """One day stands there twice."""
    count = len(content.header.times)
    return _take(content, sorted([*range(count), count // 2]))


def _one_cell(content: Content, value: float) -> Content:
    name, values = next(iter(content.arrays.items()))
    values = values.copy()
    finite = np.flatnonzero(np.isfinite(values))
    values.flat[finite[len(finite) // 2]] = value
    return replace(content, arrays={**content.arrays, name: values})


def _flipped_latitude(content: Content) -> Content:
    """Latitude ascends, and the data with it: a valid file for those who read its coordinates."""
    header = replace(content.header, latitude=content.header.latitude[::-1].copy())
    return Content(header, {name: values[..., ::-1, :] for name, values in content.arrays.items()})


_OTHER_UNITS: dict[str, tuple[str, float, float]] = {
    "Pa": ("hPa", 0.01, 0.0),
    "K": ("degC", 1.0, -273.15),
    "m": ("mm", 1000.0, 0.0),
    "m s**-1": ("knots", 1.943844, 0.0),
    "%": ("(0 - 1)", 0.01, 0.0),
}


def _units(content: Content, label: bool) -> Content:
    """Values in other units (Pa → hPa, K → °C …; otherwise a thousandth), with or without saying so."""
    units: dict[str, str | None] = {}
    arrays = {}
    for name, values in content.arrays.items():
        other, factor, offset = _OTHER_UNITS.get(VARIABLES[name].units, ("10**3 " + VARIABLES[name].units, 1e-3, 0.0))
        units[name] = other if label else VARIABLES[name].units
        arrays[name] = (values * factor + offset).astype(np.float32)
    return Content(replace(content.header, units=units), arrays)


def _missing_units(content: Content) -> Content:
    """No variable says its units."""
    return replace(content, header=replace(content.header, units=dict.fromkeys(content.header.names)))


FAULTS: dict[str, Callable[[Content], Content]] = {
    "missing_days": _missing_days,
    "truncated_file": lambda content: content,
    "nan": lambda content: _one_cell(content, float("nan")),
    "inf": lambda content: _one_cell(content, float("inf")),
    "wrong_units": lambda content: _units(content, label=True),
    "mislabelled_units": lambda content: _units(content, label=False),
    "missing_units": _missing_units,
    "duplicate_times": _duplicate_times,
    "flipped_latitude": _flipped_latitude,
}


# --- the demo's world ------------------------------------------------------------------------------------------------
DEMO = World(start=date(1995, 1, 1), days=1461, lat_points=41, lon_points=41, seed=7, per="year")


def main() -> None:
    """Write the demo's world into the folder named on the command line, unless it is there.

    A relative folder starts where those of configs do: at ``ISOBAR_HOME``, else at the project.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.testing", description="Write the world of the demo.")
    parser.add_argument("folder", nargs="?", default="data/raw/demo", help="where to; relative to ISOBAR_HOME")
    folder = home() / parser.parse_args().folder
    if (folder / "labels.csv").exists():
        print(f"{folder} is there already")
        return
    try:
        raw = write_world(DEMO, folder)
    except IsobarError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"wrote {len(raw.files)} files and {raw.labels}: {DEMO.days} days of {DEMO.lat_points} × {DEMO.lon_points}")


if __name__ == "__main__":
    main()
