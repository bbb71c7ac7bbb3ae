"""Highs and lows of a pressure map: one definition for what is noted of a day and for what is drawn. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal, TypedDict

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_REACH = 5.0
"""Degrees of latitude around a centre in which no other value may be higher, or lower."""
_LEAST = 1.0
"""hPa by which a centre has to stand out of the ring at that distance."""
_EDGE = 1.2
"""Degrees of latitude from the edge of the map, or of a gap, within which nothing is a centre: it may lie outside."""
_SMOOTH = 1.0
"""Degrees around each point over which values are averaged before centres are looked for: noise makes none."""
_SHORTEST = 0.2
"""Of a degree of longitude, in degrees of latitude: taken for maps around a pole."""


class Centre(TypedDict):
    """A high (H) or a low (L): where, and its pressure."""

    kind: Literal["H", "L"]
    latitude: float
    longitude: float
    hpa: float


@dataclass(frozen=True)
class PressureMap:
    """Mean sea-level pressure at one time on evenly spaced latitudes and longitudes."""

    latitude: Floats
    """Degrees north, ascending or descending."""
    longitude: Floats
    """Degrees east."""
    values: Floats
    """hPa, latitude × longitude; NaN in gaps."""

    def centres(self) -> list[Centre]:
        """Return the highs, highest first, then the lows, lowest first.

        The map is smoothed over 1 degree around each point, not at all where points are 2 degrees or more apart. There,
        a centre is the extreme of its surroundings, 5 degrees of latitude (measured in the middle of the map) to each
        side, and differs by 1 hPa or more from the mean of their border. No other of its kind is in its surroundings,
        and none is beside an edge or a gap. Coordinates are rounded to 0.001 degrees; pressure, the extreme of the
        3 × 3 values of the map around it, to 0.1 hPa. Less than 3 × 3 points have none.
        """
        if min(self.values.shape) < 3:
            return []
        if self.latitude[0] < self.latitude[-1]:  # so that the order of the rows decides nothing between equal values
            return PressureMap(self.latitude[::-1], self.longitude, self.values[::-1]).centres()
        smooth = _smoothed(self.values, round(_SMOOTH / self._steps()[0]))
        return [*self._extremes(smooth, "H"), *self._extremes(smooth, "L")]

    def _steps(self) -> tuple[float, float]:
        """Return the spacing in degrees of latitude, along both axes (at the middle of the map)."""
        middle = max(float(np.cos(np.deg2rad(self.latitude.mean()))), _SHORTEST)
        south, east = (float(np.ptp(axis)) / (len(axis) - 1) for axis in (self.latitude, self.longitude))
        return south, east * middle

    def _extremes(self, smooth: Floats, kind: Literal["H", "L"]) -> list[Centre]:
        sign = 1.0 if kind == "H" else -1.0
        height = np.where(np.isnan(self.values), -np.inf, sign * smooth)
        rows, columns = (max(1, round(_REACH / step)) for step in self._steps())
        taken = _not_tops(height) | self._off()
        tops = np.argwhere(~taken)
        found: list[Centre] = []
        for i, j in tops[np.argsort(-height[~taken], kind="stable")].tolist():
            window = (slice(max(0, i - rows), i + rows + 1), slice(max(0, j - columns), j + columns + 1))
            around = height[window]
            if taken[i, j] or height[i, j] < around.max():
                continue
            ring = _ring(around)
            ring = ring[np.isfinite(ring)]
            if len(ring) and height[i, j] - ring.mean() >= _LEAST:
                found.append(self._told(kind, i, j))
                taken[window] = True
        return found

    def _off(self) -> NDArray[np.bool_]:
        """Tell which points are gaps, or too near to one or to the edge."""
        # Steps like 0.4 divide to a little more than a whole number.
        rows, columns = (max(1, ceil(_EDGE / step - 1e-6)) for step in self._steps())
        absent = np.pad(np.isnan(self.values), ((rows, rows), (columns, columns)), constant_values=True)
        return np.asarray(sliding_window_view(absent, (2 * rows + 1, 2 * columns + 1)).any(axis=(2, 3)))

    def _told(self, kind: Literal["H", "L"], i: int, j: int) -> Centre:
        near = self.values[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        value = near.max() if kind == "H" else near.min()
        latitude, longitude = round(float(self.latitude[i]), 3), round(float(self.longitude[j]), 3)
        return {"kind": kind, "latitude": latitude, "longitude": longitude, "hpa": round(float(value), 1)}


def _not_tops(values: Floats) -> NDArray[np.bool_]:
    """Tell for each point whether one of its eight neighbours is higher."""
    padded = np.pad(values, 1, mode="edge")
    return np.asarray(sliding_window_view(padded, (3, 3)).max(axis=(2, 3)) > values)


def _ring(values: Floats) -> Floats:
    """Return the border of a rectangle."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _smoothed(values: Floats, reach: int) -> Floats:
    """Return means over (2 · reach + 1)² points, of what there is of them; at the edges the border counts on."""
    size = 2 * reach + 1
    there = ~np.isnan(values)
    sums, counts = (
        sliding_window_view(np.pad(part, reach, mode="edge"), (size, size)).sum(axis=(2, 3))
        for part in (np.where(there, values, 0.0), there)
    )
    return np.asarray(sums / np.maximum(counts, 1))
