"""What the finished parts of a long pass gave, so that a killed pass goes on with the next part."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.store.moments import Floats


def _sum(part: Floats) -> float:
    """Return the CRC-32 of numbers, as a float that holds it exactly."""
    return float(zlib.crc32(np.ascontiguousarray(part).tobytes()))


class Journal:
    """The moments of each finished part (3 × samples × C, float64), appended to one file in order.

    Each part is followed by a mark of the file that grows with it, and by a checksum; one that was cut off by a kill,
    or changed, is dropped and done again with those after it. It is not flushed to the disk: what a crash of the
    machine takes from its end is done again as well.
    """

    def __init__(self, folder: Path, label: str, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Read ``<folder>/<label>`` if an earlier process left it; ``shapes`` are those of all parts."""
        self.label, self.parts, self.mark = label, list[Floats](), 0.0
        self._path = folder / label
        folder.mkdir(parents=True, exist_ok=True)
        noted = np.fromfile(self._path) if self._path.exists() else np.empty(0)
        position = 0
        for shape in shapes:
            end = position + int(np.prod(shape))
            if end + 1 >= len(noted) or noted[end + 1] != _sum(noted[position : end + 1]):
                break
            self.parts.append(noted[position:end].reshape(shape))
            self.mark = float(noted[end])
            position = end + 2
        self._position = 8 * position

    @property
    def samples(self) -> int:
        """Samples of the finished parts."""
        return sum(part.shape[1] for part in self.parts)

    def forget(self) -> None:
        """Begin with the first part again."""
        self.parts.clear()
        self.mark, self._position = 0.0, 0

    def add(self, part: Floats, mark: float = 0.0) -> None:
        """Note the next part, and what :attr:`ArrayWriter.mark` says of the file with it.

        Raises:
            OSError: the disk is full, for instance.
        """
        plain = np.append(part.reshape(-1), mark)
        data = plain.tobytes() + np.float64(_sum(plain)).tobytes()
        with self._path.open("r+b" if self._path.exists() else "w+b") as stream:
            stream.seek(self._position)
            stream.write(data)
            stream.truncate()
        self._position += len(data)
        self.mark = mark
        self.parts.append(part)
