"""ZIP archives that the Climate Data Store sends under any name: unpacked, merged into one NetCDF file, in place.

The store answers with a ZIP when a request mixes kinds of variables (instantaneous, accumulated), one member each, also
under the name ``.nc`` and with ``download_format: unarchived``.
"""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import h5netcdf
import h5py
import hdf5plugin  # noqa: F401 - makes HDF5 read members compressed with LZ4, Zstandard or Blosc
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.artifact import make_folder, writing
from pipeline.core.errors import disk_fault, shorten
from pipeline.download.check import GRIB, NETCDF, ZIP, Rejected
from pipeline.download.grib import PRELIMINARY
from pipeline.download.netcdf import COMPRESSED, new_netcdf
from pipeline.download.survey import blocks
from pipeline.raw.layout import EXPERIMENT

LARGEST = 20 * 10**9
"""Bytes that an archive may unpack to, if nothing else is asked for; the store's largest answers are about this big."""
_MOST_MEMBERS = 1000
_COPY = 1 << 22
_ENCRYPTED = 1  # bit of zipfile.ZipInfo.flag_bits
_BAD_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError
)  # fmt: skip
"""What reading a damaged archive raises; sizes and places in it may be anything."""
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError)
_TIMES = ("valid_time", "time")


def settle(path: Path, largest: int = LARGEST) -> None:
    """Turn a ZIP into the one file that it stands for, in place and atomically; any other file stays as it is.

    One member takes the place of the archive. Several NetCDF members with the same times, levels and grid become one
    NetCDF4 file, in order of their names: raw values, attributes and scalar coordinates kept, ``expver`` preliminary
    where any member's is, deflate level 1 with byte shuffling, the same bytes each time. Several GRIB members are
    joined message after message, which is again GRIB. Members are never written under their own names.

    Raises:
        Rejected: broken, encrypted, nested, larger than ``largest`` bytes, or of members that do not fit together.
        EnvironmentFault: the disk is full or closed.
    """
    folder = path.with_name(f".{path.name}.members")
    # Left by a process that was killed after the archive had been replaced, or before.
    _remove(folder)
    if not _is_zip(path):
        return
    try:
        members = _unpack(path, folder, largest)
        kinds = {_kind(member) for member in members}
        if len(members) == 1:
            os.replace(members[0], path)
        elif kinds == {GRIB}:
            _join(members, path)
        elif GRIB in kinds:
            raise Rejected(f"{path}: is a ZIP archive of NetCDF and GRIB members, which cannot be joined")
        else:
            _merge(members, path)
    except OSError as error:
        raise disk_fault(error, path) or error from error
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(2) == ZIP
    except FileNotFoundError:
        raise Rejected(f"{path}: no such file") from None


# --- unpacking -------------------------------------------------------------------------------------------------


def _unpack(path: Path, folder: Path, largest: int) -> list[Path]:
    """Write the members under numbers, in order of their names; return the files."""
    make_folder(folder)
    found: list[Path] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in _members(path, archive, largest):
                found.append(folder / f"{len(found):04d}")
                with archive.open(info) as source, found[-1].open("wb") as target:
                    _copy(source, target, info.file_size)
                    target.flush()
                    os.fsync(target.fileno())
    except _BAD_ARCHIVE as error:
        if isinstance(error, OSError) and (fault := disk_fault(error, path)):
            raise fault from error
        raise Rejected(f"{path}: is a broken ZIP archive ({str(error)[:160]})") from error
    for number, member in enumerate(found, 1):
        if _kind(member) not in (*NETCDF, GRIB):
            what = "a ZIP archive" if _kind(member).startswith(ZIP) else "neither NetCDF nor GRIB"
            raise Rejected(f"{path}: is a ZIP archive whose member {number} of {len(found)} is {what}")
    return found


def _members(path: Path, archive: zipfile.ZipFile, largest: int) -> list[zipfile.ZipInfo]:
    """Return the members that are files, by name, if it is safe to unpack them."""
    infos = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
    size = sum(info.file_size for info in infos)
    if not infos:
        raise Rejected(f"{path}: is a ZIP archive without members")
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise Rejected(f"{path}: is an encrypted ZIP archive")
    if len(infos) > _MOST_MEMBERS:
        raise Rejected(f"{path}: is a ZIP archive of {len(infos)} members; at most {_MOST_MEMBERS} are unpacked")
    if size > largest:
        raise Rejected(f"{path}: is a ZIP archive that unpacks to {size} bytes; at most {largest} are unpacked")
    return infos


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    """Copy a member; what its header says of its size holds, whatever its data say."""
    left = size
    while block := source.read(min(_COPY, left + 1)):
        left -= len(block)
        if left < 0:
            raise zipfile.BadZipFile("a member is longer than its header says")
        target.write(block)


def _kind(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4)


def _join(members: Sequence[Path], path: Path) -> None:
    with writing(path) as part, part.open("wb") as target:
        for member in members:
            with member.open("rb") as source:
                shutil.copyfileobj(source, target, _COPY)


# --- merging ---------------------------------------------------------------------------------------------------


