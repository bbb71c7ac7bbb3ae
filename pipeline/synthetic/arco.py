"""A small Zarr store laid out as ARCO-ERA5, filled from the invented weather.

The invented weather covers 58..12 °N, 112..158 °E. The rest of the globe is that region mirrored at its edges, so every
point has a plausible value that differs from its neighbours'; between the days it is interpolated to hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.raw.variables import RAW
from pipeline.synthetic.fields import FIELDS, LAT, LON, Atmosphere, Grid
from pipeline.synthetic.files import VARIABLES
from pipeline.synthetic.plan import Weather

HOURS_1900 = 613_608  # from 1900-01-01 to 1970-01-01
_EPOCH = date(1970, 1, 1)
_EDGE = 3  # degrees that the interpolation of the invented weather needs beyond a point
PADDING = 48
"""Hours of the axis of time beyond the last data, without values, as in the public store."""


def write_arco(
    folder: Path,
    names: Sequence[str] = ("msl", "u10", "tp", "sst", "z", "t"),
    start: date = date(1995, 1, 1),
    final_days: int = 3,
    preliminary_days: int = 1,
    levels: Sequence[int] = (500, 850, 1000),
    spacing: float = 5.0,
    weather: Weather | None = None,
) -> Path:
    """Write a store into ``folder`` and return it; ``names`` are keys of the table of raw variables.

    Variables × levels that the invented weather lacks are NaN.
    """
    days = final_days + preliminary_days
    hours = np.arange(24 * days + PADDING, dtype=np.int64) + HOURS_1900 + 24 * (start - _EPOCH).days
    latitude = np.linspace(90, -90, round(180 / spacing) + 1)
    longitude = np.arange(round(360 / spacing)) * spacing
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.attrs.update(
        {
            "valid_time_start": str(start),
            "valid_time_stop": str(start + timedelta(final_days - 1)),
            "valid_time_stop_era5t": str(start + timedelta(days - 1)),
        }
    )
    since = {"units": "hours since 1900-01-01", "calendar": "proleptic_gregorian"}
    _write(group, "time", ("time",), hours, hours.shape, since)
    _write(group, "level", ("level",), np.array(levels, np.int64), (len(levels),), {})
    for name, axis, units in (("latitude", latitude, "degrees_north"), ("longitude", longitude, "degrees_east")):
        _write(group, name, (name,), axis.astype(np.float32), axis.shape, {"units": units})
    air = Atmosphere(weather or Weather(0), [start + timedelta(day) for day in range(days + 1)])
    grid = Grid(
        _mirrored(latitude, LAT.min() + _EDGE, LAT.max() - _EDGE),
        _mirrored(longitude, LON.min() + _EDGE, LON.max() - _EDGE),
    )
    for name in names:
        _write_field(group, name, air, grid, levels, len(hours))
    zarr.consolidate_metadata(group.store, zarr_format=2)
    return folder


def _write_field(group: zarr.Group, name: str, air: Atmosphere, grid: Grid, levels: Sequence[int], hours: int) -> None:
    on_levels = RAW[name].on_levels
    daily = [_daily(air, grid, name, level) for level in (levels if on_levels else ("",))]
    values = np.stack([_hourly(field) for field in daily], axis=1)
    values = np.concatenate([values, np.full((hours - len(values), *values.shape[1:]), np.nan, np.float32)])
    dims = ("time", *(("level",) if on_levels else ()), "latitude", "longitude")
    values = values if on_levels else values[:, 0]
    variable = VARIABLES[name]
    attributes = {"long_name": variable.title, "short_name": name, "units": variable.units}
    _write(group, RAW[name].cds, dims, values, (1, *values.shape[1:]), attributes)


def _daily(air: Atmosphere, grid: Grid, name: str, level: int | str) -> NDArray[np.float32]:
    """Return (day, lat, lon) of a field, NaN where there is none."""
    compute = FIELDS.get(f"{name}{level}")
    if compute is None:
        return np.full((len(air.days), len(grid.lat), len(grid.lon)), np.nan, np.float32)
    variable = VARIABLES[name]
    values = np.clip(grid.sample(compute(air)), variable.low, variable.high).astype(np.float32)
    if name == "sst":
        values[:, grid.land] = np.nan
    return values


def _hourly(daily: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the hours of all days but the last, interpolated between the midnights."""
    share = (np.arange(24, dtype=np.float32) / 24)[None, :, None, None]
    hours = daily[:-1, None] * (1 - share) + daily[1:, None] * share
    return hours.reshape(-1, *daily.shape[1:]).astype(np.float32)


def _mirrored(degrees: NDArray[np.floating], low: float, high: float) -> NDArray[np.float64]:
    """Fold ``degrees`` into low … high, mirrored at both ends."""
    folded = np.mod(degrees - low, 2 * (high - low))
    return np.asarray(low + np.minimum(folded, 2 * (high - low) - folded), np.float64)


def _write(
    group: zarr.Group,
    name: str,
    dims: tuple[str, ...],
    values: NDArray[np.generic],
    chunks: tuple[int, ...],
    attributes: dict[str, str],
) -> None:
    fill = np.nan if values.dtype.kind == "f" else None
    array = group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, fill_value=fill)
    array.attrs.update({"_ARRAY_DIMENSIONS": list(dims), **attributes})
    array[...] = values
