"""Derivatives on the sphere against exact ones and against MetPy."""

from __future__ import annotations

from collections.abc import Callable

import metpy.calc
import metpy.constants
import numpy as np
import pytest
import xarray as xr
from metpy.units import units
from numpy.typing import NDArray
from pyproj import CRS

from pipeline.derive import geostrophy, sphere, thermo
from tests.derive.analytic import LATITUDE, LONGITUDE, Flow, Map, Waves, error

MEAN = 101_325.0
# Truncation of central differences: (k h)² / 6 for the first and (k h)² / 12 for the second derivative with a wave
# number k ≤ 9 / cos φ per radian and a spacing h = 0.25° = 0.0044: about 2e-4 and 1e-4.
FIRST, SECOND = 3e-4, 1e-3


def outcomes(field: NDArray[np.floating], lat: Map = LATITUDE, lon: Map = LONGITUDE) -> dict[str, NDArray[np.floating]]:
    """Return everything that the kernels make of ``field``."""
    east, north = sphere.gradient(field, lat, lon)  # type: ignore[arg-type]
    zonal, meridional = geostrophy.wind(field, lat, lon)  # type: ignore[arg-type]
    return {
        "east": east,
        "north": north,
        "laplacian": sphere.laplacian(field, lat, lon),  # type: ignore[arg-type]
        "ug": zonal,
        "vg": meridional,
        "vorticity": geostrophy.vorticity(field, lat, lon),  # type: ignore[arg-type]
    }


def exact(waves: Waves) -> dict[str, Map]:
    (east, north), (zonal, meridional) = waves.gradient, waves.wind
    return {
        "east": east,
        "north": north,
        "laplacian": waves.laplacian,
        "ug": zonal,
        "vg": meridional,
        "vorticity": waves.vorticity,
    }


NAMES = ("east", "north", "laplacian", "ug", "vg", "vorticity")
LIMITS = {name: SECOND if name in ("laplacian", "vorticity") else FIRST for name in NAMES}


@pytest.fixture(scope="module")
def waves() -> Waves:
    return Waves(LATITUDE, LONGITUDE)


@pytest.mark.parametrize("name", NAMES)
def test_truncation_error_on_the_era5_grid(waves: Waves, name: str) -> None:
    found, right = outcomes(waves.values)[name], exact(waves)[name]
    assert error(found, right, edge=2) < LIMITS[name]
    assert error(found, right) < LIMITS[name], "edges included: they are of second order as well"


@pytest.mark.parametrize("name", NAMES)
def test_float32_of_anomalies_is_as_good(waves: Waves, name: str) -> None:
    found = outcomes(waves.values.astype(np.float32))[name]
    assert found.dtype == np.float32
    assert error(found, exact(waves)[name], edge=2) < LIMITS[name]


@pytest.mark.parametrize("name", NAMES)
def test_float32_arithmetic_on_full_pressure_costs_no_digits(waves: Waves, name: str) -> None:
    """Differences of neighbours are exact, so float32 arithmetic adds 1e-6, whatever the mean."""
    stored = (waves.values + MEAN).astype(np.float32)
    assert error(outcomes(stored)[name], outcomes(stored.astype(np.float64))[name].astype(np.float64)) < 2e-6


def test_laplacian_of_full_pressure_in_float32_is_limited_by_its_storage(waves: Waves) -> None:
    """Float32 near 101 325 Pa has steps of 1/128 Pa: their rounding error, and nothing else, is in the Laplacian."""
    step = np.spacing(np.float32(MEAN))
    assert step == 2**-7
    spacing = np.deg2rad(0.25)
    # Variance of a rounding error: step²/12. Weights: 1 twice, c = cos⁻² φ twice, −2 (1 + c) in the middle.
    c = np.cos(np.deg2rad(LATITUDE)) ** -2
    weights = 2 + 2 * c**2 + 4 * (1 + c) ** 2
    rounding = np.sqrt(step**2 / 12 * np.mean(weights)) / spacing**2 / sphere.EARTH_RADIUS**2
    expected = rounding / np.sqrt(np.mean(waves.laplacian**2))
    field = (waves.values + MEAN).astype(np.float32)
    found = error(sphere.laplacian(field, LATITUDE, LONGITUDE), waves.laplacian, edge=2)
    assert found == pytest.approx(expected, rel=0.1)
    assert found < 0.02