def _merge(members: Sequence[Path], path: Path) -> None:
    """Write the variables of all members into one NetCDF4 file."""
    with ExitStack() as stack:
        sources = [stack.enter_context(_undecoded(member, path)) for member in members]
        owners = _owners(sources, path)
        with new_netcdf(path, sum(member.stat().st_size for member in members)) as target:
            target.attrs.update(_global_attributes(sources))
            target.dimensions = {str(name): size for source in sources for name, size in source.sizes.items()}
            for name, owner in owners.items():
                if name == EXPERIMENT and EXPERIMENT not in target.dimensions:
                    _write_versions(target, sources, path)
                else:
                    _write(target, name, sources[owner][name], path)


@contextmanager
def _undecoded(member: Path, path: Path) -> Iterator[xr.Dataset]:
    """Open a member with its values as they are stored."""
    engine = "h5netcdf" if _kind(member) == NETCDF[-1] else "scipy"
    try:
        data = xr.open_dataset(member, engine=engine, decode_cf=False, cache=False)
    except _BROKEN as error:
        raise Rejected(f"{path}: a member of this ZIP archive cannot be opened ({str(error)[:160]})") from error
    with data:
        yield data


def _owners(sources: Sequence[xr.Dataset], path: Path) -> dict[str, int]:
    """Return which member each variable is taken from; what several hold must be the same in all of them."""
    owners: dict[str, int] = {}
    for number, source in enumerate(sources):
        for name in map(str, source.variables):
            if name not in owners:
                owners[name] = number
            elif name != EXPERIMENT or EXPERIMENT in source.dims:
                _compare(name, sources[owners[name]][name], source[name], path)
    sizes: dict[str, int] = {}
    for source in sources:
        for dim, size in source.sizes.items():
            if sizes.setdefault(str(dim), size) != size:
                raise Rejected(f"{path}: members of this ZIP archive have {sizes[str(dim)]} and {size} of {dim!r}")
    times = {time for source in sources for time in _TIMES if time in source.dims}
    if len(times) > 1:
        raise Rejected(f"{path}: members of this ZIP archive name their times {shorten(sorted(times))}")
    return owners


def _compare(name: str, mine: xr.DataArray, other: xr.DataArray, path: Path) -> None:
    if mine.ndim > 1:
        raise Rejected(f"{path}: two members of this ZIP archive hold the variable {name!r}")
    units = (mine.attrs.get("units"), other.attrs.get("units"))
    if mine.dims != other.dims or units[0] != units[1] or not np.array_equal(mine.values, other.values):
        raise Rejected(f"{path}: members of this ZIP archive differ in {name!r}; they are not of one grid and period")


def _global_attributes(sources: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Return the attributes of all members, the first one's where they differ; histories are kept one by one."""
    found: dict[str, Any] = {}
    for source in sources:
        found = {**source.attrs, **found}
    histories = dict.fromkeys(str(source.attrs["history"]) for source in sources if "history" in source.attrs)
    return {**found, **({"history": "\n".join(histories)} if histories else {})}


def _write_versions(target: h5netcdf.File, sources: Sequence[xr.Dataset], path: Path) -> None:
    """Write ``expver`` of all members as one: over time if any is, preliminary where any is."""
    found = [source[EXPERIMENT] for source in sources if EXPERIMENT in source.variables]
    dims = max((item.dims for item in found), key=len)
    shape = tuple(target.dimensions[str(name)].size for name in dims)
    merged = np.full(shape, "", dtype=object)
    for item in found:
        texts = np.broadcast_to(np.vectorize(_text, otypes=[object])(item.values), shape)
        merged = np.where((merged == "") | (texts == f"{PRELIMINARY:04d}"), texts, merged)
    made = target.create_variable(EXPERIMENT, tuple(map(str, dims)), h5py.string_dtype())
    made[...] = merged
    _copy_attributes(made, found[0])


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return f"{int(text):04d}" if text.isdigit() else text


def _write(target: h5netcdf.File, name: str, item: xr.DataArray, path: Path) -> None:
    """Copy a variable block by block, each of whole chunks, so that it is inflated once."""
    chunks = item.encoding.get("chunksizes")
    numeric = item.dtype.kind in "iuf"
    kind = item.dtype.newbyteorder("=") if numeric else h5py.string_dtype()
    shape = {"chunks": tuple(chunks)} if chunks else {}
    settings = {**COMPRESSED, **shape} if numeric and item.ndim > 1 else {}
    fill = {"fillvalue": item.attrs["_FillValue"]} if numeric and "_FillValue" in item.attrs else {}
    made = target.create_variable(name, tuple(map(str, item.dims)), kind, **settings, **fill)
    if item.ndim == 0:
        made[...] = _values(item, (), path)
    elif item.size:
        for place in blocks(item.shape, chunks or (1,) * item.ndim):
            made[place] = _values(item, place, path)
    _copy_attributes(made, item)


def _values(item: xr.DataArray, place: tuple[slice, ...], path: Path) -> NDArray[Any]:
    try:
        values: NDArray[Any] = item[place].values
    except _BROKEN as error:
        raise Rejected(f"{path}: {item.name!r} in this ZIP archive cannot be read ({str(error)[:160]})") from error
    return values


def _copy_attributes(made: h5netcdf.Variable, item: xr.DataArray) -> None:
    made.attrs.update({key: value for key, value in item.attrs.items() if key != "_FillValue"})
