"""All monthly files as one: ``era5_all_data_pp.nc``, copied block by block without unpacking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.contract.derived import DerivedSpec
from pipeline.core.artifact import digest8, writing
from pipeline.core.errors import InputError
from pipeline.core.logs import event, log
from pipeline.derive.netcdf import COMPRESSION, DIMS, Disk, new_file

ONE_FILE = "era5_all_data_pp.nc"
FORMAT = 1


def write_one_file(folder: Path, spec: DerivedSpec) -> Path:
    """Write all times of the complete data ``spec`` in ``folder`` as one file, unless it is there and fresh.

    Fields are LZ4-compressed, one block a time; memory holds one block.

    Raises:
        InputError: a monthly file is broken.
        EnvironmentFault: the disk is full.
    """
    path = folder / ONE_FILE
    made_from = digest8([FORMAT, spec.version])
    if _fresh(path, made_from):
        log.info("%s is fresh", path)
        return path
    with writing(path) as part, new_file(part) as (target, disk):
        _write(target, disk, folder, spec, made_from)
    event(f"wrote {path} ({path.stat().st_size / 1e6:.0f} MB)", file=ONE_FILE)
    return path


def _fresh(path: Path, made_from: str) -> bool:
    try:
        with h5py.File(path, "r") as data:
            return bool(data.attrs.get("made_from") == made_from)
    except OSError:
        return False


def _write(target: h5py.File, disk: Disk, folder: Path, spec: DerivedSpec, made_from: str) -> None:
    parts = [folder / piece.file for piece in spec.pieces]
    lengths = []
    for path in parts:
        with _monthly(path) as data:
            lengths.append(len(data["time"]))
    with _monthly(parts[0]) as first:
        target.attrs.update({name: first.attrs[name] for name in first.attrs})
        title = f"Derived fields of {spec.dataset}, {spec.pieces[0].first} to {spec.pieces[-1].last}"
        target.attrs.update({"title": title, "source": f"{len(parts)} monthly files", "made_from": made_from})
        _copy_structure(target, first, sum(lengths))
    start = 0
    for path, length in zip(parts, lengths, strict=True):
        with _monthly(path) as data:
            _copy_values(target, disk, data, path, start, length)
        start += length


@contextmanager
def _monthly(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", rdcc_nbytes=0) as data:
            yield data
    except (OSError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path}: cannot be read ({error}); delete it and run derive again") from None


def _copy_structure(target: h5py.File, first: h5py.File, times: int) -> None:
    """Create every variable of ``first`` with as many ``times``, and write those that have no time."""
    for name in first:
        source = first[name]
        timed = name == DIMS[0] or (source.ndim > 0 and name not in DIMS)
        shape = (times, *source.shape[1:]) if timed else source.shape
        more: dict[str, Any] = {}
        if source.ndim == 3:
            more = {"chunks": source.chunks, "fillvalue": np.float32(np.nan), **COMPRESSION["lz4"]}
        item = target.create_dataset(name, shape, source.dtype, **more)
        if name in DIMS:
            item.make_scale(name)
        if not timed:
            item[...] = source[...]
    for name in first:
        _describe(target, first[name], name)


def _describe(target: h5py.File, source: h5py.Dataset, name: str) -> None:
    own = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST")
    target[name].attrs.update({key: source.attrs[key] for key in source.attrs if key not in own})
    if name not in DIMS:
        for axis, dim in enumerate(DIMS[: source.ndim]):
            target[name].dims[axis].attach_scale(target[dim])


def _copy_values(target: h5py.File, disk: Disk, data: h5py.File, path: Path, start: int, times: int) -> None:
    for name in target:
        item = target[name]
        if item.ndim == 0 or name in DIMS[1:]:
            continue
        if name not in data or data[name].shape[1:] != item.shape[1:]:
            raise InputError(f"{path}: {name!r} is missing or has another grid; delete it and run derive again")
        if item.ndim == 3 and _packing(item) == _packing(data[name]):
            _copy_blocks(item, data[name], start, times)
        elif item.ndim == 3:
            for time in range(times):
                item[start + time] = data[name][time]
        else:
            item[start : start + times] = data[name][...]
        disk.check()


def _packing(item: h5py.Dataset) -> list[Any]:
    plan = item.id.get_create_plist()
    return [item.chunks, *(plan.get_filter(number)[::2] for number in range(plan.get_nfilters()))]


def _copy_blocks(target: h5py.Dataset, source: h5py.Dataset, start: int, times: int) -> None:
    for time in range(times):
        skipped, packed = source.id.read_direct_chunk((time, 0, 0))
        target.id.write_direct_chunk((start + time, 0, 0), packed, skipped)
