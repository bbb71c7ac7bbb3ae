"""What is where in a raw file, found by its attributes: time, latitude, longitude, levels and known variables.

Understood are the Climate Data Store's layout since 2024 (``valid_time``, ``pressure_level``, scalar ``number``, string
``expver``), the one before (``time``, ``level``, ``expver`` as a dimension) and any other with CF attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.errors import InputError, shorten
from pipeline.raw.grid import Grid, Order, canonical
from pipeline.raw.units import FACTORS, factor
from pipeline.raw.variables import RAW, RawVariable

Seconds = NDArray[np.int64]

_LATITUDE = ("latitude", "degrees?_?n(orth)?", ("latitude", "lat", "nav_lat"))
_LONGITUDE = ("longitude", "degrees?_?e(ast)?", ("longitude", "lon", "nav_lon"))
_LEVELS = ("pressure_level", "level", "plev", "isobaricinhpa", "lev")
EXPERIMENT = "expver"


@dataclass(frozen=True)
class Held:
    """A known variable in one file."""

    name: str
    """Its name there."""
    factor: float
    """Turns its values into the unit that Isobar computes in."""
    units: str
    level_dim: str | None
    levels: tuple[float, ...]
    """Pressure levels in hPa, in the order of the file."""


@dataclass(frozen=True)
class Layout:
    """Where the coordinates and the known variables of one file are."""

    dims: tuple[str, ...]
    """Names of the dimensions of time, latitude and longitude."""
    seconds: Seconds
    """Times in seconds since 1970-01-01 UTC, ascending."""
    grid: Grid
    order: Order
    versions: tuple[int, ...]
    """Positions along the ``expver`` dimension, best first; empty if there is none."""
    held: dict[str, Held]
    """Known variables by key of :data:`RAW`."""


def find_layout(data: xr.Dataset, path: Path, wanted: Iterable[str]) -> Layout | None:
    """Find coordinates and the ``wanted`` variables (keys of :data:`RAW`); ``None`` if the file holds none of them.

    Raises:
        InputError: what is needed is missing, ambiguous or not understood.
    """
    names = {key: name for key in wanted if (name := _variable(data, key, RAW[key], path)) is not None}
    if not names:
        return None
    held = {key: _hold(data, key, name, path) for key, name in names.items()}
    time, latitude, longitude = (
        data[name]
        for name in (_time(data, path), _horizontal(data, path, _LATITUDE), _horizontal(data, path, _LONGITUDE))
    )
    dims = tuple(str(item.dims[0]) for item in (time, latitude, longitude))
    for item in held.values():
        _check_dimensions(data[item.name], dims, item.level_dim, path)
    grid, order = canonical(latitude.values, longitude.values, path)
    return Layout(dims, _seconds(time, path), grid, order, _versions(data, path), held)


def with_time_dimension(data: xr.Dataset) -> xr.Dataset:
    """Give a file of a single time (scalar time coordinate) a time dimension of length 1."""
    for name in ("valid_time", "time"):
        if name in data.variables and data[name].ndim == 0 and "since" in str(data[name].attrs.get("units", "")):
            return data.set_coords(name).expand_dims(name)
    return data


# --- coordinates ---------------------------------------------------------------------------------------------


def _time(data: xr.Dataset, path: Path) -> str:
    """Return the one-dimensional variable of valid times."""
    found = [
        str(name)
        for name, item in data.variables.items()
        if item.ndim == 1 and " since " in str(item.attrs.get("units", ""))
    ]
    by_standard = [name for name in found if data[name].attrs.get("standard_name") == "time"]
    by_name = [name for name in ("valid_time", "time") if name in found]
    for name in (*by_standard, *by_name, *found):
        return name
    raise InputError(
        f"{path}: no time coordinate; expected a one-dimensional variable with units like 'hours since 1900-01-01', "
        f"found {shorten(map(str, data.variables), 10)}"
    )


def _horizontal(data: xr.Dataset, path: Path, kind: tuple[str, str, tuple[str, ...]]) -> str:
    """Return the one-dimensional variable of latitudes or longitudes: by standard name, by units, by name."""
    standard, units, names = kind
    items = [(str(name), item.attrs) for name, item in data.variables.items()]
    candidates = [
        *(name for name, attributes in items if attributes.get("standard_name") == standard),
        *(name for name, attributes in items if re.fullmatch(units, str(attributes.get("units", "")), re.IGNORECASE)),
        *(name for name, _ in items if name.lower() in names),
    ]
    for name in candidates:
        if data[name].ndim == 1:
            return name
    if candidates:
        raise InputError(f"{path}: {standard} is not one-dimensional; regrid to regular latitudes and longitudes")
    dims = shorten(map(str, data.dims), 10)
    raise InputError(f"{path}: no {standard} coordinate (dimensions {dims}); name it {standard!r} or set its units")


def _seconds(raw: xr.DataArray, path: Path) -> Seconds:
    """Return the times of a CF time variable, rounded to seconds."""
    try:
        decoded = xr.decode_cf(xr.Dataset({"decoded": ("n", raw.values, raw.attrs)}))["decoded"].values
    except (ValueError, OverflowError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: times of {raw.name!r} cannot be decoded ({reason})") from None
    if decoded.dtype.kind != "M" or np.isnat(decoded).any():
        raise InputError(
            f"{path}: times of {raw.name!r} have calendar {raw.attrs.get('calendar')!r} or are missing; "
            "dates of the real (gregorian) calendar are needed"
        )
    seconds = np.asarray((decoded.astype("datetime64[ms]").astype(np.int64) + 500) // 1000)
    _check_ascending(seconds, path)
    return seconds


def _check_ascending(seconds: Seconds, path: Path) -> None:
    if len(seconds) == 0:
        raise InputError(f"{path}: holds no time at all; download it again")
    steps = np.diff(seconds)
    if (steps > 0).all():
        return
    place = int(np.argmax(steps <= 0)) + 1
    what = "occurs twice" if np.count_nonzero(seconds == seconds[place]) > 1 else "comes after a later one"
    when = np.datetime64(int(seconds[place]), "s")
    raise InputError(f"{path}: time {when} UTC (number {place + 1}) {what}; times must ascend, each once")


def _versions(data: xr.Dataset, path: Path) -> tuple[int, ...]:
    """Return the order of preference along ``expver``: final data (1) before preliminary ones (5, ERA5T)."""
    if EXPERIMENT not in data.dims:
        return ()
    if EXPERIMENT not in data.variables:
        raise InputError(f"{path}: dimension 'expver' has no values, so final (1) and preliminary (5) cannot be told")
    try:
        numbers = [int(value) for value in data[EXPERIMENT].values]
    except (ValueError, TypeError):
        raise InputError(f"{path}: expver {data[EXPERIMENT].values.tolist()} are not numbers such as 1 and 5") from None
    return tuple(int(place) for place in np.argsort(numbers, kind="stable"))


# --- variables -----------------------------------------------------------------------------------------------


def _variable(data: xr.Dataset, key: str, variable: RawVariable, path: Path) -> str | None:
    """Return the name of ``variable`` in the file: by name, by GRIB short name, by CF standard name."""
    items = [
        (str(name), item.attrs)
        for name, item in data.data_vars.items()
        if not variable.on_levels or _level_coordinate(data, item) is not None
    ]
    for found in (
        [name for wanted in variable.names for name, _ in items if name.lower() == wanted],
        [name for name, attributes in items if attributes.get("GRIB_shortName") in variable.names],
        [name for name, attributes in items if attributes.get("standard_name") in variable.standard_names],
    ):
        if len(found) > 1:
            raise InputError(f"{path}: {shorten(found)} could each be {key} ({variable.long_name}); keep one of them")
        if found:
            return found[0]
    return None


def _hold(data: xr.Dataset, key: str, name: str, path: Path) -> Held:
    variable, item = RAW[key], data[name]
    units = str(item.attrs.get("units", item.attrs.get("GRIB_units", "")))
    allowed = shorten(FACTORS[variable.units], 10)
    if not units:
        raise InputError(f"{path}: variable {name!r} has no units; set its attribute units to one of {allowed}")
    scale = factor(units, variable.units)
    if scale is None:
        raise InputError(f"{path}: variable {name!r} has units {units!r}; {key} needs one of {allowed}")
    dim, levels = _levels(data, item, path) if variable.on_levels else (None, ())
    return Held(name, scale, units, dim, levels)


def _level_coordinate(data: xr.Dataset, item: xr.DataArray) -> str | None:
    """Return the variable that gives the pressure level or levels of ``item``."""
    for name, level in data.variables.items():
        named = str(name).lower() in _LEVELS or level.attrs.get("standard_name") == "air_pressure"
        if named and level.ndim <= 1 and set(level.dims) <= set(item.dims):
            return str(name)
    return None


def _levels(data: xr.Dataset, item: xr.DataArray, path: Path) -> tuple[str | None, tuple[float, ...]]:
    """Return the level dimension (``None`` for a single level) and the pressures in hPa."""
    name = _level_coordinate(data, item)
    if name is None:
        raise InputError(f"{path}: variable {item.name!r} has no pressure levels (dimensions {shorten(item.dims)})")
    level, units = data[name], str(data[name].attrs.get("units", ""))
    scale = factor(units, "hPa")
    if scale is None:
        raise InputError(f"{path}: levels {name!r} have units {units!r}; set the attribute units to hPa or Pa")
    return (str(level.dims[0]) if level.ndim else None), tuple(float(v) * scale for v in np.atleast_1d(level.values))


def _check_dimensions(item: xr.DataArray, dims: tuple[str, ...], level: str | None, path: Path) -> None:
    lacking = [name for name in dims if name not in item.dims]
    if lacking:
        raise InputError(f"{path}: variable {item.name!r} has dimensions {shorten(item.dims)}, not {shorten(lacking)}")
    for name, size in item.sizes.items():
        if name not in (*dims, level, EXPERIMENT) and size > 1:
            raise InputError(f"{path}: variable {item.name!r} has {size} values along {name!r}; select one of them")
