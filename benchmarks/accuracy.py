"""How right derived fields are: against exact derivatives of known fields, against MetPy and against float64.

The grid is ERA5's around Japan (0.25 degrees, 161 x 161), the fields are waves of 3000 to 6000 km, all arithmetic of
Isobar is float32. "Relative rms" is the root mean square error over that of the exact field, two points off the edges.
"""

import time
from collections.abc import Callable
from typing import Any

import metpy.calc
import numpy as np
import xarray as xr
from metpy.units import units
from numpy.typing import NDArray
from pyproj import CRS

from benchmarks.table import Figure
from pipeline.derive import geostrophy, sphere, thermo, wind
from pipeline.derive.recipe import FIELDS, Need, compute_block, raw_needs
from pipeline.raw.grid import Grid
from pipeline.raw.units import GRAVITY
from pipeline.synthetic.files import VARIABLES
from tests.derive.analytic import LATITUDE, LONGITUDE, Flow, Map, Waves, error

COMMAND = "python -m benchmarks accuracy"
_PRESSURE = 85_000.0
_BLOCK, _DAYS = 8, 365


def measure() -> list[Figure]:
    """Return an error a quantity, and the processor seconds of all kernels for a year."""
    return [*_derivatives(), *_equivalent(), *_vectors(), _heights(), _seconds()]


# --- derivatives -----------------------------------------------------------------------------------------------------


def _wrap(values: Map, unit: str) -> xr.DataArray:
    """Return ``values`` with the coordinates and the sphere that MetPy takes its distances from."""
    earth = CRS.from_dict({"proj": "latlon", "a": sphere.EARTH_RADIUS, "b": sphere.EARTH_RADIUS})
    axes = {"latitude": (LATITUDE, "degrees_north"), "longitude": (LONGITUDE, "degrees_east")}
    coordinates = {name: (name, values, {"units": unit}) for name, (values, unit) in axes.items()}
    return (xr.DataArray(values, coordinates, tuple(axes)) * units(unit)).metpy.assign_crs(earth.to_cf())


def _base(item: Any) -> Map:
    """Return the numbers of MetPy's quantity, bare or in a data array, in base units."""
    return np.asarray((item.data if isinstance(item, xr.DataArray) else item).to_base_units().magnitude)


def _derivatives() -> list[Figure]:
    """Return the errors of all that differentiates, beside MetPy's."""
    waves, flow = Waves(LATITUDE, LONGITUDE), Flow.on(LATITUDE, LONGITUDE)
    pressure = waves.values.astype(np.float32)
    u, v, q = (item.values.astype(np.float32) for item in (flow.u, flow.v, flow.q))
    place = LATITUDE, LONGITUDE
    east, north = sphere.gradient(pressure, *place)
    zonal, meridional = geostrophy.wind(pressure, *place)
    found = {
        "gradient": (np.stack([east, north]), np.stack(waves.gradient), 3e-4),
        "Laplacian": (sphere.laplacian(pressure, *place), waves.laplacian, 1e-3),
        "divergence": (sphere.divergence(u, v, *place), flow.divergence, 3e-4),
        "vorticity": (sphere.vorticity(u, v, *place), flow.vorticity, 3e-4),
        "moisture flux convergence": (
            thermo.moisture_flux_convergence(q, u, v, *place), flow.moisture_flux_convergence, 3e-4,
        ),
        "geostrophic wind": (np.stack([zonal, meridional]), np.stack(waves.wind), 3e-4),
        "geostrophic vorticity": (geostrophy.vorticity(pressure, *place), waves.vorticity, 1e-3),
    }  # fmt: skip
    oracle = _metpy(waves, flow)
    return [
        _figure(
            f"accuracy of the {name}",
            error(values, right, edge=2),
            f"exact: MetPy is {error(oracle[name], right, edge=2):.1e} off; promised",
            limit,
            " relative rms",
        )
        for name, (values, right, limit) in found.items()
    ]


def _metpy(waves: Waves, flow: Flow) -> dict[str, Map]:
    """Return the same quantities by MetPy in float64."""
    pressure = _wrap(waves.values, "Pa")
    u, v, q = flow.u.values, flow.v.values, flow.q.values
    wind_of = metpy.calc.geostrophic_wind(_wrap(waves.values / geostrophy.DENSITY, "m^2/s^2"))
    slopes = metpy.calc.geospatial_gradient(pressure)
    flux = metpy.calc.divergence(_wrap(q * u, "m/s"), _wrap(q * v, "m/s"))
    return {
        "gradient": np.stack([_base(slope) for slope in slopes]),
        "Laplacian": _base(metpy.calc.geospatial_laplacian(pressure)),
        "divergence": _base(metpy.calc.divergence(_wrap(u, "m/s"), _wrap(v, "m/s"))),
        "vorticity": _base(metpy.calc.vorticity(_wrap(u, "m/s"), _wrap(v, "m/s"))),
        "moisture flux convergence": -_base(flux),
        "geostrophic wind": np.stack([_base(item) for item in wind_of]),
        "geostrophic vorticity": _base(metpy.calc.vorticity(*wind_of)),
    }


