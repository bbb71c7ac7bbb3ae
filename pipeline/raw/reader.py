"""Raw files: what each one holds, and reading a variable of it in canonical order, units and precision."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import InputError, shorten
from pipeline.raw import hdf5
from pipeline.raw.archive import unpacked
from pipeline.raw.classic import DatasetSource, check_length
from pipeline.raw.grib import grib_dataset, open_grib
from pipeline.raw.header import Cut, Positions, Source, Unpack, Values
from pipeline.raw.layout import EXPERIMENT, Layout, find_layout
from pipeline.raw.variables import RAW

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Positions", "RawFile", "Values", "keeping_open", "opened", "read", "scan", "scan_members"]

_KNOWN = (b"\x89HDF", b"CDF\x01", b"CDF\x02", b"CDF\x05", b"GRIB")
_HANDLES = Path("/proc/self/fd")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What libraries raise on a broken file: h5py OSError, RuntimeError and KeyError, scipy the others.
_BROKEN: tuple[type[Exception], ...] = (
    OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError, *hdf5.BROKEN
)  # fmt: skip


@dataclass(frozen=True)
class RawFile:
    """A raw file, or one of the files in an archive, that holds at least one wanted variable."""

    path: Path
    layout: Layout
    member: int = 0
    """Which of the files in ``path``."""
    label: str = ""
    """What messages call it where that is not ``path``."""

    def __str__(self) -> str:
        """Return what messages call it."""
        return self.label or str(self.path)


@contextmanager
def _blaming(label: object) -> Iterator[None]:
    """Turn what a library raises on a broken file into one line that names the file."""
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{label}: truncated or corrupt ({reason}); download it again") from error


# --- opening ---------------------------------------------------------------------------------------------------------

_MOST_OPEN = 64
_open: OrderedDict[tuple[Path, int, int], list[Source]] | None = None
"""Files that stay open, the latest used last, by path, size and time of change; ``None``: none does."""


@contextmanager
def keeping_open() -> Iterator[None]:
    """Keep the latest files open after use: a file serves many months."""
    global _open
    _open = OrderedDict()
    try:
        yield
    finally:
        for sources in _open.values():
            _close(sources)
        _open = None


@contextmanager
def _sources(path: Path) -> Iterator[list[Source]]:
    """Yield the file at ``path``, or the files in it."""
    if _open is None:
        sources = _load(path)
        try:
            yield sources
        finally:
            _close(sources)
        return
    with _blaming(path):
        stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    _open[key] = _open.pop(key) if key in _open else _load(path)
    while len(_open) > _MOST_OPEN:
        _close(_open.popitem(last=False)[1])
    yield _open[key]


def _close(sources: list[Source]) -> None:
    for source in sources:
        source.close()


def _load(path: Path) -> list[Source]:
    if _magic(path) not in _ZIP:
        return _open_one(path, str(path))
    sources: list[Source] = []
    try:
        for name, handle in unpacked(path):
            try:
                sources += _open_one(_HANDLES / str(handle), f"{path} ({name})", handle)
            except BaseException:
                os.close(handle)
                raise
    except BaseException:
        _close(sources)
        raise
    return sources


def _open_one(path: Path, label: str, handle: int | None = None) -> list[Source]:
    """Open a file that is no archive; ``handle`` is what keeps it alive, to be closed together with it."""
    magic = _magic(path, label)
    if magic == b"GRIB":
        sources: list[Source] = [*open_grib(path, label)]
    elif magic == b"\x89HDF":
        with _blaming(label):
            sources = [hdf5.Hdf5Source(path if handle is None else path.open("rb"), label)]
    else:
        with _blaming(label):
            sources = [DatasetSource(_dataset(path, magic, decoded=False), label)]
    if handle is not None:
        sources[-1].close = _closing(sources[-1].close, handle)  # type: ignore[method-assign]
    return sources


def _closing(close: Callable[[], None], handle: int) -> Callable[[], None]:
    def both() -> None:
        close()
        os.close(handle)

    return both


def _dataset(path: Path, magic: bytes, decoded: bool) -> xr.Dataset:
    """Open with xarray by the engine itself: by its name, xarray would import the engines of all installed packages."""
    import xarray as xr  # takes a third of a second, and most files do without
    from xarray import backends

    if magic[:3] == b"CDF":
        check_length(path)
    engines = {
        b"\x89HDF": backends.H5netcdfBackendEntrypoint,
        # The netCDF-C library only where it must be: in one process with h5py's HDF5 it is a second copy of that.
        b"CDF\x05": backends.NetCDF4BackendEntrypoint,
    }
    # HDF5 does not open a file without a name by its path.
    nameless = path.parent == _HANDLES and magic == b"\x89HDF"
    return xr.open_dataset(
        path.open("rb") if nameless else path,
        engine=engines.get(magic, backends.ScipyBackendEntrypoint),
        decode_times=False,
        mask_and_scale=decoded,
        cache=False,
    )


def _magic(path: Path, label: str = "") -> bytes:
    """Return the first four bytes of a file that can be read.

    Raises:
        InputError: it cannot, or it is no raw file.
    """
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    name = label or str(path)
    if not magic:
        raise InputError(f"{name}: is empty; download it again")
    if magic not in _KNOWN and (label or magic not in _ZIP):
        raise InputError(f"{name}: is not NetCDF (it begins with {magic!r}); download it again")
    return magic


@contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """Open ``path`` as one xarray data set, whatever its first bytes say it is; times stay undecoded.

    Raises:
        InputError: no raw file, broken, or an archive whose files do not fit together.
    """
    with ExitStack() as stack:
        magic = _magic(path)
        if magic not in _ZIP:
            yield stack.enter_context(_opened_one(path, str(path), magic))
            return
        import xarray as xr

        parts = []
        for name, handle in unpacked(path):
            stack.callback(os.close, handle)
            part, label = _HANDLES / str(handle), f"{path} ({name})"
            parts.append(stack.enter_context(_opened_one(part, label, _magic(part, label))))
        try:
            yield xr.merge(parts, join="exact", compat="no_conflicts", combine_attrs="override")
        except ValueError as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path}: the files in this archive do not fit together ({reason}); unpack it") from None


@contextmanager
def _opened_one(path: Path, label: str, magic: bytes) -> Iterator[xr.Dataset]:
    if magic == b"GRIB":
        yield grib_dataset(open_grib(path, label), label)
        return
    with _blaming(label):
        data = _dataset(path, magic, decoded=True)
    try:
        with _blaming(label):
            for item in data.variables.values():
                if item.ndim <= 1:
                    item.load()
        yield _with_time_dimension(data)
    finally:
        data.close()


def _with_time_dimension(data: xr.Dataset) -> xr.Dataset:
    """Give a file of a single time (scalar time coordinate) a time dimension of length 1."""
    for name in ("valid_time", "time"):
        if name in data.variables and data[name].ndim == 0 and "since" in str(data[name].attrs.get("units", "")):
            return data.set_coords(name).expand_dims(name)
    return data


# --- contents --------------------------------------------------------------------------------------------------------


def scan_members(path: Path, wanted: Iterable[str]) -> tuple[list[RawFile], tuple[str, ...]]:
    """Return each file in ``path`` (itself, unless it is an archive) that holds ``wanted`` variables, and all names.

    Raises:
        InputError: broken or not understood, or two files in an archive hold one variable at one time.
    """
    names = tuple(wanted)
    files = []
    with _sources(path) as sources:
        for number, source in enumerate(sources):
            with _blaming(source.label):
                layout = find_layout(source.header, source.label, names)
            if layout:
                files.append(RawFile(path, layout, number, source.label if len(sources) > 1 else ""))
        return files, tuple(dict.fromkeys(name for source in sources for name in source.header.names))


def scan(path: Path, wanted: Iterable[str]) -> tuple[RawFile | None, tuple[str, ...]]:
    """Return what ``path`` holds of the ``wanted`` variables (``None`` if nothing), and the names of all it holds.

    Raises:
        InputError: broken or not understood, or an archive with several files of them (see :func:`scan_members`).
    """
    files, names = scan_members(path, wanted)
    if len(files) > 1:
        raise InputError(f"{path}: holds several files ({shorten(map(str, files))}); unpack it")
    return (files[0] if files else None), names


# --- values ----------------------------------------------------------------------------------------------------------

_ROWS = 16
"""Times that are checked at once, few enough to stay in the processor's cache."""


