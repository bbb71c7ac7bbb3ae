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

    def _sum(self, east: int, north: int) -> Map:
        """Return the derivative of order ``east`` by λ and ``north`` by φ, without the mean."""
        phi, lam = np.deg2rad(self.latitude)[:, None], np.deg2rad(self.longitude)[None, :]
        total = np.zeros((len(self.latitude), len(self.longitude)))
        for size, m, a, n, b in _TERMS:
            # Each derivative turns the wave by a quarter.
            wave = np.cos(m * lam + a + east * np.pi / 2) * np.sin(n * phi + b + north * np.pi / 2)
            total += size * m**east * n**north * wave
        return total

    @property
    def _phi(self) -> Map:
        return np.deg2rad(self.latitude)[:, None]

    @property
    def values(self) -> Map:
        return self.mean + self._sum(0, 0)

    @property
    def gradient(self) -> tuple[Map, Map]:
        return self._sum(1, 0) / (EARTH_RADIUS * np.cos(self._phi)), self._sum(0, 1) / EARTH_RADIUS

    @property
    def laplacian(self) -> Map:
        phi = self._phi
        inner = self._sum(0, 2) - np.tan(phi) * self._sum(0, 1) + self._sum(2, 0) / np.cos(phi) ** 2
        return inner / EARTH_RADIUS**2

    @property
    def wind(self) -> tuple[Map, Map]:
        east, north = self.gradient
        scale = DENSITY * 2 * ROTATION * np.sin(self._phi)
        return -north / scale, east / scale

    @property
    def vorticity(self) -> Map:
        """Curl of :attr:`wind`: ``(1/(R cos φ)) (∂v/∂λ − ∂(u cos φ)/∂φ)``, each product differentiated by hand."""
        phi, scale = self._phi, DENSITY * 2 * ROTATION
        dv = self._sum(2, 0) / (EARTH_RADIUS * np.cos(phi) * scale * np.sin(phi))
        # u cos φ = −p_φ cot φ / (R scale), and d(cot φ)/dφ = −1 / sin² φ.
        du = -(self._sum(0, 2) / np.tan(phi) - self._sum(0, 1) / np.sin(phi) ** 2) / (EARTH_RADIUS * scale)
        return (dv - du) / (EARTH_RADIUS * np.cos(phi))


def error(found: NDArray[np.floating], exact: Map, edge: int = 0) -> float:
    """Return the root mean square difference over that of ``exact``, without ``edge`` points on each side."""
    inside = (slice(edge, -edge), slice(edge, -edge)) if edge else (slice(None), slice(None))
    wrong, right = np.asarray(found, np.float64)[inside] - exact[inside], exact[inside]
    return float(np.sqrt(np.mean(wrong**2) / np.mean(right**2)))