# --- everything else -------------------------------------------------------------------------------------------------


def _equivalent() -> list[Figure]:
    """Return the largest errors of θe in all air below 20 g/kg, 230 to 308 K, 850 hPa."""
    kelvin, moist = np.meshgrid(np.linspace(230, 308, 79), np.linspace(0.01, 1, 100))
    vapour = moist * 611.2 * np.exp(17.67 * (kelvin - 273.15) / (kelvin - 29.65))
    humidity = 0.622 * vapour / (_PRESSURE - 0.378 * vapour)
    kelvin, humidity = kelvin[humidity < 0.020], humidity[humidity < 0.020]
    theta: Callable[..., NDArray[np.floating]] = thermo.equivalent_potential_temperature
    found = theta(kelvin.astype(np.float32), humidity.astype(np.float32), _PRESSURE)
    pressure = _PRESSURE * units.Pa
    dewpoint = metpy.calc.dewpoint_from_specific_humidity(pressure, humidity * units("kg/kg"))
    oracle = metpy.calc.equivalent_potential_temperature(pressure, kelvin * units.K, dewpoint).to("K").magnitude
    exact = theta(kelvin, humidity, _PRESSURE)
    name = "accuracy of equivalent potential temperature"
    return [
        _figure(f"{name}, MetPy", float(np.abs(found - oracle).max()), "MetPy; promised", 0.1, " K at most"),
        _figure(f"{name}, float64", float(np.abs(found - exact).max()), "float64; promised", 0.1, " K at most"),
    ]


def _vectors() -> list[Figure]:
    """Return the errors of speed and direction."""
    east, north = np.random.default_rng(0).normal(scale=300, size=(2, 100_000)).astype(np.float32)
    wide = east.astype(np.float64), north.astype(np.float64)
    length, right = wind.speed(east, north), np.hypot(*wide)
    oracle = metpy.calc.wind_direction(wide[0] * units("m/s"), wide[1] * units("m/s")).magnitude
    turned = np.abs((wind.direction(east, north) - oracle + 180) % 360 - 180).max()
    return [
        _figure("accuracy of speeds and IVT", float(np.max(np.abs(length / right - 1))), "float64; promised", 1e-5, ""),
        _figure("accuracy of the direction of IVT", float(turned) / 360, "MetPy; promised", 1e-5, " of a turn"),
    ]


def _heights() -> Figure:
    above, below = np.random.default_rng(0).normal((54_000, 1_000), (1500, 800), size=(100_000, 2)).T.astype(np.float32)
    grid = Grid(LATITUDE, LONGITUDE)
    found = FIELDS["thk_1000_500"].compute(grid, above, below)
    right = (above.astype(np.float64) - below) / GRAVITY
    largest = float(np.max(np.abs(found / right - 1)))
    return _figure("accuracy of the thickness", largest, "float64; promised", 1e-5, "")


def _seconds() -> Figure:
    """Return the processor time of all kernels for a year of days, in blocks that fit the cache."""
    draw, grid = np.random.default_rng(0), Grid(LATITUDE, LONGITUDE)
    fields = {name: recipe for name, recipe in FIELDS.items() if name != "tp_24h"}
    raw: dict[Need, NDArray[np.float32]] = {}
    for need in (need for recipe in fields.values() for need in raw_needs(recipe)):
        low, high = VARIABLES[need.variable].low, VARIABLES[need.variable].high
        raw[need] = draw.uniform(0.6 * low + 0.4 * high, 0.4 * low + 0.6 * high, (_BLOCK, 161, 161)).astype(np.float32)
    taken = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(-(-_DAYS // _BLOCK)):
            for _ in compute_block(fields, grid, raw.__getitem__):
                pass
        taken.append(time.process_time() - began)
    return _figure("kernels of all fields, 365 x 161 x 161", min(taken), "promised", 1.8, " CPU s")


def _figure(what: str, found: float, against: str, limit: float, unit: str) -> Figure:
    return Figure(what, f"{found:.2g}{unit}", f"{against} ≤ {limit:g}", f"{found / limit:.2f}", COMMAND)