def read(file: RawFile, variable: str, level: float | None, positions: Positions) -> Values:
    """Return ``variable`` (at ``level`` hPa) at ``positions`` (ascending) along the file's time.

    Returns:
        float32, time × latitude × longitude in canonical order, in the unit of :data:`RAW`; NaN only where the
        variable may miss.

    Raises:
        InputError: broken file, a missing or infinite value, or one outside the possible range.
    """
    layout, held = file.layout, file.layout.held[variable]
    with _sources(file.path) as sources, _blaming(file):
        source = sources[file.member]
        item = source.header.items[held.name]
        fixed = {}
        if level is not None and held.level_dim is not None:
            fixed[held.level_dim] = int(np.argmin(np.abs(np.array(held.levels) - level)))
        unpack = Unpack.of(item.attrs, held.factor, held.offset)
        versions = [{EXPERIMENT: place} for place in layout.versions] if EXPERIMENT in item.dims else [{}]
        cuts = [Cut(layout.dims, positions, fixed | version) for version in versions]
        values = source.fetch(held.name, cuts[0], unpack)
        for cut in cuts[1:]:  # the best version that is valid in each cell
            values = np.where(np.isnan(values), source.fetch(held.name, cut, unpack), values)
    values = layout.order.apply(values)
    _check(values, file, variable, layout.seconds[positions])
    return values


