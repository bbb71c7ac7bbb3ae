"""Results of finished batches on disk, so that a killed prediction goes on with the next batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
_CHECK = 4
"""Bytes of the checksum behind each row."""


@dataclass(frozen=True)
class Journal:
    """N rows of ``width`` numbers (float32) that are appended to one file, ``batch`` rows at a time.

    Each row is followed by its CRC-32. What a kill cut off, or a disk spoiled, is dropped and done again.
    """

    path: Path
    rows: int
    width: int
    batch: int

    def todo(self) -> Iterator[tuple[int, int]]:
        """Yield first and last row (not included) of the batches that are not there yet."""
        for first in range(self._done(), self.rows, self.batch):
            yield first, min(first + self.batch, self.rows)

    def add(self, first: int, values: Rows) -> None:
        """Note the batch that begins with row ``first``.

        Raises:
            OSError: the disk is full, for instance.
        """
        rows = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(len(values), -1)
        checks = np.array([zlib.crc32(row.tobytes()) for row in rows], "<u4").view(np.uint8).reshape(len(rows), _CHECK)
        with self.path.open("r+b" if self.path.exists() else "w+b") as stream:
            stream.seek(self._row_bytes * first)
            stream.write(np.concatenate([rows, checks], axis=1).tobytes())
            stream.truncate()

    def read(self) -> Rows:
        """Return all rows, N × width."""
        whole = np.fromfile(self.path, np.uint8, self.rows * self._row_bytes).reshape(self.rows, -1)
        return np.ascontiguousarray(whole[:, :-_CHECK]).view("<f4").astype(np.float32, copy=False)

    @property
    def _row_bytes(self) -> int:
        return 4 * self.width + _CHECK

    def _done(self) -> int:
        """Return how many rows are there in whole batches."""
        data = np.fromfile(self.path, np.uint8) if self.path.exists() else np.empty(0, np.uint8)
        count = min(len(data) // self._row_bytes, self.rows)
        rows = data[: count * self._row_bytes].reshape(count, self._row_bytes)
        checks = np.ascontiguousarray(rows[:, -_CHECK:]).view("<u4")[:, 0]
        good = next((n for n, row in enumerate(rows) if zlib.crc32(row[:-_CHECK].tobytes()) != checks[n]), count)
        return self.rows if good == self.rows else good // self.batch * self.batch
