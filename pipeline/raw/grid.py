"""The horizontal grid in its one canonical order: latitude descending, longitude ascending without a jump."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError

Degrees = NDArray[np.float64]
Places = NDArray[np.intp]

# Coordinates stored as float32 differ from the same ones in float64 by up to 1.5e-5 degrees; grids differ by more.
NOISE = 1e-4
FLOAT32 = 2e-5


@dataclass(frozen=True)
class Grid:
    """Latitudes (degrees north, descending) and longitudes (degrees east, ascending, first in [-180, 180))."""

    latitude: Degrees
    longitude: Degrees

    @property
    def shape(self) -> tuple[int, int]:
        """The number of latitudes and longitudes."""
        return len(self.latitude), len(self.longitude)

    def same(self, other: Grid) -> bool:
        """Tell whether both are one grid, up to the noise of float32 coordinates."""
        return self.shape == other.shape and all(
            bool(np.allclose(mine, theirs, rtol=0, atol=NOISE))
            for mine, theirs in ((self.latitude, other.latitude), (self.longitude, other.longitude))
        )

    def describe(self) -> str:
        """Return extent and size for a message."""
        (rows, columns), north, south = self.shape, self.latitude[0], self.latitude[-1]
        west, east = self.longitude[0], self.longitude[-1]
        return f"{rows} latitudes {north:g} … {south:g} and {columns} longitudes {west:g} … {east:g}"


@dataclass(frozen=True)
class Order:
    """Where the canonical rows and columns are found in a file."""

    rows: Places
    columns: Places

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``values`` (time × latitude × longitude of the file) in canonical order, contiguous."""
        for axis, places in ((1, self.rows), (2, self.columns)):
            if not np.array_equal(places, np.arange(len(places))):
                values = np.take(values, places, axis=axis)
        return np.ascontiguousarray(values)


def canonical(latitude: NDArray[np.floating], longitude: NDArray[np.floating], file: object) -> tuple[Grid, Order]:
    """Return the canonical grid of the coordinates in ``file``, and the order that leads to it.

    Raises:
        InputError: a coordinate is not finite, not in degrees, not monotonic (latitude) or has a value twice.
    """
    lat, lon = np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise InputError(f"{file}: a latitude or longitude is missing or infinite; repair the file's coordinates")
    if np.abs(lat).max() > 90 + NOISE or lon.min() < -360 or lon.max() > 720:
        raise InputError(
            f"{file}: latitude {lat.min():g} … {lat.max():g}, longitude {lon.min():g} … {lon.max():g} are not degrees"
        )
    rows = np.argsort(-lat, kind="stable")
    columns, unrolled = _unroll(lon)
    if (np.diff(lat[rows]) > -NOISE).any() or (np.diff(unrolled) < NOISE).any() or _closes(unrolled):
        raise InputError(f"{file}: a latitude or longitude occurs twice (0 and 360 are one meridian); drop one of them")
    if not (np.diff(rows) == 1).all() and not (np.diff(rows) == -1).all():
        raise InputError(f"{file}: its latitudes are neither ascending nor descending; sort them")
    return Grid(_tidy(lat[rows]), _tidy(unrolled)), Order(rows, columns)


def _unroll(longitude: Degrees) -> tuple[Places, Degrees]:
    """Sort longitudes eastward from behind the widest gap, so that a region across any meridian stays whole."""
    turned = np.mod(longitude + NOISE, 360.0) - NOISE
    order = np.argsort(turned, kind="stable")
    east = turned[order]
    gaps = np.diff(east, append=east[0] + 360.0)
    if gaps.max() - gaps.min() < NOISE * 10 and len(east) > 1:
        start = int(np.argmax(east >= 180.0 - NOISE)) if (east >= 180.0 - NOISE).any() else 0
    else:
        start = (int(np.argmax(gaps)) + 1) % len(east)
    order, east = np.roll(order, -start), np.roll(east, -start)
    east = np.where(east < east[0], east + 360.0, east)
    return order, east - 360.0 if east[0] >= 180.0 - NOISE else east


def _closes(east: Degrees) -> bool:
    return bool(east[-1] - east[0] > 360.0 - NOISE)


def _tidy(values: Degrees) -> Degrees:
    """Remove the noise of float32 storage from an evenly spaced axis; leave any other axis as it is."""
    even = np.linspace(values[0].round(4), values[-1].round(4), len(values))
    if np.abs(even - values).max() < FLOAT32:
        return np.asarray(np.round(even, 8) + 0.0)
    return values