def _check(values: Values, file: RawFile, key: str, seconds: Positions) -> None:
    """Check the values a few times at a time; only where something looks wrong are they looked at one by one."""
    variable = RAW[key]
    for start in range(0, len(values), _ROWS):
        block = values[start : start + _ROWS]
        least, most = (np.fmin, np.fmax) if variable.may_miss else (np.minimum, np.maximum)
        low, high = least.reduce(block, axis=None), most.reduce(block, axis=None)
        # A missing value makes the comparison false; where all values may be missing, there is nothing to compare.
        if not (low >= variable.lowest and high <= variable.highest):
            _complain(block, file, key, seconds[start : start + _ROWS])


def _complain(values: Values, file: RawFile, key: str, seconds: Positions) -> None:
    variable, name, units = RAW[key], file.layout.held[key].name, file.layout.held[key].units
    missing = np.count_nonzero(np.isinf(values) if variable.may_miss else ~np.isfinite(values), axis=(1, 2))
    if missing.any():
        first = np.datetime64(int(seconds[np.argmax(missing > 0)]), "s")
        raise InputError(
            f"{file}: {name!r} is missing or infinite in {missing.sum()} cells, first at {first} UTC "
            f"({missing[missing > 0][0]} of {values[0].size} cells); {key} may not miss, download the file again"
        )
    low, high = np.fmin.reduce(values, axis=(1, 2)), np.fmax.reduce(values, axis=(1, 2))
    wrong = (low < variable.lowest) | (high > variable.highest)
    if wrong.any():
        place = int(np.argmax(wrong))
        found = low[place] if low[place] < variable.lowest else high[place]
        raise InputError(
            f"{file}: {name!r} is {found:g} {variable.units} at {np.datetime64(int(seconds[place]), 's')} UTC; "
            f"{key} lies within {variable.lowest:g} … {variable.highest:g} {variable.units}; "
            f"is the attribute units = {units!r} right?"
        )
