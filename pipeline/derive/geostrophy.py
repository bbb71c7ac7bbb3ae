"""Geostrophic wind and vorticity at sea level from pressure, at one reference density.

Balance of pressure gradient and Coriolis force: Holton and Hakim, An Introduction to Dynamic Meteorology, 5th ed.
(2013), equation 2.22. Near the equator the balance does not exist: latitudes within :data:`NEAREST` degrees of it are
refused by the recipe, not clipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.derive.sphere import EARTH_RADIUS, Axis, Field, gradient, laplacian

ROTATION = 7.292115e-5
"""Angular velocity of the Earth in rad s-1 (IERS Conventions 2010, table 1.2)."""
DENSITY = 1.225
"""Density of air at sea level in kg m-3 (ISO 2533:1975, standard atmosphere)."""
NEAREST = 5.0
"""Degrees of latitude from the equator within which nothing here is defined."""


def coriolis(latitude: Axis) -> NDArray[np.float64]:
    """Return the Coriolis parameter ``2 Ω sin φ`` in s-1."""
    return 2 * ROTATION * np.sin(np.deg2rad(latitude))


def eastward(slope: Field, latitude: Axis) -> Field:
    """Return the eastward geostrophic wind in m s-1, ``−(1/(ρ f)) ∂p/∂y``, of the slope ``∂p/∂y`` in Pa m-1."""
    return slope * -_response(latitude)


def northward(slope: Field, latitude: Axis) -> Field:
    """Return the northward geostrophic wind in m s-1, ``(1/(ρ f)) ∂p/∂x``, of the slope ``∂p/∂x`` in Pa m-1."""
    return slope * _response(latitude)


def curl(curvature: Field, zonal: Field, latitude: Axis) -> Field:
    """Return the relative vorticity in s-1 from the Laplacian of pressure and the eastward geostrophic wind.

    The curl on the sphere in closed form, so that each derivative is taken once: ``∇²p / (ρ f) + u β / f`` with
    ``β = 2 Ω cos φ / R``.
    """
    beta = 2 * ROTATION * np.cos(np.deg2rad(latitude)) / EARTH_RADIUS
    result = curvature * _response(latitude)
    result += zonal * (beta / coriolis(latitude)).astype(np.float32)[:, None]
    return result


def wind(pressure: Field, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Return the eastward and northward geostrophic wind in m s-1 of ``pressure`` in Pa."""
    east, north = gradient(pressure, latitude, longitude)
    return eastward(north, latitude), northward(east, latitude)


def vorticity(pressure: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the relative vorticity in s-1 of the geostrophic wind of ``pressure`` in Pa."""
    zonal, _ = wind(pressure, latitude, longitude)
    return curl(laplacian(pressure, latitude, longitude), zonal, latitude)


def _response(latitude: Axis) -> Field:
    """Return ``1 / (ρ f)``, latitude × 1."""
    return (1 / (DENSITY * coriolis(latitude))).astype(np.float32)[:, None]
