"""Source ``arco``: ERA5 from the public Zarr copy on Google Cloud (ARCO-ERA5, Carver and Merose 2023), without a key.

A chunk of it is one hour of the globe on all levels (1 × 37 × 721 × 1440), so a small area costs as much traffic as the
globe: this source suits single days and many variables of all the world; long series of a region come from ``cds``.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.errors import InputError, shorten
from pipeline.download.check import Rejected
from pipeline.download.netcdf import create_variable, new_netcdf, write_coordinates
from pipeline.raw.variables import RAW, lookup

Seconds = NDArray[np.int64]
Places = NDArray[np.intp]
Keys = Sequence[tuple[str, float | None]]

_DIMS = ("time", "latitude", "longitude")
_NOISE = 1e-4  # degrees, or hPa
_BLOCK = 64_000_000
"""Bytes of values that wait for being written; a chunk of every thread comes on top."""
_DAY = np.timedelta64(1, "D")
_TRANSIENT = (OSError, RuntimeError, ValueError, EOFError)
"""What reading a chunk raises when its bytes did not come, or came damaged."""
_NETWORK = ("aiohttp", "gcsfs", "fsspec", "google", "botocore", "requests", "urllib3")


@dataclass(frozen=True)
class _Field:
    """One variable to be copied."""

    name: str
    """Its name in the written file."""
    there: str
    """Its name in the store."""
    on_levels: bool


@dataclass(frozen=True)
class Selection:
    """Which part of the store a piece takes: places along its dimensions, and the coordinates of the piece."""

    fields: tuple[_Field, ...]
    times: Places
    levels: Places
    rows: Places
    columns: Places
    seconds: Seconds
    pressure: NDArray[np.float64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    preliminary: NDArray[np.bool_]
    """Whether each time is ERA5T's."""

    @property
    def cells(self) -> int:
        """The number of values at one time."""
        points = len(self.rows) * len(self.columns)
        return sum(points * (len(self.levels) if field.on_levels else 1) for field in self.fields)


def _from_network(error: Exception) -> bool:
    """Tell whether an error is a connection's or a server's: time-outs, resets, answers other than data."""
    local = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
    known = isinstance(error, OSError) or type(error).__module__.split(".")[0] in _NETWORK
    return known and not local


