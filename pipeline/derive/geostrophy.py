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


def wind(pressure: Field, latitude: Axis, longitude: Axis) -> tuple[Field, Field]:
    """Return the eastward and northward geostrophic wind in m s-1 of ``pressure`` in Pa.

    ``u = −(1/(ρ f)) ∂p/∂y`` and ``v = (1/(ρ f)) ∂p/∂x``.
    """
    scale = (DENSITY * coriolis(latitude)).astype(np.float32)[:, None]
    east, north = gradient(pressure, latitude, longitude)
    return -north / scale, east / scale


def vorticity(pressure: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return the relative vorticity in s-1 of the geostrophic wind of ``pressure`` in Pa.

    The curl of :func:`wind` on the sphere in closed form, so that each derivative is taken once:
    ``∇²p / (ρ f) + u β / f`` with ``β = 2 Ω cos φ / R``.
    """
    f = coriolis(latitude)
    beta = 2 * ROTATION * np.cos(np.deg2rad(latitude)) / EARTH_RADIUS
    east_wind, _ = wind(pressure, latitude, longitude)
    turning = laplacian(pressure, latitude, longitude) / (DENSITY * f).astype(np.float32)[:, None]
    return turning + east_wind * (beta / f).astype(np.float32)[:, None]
