"""Temperature and water vapour: equivalent potential temperature, convergence of the moisture flux.

Source: D. Bolton (1980), The computation of equivalent potential temperature, Mon. Wea. Rev. 108, 1046-1053.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.derive.sphere import Axis, divergence

Field = NDArray[np.float32]

KAPPA = 0.2854
"""Gas constant over heat capacity of dry air, as in Bolton's equation 39 (2/7 makes θe 0.02 K higher at 850 hPa)."""
EPSILON = 0.622
"""Mass of a mole of water over that of dry air (Bolton 1980)."""
REFERENCE = 100_000.0
"""Pascal; where potential temperature is temperature."""
DRIEST = 1e-7
"""kg kg-1; drier air (spectral models go below zero) counts as this dry, which alters the outcome by < 0.001 K."""


def equivalent_potential_temperature(temperature: Field, humidity: Field, pressure: float) -> Field:
    """Return θe in K of air at ``temperature`` in K with specific ``humidity`` in kg kg-1 at ``pressure`` in Pa.

    Bolton's equation 39, ``θe = T (p0/(p−e))^κ (T/T_L)^(0.28 r) exp[(3036/T_L − 1.78) r (1 + 0.448 r)]``, with his
    equation 21 for the temperature of the lifting condensation level, ``T_L = 2840 / (3.5 ln T − ln e − 4.805) + 55``
    (e in hPa), mixing ratio ``r = q / (1 − q)`` in kg kg-1 and vapour pressure ``e = p r / (ε + r)``.
    """
    q: Field = np.maximum(humidity, np.float32(DRIEST))
    ratio = q / (1 - q)
    share = q / (np.float32(EPSILON) + np.float32(1 - EPSILON) * q)  # e / p
    level = _condensation(temperature, share, pressure)
    # ln θe/T, term by term. The first is −κ ln(1 − e/p): three terms of its series are exact to 1e-6 at e/p = 0.05.
    exponent: Field = share * np.float32(1 / 3)
    exponent += 0.5
    exponent *= share
    exponent += 1
    exponent *= share
    exponent += math.log(REFERENCE / pressure)
    exponent *= KAPPA
    warm = temperature / level
    np.log(warm, out=warm)
    warm *= 0.28
    np.divide(3036, level, out=level)
    level -= 1.78
    np.multiply(ratio, 0.448, out=share)
    share += 1
    level *= share
    level += warm
    level *= ratio
    exponent += level
    np.exp(exponent, out=exponent)
    exponent *= temperature
    return exponent


def _condensation(temperature: Field, share: Field, pressure: float) -> Field:
    """Return T_L in K; ``share`` is e / p. ``3.5 ln T − ln e`` is one logarithm of ``T³ √T / e``."""
    level: Field = np.sqrt(temperature)
    level *= temperature
    level *= temperature
    level *= temperature
    level /= share
    np.log(level, out=level)
    level -= math.log(pressure / 100) + 4.805
    np.divide(2840, level, out=level)
    level += 55
    return level


def moisture_flux_convergence(humidity: Field, east: Field, north: Field, latitude: Axis, longitude: Axis) -> Field:
    """Return ``−∇·(q V)`` in s-1 (kg kg-1 s-1) of specific humidity in kg kg-1 and wind in m s-1, on the sphere."""
    result = divergence(humidity * east, humidity * north, latitude, longitude)
    return np.negative(result, out=result)
