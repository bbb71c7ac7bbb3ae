"""Derivatives on the sphere by finite differences: gradient and Laplacian of scalar fields.

Fields are ``… × latitude × longitude`` float32, coordinates one-dimensional in degrees and strictly monotonic. Inside,
differences are central and of second order for smoothly varying spacing; at edges one-sided of second order; around
the globe the longitudes are closed. Every stencil starts from differences of neighbouring values, which are exact in
float32 (Sterbenz), so large means such as 101 325 Pa cost no digits.

Formulas: Holton and Hakim, An Introduction to Dynamic Meteorology, 5th ed. (2013), section 2.3 and appendix C.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Axis = NDArray[np.float64]

EARTH_RADIUS = 6_371_229.0
"""Metres; the sphere of ECMWF's model (IFS documentation, part III) that ERA5 is computed on."""

LEAST = 4
"""Points along each axis that one-sided differences of second order need."""


def gradient(field: Field, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Return the eastward and northward derivative of ``field``, in its unit per metre.

    ``(1 / (R cos φ)) ∂/∂λ`` and ``(1 / R) ∂/∂φ``.
    """
    cosine = _column(np.cos(np.deg2rad(latitude)) * EARTH_RADIUS)
    east = _first(field, longitude, -1) / cosine
    north = _first(field, latitude, -2) / np.float32(EARTH_RADIUS)
    return east, north


def gradient_magnitude(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the length of the gradient of ``field``, in its unit per metre."""
    east, north = gradient(field, latitude, longitude)
    return np.hypot(east, north)


def laplacian(field: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the Laplacian of ``field`` on the sphere, in its unit per square metre.

    ``(1/R²) [∂²/∂φ² − tan φ ∂/∂φ + (1/cos²φ) ∂²/∂λ²]``.
    """
    phi = np.deg2rad(latitude)
    result = _second(field, longitude, -1) / _column(np.cos(phi) ** 2)
    result += _second(field, latitude, -2)
    result -= _column(np.tan(phi)) * _first(field, latitude, -2)
    result /= np.float32(EARTH_RADIUS**2)
    return result


def closed(longitude: Axis) -> bool:
    """Tell whether ``longitude`` goes once around the globe, so that its ends are neighbours."""
    steps = np.abs(np.diff(longitude))
    return bool(abs(steps.sum() + steps.mean() - 360.0) < 0.01 * steps.mean())


def _column(values: Axis) -> Field:
    return values.astype(np.float32)[:, None]


def _first(field: Field, degrees: Axis, axis: int) -> Field:
    """Return the first derivative along ``axis``, per radian."""
    rates, steps = _rates(field, degrees, axis)
    before, after = rates[..., :-1], rates[..., 1:]
    left, right = steps[:-1], steps[1:]
    inner = before * (right / (left + right)) + after * (left / (left + right))
    if axis == -1 and closed(degrees):
        return inner
    start = before[..., 0] + (before[..., 0] - after[..., 0]) * (left[0] / (left[0] + right[0]))
    end = after[..., -1] + (after[..., -1] - before[..., -1]) * (right[-1] / (left[-1] + right[-1]))
    return _with_edges(start, inner, end, axis)


def _second(field: Field, degrees: Axis, axis: int) -> Field:
    """Return the second derivative along ``axis``, per square radian; edges go on linearly (second order)."""
    rates, steps = _rates(field, degrees, axis)
    inner = np.diff(rates, axis=-1) * (2.0 / (steps[:-1] + steps[1:]))
    if axis == -1 and closed(degrees):
        return inner
    start = inner[..., 0] - (inner[..., 1] - inner[..., 0]) * _reach(steps[:3])
    end = inner[..., -1] - (inner[..., -2] - inner[..., -1]) * _reach(steps[::-1][:3])
    return _with_edges(start, inner, end, axis)


def _reach(steps: Field) -> np.float32:
    """Return the weight of the third difference at the end of a cubic (Newton's form), from its three steps."""
    return np.float32((2 * steps[0] + steps[1]) / steps.sum())


def _rates(field: Field, degrees: Axis, axis: int) -> tuple[Field, Field]:
    """Return differences of neighbours per radian, with ``axis`` last, and the steps in radians."""
    turned = np.moveaxis(field, axis, -1)
    steps = np.diff(np.deg2rad(degrees))
    if axis == -1 and closed(degrees):
        turned = np.concatenate([turned[..., -1:], turned, turned[..., :1]], axis=-1)
        last = np.copysign(2 * np.pi, steps[0]) - steps.sum()
        steps = np.concatenate([[last], steps, [last]])
    narrow = steps.astype(np.float32)
    return np.diff(turned, axis=-1) / narrow, narrow


def _with_edges(start: Field, inner: Field, end: Field, axis: int) -> Field:
    return np.moveaxis(np.concatenate([start[..., None], inner, end[..., None]], axis=-1), -1, axis)
