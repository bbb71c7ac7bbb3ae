"""Derivatives on the sphere by finite differences: gradient, Laplacian, divergence and vorticity.

Fields are ``… × latitude × longitude`` float32, coordinates one-dimensional in degrees and strictly monotonic. Inside,
differences are central and of second order for smoothly varying spacing; at edges one-sided of second order; around
the globe the longitudes are closed. Every stencil starts from differences of values nearby, which are exact in
float32 (Sterbenz), so large means such as 101 325 Pa cost no digits.

With the neighbours' differences ``a = f(i+1) − f(i)`` and ``b = f(i) − f(i−1)`` each operator along one axis is
``slope · (a + b) + bend · (a − b)``. The weights hold spacing, radius and metric terms; they are made once a grid.

Formulas: Holton and Hakim, An Introduction to Dynamic Meteorology, 5th ed. (2013), section 2.3 and appendix C.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Axis = NDArray[np.float64]

EARTH_RADIUS = 6_371_229.0
"""Metres; the sphere of ECMWF's model (IFS documentation, part III) that ERA5 is computed on."""

LEAST = 4
"""Points along each axis that one-sided differences of second order need."""

_EVEN = 1e-6
"""Steps that differ by less than this share of their mean are one step (coordinates are rounded to 1e-8 degrees)."""


