"""What is where in a raw file, found by its attributes: time, latitude, longitude, levels and known variables.

Understood are the Climate Data Store's layout since 2024 (``valid_time``, ``pressure_level``, scalar ``number``, string
``expver``), the one before (``time``, ``level``, ``expver`` as a dimension) and any other with CF attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError, shorten
from pipeline.raw.grid import Grid, Order, canonical
from pipeline.raw.header import Header, Item
from pipeline.raw.times import Seconds, decode_times
from pipeline.raw.units import FACTORS, conversion, factor
from pipeline.raw.variables import RAW, RawVariable

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
    offset: float
    """``value * factor + offset`` is in the unit that Isobar computes in."""
    units: str
    level_dim: str | None
    levels: tuple[float, ...]
    """Pressure levels in hPa, in the order of the file."""
    stretch: int = 0
    """How many times in a row are compressed as one; 0: each can be read by itself."""


@dataclass(frozen=True)
class Layout:
    """Where the coordinates and the known variables of one file are."""

    dims: tuple[str, str, str]
    """Names of the dimensions of time, latitude and longitude."""
    seconds: Seconds
    """Times in seconds since 1970-01-01 UTC, ascending."""
    grid: Grid
    order: Order
    versions: tuple[int, ...]
    """Positions along the ``expver`` dimension, best first; empty if there is none."""
    held: dict[str, Held]
    """Known variables by key of :data:`RAW`."""


def find_layout(data: Header, path: object, wanted: Iterable[str]) -> Layout | None:
    """Find coordinates and the ``wanted`` variables (keys of :data:`RAW`); ``None`` if the file holds none of them.

    Raises:
        InputError: what is needed is missing, ambiguous or not understood.
    """
    names = {key: name for key in wanted if (name := _variable(data, key, RAW[key], path)) is not None}
    if not names:
        return None
    held = {key: _hold(data, key, name, path) for key, name in names.items()}
    time, latitude, longitude = (
        data.items[name]
        for name in (_time(data, path), _horizontal(data, path, _LATITUDE), _horizontal(data, path, _LONGITUDE))
    )
    dims = (_dimension(time), latitude.dims[0], longitude.dims[0])
    seconds = _seconds(time, path)
    for key, item in held.items():
        field = data.items[item.name]
        _check_dimensions(field, dims, len(seconds), item.level_dim, path)
        if field.chunks is not None and dims[0] in field.dims:
            held[key] = replace(item, stretch=field.chunks[field.dims.index(dims[0])])
    grid, order = canonical(_coordinate(latitude, path), _coordinate(longitude, path), path)
    return Layout(dims, seconds, grid, order, _versions(data, path), held)


# --- coordinates ---------------------------------------------------------------------------------------------


def _time(data: Header, path: object) -> str:
    """Return the variable of valid times: over one dimension, or a single time."""
    found = [name for name, item in data.items.items() if _is_time(item)]
    along = [name for name in found if data.items[name].ndim == 1]
    by_standard = [name for name in along if data.items[name].attrs.get("standard_name") == "time"]
    by_name = [name for name in ("valid_time", "time") if name in found]
    for name in (*by_standard, *(name for name in by_name if name in along), *along, *by_name):
        return name
    raise InputError(
        f"{path}: no time coordinate; expected a one-dimensional variable with units like 'hours since 1900-01-01', "
        f"found {shorten(data.items, 10)}"
    )


def _is_time(item: Item) -> bool:
    return item.ndim <= 1 and item.values is not None and " since " in str(item.attrs.get("units", ""))


def _dimension(item: Item) -> str:
    """Return the dimension of a coordinate; a single value stands for a dimension of its name."""
    return item.dims[0] if item.dims else item.name


def _coordinate(item: Item, path: object) -> NDArray[Any]:
    if item.values is None:
        raise InputError(f"{path}: {item.name} holds no numbers; repair the file's coordinates")
    return item.values


def _horizontal(data: Header, path: object, kind: tuple[str, str, tuple[str, ...]]) -> str:
    """Return the one-dimensional variable of latitudes or longitudes: by standard name, by units, by name."""
    standard, units, names = kind
    items = [(name, item.attrs) for name, item in data.items.items()]
    candidates = [
        *(name for name, attributes in items if attributes.get("standard_name") == standard),
        *(name for name, attributes in items if re.fullmatch(units, str(attributes.get("units", "")), re.IGNORECASE)),
        *(name for name, _ in items if name.lower() in names),
    ]
    for name in candidates:
        if data.items[name].ndim == 1:
            return name
    if candidates:
        raise InputError(f"{path}: {standard} is not one-dimensional; regrid to regular latitudes and longitudes")
    dims = shorten(data.sizes, 10)
    raise InputError(f"{path}: no {standard} coordinate (dimensions {dims}); name it {standard!r} or set its units")


def _seconds(raw: Item, path: object) -> Seconds:
    """Return the times of a CF time variable, rounded to seconds."""
    try:
        seconds = decode_times(np.atleast_1d(_coordinate(raw, path)), raw.attrs)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: times of {raw.name!r} cannot be decoded ({reason})") from None
    _check_ascending(seconds, path)
    return seconds


def _check_ascending(seconds: Seconds, path: object) -> None:
    if len(seconds) == 0:
        raise InputError(f"{path}: holds no time at all; download it again")
    steps = np.diff(seconds)
    if (steps > 0).all():
        return
    place = int(np.argmax(steps <= 0)) + 1
    what = "occurs twice" if np.count_nonzero(seconds == seconds[place]) > 1 else "comes after a later one"
    when = np.datetime64(int(seconds[place]), "s")
    raise InputError(f"{path}: time {when} UTC (number {place + 1}) {what}; times must ascend, each once")


def _versions(data: Header, path: object) -> tuple[int, ...]:
    """Return the order of preference along ``expver``: final data (1) before preliminary ones (5, ERA5T)."""
    if EXPERIMENT not in data.sizes:
        return ()
    item = data.items.get(EXPERIMENT)
    if item is None:
        raise InputError(f"{path}: dimension 'expver' has no values, so final (1) and preliminary (5) cannot be told")
    if item.values is None or item.dims != (EXPERIMENT,):
        raise InputError(f"{path}: the values of expver are not numbers such as 1 and 5")
    numbers = [int(value) for value in item.values]
    return tuple(int(place) for place in np.argsort(numbers, kind="stable"))


# --- variables -----------------------------------------------------------------------------------------------


def _variable(data: Header, key: str, variable: RawVariable, path: object) -> str | None:
    """Return the name of ``variable`` in the file: by name, by GRIB short name, by CF standard name."""
    items = [
        (name, item.attrs)
        for name, item in data.fields.items()
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


def _hold(data: Header, key: str, name: str, path: object) -> Held:
    variable, item = RAW[key], data.items[name]
    units = str(item.attrs.get("units", item.attrs.get("GRIB_units", "")))
    allowed = shorten(FACTORS[variable.units], 10)
    if not units:
        raise InputError(f"{path}: variable {name!r} has no units; set its attribute units to one of {allowed}")
    converted = conversion(units, variable.units)
    if converted is None:
        raise InputError(f"{path}: variable {name!r} has units {units!r}; {key} needs one of {allowed}")
    dim, levels = _levels(data, item, path) if variable.on_levels else (None, ())
    return Held(name, *converted, units, dim, levels)


def _level_coordinate(data: Header, item: Item) -> str | None:
    """Return the variable that gives the pressure level or levels of ``item``."""
    for name, level in data.items.items():
        named = name.lower() in _LEVELS or level.attrs.get("standard_name") == "air_pressure"
        if named and level.ndim <= 1 and set(level.dims) <= set(item.dims) and level.values is not None:
            return name
    return None


def _levels(data: Header, item: Item, path: object) -> tuple[str | None, tuple[float, ...]]:
    """Return the level dimension (``None`` for a single level) and the pressures in hPa."""
    name = _level_coordinate(data, item)
    if name is None:
        raise InputError(f"{path}: variable {item.name!r} has no pressure levels (dimensions {shorten(item.dims)})")
    level = data.items[name]
    scale = factor(str(level.attrs.get("units", "")), "hPa")
    if scale is None:
        units = level.attrs.get("units", "")
        raise InputError(f"{path}: levels {name!r} have units {units!r}; set the attribute units to hPa or Pa")
    values = np.atleast_1d(_coordinate(level, path))
    return (level.dims[0] if level.ndim else None), tuple(float(value) * scale for value in values)


def _check_dimensions(item: Item, dims: tuple[str, str, str], times: int, level: str | None, path: object) -> None:
    there = (*item.dims, *(dims[:1] if dims[0] not in item.dims and times == 1 else ()))
    lacking = [name for name in dims if name not in there]
    if lacking:
        raise InputError(f"{path}: variable {item.name!r} has dimensions {shorten(item.dims)}, not {shorten(lacking)}")
    for name, size in zip(item.dims, item.shape, strict=True):
        if name not in (*dims, level, EXPERIMENT) and size > 1:
            raise InputError(f"{path}: variable {item.name!r} has {size} values along {name!r}; select one of them")
