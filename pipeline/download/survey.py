"""Every value of a raw file looked at once: is it readable, finite, plausible, preliminary, and how much is missing.

A chunk of a compressed file is inflated as a whole whichever of its values is asked for. Blocks therefore consist of
whole chunks along every dimension, so that each chunk is inflated once and memory stays at a few blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.download.grib import PRELIMINARY, blaming
from pipeline.raw.grid import Grid
from pipeline.raw.layout import EXPERIMENT
from pipeline.raw.reader import RawFile, read, scan_members
from pipeline.raw.variables import RAW

BLOCK = 4_000_000
"""Cells of one block: 16 MB of float32, or one chunk if that is larger."""
_EMPTY_TIMES = frozenset({"cin"})
"""Variables that may miss everywhere at a time: no cell has an inhibition where none has instability."""
_VERSION_ATTRIBUTES = ("expver", "GRIB_expver", "experimentVersionNumber", "GRIB_experimentVersionNumber")
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError)

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Target:
    """One variable of a file, to be read."""

    name: str
    """Its name there."""
    key: str | None
    """Its entry in :data:`RAW`; ``None``: not known there, so units and range are not looked at."""
    time: str
    """The dimension of time."""
    seconds: NDArray[np.int64]
    grid: Grid
    levels: tuple[float, ...] = ()
    """hPa, in the order of the file."""
    versions: tuple[int, ...] = ()
    """Positions along ``expver``, best first."""
    factor: float = 1.0
    offset: float = 0.0
    """Stored value × factor + offset is in the unit of :data:`RAW`."""
    units: str = ""
    file: RawFile | None = None
    """The scanned file, of a known variable."""

    @classmethod
    def of(cls, file: RawFile, key: str) -> Target:
        """Return the known variable ``key`` of a scanned file."""
        layout, held = file.layout, file.layout.held[key]
        return cls(
            name=held.name,
            key=key,
            time=layout.dims[0],
            seconds=layout.seconds,
            grid=layout.grid,
            levels=held.levels,
            versions=layout.versions,
            factor=held.factor,
            offset=held.offset,
            units=held.units,
            file=file,
        )


@dataclass(frozen=True)
class Survey:
    """What the values of one variable are like."""

    missing_share: float
    """Cells without a value, of all levels and times; 0 … 1."""
    preliminary: bool
    """Whether any of them came from the preliminary half of an ``expver`` dimension."""


def find(path: Path, keys: Iterable[str]) -> tuple[dict[str, Target], tuple[str, ...]]:
    """Return the known variables ``keys`` of a file (or of the files in an archive), and the names of all it holds.

    Raises:
        InputError: broken, not understood, or a variable is in two files of the archive.
    """
    with blaming(path):
        files, names = scan_members(path, keys)
    found: dict[str, Target] = {}
    for file in files:
        for key in file.layout.held:
            if key in found:
                raise InputError(f"{path}: holds {key} twice, in {found[key].file} and in {file}; keep one of them")
            found[key] = Target.of(file, key)
    return found, names


def look(data: xr.Dataset, target: Target, path: Path) -> Survey:
    """Read all values of ``target`` in an opened NetCDF file or archive once.

    Raises:
        InputError: unreadable, infinite, outside the possible range, or missing where nothing may miss.
    """
    item = data[target.name]
    time = item.dims.index(target.time)
    missing = np.zeros(item.sizes[target.time], np.int64)
    preliminary = False
    for place in _places(item):
        values = _read(item, place, path)
        if EXPERIMENT in item.dims:
            values, used = _merge(values, item.dims.index(EXPERIMENT), target.versions, data[EXPERIMENT].values)
            preliminary |= used
        seconds = target.seconds[place[time]]
        by_time = np.moveaxis(values, time, 0).reshape(len(seconds), -1)
        missing[place[time]] += _check(by_time, seconds, target, path)
    cells = item.size // item.sizes.get(EXPERIMENT, 1)
    return Survey(_share(missing, cells, target, path), preliminary)


def look_grib(target: Target, path: Path) -> Survey:
    """Read all values of a known variable of a GRIB file once, message after message.

    Raises:
        InputError: see :func:`look`.
    """
    if target.file is None or target.key is None:
        raise ValueError("a variable of a GRIB file is read by its key")
    cells = math.prod(target.grid.shape)
    step = max(1, BLOCK // cells)
    missing = np.zeros(len(target.seconds), np.int64)
    levels: Sequence[float | None] = target.levels or (None,)
    for level in levels:
        for first in range(0, len(missing), step):
            places = np.arange(first, min(first + step, len(missing)))
            with blaming(path):
                values = read(target.file, target.key, level, places)
            missing[places] += np.count_nonzero(np.isnan(values), axis=(1, 2))
    return Survey(_share(missing, cells * len(levels) * len(missing), target, path), False)


def _share(missing: NDArray[np.int64], cells: int, target: Target, path: Path) -> float:
    """Return the share of ``cells`` that are missing, given their number at each time."""
    full = missing == cells // len(missing)
    if target.key is not None and target.key not in _EMPTY_TIMES and full.any():
        first = _when(target.seconds[int(np.argmax(full))])
        none = "; over land there is none: take it out of the table" if target.key == "sst" and full.all() else ""
        raise InputError(f"{path}: {target.name!r} has no value at all at {first}{none or '; download it again'}")
    return float(missing.sum() / cells)


def is_preliminary(data: xr.Dataset) -> bool:
    """Tell whether any time of a file is marked as ERA5T: by ``expver`` over time or for the file, or by an attribute.

    An ``expver`` dimension is not looked at: which of its halves holds values is known after reading (:func:`look`).
    """
    found: list[Any] = [data.attrs.get(name) for name in _VERSION_ATTRIBUTES]
    found += [item.attrs.get(name) for item in data.variables.values() for name in _VERSION_ATTRIBUTES]
    if EXPERIMENT in data.variables and EXPERIMENT not in data.dims:
        found += list(np.atleast_1d(data[EXPERIMENT].values).ravel())
    return any(_version(value) == PRELIMINARY for value in found if value is not None)


def blocks(shape: Sequence[int], chunks: Sequence[int], most: int = BLOCK) -> Iterator[tuple[slice, ...]]:
    """Yield slices that cover ``shape`` once, each of whole ``chunks`` and at most ``most`` cells (or one chunk)."""
    sizes = [min(chunk, size) for chunk, size in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        room = max(1, most // math.prod(sizes))
        sizes[axis] = min(shape[axis], sizes[axis] * room)
    starts = [range(0, total, size) for total, size in zip(shape, sizes, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(first, min(first + size, total)) for first, size, total in zip(corner, sizes, shape, strict=True)
        )


def _places(item: xr.DataArray) -> Iterator[tuple[slice, ...]]:
    """Yield the blocks of a variable; an ``expver`` dimension is never cut."""
    chunks = item.encoding.get("chunksizes") or item.encoding.get("preferred_chunks")
    if isinstance(chunks, dict):
        chunks = tuple(chunks.get(name, 1) for name in item.dims)
    if not chunks or len(chunks) != item.ndim:
        chunks = (1,) * item.ndim
    whole = (
        size if name == EXPERIMENT else chunk for name, size, chunk in zip(item.dims, item.shape, chunks, strict=True)
    )
    return blocks(item.shape, tuple(whole))


def _read(item: xr.DataArray, place: tuple[slice, ...], path: Path) -> Values:
    try:
        with blaming(path):
            values: Values = item[place].values
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: truncated or corrupt in {item.name!r} ({reason}); download it again") from error
    return values


def _merge(values: Values, axis: int, versions: Sequence[int], numbers: NDArray[Any]) -> tuple[Values, bool]:
    """Reduce ``expver`` (kept with length 1) to the best valid version; tell whether preliminary values were taken."""
    merged, used = np.full_like(np.take(values, [0], axis), np.nan), False
    for place in versions:
        other = np.take(values, [place], axis)
        gap = np.isnan(merged)
        used |= _version(numbers[place]) == PRELIMINARY and not np.isnan(other[gap]).all()
        merged = np.where(gap, other, merged)
    return merged, used


def _check(values: Values, seconds: NDArray[np.int64], target: Target, path: Path) -> NDArray[np.int64]:
    """Check a block (time × cell) and return the number of missing values at each time."""
    low, high = float(values.min()), float(values.max())
    missing = np.zeros(len(values), np.int64)
    if math.isnan(low):
        missing = np.count_nonzero(np.isnan(values), axis=1).astype(np.int64)
        low, high = (float(find.reduce(values, axis=None)) for find in (np.fmin, np.fmax))
    if math.isinf(low) or math.isinf(high):
        place = int(np.argmax(np.isinf(values).any(axis=1)))
        raise InputError(f"{path}: {target.name!r} is infinite at {_when(seconds[place])}; download it again")
    key = target.key
    if key is None:
        return missing
    if missing.any() and not RAW[key].may_miss:
        place = int(np.argmax(missing > 0))
        raise InputError(
            f"{path}: {target.name!r} is missing in {missing.sum()} cells, first at {_when(seconds[place])}; "
            f"{key} may not miss, download it again"
        )
    _check_range(values, (low, high), seconds, target, path)
    return missing


def _check_range(
    values: Values, found: tuple[float, float], seconds: NDArray[np.int64], target: Target, path: Path
) -> None:
    variable = RAW[str(target.key)]
    for value in found:
        here = value * target.factor + target.offset
        if here < variable.lowest or here > variable.highest:
            place = int(np.argmax((values == value).any(axis=1)))
            raise InputError(
                f"{path}: {target.name!r} is {here:g} {variable.units} at {_when(seconds[place])}; "
                f"{target.key} lies within {variable.lowest:g} … {variable.highest:g} {variable.units}; "
                f"is the attribute units = {target.units!r} right?"
            )


def _when(seconds: int) -> str:
    return f"{np.datetime64(int(seconds), 's')} UTC"


def _version(value: Any) -> int | None:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return int(text) if text.strip().isdigit() else None