class ArcoStore:
    """A Zarr store of ARCO-ERA5's layout: an address such as ``gs://…`` (read anonymously) or a folder.

    It may be shared by threads. All methods raise ``InputError`` where it is not there, is no such store, or packages
    are missing, and ``Rejected`` where the network failed: then the same call may succeed later.
    """

    def __init__(self, address: str, threads: int = 4, timeout: float = 120.0) -> None:
        """Use the store at ``address``; nothing is read yet.

        ``threads`` chunks are read at a time, by all pieces together (154 MB each in the public store, and the
        compressed bytes besides); ``timeout``: seconds that a silent connection is waited for.
        """
        self.address, self._threads, self._timeout = address, threads, timeout
        self._lock = threading.Lock()
        # Pieces that are written at the same time share the memory that chunks take.
        self._slots = threading.BoundedSemaphore(threads)
        self._data: xr.Dataset | None = None

    def open(self) -> xr.Dataset:
        """Return the store's metadata and coordinates, read once; values are read when asked for."""
        with self._lock:
            if self._data is None:
                self._data = self._checked(self._opened())
            return self._data

    def latest(self, preliminary: bool = False) -> date:
        """Return the last day (UTC) with final data, or with ERA5T's if ``preliminary``; it is there as a whole."""
        data = self.open()
        return date.fromisoformat(str(_last_day(data, preliminary)))

    def earliest(self) -> date:
        """Return the first day (UTC) with data."""
        return date.fromisoformat(str(_first_day(self.open())))

    def select(
        self, keys: Keys, seconds: Seconds, area: Sequence[float], grid: Sequence[float] | None = None
    ) -> Selection:
        """Return what a piece takes from the store; reads no values.

        Args:
            keys: variables (keys of :data:`RAW` or names in the store) and levels in hPa, ``None``: no level.
            seconds: Unix seconds, UTC.
            area: north, west, south, east in degrees; west may lie beyond 0° or the date line.
            grid: spacing of latitude and longitude, multiples of the store's; ``None``: the store's.

        Raises:
            InputError: the store lacks a variable, a level, a time, or any point in the area; or the spacing is wrong.
        """
        data = self.open()
        fields = self._fields(data, keys)
        levels = sorted({level for _, level in keys if level is not None}, reverse=True)
        north, west, south, east = area
        rows, latitude = self._axis(data["latitude"].values, "latitude", grid[0] if grid else None, north, south)
        columns, longitude = self._axis(data["longitude"].values, "longitude", grid[1] if grid else None, west, east)
        places = self._places(data, seconds)
        return Selection(
            fields=fields,
            times=places,
            levels=self._level_places(data, levels),
            rows=rows,
            columns=columns,
            seconds=np.asarray(seconds, np.int64),
            pressure=np.array(levels, np.float64),
            latitude=latitude,
            longitude=longitude,
            preliminary=np.asarray(seconds).astype("datetime64[s]") >= _last_day(data, False) + _DAY,
        )

    def write_piece(
        self, keys: Keys, seconds: Seconds, area: Sequence[float], grid: Sequence[float] | None, target: Path
    ) -> None:
        """Write a NetCDF file as the Climate Data Store would: ``valid_time``, ``pressure_level``, short names.

        Whole or not at all, the same bytes each time. All variables on levels have all levels among ``keys``. Times
        after the last day of final data are marked ``expver`` 0005. Memory: the chunks being read, and 64 MB of values.

        Raises:
            InputError: see :meth:`select`.
            Rejected: the network failed; try again.
            EnvironmentFault: the disk is full or closed.
        """
        selection = self.select(keys, seconds, area, grid)
        data = self.open()
        rows = max(1, _BLOCK // (4 * selection.cells))
        # Half of the raw size is more than deflated values take.
        with new_netcdf(target, 2 * selection.cells * len(selection.times)) as file:
            write_coordinates(
                file,
                {
                    "valid_time": selection.seconds,
                    "pressure_level": selection.pressure,
                    "latitude": selection.latitude,
                    "longitude": selection.longitude,
                },
                selection.preliminary,
            )
            file.attrs["source"] = (
                f"ERA5, read from {self.address}" if "://" in self.address else "ERA5, read from Zarr"
            )
            for field in selection.fields:
                create_variable(file, field.name, field.on_levels, rows, data[field.there].attrs)
            with ThreadPoolExecutor(self._threads) as pool:
                for first in range(0, len(selection.times), rows):
                    where = slice(first, min(first + rows, len(selection.times)))
                    with closing(self._read(pool, data, selection, where)) as read:
                        for name, values in read:
                            file.variables[name][where] = values

    # --- reading ---------------------------------------------------------------------------------------------

    def _read(
        self, pool: ThreadPoolExecutor, data: xr.Dataset, selection: Selection, where: slice
    ) -> Generator[tuple[str, NDArray[np.float32]]]:
        """Yield the values of each variable at some times, read hour by hour in threads."""
        jobs = {
            field.name: [pool.submit(self._hour, data, field, selection, time) for time in selection.times[where]]
            for field in selection.fields
        }
        try:
            for name, waiting in jobs.items():
                yield name, np.stack([job.result() for job in waiting])
        finally:
            for job in (job for waiting in jobs.values() for job in waiting):
                job.cancel()

    def _hour(self, data: xr.Dataset, field: _Field, selection: Selection, time: int) -> NDArray[np.float32]:
        item = data[field.there].isel(time=int(time), latitude=_span(selection.rows))
        if field.on_levels:
            item = item.isel(level=_span(selection.levels))
        dims = ("level", "latitude", "longitude") if field.on_levels else ("latitude", "longitude")
        # Longitudes are picked in memory: they may wrap around, and the chunk is read as a whole anyway.
        try:
            with self._slots:
                values = item.transpose(*dims).values
        except Exception as error:
            if isinstance(error, _TRANSIENT) or _from_network(error):
                raise self._retryable(error) from error
            raise
        return np.asarray(values[..., selection.columns], np.float32)

    def _retryable(self, error: Exception) -> Rejected:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return Rejected(f"{self.address}: reading failed ({reason}); it is tried again")

    def _opened(self) -> xr.Dataset:
        remote = "://" in self.address
        google = self.address.startswith(("gs://", "gcs://"))
        needed = ("zarr", "gcsfs") if google else ("zarr", "fsspec") if remote else ("zarr",)
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"{self.address}: reading it needs the package {' and '.join(missing)}; uv sync --extra arco"
            )
        options = {"token": "anon", "requests_timeout": self._patience()} if google else None
        try:
            data: xr.Dataset = xr.open_zarr(self.address, chunks=None, decode_timedelta=False, storage_options=options)
        except FileNotFoundError as error:
            raise InputError(f"{self.address}: no Zarr store is there; check download.store") from error
        except Exception as error:
            if _from_network(error):
                raise self._retryable(error) from error
            if isinstance(error, (*_TRANSIENT, KeyError, TypeError)):
                reason = " ".join(str(error).split())[:160]
                raise InputError(
                    f"{self.address}: cannot be opened as Zarr ({reason}); check download.store"
                ) from error
            raise
        return data

    def _patience(self) -> Any:
        """Return the limits of a connection: on silence, not on the whole, for a chunk takes minutes on a slow line."""
        aiohttp = importlib.import_module("aiohttp")
        return aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=self._timeout)

    def _checked(self, data: xr.Dataset) -> xr.Dataset:
        lacking = [name for name in _DIMS if name not in data.coords]
        if lacking:
            raise InputError(f"{self.address}: not laid out as ARCO-ERA5, lacks {shorten(lacking)}")
        return data

    # --- choosing --------------------------------------------------------------------------------------------

    def _fields(self, data: xr.Dataset, keys: Keys) -> tuple[_Field, ...]:
        """Find every variable; all that are lacking are named at once, with near misses."""
        wanted: dict[str, bool] = {}
        for name, level in keys:
            wanted[name] = level is not None
        there = {str(name): "level" in item.dims for name, item in data.data_vars.items()}
        fields: dict[str, _Field] = {}
        lacking: list[str] = []
        for name, on_levels in wanted.items():
            key = lookup(name)
            long_name = RAW[key].cds if key else name
            if there.get(long_name) is on_levels:
                short = key or str(data[long_name].attrs.get("short_name", long_name))
                short = long_name if short in fields else short
                fields[short] = _Field(short, long_name, on_levels)
            else:
                near = get_close_matches(long_name, [item for item in there if there[item] is on_levels], 2)
                where = "on pressure levels" if on_levels else "without levels"
                lacking.append(f"{name!r} {where}" + (f" (did you mean {' or '.join(near)}?)" if near else ""))
        if lacking:
            raise InputError(f"{self.address}: lacks {shorten(lacking)}; holds {shorten(sorted(there), 10)}")
        return tuple(fields.values())

    def _level_places(self, data: xr.Dataset, levels: Sequence[float]) -> Places:
        there = data["level"].values.astype(np.float64) if levels else np.empty(0)
        lacking = [f"{level:g}" for level in levels if not (np.abs(there - level) < _NOISE).any()]
        if lacking:
            names = shorten((f"{level:g}" for level in there), 40)
            raise InputError(f"{self.address}: lacks the levels {shorten(lacking)} hPa; holds {names}")
        return np.array([int(np.argmin(np.abs(there - level))) for level in levels], np.intp)

    def _places(self, data: xr.Dataset, seconds: Seconds) -> Places:
        """Return where the times are, all of them within the days that hold data (the axis itself goes on)."""
        first, last = _first_day(data), _last_day(data, True)
        wanted = np.asarray(seconds).astype("datetime64[s]")
        outside = wanted[(wanted < first) | (wanted >= last + _DAY)]
        if len(outside):
            raise InputError(
                f"{self.address}: holds {first} … {last}, not {len(outside)} of the times asked for "
                f"({shorten(outside, 2)}); change download.start or download.end"
            )
        axis = data["time"].values.astype("datetime64[s]")
        places = np.searchsorted(axis, wanted)
        wrong = wanted[axis[np.minimum(places, len(axis) - 1)] != wanted]
        if len(wrong):
            raise InputError(f"{self.address}: has no times {shorten(wrong, 2)}; check download.hours")
        return np.asarray(places, np.intp)

    def _axis(
        self, values: NDArray[np.floating], name: str, step: float | None, start: float, stop: float
    ) -> tuple[Places, NDArray[np.float64]]:
        """Return places and coordinates along latitude (southward) or longitude (eastward) from start to stop."""
        there = values.astype(np.float64)
        own = float(np.abs(np.diff(there[:2]))[0])
        step = own if step is None else step
        if abs(step / own - round(step / own)) > _NOISE or round(step / own) < 1:
            raise InputError(
                f"{self.address}: has {name}s every {own:g}°; download.grid must be a multiple of that, not {step:g}"
            )
        sign = -1 if name == "latitude" else 1
        first = start if abs(start / own - round(start / own)) < _NOISE else sign * _up(sign * start, step)
        length = min(sign * (stop - first), 360 - step)
        count = int(np.floor(length / step + _NOISE)) + 1
        wanted = first + sign * step * np.arange(max(count, 0))
        gap = np.abs(there[None] - wanted[:, None])
        gap = gap if sign < 0 else np.abs((gap + 180) % 360 - 180)
        if not len(wanted) or (gap.min(axis=1) > _NOISE).any():
            raise InputError(f"{self.address}: has no {name} {start:g} … {stop:g}; change download.area")
        return gap.argmin(axis=1), np.round(wanted, 8) + 0.0


def _up(value: float, step: float) -> float:
    """Return the least multiple of ``step`` that is not below ``value``."""
    return float(np.ceil(value / step - _NOISE) * step)


def _span(places: Places) -> slice | Places:
    """Return evenly spaced ascending places as a slice, which Zarr reads without building an index."""
    steps = np.diff(places)
    if len(places) and (len(places) == 1 or (steps[0] > 0 and (steps == steps[0]).all())):
        return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]) if len(steps) else 1)
    return places


def _first_day(data: xr.Dataset) -> np.datetime64:
    return np.datetime64(str(data.attrs.get("valid_time_start") or data["time"].values[0])[:10], "D")


def _last_day(data: xr.Dataset, preliminary: bool) -> np.datetime64:
    """Return the last whole day, as the store's attributes say: its axis of time goes on without data."""
    final = str(data.attrs.get("valid_time_stop") or data["time"].values[-1])[:10]
    late = str(data.attrs.get("valid_time_stop_era5t") or final)[:10]
    return np.datetime64(max(final, late) if preliminary else final, "D")
