"""Monthly files in NetCDF-4 (CF-1.12), written a block of times at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import disk_fault
from pipeline.derive.recipe import Recipe, Values
from pipeline.raw.grid import Grid
from pipeline.raw.times import Seconds

DIMS = ("time", "latitude", "longitude")
MANTISSA = 23
"""Bits of mantissa that float32 stores."""
_QUANTIZATION = "quantization"
# Shuffling bits before LZ4 makes files a fifth smaller than shuffling bytes, in half the time.
COMPRESSION: dict[str, dict[str, Any]] = {
    "lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "zlib": {"shuffle": True, "compression": "gzip", "compression_opts": 4},
    "none": {},
}


class Disk(io.RawIOBase):
    """A file that never fails in the hands of the HDF5 library, which a failed write can make end the process.

    What cannot be written is kept in memory, so that the library reads what it wrote. :meth:`check` tells; after it has
    raised, little more is written.
    """

    _PAGE = 4096

    def __init__(self, path: Path) -> None:
        """Create the file at ``path``, or empty it."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._place = self._size = 0
        self._error: OSError | None = None
        self._unwritten: dict[int, bytearray] = {}
        """Pages that differ from the file, by number."""

    def check(self) -> None:
        """Raise what went wrong so far.

        Raises:
            EnvironmentFault: the disk is full or closed.
        """
        if self._error is not None:
            raise disk_fault(self._error, self._path) or self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset``."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``, with zeros beyond the end."""
        view = memoryview(buffer).cast("B")
        count = os.preadv(self._file, [view], self._place)
        view[count:] = bytes(len(view) - count)
        for number, inside, start, stop in self._pages(len(view)) if self._unwritten else ():
            if number in self._unwritten:
                view[start:stop] = self._unwritten[number][inside : inside + stop - start]
        self._place += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Write ``data``, to the file as long as that goes well."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self._error is None:
            try:
                done += os.pwrite(self._file, view[done:], self._place + done)
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._keep(view)
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length; where that fails, the file is given up anyway."""
        self._size = self._place if size is None else size
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:
            self._error = self._error or error
        return self._size

    def finish(self) -> None:
        """Close the file; :meth:`close` is left to the HDF5 library, which may call it at any time."""
        os.close(self._file)

    def _pages(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield for the next ``count`` bytes: number of the page, place inside it, and from where to where of them."""
        start = 0
        while start < count:
            number, inside = divmod(self._place + start, self._PAGE)
            stop = min(count, start + self._PAGE - inside)
            yield number, inside, start, stop
            start = stop

    def _keep(self, view: memoryview) -> None:
        for number, inside, start, stop in self._pages(len(view)):
            if number not in self._unwritten:
                page = os.pread(self._file, self._PAGE, number * self._PAGE)
                self._unwritten[number] = bytearray(page.ljust(self._PAGE, b"\0"))
            self._unwritten[number][inside : inside + stop - start] = view[start:stop]


