"""Files that xarray reads (classic NetCDF of all three kinds), and the check that their end is there."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pipeline.raw.header import ATTRIBUTES, Cut, Header, Item, Unpack, Values, check_length_of

if TYPE_CHECKING:
    import xarray as xr

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a value by the number of its type (NetCDF classic format specification)."""


class DatasetSource:
    """An open xarray data set whose values are still packed."""

    def __init__(self, data: xr.Dataset, label: str) -> None:
        """Describe ``data``, opened with ``mask_and_scale=False, decode_times=False``."""
        self.label = label
        self._data = data
        items = {str(name): _item(str(name), array) for name, array in data.variables.items()}
        self.header = Header(items, {str(name): int(size) for name, size in data.sizes.items()})

    def close(self) -> None:
        """Close the file."""
        self._data.close()

    def fetch(self, name: str, cut: Cut, unpack: Unpack) -> Values:
        """Return time × latitude × longitude of a variable, unpacked, in the order of the file."""
        item = self._data.variables[name]
        keys: dict[Any, Any] = {dim: cut.fixed.get(str(dim), 0) for dim in item.dims if dim not in cut.dims}
        timeless = cut.dims[0] not in item.dims
        values = item.isel(keys if timeless else keys | {cut.dims[0]: cut.span})
        if timeless:  # a single time, without a dimension for it
            stored = values.transpose(*cut.dims[1:]).values[np.newaxis]
        else:
            stored = values.transpose(*cut.dims).values[cut.inside]
        return np.ascontiguousarray(unpack(stored).astype(np.float32, copy=False))


def _item(name: str, array: xr.Variable) -> Item:
    attrs = {key: array.attrs[key] for key in ATTRIBUTES if key in array.attrs}
    values = None
    if array.ndim <= 1 and array.dtype.kind in "fiu":
        check_length_of(name, array.shape)
        values = np.asarray(array.values)
        unpack = Unpack.of(attrs)
        values = values if unpack.trivial else unpack(values)
    return Item(name, tuple(map(str, array.dims)), array.shape, attrs, values)


def check_length(path: str | Path) -> None:
    """Check that a classic NetCDF file reaches as far as its header says.

    The netCDF-C library reads the missing end of a truncated file as zeros without a word.

    Raises:
        EOFError: it does not.
    """
    with open(path, "rb") as stream:
        needed = _Classic(stream).end()
        there = stream.seek(0, 2)
    if there < needed:
        raise EOFError(f"{there} bytes of {needed}")


class _Classic:
    """The header of a classic file: big-endian lists of dimensions, attributes and variables."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = stream.seek(0, 2)
        stream.seek(0)
        self._kind = stream.read(4)[3]

    def end(self) -> int:
        """Return the smallest size that the file can have."""
        records = self._count()
        dims = [self._dimension() for _ in range(self._list())]
        self._attributes()
        ends, record_size = [0], 0
        for _ in range(self._list()):
            begin, size, recorded = self._variable(dims)
            record_size += size if recorded else 0
            ends.append(begin + (0 if recorded and not records else size))
        # The last record may lack its padding: 3 bytes at most.
        return max(ends) + max(0, records - 1) * record_size - (3 if record_size else 0)

    def _take(self, count: int) -> bytes:
        # A damaged length may ask for more memory than there is.
        if not 0 <= count <= self._size - self._stream.tell():
            raise EOFError("the header is cut off")
        return self._stream.read(count)

    def _number(self, form: str = ">i") -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _count(self) -> int:
        return self._number(">q" if self._kind == 5 else ">i")

    def _list(self) -> int:
        self._number()
        return self._count()

    def _name(self) -> None:
        self._take(-(-self._count() // 4) * 4)

    def _dimension(self) -> int:
        self._name()
        return self._count()

    def _attributes(self) -> None:
        for _ in range(self._list()):
            self._name()
            size = _SIZES[self._number()]
            self._take(-(-self._count() * size // 4) * 4)

    def _variable(self, dims: list[int]) -> tuple[int, int, bool]:
        """Return where its values begin, their bytes (those of one record), and whether it has records."""
        self._name()
        shape = [dims[self._count()] for _ in range(self._count())]
        self._attributes()
        size = _SIZES[self._number()]
        self._count()  # the size that the writer noted overflows for large variables
        begin = self._number(">i" if self._kind == 1 else ">q")
        recorded = bool(shape) and shape[0] == 0
        return begin, -(-prod(shape[1:] if recorded else shape) * size // 4) * 4, recorded
