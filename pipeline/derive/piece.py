"""One monthly file: computed field by field, checked, and written whole or not at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from pipeline import __version__
from pipeline.contract.derived import Piece
from pipeline.core.artifact import writing
from pipeline.core.errors import InputError
from pipeline.derive.plan import Task
from pipeline.derive.recipe import Need, Recipe, Values
from pipeline.derive.season import SCALARS
from pipeline.derive.series import Archive, Key
from pipeline.raw.grid import Grid
from pipeline.raw.layout import Seconds

_DIMS = ("time", "latitude", "longitude")
_HOUR = 3600
# Byte shuffling before LZ4 halves the files of smooth float32 fields and costs no time.
_COMPRESSION: dict[str, dict[str, Any]] = {
    "lz4": {"shuffle": True, **hdf5plugin.LZ4()},
    "zlib": {"shuffle": True, "compression": "gzip", "compression_opts": 4},
    "none": {},
}


@dataclass(frozen=True)
class Writer:
    """What all monthly files of a data set share."""

    folder: Path
    dataset: str
    timezone: str
    fields: Mapping[str, Recipe]
    scalars: tuple[str, ...]
    archive: Archive
    compression: str
    sources: tuple[str, ...]

    def write(self, task: Task) -> Piece:
        """Make the file of ``task``.

        It is built in memory first: when a disk is full, the HDF5 library can take the whole process down.

        Raises:
            InputError: a raw file is broken or a value is missing, infinite or impossible.
            EnvironmentFault: the file cannot be written.
        """
        content = self._content(task)
        with writing(self.folder / task.file) as part:
            part.write_bytes(content)
        dates = task.month.dates
        sha256 = hashlib.sha256(content).hexdigest()
        return Piece(task.file, len(content), sha256, len(set(dates)), dates[0], dates[-1], task.made_from)

    def _content(self, task: Task) -> memoryview:
        """Return the bytes of the monthly file; they depend on nothing but the task."""
        inputs = Inputs(self.archive, self.fields, task.month.seconds)
        buffer = io.BytesIO()
        with h5netcdf.File(buffer, "w") as file:
            file.attrs.update(self._attributes(task))
            _write_coordinates(file, self.archive.grid, task)
            for name, recipe in self.fields.items():
                values = recipe.compute(self.archive.grid, *(inputs.of(need) for need in recipe.needs))
                _check(name, recipe, values, task.month.seconds)
                self._write_field(file, name, recipe, values)
            for name in self.scalars:
                long_name, compute = SCALARS[name]
                item = file.create_variable(name, ("time",), "f4", data=compute(task.month.seconds))
                item.attrs.update({"units": "1", "long_name": long_name})
        return buffer.getbuffer()

    def _write_field(self, file: h5netcdf.File, name: str, recipe: Recipe, values: Values) -> None:
        chunk = (1, *values.shape[1:])
        item = file.create_variable(
            name, _DIMS, "f4", chunks=chunk, fillvalue=np.float32(np.nan), **_COMPRESSION[self.compression]
        )
        item[...] = values
        names = {"standard_name": recipe.standard_name, "references": recipe.reference}
        item.attrs.update({"units": recipe.units, "long_name": recipe.long_name})
        item.attrs.update({key: text for key, text in names.items() if text})

    def _attributes(self, task: Task) -> dict[str, str]:
        return {
            "Conventions": "CF-1.11",
            "title": f"Derived fields of {self.dataset}, local month {task.month.name}",
            "source": ", ".join(dict.fromkeys(path.name for path in task.sources)),
            "timezone": self.timezone,
            "made_from": task.made_from,
            "isobar_version": __version__,
        }


class Inputs:
    """The raw values of one month, each variable read once, together with the earlier hours that a field looks at."""

    def __init__(self, archive: Archive, fields: Mapping[str, Recipe], seconds: Seconds) -> None:
        """Read everything that ``fields`` need at ``seconds``."""
        self._seconds = seconds
        wanted: dict[Key, list[Seconds]] = {}
        for recipe in fields.values():
            for need in recipe.needs:
                wanted.setdefault(need.key, []).append(seconds - need.hours_before * _HOUR)
        self._times = {key: np.unique(np.concatenate(times)) for key, times in wanted.items()}
        self._values = {key: archive.series[key].read(times) for key, times in self._times.items()}

    def of(self, need: Need) -> Values:
        """Return time × latitude × longitude of ``need``, NaN where its time is absent."""
        places = np.searchsorted(self._times[need.key], self._seconds - need.hours_before * _HOUR)
        values = self._values[need.key]
        contiguous = places[-1] - places[0] + 1 == len(places)
        return values[places[0] : places[-1] + 1] if contiguous else values[places]


def _write_coordinates(file: h5netcdf.File, grid: Grid, task: Task) -> None:
    """Write the dimensions with their values, and the texts over time."""
    seconds = task.month.seconds
    file.dimensions = dict(zip(_DIMS, (len(seconds), *grid.shape), strict=True))
    since = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "axis": "T"}
    coordinates: dict[str, tuple[NDArray[Any], dict[str, str]]] = {
        "time": (seconds, {"standard_name": "time", "long_name": "time (UTC)", **since}),
        "latitude": (grid.latitude, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        "longitude": (grid.longitude, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
    }
    for name, (values, attributes) in coordinates.items():
        file.create_variable(name, (name,), values.dtype, data=values).attrs.update(attributes)
    for name, texts, long_name in (
        ("date", task.month.dates, "local day"),
        ("label", task.labels, "label of the local day, empty where there is none"),
    ):
        item = file.create_variable(name, ("time",), h5py.string_dtype())
        item[...] = np.array(texts, dtype=object)
        item.attrs["long_name"] = long_name


def _check(name: str, recipe: Recipe, values: Values, seconds: Seconds) -> None:
    """Check that a field holds no infinite value, and no missing one unless it may.

    Raises:
        InputError: it does.
    """
    if values.dtype != np.float32:
        raise TypeError(f"field {name} is {values.dtype}, not float32")
    bad = np.isinf(values) if recipe.may_miss else ~np.isfinite(values)
    count = np.count_nonzero(bad, axis=(1, 2))
    if count.any():
        first = np.datetime64(int(seconds[np.argmax(count > 0)]), "s")
        raise InputError(
            f"derive.fields: {name} is missing or infinite in {count.sum()} cells, first at {first} UTC; "
            "look at the raw files of that time"
        )