def test_magnitude(waves: Waves) -> None:
    found = sphere.gradient_magnitude(waves.values.astype(np.float32), LATITUDE, LONGITUDE)
    assert error(found, np.hypot(*waves.gradient)) < FIRST


@pytest.mark.parametrize("name", NAMES)
def test_second_order_convergence(name: str) -> None:
    """Half the spacing, a quarter of the error: inside and at the edges."""
    errors = []
    for points in (41, 81, 161):
        lat, lon = np.linspace(55, 15, points), np.linspace(115, 155, points)
        errors.append(error(outcomes(Waves(lat, lon).values, lat, lon)[name], exact(Waves(lat, lon))[name]))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.8).all(), orders


# --- vectors ---------------------------------------------------------------------------------------------------------

VECTORS = ("divergence", "vorticity", "moisture_flux_convergence")


def of_flow(flow: Flow, kind: type[np.floating], lat: Map = LATITUDE, lon: Map = LONGITUDE) -> dict[str, Map]:
    """Return what the kernels make of wind and moisture in precision ``kind``."""
    u, v, q = (item.values.astype(kind) for item in (flow.u, flow.v, flow.q))
    return {
        "divergence": sphere.divergence(u, v, lat, lon),  # type: ignore[arg-type]
        "vorticity": sphere.vorticity(u, v, lat, lon),  # type: ignore[arg-type]
        "moisture_flux_convergence": thermo.moisture_flux_convergence(q, u, v, lat, lon),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("name", VECTORS)
def test_divergence_and_vorticity_of_a_known_flow(name: str) -> None:
    """The metric term is 6 % of the divergence here: without it nothing passes."""
    flow = Flow.on(LATITUDE, LONGITUDE)
    found, right = of_flow(flow, np.float32)[name], getattr(flow, name)
    assert found.dtype == np.float32
    assert error(found, right, edge=2) < FIRST
    assert error(found, right) < FIRST, "edges included"
    without = flow.divergence + flow.v.values * np.tan(np.deg2rad(LATITUDE))[:, None] / sphere.EARTH_RADIUS
    assert error(without, flow.divergence) > 0.05


def test_rotation_of_the_whole_sphere() -> None:
    """Solid rotation ``u = Ω R cos φ`` has the vorticity ``2 Ω sin φ`` and no divergence, at any latitude."""
    lat, lon = np.linspace(80, -80, 321), np.arange(0, 360, 0.5)
    u = np.broadcast_to((7e-6 * sphere.EARTH_RADIUS * np.cos(np.deg2rad(lat)))[:, None], (321, 720)).astype(np.float32)
    right = 2 * 7e-6 * np.sin(np.deg2rad(lat))[:, None] * np.ones(720)
    assert error(sphere.vorticity(u, 0 * u, lat, lon), right) < 2e-5  # truncation: (0.5°)² / 6 = 1.3e-5
    assert np.abs(sphere.divergence(u, 0 * u, lat, lon)).max() < 1e-6 * np.abs(right).max()


def test_an_outflow_from_the_pole() -> None:
    """``v = −c / cos φ`` has no divergence: as much leaves each ring of latitude as enters it."""
    lat, lon = np.linspace(75, 15, 241), np.arange(0, 360, 1.0)
    v = np.broadcast_to((-5 / np.cos(np.deg2rad(lat)))[:, None], (241, 360)).astype(np.float32)
    found = sphere.divergence(0 * v, v, lat, lon)
    single = np.abs(v * np.tan(np.deg2rad(lat))[:, None] / sphere.EARTH_RADIUS)
    assert np.abs(found / single)[1:-1].max() < 2e-3


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_on_uneven_and_closed_grids(name: str) -> None:
    lat = np.cumsum(np.linspace(0.8, 1.2, 41)) + 10
    for lon in (np.cumsum(np.linspace(0.8, 1.2, 61)) + 100, np.arange(0, 360, 1.0)):
        flow = Flow.on(lat[::-1].copy(), lon)
        found, right = of_flow(flow, np.float32, lat[::-1].copy(), lon)[name], getattr(flow, name)
        assert error(found, right, edge=2) < 16 * FIRST, "one degree: 16 times the error of a quarter"
        ends = (found - right)[2:-2, [0, -1]] if sphere.closed(lon) else (found - right)[2:-2, [1, -2]]
        assert np.sqrt(np.mean(ends**2) / np.mean(right**2)) < 32 * FIRST


# --- other grids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_latitude_may_ascend(waves: Waves, name: str) -> None:
    down = outcomes(waves.values)[name]
    up = outcomes(waves.values[::-1], LATITUDE[::-1])[name]
    np.testing.assert_allclose(up[::-1], down, rtol=1e-9, atol=1e-9 * np.abs(down).max())


@pytest.mark.parametrize("name", NAMES)
def test_more_dimensions_in_front(waves: Waves, name: str) -> None:
    many = np.stack([waves.values, -2 * waves.values, 0 * waves.values])[None]
    found, single = outcomes(many)[name], outcomes(waves.values)[name]
    assert found.shape == many.shape
    np.testing.assert_array_equal(found[0, 0], single)
    np.testing.assert_array_equal(found[0, 1], -2 * single)


def test_uneven_spacing_is_exact_for_parabolas() -> None:
    """Three points determine a parabola wherever they lie, so its derivatives have no truncation error."""
    lat = np.array([60.0, 57.5, 56.0, 52.0, 51.0, 45.0, 40.0])
    lon = np.array([0.0, 1.0, 3.0, 3.5, 7.0, 8.0, 12.0, 20.0])
    phi, lam = np.deg2rad(lat)[:, None], np.deg2rad(lon)[None, :]
    field = 3 * phi**2 - phi + 2 * lam**2 + 5 * lam
    east, north = sphere.gradient(field, lat, lon)  # type: ignore[arg-type]
    radius, cosine = sphere.EARTH_RADIUS, np.cos(phi)
    # Coordinates are used in float32 (6e-8); differences divided by small steps enlarge that a little.
    np.testing.assert_allclose(east, (4 * lam + 5) / (radius * cosine), rtol=2e-6)
    np.testing.assert_allclose(north, np.broadcast_to(6 * phi - 1, field.shape) / radius, rtol=2e-6)
    right = (6 - np.tan(phi) * (6 * phi - 1) + 4 / cosine**2) / radius**2
    np.testing.assert_allclose(
        sphere.laplacian(field, lat, lon),
        np.broadcast_to(right, field.shape),
        rtol=2e-5,  # type: ignore[arg-type]
    )


def test_second_order_on_a_stretched_grid() -> None:
    errors = []
    for points in (41, 81):
        x = np.linspace(0, 1, points)
        lat, lon = 55 - 40 * (x + 0.2 * x**2) / 1.2, 115 + 40 * (x + 0.3 * x * (1 - x))
        errors.append(error(sphere.laplacian(Waves(lat, lon).values, lat, lon), Waves(lat, lon).laplacian))  # type: ignore[arg-type]
    assert np.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize("kernel", [sphere.gradient_magnitude, sphere.laplacian, geostrophy.vorticity])
@pytest.mark.parametrize("value", [0.0, MEAN, 98_765.43])
def test_constant_field_gives_exactly_zero(kernel: Callable[..., NDArray[np.float32]], value: float) -> None:
    field = np.full((7, 9), value, np.float32)
    for lon in (np.linspace(115, 155, 9), np.arange(0, 360, 40.0)):
        found = kernel(field, np.linspace(55, 15, 7), lon)
        np.testing.assert_array_equal(found, 0)


def test_the_globe_is_closed() -> None:
    """Around the globe every meridian is an inner one, so a turned grid gives turned derivatives."""
    lat, lon = np.linspace(60, 20, 41), np.arange(0, 360, 2.0)
    field = Waves(lat, lon).values.astype(np.float32)
    assert sphere.closed(lon)
    assert not sphere.closed(lon[:-1])
    for name, found in outcomes(field, lat, lon).items():
        turned = outcomes(np.roll(field, 60, -1), lat, lon - 120)[name]
        np.testing.assert_allclose(np.roll(turned, -60, -1), found, rtol=0, atol=2e-5 * np.abs(found).max())
        # 2° spacing: 64 times the error of 0.25°, at the seam no more than elsewhere.
        right = exact(Waves(lat, lon))[name]
        seam = np.abs(found - right)[2:-2, [0, -1]].max()
        assert seam < 1.2 * np.abs(found - right)[2:-2].max() < 0.1 * np.abs(right).max()


# --- MetPy -----------------------------------------------------------------------------------------------------------


def wrap(values: Map, unit: str, lat: Map, lon: Map) -> xr.DataArray:
    """Return ``values`` as MetPy wants them, on ECMWF's sphere."""
    round_earth = CRS.from_dict({"proj": "latlon", "a": sphere.EARTH_RADIUS, "b": sphere.EARTH_RADIUS})
    coordinates = {
        "latitude": ("latitude", lat, {"units": "degrees_north"}),
        "longitude": ("longitude", lon, {"units": "degrees_east"}),
    }
    array = xr.DataArray(values, coordinates, ("latitude", "longitude")) * units(unit)
    for name in coordinates:
        array[name].attrs = coordinates[name][2]
    return array.metpy.assign_crs(round_earth.to_cf())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def oracle(waves: Waves) -> dict[str, Map]:
    """What MetPy makes of the same field on the same sphere, float64."""
    lat, lon = LATITUDE, LONGITUDE[:121]  # not square, so that exchanged axes are found out
    values = waves.values[:, :121]
    east, north = metpy.calc.geospatial_gradient(wrap(values, "Pa", lat, lon))
    zonal, meridional = metpy.calc.geostrophic_wind(wrap(values / geostrophy.DENSITY, "m^2/s^2", lat, lon))
    found = {
        "east": east,
        "north": north,
        "laplacian": metpy.calc.geospatial_laplacian(wrap(values, "Pa", lat, lon)),
        "ug": zonal,
        "vg": meridional,
        "vorticity": metpy.calc.vorticity(zonal, meridional),
    }
    plain = {name: item.data if isinstance(item, xr.DataArray) else item for name, item in found.items()}
    return {name: np.asarray(item.to_base_units().magnitude) for name, item in plain.items()}


# First derivatives are the same stencil. For second ones MetPy differentiates twice, with twice the spacing in effect.
AGREEMENT = {"east": 1e-6, "north": 1e-6, "laplacian": 1e-3, "ug": 1e-5, "vg": 1e-5, "vorticity": 1e-3}


@pytest.mark.parametrize("name", NAMES)
def test_agreement_with_metpy(waves: Waves, oracle: dict[str, Map], name: str) -> None:
    lon = LONGITUDE[:121]
    found = outcomes(waves.values[:, :121], lon=lon)[name]
    assert error(found, oracle[name], edge=3) < AGREEMENT[name]
    right = exact(Waves(LATITUDE, lon))[name]
    assert error(found, right, edge=3) <= 1.01 * error(oracle[name], right, edge=3), "no worse than MetPy"


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_agree_with_metpy(name: str) -> None:
    """MetPy differentiates the same way; the rest is float32 (6e-8, times 100 for differences of neighbours)."""
    lat, lon = LATITUDE, LONGITUDE[:121]
    flow = Flow.on(lat, lon)
    u, v, q = (item.values for item in (flow.u, flow.v, flow.q))
    wrapped = {
        "divergence": lambda: metpy.calc.divergence(wrap(u, "m/s", lat, lon), wrap(v, "m/s", lat, lon)),
        "vorticity": lambda: metpy.calc.vorticity(wrap(u, "m/s", lat, lon), wrap(v, "m/s", lat, lon)),
        "moisture_flux_convergence": lambda: (
            -metpy.calc.divergence(wrap(q * u, "m/s", lat, lon), wrap(q * v, "m/s", lat, lon))
        ),
    }
    oracle = np.asarray(wrapped[name]().metpy.unit_array.to("1/s").magnitude)
    found = of_flow(flow, np.float32, lat, lon)[name]
    assert error(found, oracle, edge=2) < 1e-5
    right = getattr(flow, name)
    assert error(found, right, edge=2) <= 1.01 * error(oracle, right, edge=2), "no worse than MetPy"


def test_constants() -> None:
    """MetPy's radius is GRS80's mean one, 0.003 % less than the sphere of ECMWF's model."""
    assert pytest.approx(metpy.constants.earth_avg_radius.to("m").magnitude, rel=5e-5) == sphere.EARTH_RADIUS
    assert pytest.approx(metpy.constants.omega.to("1/s").magnitude, rel=1e-6) == geostrophy.ROTATION
    # Standard air at 15 °C and 1013.25 hPa.
    assert pytest.approx(101_325 / (287.05 * 288.15), rel=1e-4) == geostrophy.DENSITY
