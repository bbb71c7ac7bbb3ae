"""The samples whose inputs are most alike: root mean square difference in standard deviations, coarsely seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import IMAGE, Store
from pipeline.core.errors import InputError

Rows = NDArray[np.int64]
Features = NDArray[np.float32]
CELLS = {"grid": 16, IMAGE: 32}
"""Maps and images are averaged to at most this many cells a side."""
_BYTES = 1 << 25
"""Of an array that are read at a time."""
_MOST_ROWS = 4096
HOW = (
    "root mean square difference of all values of {inputs}, in standard deviations of the training samples; "
    "maps averaged to at most 16 by 16 cells, images to grey and at most 32 by 32"
)


@dataclass(frozen=True)
class Neighbours:
    """Of each of Q samples the nearest ones: rows of the store and distances, Q × count, nearest first.

    Where fewer than ``count`` may be neighbours, the rest are row −1 at distance infinity.
    """

    rows: Rows
    distance: Features


@dataclass(frozen=True)
class Space:
    """Where samples are near each other: inputs of a store, standardised as in a fold."""

    store: Store
    fold: str
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, fold: str, inputs: Sequence[str]) -> Space:
        """Choose the inputs that tell how alike two samples are: all but scalars (the season), unless that is all.

        Raises:
            InputError: the store lacks an input.
        """
        lacking = [name for name in inputs if name not in store.spec.inputs]
        if lacking or not inputs:
            raise InputError(
                f"{store.folder}: holds no input {lacking or ''}; give the config that the run was made by"
            )
        telling = tuple(name for name in inputs if store.spec.inputs[name].kind != "scalars")
        return cls(store, fold, telling or tuple(inputs))

    @property
    def how(self) -> str:
        """What the distance is, in words."""
        return HOW.format(inputs=" and ".join(self.inputs))

    def features(self, rows: Rows) -> Features:
        """Return samples as vectors (len(rows) × F) whose Euclidean distance is the one described above."""
        parts = []
        for name in self.inputs:
            values = self._seen(name, rows)
            parts.append(values / np.sqrt(values.shape[1] * len(self.inputs), dtype=np.float32))
        return np.concatenate(parts, axis=1)

    def _seen(self, name: str, rows: Rows) -> Features:
        spec = self.store.spec.inputs[name]
        values = self.store.rows(name).read(rows)
        if spec.kind == IMAGE:
            spread = float(np.mean(self.store.scale[self.fold][name]["std"])) or 1.0
            grey = values.mean(axis=1, keepdims=True, dtype=np.float32) / (255.0 * spread)
            return coarse(grey, CELLS[IMAGE]).reshape(len(rows), -1)
        scale = self.store.affine(name, self.fold)
        # Channels of a map come first, features of a series last.
        shape = (-1, 1, 1) if values.ndim == 4 else (-1,)
        values = values.astype(np.float32) * scale.factor.reshape(shape) + scale.offset.reshape(shape)
        values = np.nan_to_num(values, nan=0.0)
        return (coarse(values, CELLS["grid"]) if values.ndim == 4 else values).reshape(len(rows), -1)

    def nearest(
        self, asked: Rows, among: Rows, count: int, apart: NDArray[Any] | None = None, days: int = 0
    ) -> Neighbours:
        """Return of each of ``asked`` the ``count`` nearest of ``among``, itself left out.

        Args:
            asked: Q rows of the store.
            among: M rows that may be neighbours, read in blocks of 32 MB.
            count: how many.
            apart: a date for every row of the store; rows at most ``days`` from the asked one are no neighbours.
            days: see ``apart``.
        """
        if not len(asked) or not count:
            return Neighbours(np.empty((len(asked), 0), np.int64), np.empty((len(asked), 0), np.float32))
        mine = self.features(asked)
        square = (mine**2).sum(axis=1)
        rows = np.full((len(asked), count), -1, np.int64)
        nearest = np.full((len(asked), count), np.inf, np.float32)
        for block in self._blocks(among):
            theirs = self.features(block)
            distance = square[:, None] + (theirs**2).sum(axis=1) - 2 * mine @ theirs.T
            near = asked[:, None] == block
            if apart is not None:
                near |= np.abs((apart[asked][:, None] - apart[block]).astype(np.int64)) <= days
            distance[near] = np.inf
            every = np.concatenate([nearest, distance], axis=1)
            order = np.argsort(every, axis=1, kind="stable")[:, :count]
            nearest = np.take_along_axis(every, order, axis=1)
            named = np.concatenate([rows, np.broadcast_to(block, distance.shape)], axis=1)
            rows = np.where(np.isinf(nearest), -1, np.take_along_axis(named, order, axis=1))
        return Neighbours(rows, np.sqrt(np.maximum(nearest, 0)))

    def _blocks(self, rows: Rows) -> list[Rows]:
        widest = max(self.store.rows(name).row_bytes for name in self.inputs)
        step = min(_MOST_ROWS, max(1, _BYTES // widest))
        return [rows[start : start + step] for start in range(0, len(rows), step)]


def coarse(values: Features, cells: int) -> Features:
    """Return N × C × H × W averaged to at most ``cells`` × ``cells`` blocks of nearly equal size."""
    for axis in (2, 3):
        size = values.shape[axis]
        edges = np.linspace(0, size, min(cells, size) + 1).astype(np.int64)
        shape = [1, 1, 1, 1]
        shape[axis] = len(edges) - 1
        counts = np.diff(edges).astype(np.float32).reshape(shape)
        values = np.asarray(np.add.reduceat(values, edges[:-1], axis=axis) / counts, np.float32)
    return values
