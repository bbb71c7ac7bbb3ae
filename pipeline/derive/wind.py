"""Speed and direction of wind and of other horizontal vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

_CALM = np.float32(1e-18)
"""Shorter vectors have no direction; their squares are no longer normal numbers of float32."""


def speed(east: Field, north: Field) -> Field:
    """Return the length of a vector in the unit of its components, ``√(u² + v²)``."""
    result = east * east
    result += north * north
    np.sqrt(result, out=result)
    return result


def shear(east_above: Field, north_above: Field, east_below: Field, north_below: Field) -> Field:
    """Return the length of the difference between the vectors of two levels (bulk shear, not per metre)."""
    result, other = east_above - east_below, north_above - north_below
    result *= result
    other *= other
    result += other
    np.sqrt(result, out=result)
    return result


def direction(east: Field, north: Field) -> Field:
    """Return where a vector comes from, in degrees clockwise from north: 90 from the east, 360 from the north, 0 calm.

    The convention of weather observations (WMO-No. 8, part I, chapter 5).
    """
    result = np.arctan2(east, north)
    result *= np.float32(180 / np.pi)
    result += 180
    np.minimum(result, 360, out=result)
    north_wind = result == 0
    if north_wind.any():
        result[north_wind] = 360
    calm = (east == 0) & (north == 0)
    if calm.any():
        result[calm] = 0
    return result


def direction_sine(east: Field, length: Field) -> Field:
    """Return the sine of :func:`direction`, ``−u / |V|``; 0 in a calm, where the cosine is 0 as well."""
    result = np.maximum(length, _CALM)
    np.divide(east, result, out=result)
    return np.negative(result, out=result)


def direction_cosine(north: Field, length: Field) -> Field:
    """Return the cosine of :func:`direction`, ``−v / |V|``; 0 in a calm."""
    return direction_sine(north, length)
