"""What the finished parts of a long pass gave, so that a killed pass goes on with the next part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.store.moments import Floats


class Journal:
    """The moments of each finished part (3 × samples × C, float64), appended to one file in order.

    Its length says how many parts are whole; a part that was cut off by a kill is dropped and done again. It is not
    flushed to the disk: what a crash of the machine takes from its end is done again as well.
    """

    def __init__(self, folder: Path, label: str, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Read ``<folder>/<label>`` if an earlier process left it; ``shapes`` are those of all parts."""
        self.label, self.parts = label, list[Floats]()
        self._path = folder / label
        folder.mkdir(parents=True, exist_ok=True)
        noted = np.fromfile(self._path) if self._path.exists() else np.empty(0)
        position = 0
        for shape in shapes:
            end = position + int(np.prod(shape))
            if end > len(noted):
                break
            self.parts.append(noted[position:end].reshape(shape))
            position = end
        self._position = 8 * position

    @property
    def samples(self) -> int:
        """Samples of the finished parts."""
        return sum(part.shape[1] for part in self.parts)

    def forget(self) -> None:
        """Begin with the first part again."""
        self.parts.clear()
        self._position = 0

    def add(self, part: Floats) -> None:
        """Note the next part.

        Raises:
            OSError: the disk is full, for instance.
        """
        data = np.ascontiguousarray(part).tobytes()
        with self._path.open("r+b" if self._path.exists() else "w+b") as stream:
            stream.seek(self._position)
            stream.write(data)
            stream.truncate()
        self._position += len(data)
        self.parts.append(part)
