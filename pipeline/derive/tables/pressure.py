"""Sea level pressure, heights and thickness, and what follows from their slopes."""

from __future__ import annotations

import numpy as np

from pipeline.derive import geostrophy, sphere, wind
from pipeline.derive.ingredient import Field, Need, Recipe, Values
from pipeline.raw.grid import Grid
from pipeline.raw.units import GRAVITY

HOLTON = "Holton and Hakim (2013), An Introduction to Dynamic Meteorology, 5th ed."
GRADIENT = f"{HOLTON}, section 2.3"
_GEOSTROPHY = f"{HOLTON}, eq. 2.22, with a density of {geostrophy.DENSITY} kg m-3 everywhere"
_HEIGHT = f"geopotential divided by {GRAVITY} m s-2"
_MSL = Need("msl")
_Z500, _Z1000 = Need("z", 500.0), Need("z", 1000.0)


def _height(grid: Grid, geopotential: Values) -> Values:
    return geopotential / np.float32(GRAVITY)


def _thickness(grid: Grid, above: Values, below: Values) -> Values:
    result = above - below
    result /= np.float32(GRAVITY)
    return result


def _change(grid: Grid, now: Values, before: Values) -> Values:
    return now - before


def _eastward(grid: Grid, values: Values) -> Values:
    return sphere.eastward(values, grid.latitude, grid.longitude)


def _northward(grid: Grid, values: Values) -> Values:
    return sphere.northward(values, grid.latitude, grid.longitude)


def _length(grid: Grid, east: Values, north: Values) -> Values:
    return wind.speed(east, north)


def steepness(grid: Grid, values: Values) -> Values:
    """Return the length of the gradient."""
    return sphere.gradient_magnitude(values, grid.latitude, grid.longitude)


def _curvature(grid: Grid, values: Values) -> Values:
    return sphere.laplacian(values, grid.latitude, grid.longitude)


def _zonal(grid: Grid, north_slope: Values) -> Values:
    return geostrophy.eastward(north_slope, grid.latitude)


def _meridional(grid: Grid, east_slope: Values) -> Values:
    return geostrophy.northward(east_slope, grid.latitude)


def _curl(grid: Grid, curvature: Values, zonal: Values) -> Values:
    return geostrophy.curl(curvature, zonal, grid.latitude)


SLOPES: dict[str, Recipe] = {
    "msl_east": Recipe(
        "eastward derivative of mean sea level pressure", "Pa m-1", (_MSL,), _eastward, -1, 1, differentiates=True
    ),
    "msl_north": Recipe(
        "northward derivative of mean sea level pressure", "Pa m-1", (_MSL,), _northward, -1, 1, differentiates=True
    ),
}
"""Intermediate results that several fields share; they are not fields themselves."""

PRESSURE: dict[str, Recipe] = {
    "gh500": Recipe(
        "geopotential height at 500 hPa", "m", (_Z500,), _height, 3500, 7000, "geopotential_height", _HEIGHT
    ),
    "gh1000": Recipe(
        "geopotential height at 1000 hPa", "m", (_Z1000,), _height, -2000, 2000, "geopotential_height", _HEIGHT
    ),
    "thk_1000_500": Recipe(
        "thickness of the layer between 1000 and 500 hPa",
        "m",
        (_Z500, _Z1000),
        _thickness,
        3500,
        7000,
        "atmosphere_layer_thickness_expressed_as_geopotential_height_difference",
        f"difference of geopotential heights; {_HEIGHT}",
    ),
    "grad_thk_1000_500": Recipe(
        "magnitude of the horizontal gradient of the 1000-500 hPa thickness",
        "m m-1",
        (Field("thk_1000_500"),),
        steepness,
        0,
        0.1,
        reference=GRADIENT,
        differentiates=True,
    ),
    "msl_dt24": Recipe(
        "change of mean sea level pressure in 24 hours",
        "Pa",
        (_MSL, Need("msl", hours_before=24)),
        _change,
        -25_000,
        25_000,
        reference="value minus the value exactly 24 hours before, missing where that time is not there",
        may_miss=True,
    ),
    "grad_msl": Recipe(
        "magnitude of the horizontal gradient of mean sea level pressure",
        "Pa m-1",
        (Field("msl_east"), Field("msl_north")),
        _length,
        0,
        1,
        reference=GRADIENT,
        differentiates=True,
    ),
    "lap_msl": Recipe(
        "horizontal Laplacian of mean sea level pressure",
        "Pa m-2",
        (_MSL,),
        _curvature,
        -1e-3,
        1e-3,
        reference=f"{HOLTON}, appendix C, with all metric terms of the sphere",
        differentiates=True,
    ),
    # Near the equator a storm's slope of pressure gives geostrophic winds far beyond any real one.
    "ug": Recipe(
        "eastward geostrophic wind at sea level",
        "m s-1",
        (Field("msl_north"),),
        _zonal,
        -20_000,
        20_000,
        "geostrophic_eastward_wind",
        _GEOSTROPHY,
        differentiates=True,
        geostrophic=True,
    ),
    "vg": Recipe(
        "northward geostrophic wind at sea level",
        "m s-1",
        (Field("msl_east"),),
        _meridional,
        -20_000,
        20_000,
        "geostrophic_northward_wind",
        _GEOSTROPHY,
        differentiates=True,
        geostrophic=True,
    ),
    "vog": Recipe(
        "relative vorticity of the geostrophic wind at sea level",
        "s-1",
        (Field("lap_msl"), Field("ug")),
        _curl,
        -1,
        1,
        reference=f"curl of the geostrophic wind; {_GEOSTROPHY}",
        differentiates=True,
        geostrophic=True,
    ),
}
