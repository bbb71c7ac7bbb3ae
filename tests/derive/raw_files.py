"""Raw files of any layout, and derivations of them, in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec
from pipeline.core.interrupt import Interrupt
from pipeline.derive.config import DeriveConfig
from pipeline.derive.stage import derive

DAY = 86_400


def days(first: str, count: int, hour: int = 0) -> NDArray[np.int64]:
    """Return ``count`` times, a day apart, in seconds since 1970-01-01 UTC."""
    start = np.datetime64(first, "s").astype(np.int64) + hour * 3600
    return np.asarray(start + np.arange(count) * DAY, np.int64)


def pressure(seconds: NDArray[np.int64], latitude: Sequence[float], longitude: Sequence[float]) -> NDArray[np.float32]:
    """Return made-up pressure in Pa that tells every time, latitude and meridian (0 = 360) apart."""
    lat, lon = np.asarray(latitude, float)[:, None], np.mod(np.asarray(longitude, float), 360)[None, :]
    number = (np.asarray(seconds) // 3600 % 997)[:, None, None]
    return (100_000 + 10 * lat + 3 * lon + 7 * number).astype(np.float32)


@dataclass
class RawLayout:
    """How a file calls and stores things; today's CDS by default."""

    name: str = "msl"
    units: str | None = "Pa"
    time: str = "valid_time"
    since: str = "seconds since 1970-01-01"
    calendar: str = "proleptic_gregorian"
    latitude: str = "latitude"
    longitude: str = "longitude"
    lat_attributes: dict[str, str] = field(default_factory=lambda: {"units": "degrees_north"})
    lon_attributes: dict[str, str] = field(default_factory=lambda: {"units": "degrees_east"})
    attributes: dict[str, Any] = field(default_factory=dict)
    file_format: str = "NETCDF4"
    coordinate_type: str = "f8"


def write_raw(
    path: Path, seconds: NDArray[np.int64], latitude: Sequence[float], longitude: Sequence[float],
    values: NDArray[Any] | None = None, layout: RawLayout | None = None,
) -> Path:  # fmt: skip
    """Write time × latitude × longitude (:func:`pressure` by default) as ``path``."""
    layout = layout or RawLayout()
    values = pressure(seconds, latitude, longitude) if values is None else values
    dims = (layout.time, layout.latitude, layout.longitude)
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w", format=layout.file_format) as file:
        for name, size in zip(dims, values.shape, strict=True):
            file.createDimension(name, size)
        file.createVariable(layout.time, "f8", dims[:1])[:] = _since(seconds, layout.since)
        file[layout.time].setncatts({"units": layout.since, "calendar": layout.calendar})
        for name, axis, attributes in (
            (layout.latitude, latitude, layout.lat_attributes),
            (layout.longitude, longitude, layout.lon_attributes),
        ):
            file.createVariable(name, layout.coordinate_type, (name,))[:] = axis
            file[name].setncatts(attributes)
        file.createVariable(layout.name, values.dtype, dims)[:] = values
        units = {} if layout.units is None else {"units": layout.units}
        file[layout.name].setncatts(units | layout.attributes)
    return path


def _since(seconds: NDArray[np.int64], since: str) -> NDArray[np.float64]:
    unit, _, start = since.partition(" since ")
    size = {"seconds": 1, "hours": 3600, "days": DAY}[unit]
    return (np.asarray(seconds) - np.datetime64(start.split()[0], "s").astype(np.int64)) / size


def settings(*raw: Path | str, **changes: Any) -> DeriveConfig:
    """Return a config of ``raw`` files with local time UTC unless told otherwise."""
    return DeriveConfig(**{"raw": [str(path) for path in raw], "timezone": "UTC", **changes})


def run(config: DeriveConfig, folder: Path, interrupt: Interrupt | None = None) -> DerivedSpec:
    """Derive into ``folder``."""
    return derive(config, "made_up", folder, folder.parent, interrupt or Interrupt())


def load(folder: Path, spec: DerivedSpec) -> xr.Dataset:
    """Return all monthly files of ``spec`` as one data set in memory."""
    parts = []
    for piece in spec.pieces:
        with xr.open_dataset(folder / piece.file, engine="h5netcdf") as data:
            parts.append(data.load())
    return xr.concat(parts, "time", data_vars="minimal")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of everything that a derivation wrote, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in {".nc", ".json"}}
