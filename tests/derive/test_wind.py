"""Speed and direction against float64 and MetPy."""

from __future__ import annotations

import metpy.calc
import numpy as np
import pytest
from metpy.units import units
from numpy.typing import NDArray

from pipeline.derive import wind

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def vectors() -> Pair:
    east, north = np.random.default_rng(0).normal(scale=300, size=(2, 20_000)).astype(np.float32)
    return east, north


def test_speed_and_shear(vectors: Pair) -> None:
    """Three roundings of float32, 6e-8 each."""
    east, north = vectors
    right = np.hypot(east.astype(np.float64), north.astype(np.float64))
    np.testing.assert_allclose(wind.speed(east, north), right, rtol=3e-7)
    other = east[::-1], north[::-1]
    right = np.hypot(east.astype(np.float64) - other[0], north.astype(np.float64) - other[1])
    np.testing.assert_allclose(wind.shear(east, north, *other), right, rtol=3e-7, atol=1e-4)


@pytest.mark.parametrize(
    ("east", "north", "degrees"),
    [(0, -1, 360), (-1, 0, 90), (0, 1, 180), (1, 0, 270), (-3, -3, 45), (2, 2, 225), (-0.0, -5, 360), (0, 0, 0)],
)
def test_direction_is_where_it_comes_from(east: float, north: float, degrees: float) -> None:
    found = wind.direction(np.float32([east]), np.float32([north]))
    assert found[0] == pytest.approx(degrees, abs=1e-4)


def test_direction_agrees_with_metpy(vectors: Pair) -> None:
    """Float32 has steps of 3e-5 degrees near 360."""
    east, north = vectors
    oracle = metpy.calc.wind_direction(east.astype(float) * units("m/s"), north.astype(float) * units("m/s")).magnitude
    found = wind.direction(east, north)
    assert np.abs((found - oracle + 180) % 360 - 180).max() < 1e-4
    assert 0 < found.min() <= found.max() <= 360


def test_sine_and_cosine_of_the_direction(vectors: Pair) -> None:
    east, north = vectors
    length, radians = wind.speed(east, north), np.deg2rad(wind.direction(east, north).astype(np.float64))
    np.testing.assert_allclose(wind.direction_sine(east, length), np.sin(radians), atol=2e-6)
    np.testing.assert_allclose(wind.direction_cosine(north, length), np.cos(radians), atol=2e-6)


def test_a_calm_has_no_direction() -> None:
    """Nor has what is too short for float32; nothing becomes NaN or infinite."""
    for size in (0.0, 1e-38, 1e-25):
        east = np.float32([size])
        length = wind.speed(east, east)
        assert np.abs(wind.direction_sine(east, length)) <= 1
        assert np.isfinite(wind.direction_cosine(east, length))
    assert wind.direction_sine(np.float32([0]), np.float32([0])) == 0
