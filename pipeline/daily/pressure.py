"""The pressure field of a day, for its map: read from the raw files, with its highs and lows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.raw.reader import read, scan_members

_REACH = 5.0
"""Degrees of latitude around a centre in which no other value may be higher, or lower."""
_LEAST = 1.0
"""hPa by which a centre has to stand out of the ring at that distance."""
_EDGE = 1.2
"""Degrees of latitude from the edge of the map within which nothing is called a centre: it may lie outside."""
_SMOOTH = 1.0
"""Degrees over which values are averaged before centres are looked for, so that noise makes none."""


@dataclass(frozen=True)
class Field:
    """Mean sea-level pressure in hPa, latitude × longitude, at one time."""

    latitude: NDArray[np.float64]
    """Descending."""
    longitude: NDArray[np.float64]
    values: NDArray[np.float64]

    def centres(self) -> list[dict[str, Any]]:
        """Return highs and lows: ``kind`` (H or L), ``latitude``, ``longitude``, ``hpa``."""
        smooth = _smoothed(self.values, max(1, round(_SMOOTH / self._steps()[0])))
        return [*self._extremes(smooth, "H"), *self._extremes(smooth, "L")]

    def _steps(self) -> tuple[float, float]:
        """Return the spacing in degrees of latitude, along both axes (at the middle of the map)."""
        middle = float(np.cos(np.deg2rad(self.latitude.mean())))
        return (
            abs(float(self.latitude[1] - self.latitude[0])),
            abs(float(self.longitude[1] - self.longitude[0])) * middle,
        )

    def _extremes(self, smooth: NDArray[np.float64], kind: str) -> list[dict[str, Any]]:
        sign = 1.0 if kind == "H" else -1.0
        rows, columns = (max(1, round(_REACH / step)) for step in self._steps())
        edge = [max(1, ceil(_EDGE / step)) for step in self._steps()]
        found: list[dict[str, Any]] = []
        taken = _not_tops(sign * smooth)
        for rim in (slice(None, edge[0]), slice(-edge[0], None)):
            taken[rim] = True
        for rim in (slice(None, edge[1]), slice(-edge[1], None)):
            taken[:, rim] = True
        tops = np.argwhere(~taken)
        for i, j in tops[np.argsort(-sign * smooth[~taken], kind="stable")].tolist():
            if taken[i, j]:
                continue
            window = (slice(max(0, i - rows), i + rows + 1), slice(max(0, j - columns), j + columns + 1))
            around = sign * smooth[window]
            top = sign * smooth[i, j]
            if top >= around.max() and top - _ring(around).mean() >= _LEAST:
                found.append(self._told(kind, i, j))
                taken[window] = True
        return found

    def _told(self, kind: str, i: int, j: int) -> dict[str, Any]:
        near = self.values[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        value = near.max() if kind == "H" else near.min()
        place = {"latitude": float(self.latitude[i]), "longitude": float(self.longitude[j])}
        return {"kind": kind, **{name: round(at, 3) for name, at in place.items()}, "hpa": round(float(value), 1)}


def _not_tops(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each point whether one of its eight neighbours is higher."""
    padded = np.pad(values, 1, mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3)) > values)


def _ring(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the border of a rectangle."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _smoothed(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return means over (2 · reach + 1)² points, of what the field has of them at its edges."""
    size = 2 * reach + 1
    padded = np.pad(values, reach, mode="edge")
    blocks = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return np.asarray(blocks.mean(axis=(2, 3)))


def pressure_at(files: Iterable[Path], second: int) -> Field | None:
    """Return the pressure at a time (Unix seconds) from the first of ``files`` that has it; ``None`` where none has.

    Raises:
        InputError: a file is broken.
    """
    for path in files:
        for file in scan_members(path, ["msl"])[0]:
            places = np.flatnonzero(file.layout.seconds == second)
            if len(places):
                grid = file.layout.grid
                values = read(file, "msl", None, places)[0].astype(np.float64) / 100
                return Field(np.asarray(grid.latitude), np.asarray(grid.longitude), values)
    return None
