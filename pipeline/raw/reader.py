"""Raw NetCDF files: what each one holds, and reading a variable of it in canonical order, units and precision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hdf5plugin  # noqa: F401 - makes HDF5 read files compressed with LZ4, Zstandard or Blosc
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.raw.layout import EXPERIMENT, Layout, find_layout, with_time_dimension
from pipeline.raw.variables import RAW

Values = NDArray[np.float32]
Positions = NDArray[np.int64]

# scipy, because the netCDF-C library reads the missing end of a truncated classic file as zeros without a word.
_ENGINES = {b"\x89HDF": "h5netcdf", b"CDF\x01": "scipy", b"CDF\x02": "scipy"}
_OTHERS = {
    b"PK\x03\x04": "is a ZIP archive under another name; unpack it (unzip) and name the .nc files in it",
    b"GRIB": "is GRIB, not NetCDF; download it as NetCDF or convert it (grib_to_netcdf)",
    b"CDF\x05": "is NetCDF of the CDF-5 kind, which is not read; convert it (nccopy -k nc4)",
    b"": "is empty; download it again",
}
# What libraries raise on a broken file: h5py OSError, RuntimeError and KeyError, scipy the others.
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError)


@dataclass(frozen=True)
class RawFile:
    """A raw file that holds at least one wanted variable."""

    path: Path
    layout: Layout


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn what a library raises on a broken file into one line that names the file."""
    try:
        yield
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: truncated or corrupt ({reason}); download it again") from error


_MOST_OPEN = 64
_open: OrderedDict[tuple[Path, int, int], xr.Dataset] | None = None
"""Files that stay open, the latest used last, by path, size and time of change; ``None``: none does."""


@contextmanager
def keeping_open() -> Iterator[None]:
    """Keep the latest files open after use: a file serves many months, and opening takes longer than reading one."""
    global _open
    _open = OrderedDict()
    try:
        yield
    finally:
        for data in _open.values():
            data.close()
        _open = None


@contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """Open ``path`` with the engine that its first bytes ask for; times stay undecoded, coordinates are in memory.

    Raises:
        InputError: not NetCDF, or broken.
    """
    if _open is None:
        with _load(path) as data:
            yield data
        return
    with _blaming(path):
        stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    _open[key] = _open.pop(key) if key in _open else _load(path)
    while len(_open) > _MOST_OPEN:
        _open.popitem(last=False)[1].close()
    yield _open[key]


def _load(path: Path) -> xr.Dataset:
    engine = _engine(path)
    with _blaming(path):
        data = xr.open_dataset(path, engine=engine, decode_times=False, cache=False)
        try:
            for item in data.variables.values():
                if item.ndim <= 1:
                    item.load()
        except BaseException:
            data.close()
            raise
    whole = with_time_dimension(data)
    if whole is not data:
        whole.set_close(data.close)
    return whole


def _engine(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if magic in _ENGINES:
        return _ENGINES[magic]
    raise InputError(f"{path}: {_OTHERS.get(magic, f'is not NetCDF (it begins with {magic!r}); download it again')}")


def scan(path: Path, wanted: Iterable[str]) -> tuple[RawFile | None, tuple[str, ...]]:
    """Return what ``path`` holds of the ``wanted`` variables (``None`` if nothing), and the names of all it holds.

    Raises:
        InputError: broken or not understood.
    """
    with opened(path) as data:
        layout = find_layout(data, path, wanted)
        return (RawFile(path, layout) if layout else None), tuple(str(name) for name in data.data_vars)


def read(file: RawFile, variable: str, level: float | None, positions: Positions) -> Values:
    """Return ``variable`` (at ``level`` hPa) at ``positions`` (ascending) along the file's time.

    Returns:
        float32, time × latitude × longitude in canonical order, in the unit of :data:`RAW`; NaN only where the
        variable may miss.

    Raises:
        InputError: broken file, a missing or infinite value, or one outside the possible range.
    """
    layout, held = file.layout, file.layout.held[variable]
    step = int(np.gcd.reduce(np.diff(positions))) if len(positions) > 1 else 1
    span = slice(int(positions[0]), int(positions[-1]) + 1, step)
    time, latitude, longitude = layout.dims
    with opened(file.path) as data:
        item = data[held.name].isel({time: span})
        if level is not None and held.level_dim is not None:
            item = item.isel({held.level_dim: int(np.argmin(np.abs(np.array(held.levels) - level)))})
        # ``expver`` comes last of those that go: the others have length 1.
        extra = sorted((name for name in item.dims if name not in layout.dims), key=EXPERIMENT.__eq__)
        with _blaming(file.path):
            values = item.transpose(*extra, time, latitude, longitude).values
    values = _merge(values, layout.versions if EXPERIMENT in extra else ())
    values = values[(positions - positions[0]) // step]
    values = layout.order.apply((values * held.factor if held.factor != 1 else values).astype(np.float32))
    _check(values, file, variable, layout.seconds[positions])
    return values


def _merge(values: NDArray[np.floating], versions: tuple[int, ...]) -> NDArray[np.floating]:
    """Reduce leading dimensions: ``expver`` to the best version that is valid in each cell, others have length 1."""
    shape = values.shape[-3:]
    stack = values.reshape(-1, *shape)
    order = versions or (0,)
    merged: NDArray[np.floating] = stack[order[0]]
    for place in order[1:]:
        merged = np.where(np.isnan(merged), stack[place], merged)
    return merged


def _check(values: Values, file: RawFile, key: str, seconds: NDArray[np.int64]) -> None:
    variable, name, units = RAW[key], file.layout.held[key].name, file.layout.held[key].units
    low, high = np.fmin.reduce(values, axis=(1, 2)), np.fmax.reduce(values, axis=(1, 2))
    missing = np.count_nonzero(~np.isfinite(values), axis=(1, 2))
    if variable.may_miss:
        missing = np.count_nonzero(np.isinf(values), axis=(1, 2))
    if missing.any():
        first = np.datetime64(int(seconds[np.argmax(missing > 0)]), "s")
        raise InputError(
            f"{file.path}: {name!r} is missing or infinite in {missing.sum()} cells, first at {first} UTC "
            f"({missing[missing > 0][0]} of {values[0].size} cells); {key} may not miss, download the file again"
        )
    wrong = (low < variable.lowest) | (high > variable.highest)
    if wrong.any():
        place = int(np.argmax(wrong))
        found = low[place] if low[place] < variable.lowest else high[place]
        raise InputError(
            f"{file.path}: {name!r} is {found:g} {variable.units} at {np.datetime64(int(seconds[place]), 's')} UTC; "
            f"{key} lies within {variable.lowest:g} … {variable.highest:g} {variable.units}; "
            f"is the attribute units = {units!r} right?"
        )
