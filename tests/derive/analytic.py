"""Smooth fields on the sphere whose derivatives are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.derive.geostrophy import DENSITY, ROTATION
from pipeline.derive.sphere import EARTH_RADIUS

Map = NDArray[np.float64]

LATITUDE = np.linspace(55.0, 15.0, 161)
LONGITUDE = np.linspace(115.0, 155.0, 161)
"""The 0.25 degree grid of ERA5 around Japan."""

# Amplitude in Pa, waves round the globe and their phase, waves along the meridian and their phase: wave lengths of
# 3000 to 6000 km at 35 degrees north, those of cyclones and anticyclones.
_TERMS = ((1200.0, 6, 0.3, 5, 0.1), (400.0, 9, 1.1, 7, 0.7), (300.0, 3, -0.4, 8, 2.0))


@dataclass(frozen=True)
class Waves:
    """``mean + Σ A cos(mλ + a) sin(nφ + b)`` in Pa and what follows from it, latitude × longitude."""

    latitude: Map
    longitude: Map
    mean: float = 0.0
    terms: tuple[tuple[float, int, float, int, float], ...] = _TERMS

    def _sum(self, east: int, north: int) -> Map:
        """Return the derivative of order ``east`` by λ and ``north`` by φ, without the mean."""
        phi, lam = np.deg2rad(self.latitude)[:, None], np.deg2rad(self.longitude)[None, :]
        total = np.zeros((len(self.latitude), len(self.longitude)))
        for size, m, a, n, b in self.terms:
            # Each derivative turns the wave by a quarter.
            wave = np.cos(m * lam + a + east * np.pi / 2) * np.sin(n * phi + b + north * np.pi / 2)
            total += size * m**east * n**north * wave
        return total

    @property
    def phi(self) -> Map:
        return np.deg2rad(self.latitude)[:, None]

    @property
    def values(self) -> Map:
        return self.mean + self._sum(0, 0)

    @property
    def gradient(self) -> tuple[Map, Map]:
        return self._sum(1, 0) / (EARTH_RADIUS * np.cos(self.phi)), self._sum(0, 1) / EARTH_RADIUS

    @property
    def laplacian(self) -> Map:
        phi = self.phi
        inner = self._sum(0, 2) - np.tan(phi) * self._sum(0, 1) + self._sum(2, 0) / np.cos(phi) ** 2
        return inner / EARTH_RADIUS**2

    @property
    def wind(self) -> tuple[Map, Map]:
        east, north = self.gradient
        scale = DENSITY * 2 * ROTATION * np.sin(self.phi)
        return -north / scale, east / scale

    @property
    def vorticity(self) -> Map:
        """Curl of :attr:`wind`: ``(1/(R cos φ)) (∂v/∂λ − ∂(u cos φ)/∂φ)``, each product differentiated by hand."""
        phi, scale = self.phi, DENSITY * 2 * ROTATION
        dv = self._sum(2, 0) / (EARTH_RADIUS * np.cos(phi) * scale * np.sin(phi))
        # u cos φ = −p_φ cot φ / (R scale), and d(cot φ)/dφ = −1 / sin² φ.
        du = -(self._sum(0, 2) / np.tan(phi) - self._sum(0, 1) / np.sin(phi) ** 2) / (EARTH_RADIUS * scale)
        return (dv - du) / (EARTH_RADIUS * np.cos(phi))


# Wind of some 10 m/s that neither rotates nor converges on purpose: both are of the size of the slopes.
_EASTWARD = ((9.0, 6, 0.3, 5, 0.1), (6.0, 4, 1.9, 6, 0.4))
_NORTHWARD = ((8.0, 5, 1.3, 6, 0.9), (5.0, 7, -0.8, 4, 1.6))
_MOISTURE = ((0.004, 3, 0.2, 4, 0.5),)


@dataclass(frozen=True)
class Flow:
    """A wind ``u``, ``v`` in m/s and a specific humidity ``q`` in kg/kg, and the exact derivatives of them."""

    u: Waves
    v: Waves
    q: Waves

    @classmethod
    def on(cls, latitude: Map, longitude: Map) -> Flow:
        u, v = Waves(latitude, longitude, 4.0, _EASTWARD), Waves(latitude, longitude, -2.0, _NORTHWARD)
        return cls(u, v, Waves(latitude, longitude, 0.008, _MOISTURE))

    @property
    def divergence(self) -> Map:
        return self.u.gradient[0] + self.v.gradient[1] - self.v.values * np.tan(self.v.phi) / EARTH_RADIUS

    @property
    def vorticity(self) -> Map:
        return self.v.gradient[0] - self.u.gradient[1] + self.u.values * np.tan(self.u.phi) / EARTH_RADIUS

    @property
    def moisture_flux_convergence(self) -> Map:
        """``−(q ∇·V + V·∇q)``: the product rule, where the kernel differentiates the product."""
        east, north = self.q.gradient
        return -(self.q.values * self.divergence + self.u.values * east + self.v.values * north)


def error(found: NDArray[np.floating], exact: Map, edge: int = 0) -> float:
    """Return the root mean square difference over that of ``exact``, without ``edge`` points on each side."""
    inside = (..., slice(edge, -edge), slice(edge, -edge)) if edge else (...,)
    wrong, right = np.asarray(found, np.float64)[inside] - exact[inside], exact[inside]
    return float(np.sqrt(np.mean(wrong**2) / np.mean(right**2)))
