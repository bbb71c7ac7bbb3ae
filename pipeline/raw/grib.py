"""GRIB files (editions 1 and 2): which message holds what, and reading messages as if they were one array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError, shorten
from pipeline.raw.header import Cut, Header, Item, Unpack, Values

if TYPE_CHECKING:
    import xarray as xr

_LEVEL_KINDS = {"isobaricInhPa": 1.0, "isobaricInPa": 0.01}
"""Kind of a pressure level → factor to hPa."""


_AS_IS = Unpack((), 1.0, 0.0)


@dataclass(frozen=True)
class _Message:
    """Where one field is in the file, and what it is."""

    start: int
    size: int
    name: str
    units: str
    level: float | None
    """Pressure in hPa."""
    seconds: int
    version: int
    grid: tuple[Any, ...]


class GribSource:
    """Messages of one file that share times and grid, as variables over time × level × latitude × longitude."""

    def __init__(self, path: str | Path, label: str, messages: list[_Message]) -> None:
        """Describe ``messages``; of two of one field and time, final data (``expver`` 1) go before preliminary ones."""
        self.label = label
        self._path = path
        self._places: dict[str, dict[tuple[int, float | None], _Message]] = {}
        for message in sorted(messages, key=lambda message: message.version):
            self._places.setdefault(message.name, {}).setdefault((message.seconds, message.level), message)
        self._seconds = sorted({message.seconds for message in messages})
        self._shape = messages[0].grid[1:3]
        self.header = self._header(messages[0])

    def close(self) -> None:
        """Nothing stays open."""

    def fetch(self, name: str, cut: Cut, unpack: Unpack) -> Values:
        """Return time × latitude × longitude of a variable, unpacked, in the order of the file."""
        level = None
        for dim, place in cut.fixed.items():
            level = self._levels(name)[place] if dim.startswith("level") else level
        if level is None:
            level = self._levels(name)[0]
        out = np.empty((len(cut.positions), *self._shape), np.float32)
        with open(self._path, "rb") as stream:
            for row, position in enumerate(cut.positions.tolist()):
                message = self._places[name][self._seconds[position], level]
                out[row] = unpack(_values(stream, message).reshape(self._shape))
        return out

    def _levels(self, name: str) -> list[float | None]:
        return sorted({level for _, level in self._places[name]}, key=lambda level: (level is None, level))

    def _header(self, first: _Message) -> Header:
        _, rows, columns, latitudes, longitudes = first.grid
        items = {
            "time": _coordinate("time", self._seconds, "seconds since 1970-01-01"),
            "latitude": _coordinate("latitude", latitudes, "degrees_north"),
            "longitude": _coordinate("longitude", longitudes, "degrees_east"),
        }
        for name, places in self._places.items():
            units, levels = next(iter(places.values())).units, self._levels(name)
            dims, shape = ["time", "latitude", "longitude"], [len(self._seconds), rows, columns]
            if levels != [None]:
                level = f"level_{name}"
                items[level] = _coordinate(level, levels, "hPa", "air_pressure")
                dims.insert(1, level)
                shape.insert(1, len(levels))
            items[name] = Item(name, tuple(dims), tuple(shape), {"units": units, "GRIB_shortName": name})
        sizes = {dim: size for item in items.values() for dim, size in zip(item.dims, item.shape, strict=True)}
        return Header(items, sizes)


def _coordinate(name: str, values: Any, units: str, standard_name: str = "") -> Item:
    array = np.asarray(values)
    attrs = {"units": units} | ({"standard_name": standard_name} if standard_name else {})
    return Item(name, (name,), array.shape, attrs, array)


def open_grib(path: str | Path, label: str) -> list[GribSource]:
    """Index a GRIB file; fields that do not share times and grid become files of their own.

    Raises:
        InputError: eccodes is not installed, the file is cut off, or a grid is not one of latitudes and longitudes.
    """
    messages = list(_index(path, label))
    if not messages:
        raise InputError(f"{label}: holds no GRIB message; download it again")
    by_name: dict[tuple[str, Any], list[_Message]] = {}
    for message in messages:
        by_name.setdefault((message.name, message.grid), []).append(message)
    groups: dict[tuple[Any, ...], list[_Message]] = {}
    for (name, grid), some in by_name.items():
        times = tuple(sorted({message.seconds for message in some}))
        _check_whole(some, times, name, label)
        groups.setdefault((grid, times), []).extend(some)
    return [GribSource(path, label, group) for group in groups.values()]


def _check_whole(messages: list[_Message], times: tuple[int, ...], name: str, label: str) -> None:
    """Check that a variable has every level at every time."""
    levels = {message.level for message in messages}
    _check_once(messages, name, label)
    there = {(message.seconds, message.level) for message in messages}
    if len(there) < len(levels) * len(times):
        seconds, level = next((t, level) for t in times for level in levels if (t, level) not in there)
        raise InputError(
            f"{label}: {name} at level {level} is missing at {np.datetime64(seconds, 's')} UTC, where it has others of "
            f"{shorten(map(str, levels))}; download the file again"
        )


def _check_once(messages: list[_Message], name: str, label: str) -> None:
    counts = Counter((message.seconds, message.level, message.version) for message in messages)
    (seconds, level, _), count = counts.most_common(1)[0]
    if count > 1:
        where = "" if level is None else f" at {level:g} hPa"
        raise InputError(
            f"{label}: holds {name}{where} {count} times at {np.datetime64(seconds, 's')} UTC (members of an ensemble, "
            "or forecasts of several steps?); keep one of them"
        )


def grib_dataset(sources: list[GribSource], label: str) -> xr.Dataset:
    """Return the fields of a GRIB file as one data set; values are read when they are looked at.

    Raises:
        InputError: its variables do not share times and grid.
    """
    import xarray as xr
    from xarray.core.indexing import LazilyIndexedArray

    if len(sources) > 1:
        names = shorten(name for source in sources for name in source.header.fields)
        raise InputError(f"{label}: its variables ({names}) do not share times and grid; split the file")
    header = sources[0].header
    variables = {}
    for name, item in header.items.items():
        values = item.values if item.values is not None else LazilyIndexedArray(_lazy(sources[0], item))
        variables[name] = xr.Variable(item.dims, values, dict(item.attrs))
    return xr.Dataset({name: variables[name] for name in header.fields}).assign_coords(
        {name: variables[name] for name in header.items if name not in header.fields}
    )


def _lazy(source: GribSource, item: Item) -> Any:
    """Return an array for xarray that reads messages of ``item`` on demand."""
    from xarray.backends import BackendArray
    from xarray.core.indexing import IndexingSupport, explicit_indexing_adapter

    class Lazy(BackendArray):
        shape, dtype = item.shape, np.dtype(np.float32)

        def __getitem__(self, key: Any) -> Any:
            return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self.take)

        def take(self, key: tuple[Any, ...]) -> Any:
            dims = ("time", "latitude", "longitude")
            whole = np.arange(item.shape[0], dtype=np.int64)
            times = np.atleast_1d(whole[key[0]])
            planes = [np.arange(size)[part] for size, part in zip(item.shape[1:-2], key[1:-2], strict=True)]
            levels = np.atleast_1d(planes[0]).tolist() if planes else [None]
            parts = [
                source.fetch(item.name, Cut(dims, times, {} if level is None else {item.dims[1]: level}), _AS_IS)
                for level in levels
            ]
            values = np.stack(parts, axis=1) if planes else parts[0]
            axes = tuple(0 if isinstance(part, int | np.integer) else slice(None) for part in key[:-2])
            return values[(*axes, *key[-2:])]

    return Lazy()


def load_eccodes(label: object) -> ModuleType:
    """Return ecCodes' module.

    Raises:
        InputError: it is not installed; ``label`` is the file that needs it.
    """
    with suppress(ImportError):
        # The wheels of ecCodes and pyproj bring a PROJ library each; loaded in the other order, the process aborts at
        # its end (eccodeslib 2.50, pyproj 3.7). xarray loads pyproj behind one's back where MetPy is installed.
        import pyproj  # noqa: F401
    try:
        import eccodes
    except (ImportError, RuntimeError):
        raise InputError(
            f"{label}: is GRIB, and the packages that read it are not installed; "
            "run: pip install 'isobar[grib]' (or: uv sync --extra grib)"
        ) from None
    return cast("ModuleType", eccodes)


def _index(path: str | Path, label: str) -> Iterator[_Message]:
    """Yield what each message is, in the order of the file."""
    codes = load_eccodes(label)
    grids: dict[str, tuple[Any, ...]] = {}
    with open(path, "rb") as stream:
        while True:
            try:
                handle = codes.codes_grib_new_from_file(stream, headers_only=True)
            except codes.CodesInternalError as error:
                raise InputError(f"{label}: truncated or corrupt ({error}); download it again") from None
            if handle is None:
                return
            try:
                yield _describe(codes, handle, label, grids)
            finally:
                codes.codes_release(handle)


def _describe(codes: ModuleType, handle: int, label: str, grids: dict[str, tuple[Any, ...]]) -> _Message:
    def get(key: str, kind: type | None = None) -> Any:
        return codes.codes_get(handle, key, ktype=kind)

    name, kind = get("shortName", str), get("typeOfLevel", str)
    mark = get("md5GridSection", str)
    if mark not in grids:
        grids[mark] = (mark, *_grid(codes, handle, label, name))
    date, clock = get("validityDate", int), get("validityTime", int)
    when = datetime(date // 10_000, date // 100 % 100, date % 100, clock // 100, clock % 100, tzinfo=UTC)
    version = get("expver", str) if codes.codes_is_defined(handle, "expver") else "1"
    level = get("level", float) * _LEVEL_KINDS[kind] if kind in _LEVEL_KINDS else None
    return _Message(
        int(get("offset", int)), int(get("totalLength", int)), name, get("units", str), level, int(when.timestamp()),
        int(version) if str(version).isdigit() else 1, grids[mark],
    )  # fmt: skip


def _grid(codes: ModuleType, handle: int, label: str, name: str) -> tuple[Any, ...]:
    """Return rows, columns, latitudes and longitudes of a regular grid that is scanned by rows."""
    kind = codes.codes_get(handle, "gridType", ktype=str)
    by_columns = kind in ("regular_ll", "regular_gg") and codes.codes_get(handle, "jPointsAreConsecutive", ktype=int)
    if kind not in ("regular_ll", "regular_gg") or by_columns:
        raise InputError(f"{label}: {name} is on a grid of kind {kind}; regrid it to regular latitudes and longitudes")
    if codes.codes_get(handle, "iScansNegatively", ktype=int):
        raise InputError(f"{label}: {name} is written from east to west, which is not read; convert it to NetCDF")
    rows, columns = (codes.codes_get(handle, key, ktype=int) for key in ("Nj", "Ni"))
    north, west, south, east = (
        codes.codes_get(handle, f"{axis}OfLastGridPointInDegrees".replace("Last", which), ktype=float)
        for which in ("First", "Last")
        for axis in ("latitude", "longitude")
    )
    # The increment is rounded to a thousandth of a degree in edition 1; the corners and the counts are right.
    latitudes = np.linspace(north, south, rows)
    if kind == "regular_gg":
        latitudes = np.sort(codes.codes_get_array(handle, "distinctLatitudes", ktype=float))
        latitudes = latitudes[::-1] if north > south else latitudes
    longitudes = np.linspace(west, east + 360 if east < west else east, columns)
    return rows, columns, tuple(latitudes.tolist()), tuple(longitudes.tolist())


def _values(stream: BinaryIO, message: _Message) -> NDArray[np.float64]:
    codes = load_eccodes(stream.name)
    with _message(codes, stream, message) as handle:
        codes.codes_set(handle, "missingValue", 1e35)
        values = codes.codes_get_values(handle)
        if codes.codes_get(handle, "bitmapPresent", ktype=int):
            values[values == 1e35] = np.nan
        return np.asarray(values)


@contextmanager
def _message(codes: ModuleType, stream: BinaryIO, message: _Message) -> Iterator[int]:
    stream.seek(message.start)
    data = stream.read(message.size)
    if len(data) < message.size or data[-4:] != b"7777":
        raise EOFError(f"the message at byte {message.start} is cut off")
    handle = codes.codes_new_from_message(data)
    try:
        yield handle
    finally:
        codes.codes_release(handle)
