"""A big ``.npy`` file written in order, row by row, that a killed program can go on with."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.logs import log
from pipeline.store.journal import Journal

_BLOCK = 1 << 22


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header that ``numpy.save`` writes for a C-ordered array."""
    stream = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def npy_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the size of the file that ``numpy.save`` writes."""
    return len(npy_header(dtype, shape)) + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


class ArrayWriter:
    """Rows of one ``.npy`` file, written with ``pwrite`` (nothing is mapped) while their SHA-256 is computed."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...], done: int) -> None:
        """Open ``path``, of which ``done`` rows are written already.

        Raises:
            OSError: it cannot be opened or grown.
        """
        header = npy_header(dtype, shape)
        start = len(header)
        self._bytes = npy_bytes(dtype, shape)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._sha = hashlib.sha256(header)
        os.ftruncate(self._file, self._bytes)
        _pwrite(self._file, memoryview(header), 0)
        self._position = start
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._pending: Future[None] | None = None
        self._catch_up(start + done * ((self._bytes - start) // max(1, shape[0])))

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows in the background; leave ``rows`` alone until the next call.

        Raises:
            OSError: the disk is full, for instance; it may be the rows before these that did not fit.
        """
        data = memoryview(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self._wait()
        self._pending = self._thread.submit(self._write, data, self._position)
        self._position += len(data)

    def flush(self) -> None:
        """Wait until what was written is on the disk.

        Raises:
            OSError: as for :meth:`append`.
        """
        self._wait()
        os.fdatasync(self._file)

    @property
    def mark(self) -> float:
        """What is flushed, in 48 bits of its SHA-256, which a float holds exactly."""
        return float(int.from_bytes(self._sha.digest()[:6]))

    def close(self) -> None:
        """Close the file."""
        self._thread.shutdown()
        os.close(self._file)

    def _write(self, data: memoryview, position: int) -> None:
        _pwrite(self._file, data, position)
        self._sha.update(data)

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def describe(self) -> dict[str, Any]:
        """Return size and checksum of the file for a manifest.

        Raises:
            RuntimeError: rows are still to be written.
        """
        if self._position != self._bytes:
            raise RuntimeError(f"{self._bytes - self._position} bytes are still to be written")
        return {"bytes": self._bytes, "sha256": self._sha.hexdigest()}

    def _catch_up(self, end: int) -> None:
        while self._position < end:
            block = os.pread(self._file, min(_BLOCK, end - self._position), self._position)
            if not block:
                raise RuntimeError("the file is shorter than the rows that were written")
            self._sha.update(block)
            self._position += len(block)


def going_on(path: Path, dtype: str, shape: tuple[int, ...], journal: Journal, rows: int) -> ArrayWriter:
    """Return a writer after the ``rows`` of the journal, or at the beginning if the file no longer holds them.

    Raises:
        OSError: the file cannot be opened or grown.
    """
    if path.exists() and path.stat().st_size == npy_bytes(dtype, shape) and journal.parts:
        writer = ArrayWriter(path, dtype, shape, rows)
        if writer.mark == journal.mark:
            return writer
        writer.close()
        log.warning("%s: changed since it was written; it is begun anew", path)
    journal.forget()
    return ArrayWriter(path, dtype, shape, 0)


def _pwrite(file: int, data: memoryview, position: int) -> None:
    while len(data):
        count = os.pwrite(file, data, position)
        data, position = data[count:], position + count