@contextmanager
def new_file(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """Yield a new HDF5 file at ``path``, and the disk below it, to be checked after every few writes.

    Raises:
        EnvironmentFault: the disk is full.
    """
    disk = Disk(path)
    try:
        # No cache of blocks: each is written once, whole.
        with h5py.File(disk, "w", rdcc_nbytes=0, track_order=True) as file:
            yield file, disk
        disk.check()
    finally:
        disk.finish()


class Output:
    """A file being written: coordinates at once, fields a block of times at a time."""

    def __init__(self, path: Path, grid: Grid, attributes: Mapping[str, str]) -> None:
        """Prepare a file at ``path``; nothing is written before it is entered as a context."""
        self._manager = new_file(path)
        self._grid, self._attributes = grid, attributes
        self._fields: dict[str, h5py.h5d.DatasetID] = {}
        self._bits: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Create the file."""
        self.file, self._disk = self._manager.__enter__()
        self.file.attrs.update(self._attributes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._fields.clear()
        self._manager.__exit__(kind, error, trace)

    def add_coordinates(self, seconds: Seconds, texts: Mapping[str, tuple[Sequence[str], str]]) -> None:
        """Write the dimensions with their values, and ``texts`` over time: ``{name: (texts, long name)}``."""
        since = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "axis": "T"}
        coordinates: tuple[tuple[NDArray[Any], dict[str, str]], ...] = (
            (seconds, {"standard_name": "time", "long_name": "time (UTC)", **since}),
            (self._grid.latitude, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
            (self._grid.longitude, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
        )
        self._scales = []
        for name, (values, attributes) in zip(DIMS, coordinates, strict=True):
            item = self.file.create_dataset(name, data=values)
            item.make_scale(name)
            item.attrs.update(attributes)
            self._scales.append(item.id)
        for name, (words, long_name) in texts.items():
            item = self.file.create_dataset(name, data=np.array(words, dtype=object), dtype=h5py.string_dtype())
            self._attach(item, 1)
            item.attrs["long_name"] = long_name

    def add_scalar(self, name: str, values: NDArray[np.float32], attributes: Mapping[str, str]) -> None:
        """Write a variable over time alone."""
        item = self.file.create_dataset(name, data=values.astype(np.float32, copy=False))
        self._attach(item, 1)
        item.attrs.update(attributes)

    def add_field(self, name: str, recipe: Recipe, times: int, compression: str, bits: int) -> None:
        """Create a variable over time × latitude × longitude, a block a time; ``bits`` of mantissa are to be kept."""
        shape = self._grid.shape
        item = self.file.create_dataset(
            name, (times, *shape), "<f4", chunks=(1, *shape), fillvalue=np.float32(np.nan), **COMPRESSION[compression]
        )
        self._attach(item, 3)
        item.attrs["_FillValue"] = np.float32(np.nan)
        texts = {"units": recipe.units, "long_name": recipe.long_name, "standard_name": recipe.standard_name}
        texts |= {"references": recipe.reference} | dict(recipe.attributes)
        item.attrs.update({key: text for key, text in texts.items() if text})
        if bits < MANTISSA:
            item.attrs.update({"quantization": _QUANTIZATION, "quantization_nsb": np.int32(bits)})
        self._fields[name], self._bits[name] = item.id, bits
        self._disk.check()

    def add_quantization(self, version: str) -> None:
        """Write what was done to the fields that are not raw variables (CF-1.12, section 8.4)."""
        item = self.file.create_dataset(_QUANTIZATION, data=np.int8(0))
        item.attrs.update({"algorithm": "bitround", "implementation": f"Isobar {version}"})

    def put(self, name: str, start: int, values: Values) -> None:
        """Write ``values`` (time × latitude × longitude) of a field from time number ``start`` on."""
        item = self._fields[name]
        stored = rounded(values, self._bits[name]) if self._bits[name] < MANTISSA else values
        space = item.get_space()
        space.select_hyperslab((start, 0, 0), stored.shape)
        item.write(h5py.h5s.create_simple(stored.shape), space, np.ascontiguousarray(stored))
        self._disk.check()

    def _attach(self, item: h5py.Dataset, dims: int) -> None:
        for axis, scale in enumerate(self._scales[:dims]):
            h5py.h5ds.attach_scale(item.id, scale, axis)


def rounded(values: Values, kept: int) -> Values:
    """Return ``values`` with ``kept`` bits of mantissa, to the nearest: within 2^-(kept + 1) of the value.

    Method: Kouznetsov (2021), Geosci. Model Dev. 14, 377–389.
    """
    cut = MANTISSA - kept
    bits = values.view(np.uint32) + np.uint32(1 << (cut - 1))
    bits &= np.uint32(0xFFFFFFFF << cut & 0xFFFFFFFF)
    result = bits.view(np.float32)
    # The bits of a NaN may overflow.
    if np.isnan(values.max(initial=0)):
        np.copyto(result, np.float32(np.nan), where=np.isnan(values))
    return result