def gradient(field: Field, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Return the eastward and northward derivative of ``field``, in its unit per metre.

    ``(1 / (R cos φ)) ∂/∂λ`` and ``(1 / R) ∂/∂φ``.
    """
    return eastward(field, latitude, longitude), northward(field, latitude, longitude)


def eastward(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return ``(1 / (R cos φ)) ∂/∂λ`` of ``field``, in its unit per metre."""
    return _along_longitude(np.ascontiguousarray(field), _weights(latitude, longitude).eastward)


def northward(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return ``(1 / R) ∂/∂φ`` of ``field``, in its unit per metre."""
    return _along_latitude(field, _weights(latitude, longitude).northward)


def gradient_magnitude(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the length of the gradient of ``field``, in its unit per metre."""
    east, north = gradient(field, latitude, longitude)
    east *= east
    north *= north
    east += north
    return np.sqrt(east, out=east)


def laplacian(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the Laplacian of ``field`` on the sphere, in its unit per square metre.

    ``(1/R²) [∂²/∂φ² − tan φ ∂/∂φ + (1/cos²φ) ∂²/∂λ²]``.
    """
    weights = _weights(latitude, longitude)
    result = _along_longitude(np.ascontiguousarray(field), weights.zonal_laplacian)
    result += _along_latitude(field, weights.meridional_laplacian)
    return result


def divergence(east: Field, north: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the divergence of a vector field, in its unit per metre.

    ``(1 / (R cos φ)) ∂u/∂λ + (1 / R) ∂v/∂φ − v tan φ / R``.
    """
    result = eastward(east, latitude, longitude)
    result += northward(north, latitude, longitude)
    result -= north * _weights(latitude, longitude).narrowing
    return result


def vorticity(east: Field, north: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the vertical component of the curl of a vector field, in its unit per metre.

    ``(1 / (R cos φ)) ∂v/∂λ − (1 / R) ∂u/∂φ + u tan φ / R``.
    """
    result = eastward(north, latitude, longitude)
    result -= northward(east, latitude, longitude)
    result += east * _weights(latitude, longitude).narrowing
    return result


def closed(longitude: Axis) -> bool:
    """Tell whether ``longitude`` goes once around the globe, so that its ends are neighbours."""
    steps = np.abs(np.diff(longitude))
    return bool(abs(steps.sum() + steps.mean() - 360.0) < 0.01 * steps.mean())


# --- weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stencil:
    """Weights along one axis of n points, float64: of both differences next to each point, and of three at the ends."""

    before: Axis
    after: Axis
    start: Axis
    end: Axis

    def times(self, factor: Axis) -> _Stencil:
        """Return the operator multiplied by ``factor`` at each point."""
        start, end = self.start * factor[0], self.end * factor[-1]
        return _Stencil(self.before * factor, self.after * factor, start, end)

    def plus(self, other: _Stencil) -> _Stencil:
        """Return the sum of two operators on the same points."""
        before, after = self.before + other.before, self.after + other.after
        return _Stencil(before, after, self.start + other.start, self.end + other.end)


def _steps(radians: Axis, around: bool) -> tuple[Axis, Axis]:
    """Return the step before and after each point; those off the ends of an open axis repeat their neighbour."""
    steps = np.diff(radians)
    if np.ptp(steps) < _EVEN * abs(steps.mean()):
        steps = np.full_like(steps, (radians[-1] - radians[0]) / len(steps))
    last = np.copysign(2 * np.pi, steps[0]) - steps.sum() if around else steps[-1]
    first = last if around else steps[0]
    return np.concatenate([[first], steps]), np.concatenate([steps, [last]])


def _first(radians: Axis, around: bool) -> _Stencil:
    """Return the first derivative per radian, from the parabola through three points."""
    left, right = _steps(radians, around)
    before, after = right / (left * (left + right)), left / (right * (left + right))
    # The slope of the same parabola at its end: twice the nearest rate less the slope in the middle, for even steps.
    start = np.array([2 * left[1] + right[1], -left[1], 0.0]) / (left[1] + right[1])
    end = np.array([0.0, -right[-2], 2 * right[-2] + left[-2]]) / (left[-2] + right[-2])
    return _Stencil(before, after, start / [left[1], right[1], 1.0], end / [1.0, left[-2], right[-2]])


def _second(radians: Axis, around: bool) -> _Stencil:
    """Return the second derivative per square radian; at the ends that of the cubic through four points."""
    left, right = _steps(radians, around)
    before, after = -2 / (left * (left + right)), 2 / (right * (left + right))
    inner = [np.array([before[i], after[i], 0.0]) for i in (1, -3)]
    outer = [np.array([0.0, before[i], after[i]]) for i in (2, -2)]
    to_start, to_end = _reach(right[:3]), _reach(left[::-1][:3])
    start = inner[0] - (outer[0] - inner[0]) * to_start
    end = outer[1] - (inner[1] - outer[1]) * to_end
    return _Stencil(before, after, start, end)


def _reach(steps: Axis) -> float:
    """Return the weight of the third difference at the end of a cubic (Newton's form), from its three steps."""
    return float((2 * steps[0] + steps[1]) / steps.sum())


@dataclass(frozen=True)
class _Operator:
    """A stencil on a grid, float32: maps latitude × longitude, and for each end three weights (× latitude × 1)."""

    slope: Field | None
    bend: Field | None
    start: NDArray[np.float32]
    end: NDArray[np.float32]
    around: bool = False


def _maps(before: Axis, after: Axis, start: Axis, end: Axis, around: bool = False) -> _Operator:
    """Return the operator of weights latitude × longitude; a part that is zero everywhere is left out."""
    slope, bend = (after + before) / 2, (after - before) / 2
    size = np.maximum(np.abs(slope).max(), np.abs(bend).max()) * 1e-12
    slopes, bends = (None if np.abs(part).max() <= size else part.astype(np.float32) for part in (slope, bend))
    return _Operator(slopes, bends, start.astype(np.float32), end.astype(np.float32), around)


class _Weights:
    """All operators of one grid, each made when it is first used."""

    def __init__(self, latitude: Axis, longitude: Axis) -> None:
        self._phi, self._lambda = np.deg2rad(latitude), np.deg2rad(longitude)
        self._around = closed(longitude)

    @cached_property
    def northward(self) -> _Operator:
        """First derivative by metres to the north."""
        return self._rows(_first(self._phi, False).times(np.full_like(self._phi, 1 / EARTH_RADIUS)))

    @cached_property
    def eastward(self) -> _Operator:
        """First derivative by metres to the east."""
        return self._columns(_first(self._lambda, self._around), 1 / (EARTH_RADIUS * np.cos(self._phi)))

    @cached_property
    def meridional_laplacian(self) -> _Operator:
        """``(∂²/∂φ² − tan φ ∂/∂φ) / R²``."""
        first = _first(self._phi, False).times(-np.tan(self._phi))
        both = _second(self._phi, False).plus(first)
        return self._rows(both.times(np.full_like(self._phi, EARTH_RADIUS**-2)))

    @cached_property
    def zonal_laplacian(self) -> _Operator:
        """``(1/cos²φ) ∂²/∂λ² / R²``."""
        return self._columns(_second(self._lambda, self._around), (EARTH_RADIUS * np.cos(self._phi)) ** -2)

    @cached_property
    def narrowing(self) -> Field:
        """``tan φ / R``: how meridians come closer to the north, latitude × longitude."""
        return self._map(np.tan(self._phi) / EARTH_RADIUS).astype(np.float32)

    def _map(self, rows: Axis) -> Axis:
        return np.repeat(rows[:, None], len(self._lambda), axis=1)

    def _rows(self, stencil: _Stencil) -> _Operator:
        return _maps(self._map(stencil.before), self._map(stencil.after), stencil.start, stencil.end)

    def _columns(self, stencil: _Stencil, factor: Axis) -> _Operator:
        before, after = np.outer(factor, stencil.before), np.outer(factor, stencil.after)
        start, end = (np.outer(edge, factor) for edge in (stencil.start, stencil.end))
        return _maps(before, after, start, end, self._around)


def _weights(latitude: Axis, longitude: Axis) -> _Weights:
    lat, lon = np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)
    return _weights_of(lat.tobytes(), lon.tobytes())


@lru_cache(maxsize=4)
def _weights_of(latitude: bytes, longitude: bytes) -> _Weights:
    return _Weights(np.frombuffer(latitude), np.frombuffer(longitude))


# --- differences -----------------------------------------------------------------------------------------------------


def _along_latitude(field: Field, operator: _Operator) -> Field:
    """Apply an operator along the last axis but one."""
    result = np.empty(field.shape, field.dtype)
    inner = result[..., 1:-1, :]
    _ends(field, result, operator, -2)
    if operator.slope is not None:
        np.subtract(field[..., 2:, :], field[..., :-2, :], out=inner)
        inner *= operator.slope[1:-1]
    if operator.bend is not None:
        steps = field[..., 1:, :] - field[..., :-1, :]
        bends = np.subtract(steps[..., 1:, :], steps[..., :-1, :], out=inner if operator.slope is None else None)
        bends *= operator.bend[1:-1]
        if operator.slope is not None:
            inner += bends
    return result


def _along_longitude(field: Field, operator: _Operator) -> Field:
    """Apply an operator along the last axis; ``field`` is contiguous.

    Differences are taken along the memory, one long row, which is several times faster than row by row. Those across
    the ends of rows mean nothing and are replaced.
    """
    result = np.empty_like(field)
    flat, out = field.reshape(-1), result.reshape(-1)
    if operator.slope is not None:
        np.subtract(flat[2:], flat[:-2], out=out[1:-1])
        out[0] = out[-1] = 0
        if operator.around:
            result[..., 0] = field[..., 1] - field[..., -1]
            result[..., -1] = field[..., 0] - field[..., -2]
        result *= operator.slope
    if operator.bend is not None:
        bends = result if operator.slope is None else np.empty_like(field)
        _bend(field, bends, operator.around)
        bends *= operator.bend
        if operator.slope is not None:
            result += bends
    if not operator.around:
        _ends(field, result, operator, -1)
    return result


def _bend(field: Field, bends: Field, around: bool) -> None:
    """Write the differences of differences along the last axis."""
    steps = np.empty_like(field)
    flat, walk = field.reshape(-1), steps.reshape(-1)
    np.subtract(flat[1:], flat[:-1], out=walk[:-1])
    walk[-1] = 0
    if around:
        steps[..., -1] = field[..., 0] - field[..., -1]
    np.subtract(walk[1:], walk[:-1], out=bends.reshape(-1)[1:])
    bends[..., 0] = steps[..., 0] - steps[..., -1]


def _ends(field: Field, result: Field, operator: _Operator, axis: int) -> None:
    """Write the first and last values along ``axis`` (−1 or −2), from three one-sided differences each."""
    rest = () if axis == -1 else (slice(None),)
    rows = [field[(..., place, *rest)] for place in (0, 1, 2, 3, -4, -3, -2, -1)]
    steps = [after - before for before, after in pairwise(rows)]
    result[(..., 0, *rest)] = sum(step * weight for step, weight in zip(steps[:3], operator.start, strict=True))
    result[(..., -1, *rest)] = sum(step * weight for step, weight in zip(steps[4:], operator.end, strict=True))
