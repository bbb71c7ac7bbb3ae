"""HDF5 (NetCDF-4) files read past the HDF5 library's filters: every compressed block is inflated exactly once.

The library keeps 1 MB of inflated blocks a variable; the Climate Data Store's blocks are some 5 MB, so reading month by
month would inflate each of them six times and more.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import hdf5plugin  # noqa: F401 - makes HDF5 read files compressed with LZ4, Zstandard or Blosc
import numpy as np
from numpy.typing import NDArray

from pipeline.raw.header import ATTRIBUTES, Cut, Header, Item, Unpack, Values, check_length_of
from pipeline.raw.memory import blank


def _inflater() -> tuple[Callable[[bytes, int], bytes], type[Exception]]:
    """Return what inflates a block of known size, and what it raises on a damaged one.

    libdeflate is twice as fast as zlib and checks the same checksum; a platform may have no wheel of it.
    """
    try:
        deflate = import_module("deflate")
    except ImportError:
        return (lambda data, size: zlib.decompress(data, bufsize=size)), zlib.error
    return deflate.zlib_decompress, deflate.DeflateError


_inflate, _error = _inflater()
BROKEN: tuple[type[Exception], ...] = (_error, zlib.error)
"""What inflating a damaged block raises."""
_NOT_A_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
_RENAMED = "_nc4_non_coord_"
_SHUFFLE, _DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE


class Hdf5Source:
    """An open HDF5 file in the conventions of NetCDF-4."""

    def __init__(self, path: Path | BinaryIO, label: str) -> None:
        """Open the file (a path, or a stream of one without a name) and read its header."""
        self.label = label
        # No cache of blocks: each is read once, whole.
        self._file = h5py.File(path, "r", rdcc_nbytes=0)
        self._places: dict[str, str] = {}
        try:
            self.header = self._header()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def fetch(self, name: str, cut: Cut, unpack: Unpack) -> Values:
        """Return time × latitude × longitude of a variable, unpacked, in the order of the file."""
        item, data = self.header.items[name], self._file[self._places[name]]
        if not data.size:
            raise ValueError(f"{name} holds no value")
        if cut.dims[0] not in item.dims:  # a single time, without a dimension for it
            return _plane(data, cut, item.dims, unpack)
        axes = [item.dims.index(dim) for dim in cut.dims]
        blocks = _Blocks(data) if data.chunks and sorted(axes) == axes else None
        if blocks is not None and blocks.known:
            return blocks.read(axes, cut, item.dims, unpack)
        return _slab(data, axes, cut, item.dims, unpack)

    # --- header ------------------------------------------------------------------------------------------------------

    def _header(self) -> Header:
        sizes: dict[str, int] = {}
        items: dict[str, Item] = {}
        for place in self._file:
            data = self._file[place]
            if not isinstance(data, h5py.Dataset):
                continue
            name = place.removeprefix(_RENAMED)
            scale = h5py.h5ds.get_scale_name(data.id) if h5py.h5ds.is_scale(data.id) else None
            if scale is not None and data.ndim == 1 and place == name:
                sizes[name] = int(data.shape[0])
            if scale is not None and scale.startswith(_NOT_A_VARIABLE):
                continue
            dims = (name,) if scale is not None and data.ndim == 1 else self._dims(data, name)
            self._places[name] = place
            items[name] = _item(data, name, dims, _attributes(data))
        for item in items.values():
            sizes.update(zip(item.dims, item.shape, strict=True))
        return Header(items, sizes)

    def _dims(self, data: h5py.Dataset, name: str) -> tuple[str, ...]:
        """Return the names of the dimensions; where none is attached, one that tells length and axis."""
        unnamed = tuple(f"{name}_{axis}" for axis in range(data.ndim))
        if not data.ndim or not h5py.h5a.exists(data.id, b"DIMENSION_LIST"):
            return unnamed
        lists = data.attrs["DIMENSION_LIST"]
        return tuple(
            h5py.h5r.get_name(refs[0], self._file.id).decode().rsplit("/", 1)[-1].removeprefix(_RENAMED)
            if len(refs) else name
            for refs, name in zip(lists, unnamed, strict=True)
        )  # fmt: skip


def _attributes(data: h5py.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ATTRIBUTES:
        if h5py.h5a.exists(data.id, name.encode()):
            value = data.attrs[name]
            found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes | np.bytes_) else value
    return found


def _item(data: h5py.Dataset, name: str, dims: tuple[str, ...], attributes: dict[str, Any]) -> Item:
    values = None
    if data.ndim <= 1 and data.dtype.kind in "fiu":
        check_length_of(name, data.shape)
        stored = np.asarray(data[()])
        unpack = Unpack.of(attributes)
        values = stored if unpack.trivial else unpack(stored)
    chunks = data.chunks if data.ndim > 1 and data.id.get_create_plist().get_nfilters() else None
    return Item(name, dims, tuple(map(int, data.shape)), attributes, values, chunks)


# --- values ----------------------------------------------------------------------------------------------------------


def _slab(data: h5py.Dataset, axes: list[int], cut: Cut, dims: tuple[str, ...], unpack: Unpack) -> Values:
    """Read through the HDF5 library, for files that are not compressed or compressed in another way."""
    keys: list[Any] = [slice(None)] * data.ndim
    for axis, dim in enumerate(dims):
        keys[axis] = slice(None) if axis in axes[1:] else cut.fixed.get(dim, 0)
    keys[axes[0]] = cut.span
    values = data[tuple(keys)]
    left = [axis for axis in range(data.ndim) if not isinstance(keys[axis], int)]
    values = values.transpose([left.index(axis) for axis in axes])[cut.inside]
    return np.ascontiguousarray(unpack(values).astype(np.float32, copy=False))


def _plane(data: h5py.Dataset, cut: Cut, dims: tuple[str, ...], unpack: Unpack) -> Values:
    """Read a variable without a dimension of time."""
    kept = [dim for dim in dims if dim in cut.dims]
    values = data[tuple(slice(None) if dim in kept else cut.fixed.get(dim, 0) for dim in dims)]
    values = values.transpose([kept.index(dim) for dim in cut.dims[1:]])
    return np.ascontiguousarray(unpack(values[np.newaxis]).astype(np.float32, copy=False))


class _Blocks:
    """The compressed blocks of one variable."""

    def __init__(self, data: h5py.Dataset) -> None:
        self._data, self._shape, self._sizes = data, data.shape, data.chunks
        plan = data.id.get_create_plist()
        filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
        self._shuffled = _SHUFFLE in filters
        self.known = filters in ([_DEFLATE], [_SHUFFLE, _DEFLATE])
        """Whether they are compressed in the one way that is read here."""
        self._bytes = int(np.prod(self._sizes)) * data.dtype.itemsize

    def read(self, axes: list[int], cut: Cut, dims: tuple[str, ...], unpack: Unpack) -> Values:
        time, *plane = axes
        out = blank((len(cut.positions), *(self._shape[axis] for axis in plane)))
        length = self._sizes[time]
        starts = cut.positions // length * length
        for start in np.unique(starts).tolist():
            here = np.flatnonzero(starts == start)
            rows = _compact(cut.positions[here] - start)
            for corner in self._corners(plane):
                target = out[(slice(here[0], here[-1] + 1), *self._window(plane, corner))]
                block = self._block(axes, dims, cut, start, corner, rows)
                target[...] = unpack(block[:, : target.shape[1], : target.shape[2]])
        return out

    def _corners(self, plane: list[int]) -> Iterator[tuple[int, ...]]:
        return product(*(range(0, self._shape[axis], self._sizes[axis]) for axis in plane))

    def _window(self, plane: list[int], corner: tuple[int, ...]) -> list[slice]:
        return [slice(low, low + self._sizes[axis]) for axis, low in zip(plane, corner, strict=True)]

    def _block(
        self, axes: list[int], dims: tuple[str, ...], cut: Cut, start: int, corner: tuple[int, ...], rows: Any
    ) -> NDArray[Any]:
        """Return the ``rows`` of one block, time × latitude × longitude."""
        places = dict(zip(axes, (start, *corner), strict=True))
        index: list[Any] = [slice(None)] * len(self._sizes)
        index[axes[0]] = rows
        for axis, dim in enumerate(dims):
            if axis not in places:
                index[axis] = cut.fixed.get(dim, 0) % self._sizes[axis]
                places[axis] = cut.fixed.get(dim, 0) - index[axis]
        offset = tuple(places[axis] for axis in range(len(dims)))
        if self._data.id.get_chunk_info_by_coord(offset).byte_offset is None:
            shape = [n for n, key in zip(self._sizes, index, strict=True) if not isinstance(key, int)]
            return np.array(np.broadcast_to(self._data.fillvalue, shape)[rows])
        skipped, packed = self._data.id.read_direct_chunk(offset)
        if skipped:
            raise ValueError("some blocks are compressed in another way than the rest")
        stored = np.frombuffer(_inflate(packed, self._bytes), np.uint8)
        return self._join(stored, tuple(index))

    def _join(self, stored: NDArray[np.uint8], index: tuple[Any, ...]) -> NDArray[Any]:
        """Undo HDF5's shuffle filter (all first bytes, all second bytes …) for the part ``index`` of a block."""
        dtype = self._data.dtype
        if stored.size != self._bytes:
            raise ValueError(f"a block of {self._data.name} has {stored.size} bytes, not {self._bytes}")
        if not self._shuffled or dtype.itemsize == 1:
            return np.asarray(stored.view(dtype).reshape(self._sizes)[index])
        planes = stored.reshape(dtype.itemsize, *self._sizes)[(slice(None), *index)]
        values = np.empty(planes.shape[1:], dtype)
        flat, whole = planes.reshape(dtype.itemsize, -1), values.view(np.uint8).reshape(-1, dtype.itemsize)
        for number in range(dtype.itemsize):
            whole[:, number] = flat[number]
        return values


def _compact(rows: NDArray[np.int64]) -> Any:
    """Return evenly spaced rows as a slice, which is read without a copy; others as they are."""
    steps = np.unique(np.diff(rows))
    if len(steps) > 1:
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1, int(steps[0]) if len(steps) else 1)
