"""Equivalent potential temperature against MetPy, float64 and what is known of it."""

from __future__ import annotations

import metpy.calc
import numpy as np
import pytest
from metpy.units import units
from numpy.typing import NDArray

from pipeline.derive import thermo

Map = NDArray[np.float64]
PRESSURE = 85_000.0


def air() -> tuple[Map, Map]:
    """Return temperature and specific humidity of all air that occurs at 850 hPa, from polar night to monsoon."""
    kelvin, moist = np.meshgrid(np.linspace(230, 308, 79), np.linspace(0.01, 1, 100))
    vapour = moist * 611.2 * np.exp(17.67 * (kelvin - 273.15) / (kelvin - 29.65))
    humidity = 0.622 * vapour / (PRESSURE - 0.378 * vapour)
    occurs = humidity < 0.020
    return kelvin[occurs], humidity[occurs]


def bolton(kelvin: Map, humidity: Map, pressure: float) -> Map:
    """Bolton's equations 21 and 39 as they are printed (r in g/kg, e in hPa), each step by itself."""
    ratio = humidity / (1 - humidity)
    vapour = pressure / 100 * ratio / (0.622 + ratio)
    level = 2840 / (3.5 * np.log(kelvin) - np.log(vapour) - 4.805) + 55
    grams = 1000 * ratio
    dry = kelvin * (1000 / (pressure / 100 - vapour)) ** 0.2854 * (kelvin / level) ** (0.28e-3 * grams)
    return np.asarray(dry * np.exp((3.036 / level - 0.00178) * grams * (1 + 0.448e-3 * grams)))


@pytest.mark.parametrize("pressure", [100_000.0, 85_000.0, 70_000.0])
def test_float32_is_as_good_as_float64(pressure: float) -> None:
    """Float32 has steps of 3e-5 K near 330 K; some twenty roundings add up to a few of them."""
    kelvin, humidity = air()
    found = thermo.equivalent_potential_temperature(kelvin.astype(np.float32), humidity.astype(np.float32), pressure)
    assert found.dtype == np.float32
    assert np.abs(found - bolton(kelvin, humidity, pressure)).max() < 5e-4


def test_agreement_with_metpy() -> None:
    """Within 0.1 K; MetPy itself goes by way of the dewpoint, there and back by two formulas, which makes 0.09 K."""
    kelvin, humidity = air()
    pressure = PRESSURE * units.Pa
    dewpoint = metpy.calc.dewpoint_from_specific_humidity(pressure, humidity * units("kg/kg"))
    oracle = metpy.calc.equivalent_potential_temperature(pressure, kelvin * units.K, dewpoint).to("K").magnitude
    found = thermo.equivalent_potential_temperature(kelvin.astype(np.float32), humidity.astype(np.float32), PRESSURE)
    assert np.abs(found - oracle).max() < 0.1


def test_moisture_counts() -> None:
    """Vapour pressure in Pa or mixing ratio in g/kg by mistake leave the dry potential temperature, 36 K less."""
    found = thermo.equivalent_potential_temperature(np.float32([290.0]), np.float32([0.012]), PRESSURE)
    assert found[0] == pytest.approx(340.12, abs=0.05)
    assert found[0] - 290 * (100_000 / PRESSURE) ** 0.2854 > 36


def test_dry_air_keeps_its_potential_temperature() -> None:
    """Without vapour, or with the negative humidity of spectral models, θe is θ and a number."""
    for humidity in (0.0, -1e-4, 1e-7):
        found = thermo.equivalent_potential_temperature(np.float32([280.0]), np.float32([humidity]), PRESSURE)
        assert found[0] == pytest.approx(280 * (100_000 / PRESSURE) ** 0.2854, abs=2e-3)


def test_more_heat_and_more_moisture_mean_more() -> None:
    kelvin, humidity = (np.linspace(250, 300, 20, dtype=np.float32), np.linspace(1e-3, 0.02, 20, dtype=np.float32))
    table = thermo.equivalent_potential_temperature(*np.meshgrid(kelvin, humidity), PRESSURE)  # type: ignore[arg-type]
    assert (np.diff(table, axis=0) > 0).all()
    assert (np.diff(table, axis=1) > 0).all()


def test_inputs_stay_as_they_are() -> None:
    kelvin, humidity = np.float32([[280.0, 290.0]]), np.float32([[-1e-5, 0.01]])
    before = kelvin.copy(), humidity.copy()
    thermo.equivalent_potential_temperature(kelvin, humidity, PRESSURE)
    np.testing.assert_array_equal(kelvin, before[0])
    np.testing.assert_array_equal(humidity, before[1])
