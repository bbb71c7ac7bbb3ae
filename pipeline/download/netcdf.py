"""Writing NetCDF4 files as the Climate Data Store does: deflated, shuffled, safe on a disk that runs full."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import writing

COMPRESSED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""Deflate level 1 after byte shuffling."""

_CHUNK = 1_000_000
"""Cells of a chunk, about; the store's files have as many."""
_COORDINATES: dict[str, dict[str, str]] = {
    "valid_time": {
        "long_name": "time",
        "standard_name": "time",
        "units": "seconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    },
    "pressure_level": {
        "long_name": "pressure",
        "standard_name": "air_pressure",
        "units": "hPa",
        "positive": "down",
        "stored_direction": "decreasing",
    },
    "latitude": {"long_name": "latitude", "standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"long_name": "longitude", "standard_name": "longitude", "units": "degrees_east"},
}


@contextmanager
def new_netcdf(path: Path, size: int) -> Iterator[h5netcdf.File]:
    """Yield a NetCDF4 file to fill, which becomes ``path`` when the block ends well.

    ``size`` bytes are reserved first: when a disk runs full under it, the HDF5 library can take the process down.

    Raises:
        EnvironmentFault: the disk is full or closed.
    """
    with writing(path) as part:
        with part.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(size, 1))
        with h5netcdf.File(part, "w") as file:
            yield file


def write_coordinates(
    file: h5netcdf.File, coordinates: Mapping[str, NDArray[Any]], preliminary: NDArray[np.bool_]
) -> None:
    """Write the dimensions of today's layout of the Climate Data Store, those that have values, and ``expver``."""
    file.attrs["Conventions"] = "CF-1.7"
    file.attrs["institution"] = "European Centre for Medium-Range Weather Forecasts"
    present = {name: values for name, values in coordinates.items() if len(values)}
    file.dimensions = {name: len(values) for name, values in present.items()}
    for name, values in present.items():
        file.create_variable(name, (name,), values.dtype, data=values).attrs.update(_COORDINATES[name])
    versions = file.create_variable("expver", ("valid_time",), h5py.string_dtype())
    versions[...] = np.where(preliminary, "0005", "0001").astype(object)


def create_variable(file: h5netcdf.File, name: str, on_levels: bool, block: int, attributes: Mapping[str, Any]) -> None:
    """Lay out a float32 variable that is going to be written in blocks of ``block`` times.

    A block is a whole number of chunks, so that each chunk is deflated once.
    """
    dims = [dim for dim in _COORDINATES if dim in file.dimensions and (on_levels or dim != "pressure_level")]
    times, rows, columns = (file.dimensions[dim].size for dim in ("valid_time", "latitude", "longitude"))
    most = max(1, min(block, times, _CHUNK // (rows * columns)))
    length = most if block >= times else next(count for count in range(most, 0, -1) if block % count == 0)
    chunks = {"valid_time": length, "pressure_level": 1, "latitude": rows, "longitude": columns}
    item = file.create_variable(
        name, tuple(dims), "f4", chunks=tuple(chunks[dim] for dim in dims), fillvalue=np.float32(np.nan), **COMPRESSED
    )
    kept = {key: str(attributes[key]) for key in ("units", "long_name", "standard_name") if key in attributes}
    item.attrs.update({"GRIB_shortName": str(attributes.get("short_name", name)), **kept, "coordinates": "expver"})
