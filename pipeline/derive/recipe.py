"""Every field that Isobar derives, as a table: what it needs, how it is computed, its units, where that is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.choose import choose
from pipeline.core.errors import InputError
from pipeline.derive import geostrophy, sphere
from pipeline.derive.series import Key
from pipeline.raw.grid import Grid

Values = NDArray[np.float32]

GRAVITY = 9.80665
"""Standard gravity in m s-2 (ISO 80000-4), which WMO's geopotential metre is defined by."""


@dataclass(frozen=True)
class Need:
    """A raw variable that a field is made from, on the field's time or some hours before."""

    variable: str
    level: float | None = None
    """Pressure in hPa."""
    hours_before: int = 0

    @property
    def key(self) -> Key:
        """Which series holds it."""
        return self.variable, self.level


@dataclass(frozen=True)
class Recipe:
    """How one field is made. ``compute`` gets the grid and the needs (time × latitude × longitude) in order."""

    long_name: str
    units: str
    needs: tuple[Need, ...]
    compute: Callable[..., Values]
    standard_name: str = ""
    """CF standard name, where there is one."""
    reference: str = ""
    may_miss: bool = False
    """Whether NaN has a meaning in it."""
    differentiates: bool = False
    """Whether it needs neighbours (at least 4 × 4 points, no pole)."""
    geostrophic: bool = False
    """Whether it does not exist near the equator."""


def _same(grid: Grid, values: Values) -> Values:
    return values


def _change(grid: Grid, now: Values, before: Values) -> Values:
    return now - before


def _steepness(grid: Grid, values: Values) -> Values:
    return sphere.gradient_magnitude(values, grid.latitude, grid.longitude)


def _curvature(grid: Grid, values: Values) -> Values:
    return sphere.laplacian(values, grid.latitude, grid.longitude)


def _geostrophic_east(grid: Grid, pressure: Values) -> Values:
    return geostrophy.wind(pressure, grid.latitude, grid.longitude)[0]


def _geostrophic_north(grid: Grid, pressure: Values) -> Values:
    return geostrophy.wind(pressure, grid.latitude, grid.longitude)[1]


def _geostrophic_vorticity(grid: Grid, pressure: Values) -> Values:
    return geostrophy.vorticity(pressure, grid.latitude, grid.longitude)


def _height(grid: Grid, geopotential: Values) -> Values:
    return geopotential / np.float32(GRAVITY)


_MSL = Need("msl")
_HOLTON = "Holton and Hakim (2013), An Introduction to Dynamic Meteorology, 5th ed."
_GEOSTROPHY = f"{_HOLTON}, eq. 2.22, with a density of {geostrophy.DENSITY} kg m-3 everywhere"

FIELDS: dict[str, Recipe] = {
    "msl": Recipe("mean sea level pressure", "Pa", (_MSL,), _same, "air_pressure_at_mean_sea_level"),
    "msl_dt24": Recipe(
        "change of mean sea level pressure in 24 hours",
        "Pa",
        (_MSL, Need("msl", hours_before=24)),
        _change,
        reference="value minus the value exactly 24 hours before, missing where that time is not there",
        may_miss=True,
    ),
    "grad_msl": Recipe(
        "magnitude of the horizontal gradient of mean sea level pressure",
        "Pa m-1",
        (_MSL,),
        _steepness,
        reference=f"{_HOLTON}, section 2.3",
        differentiates=True,
    ),
    "lap_msl": Recipe(
        "horizontal Laplacian of mean sea level pressure",
        "Pa m-2",
        (_MSL,),
        _curvature,
        reference=f"{_HOLTON}, appendix C, with all metric terms of the sphere",
        differentiates=True,
    ),
    "ug": Recipe(
        "eastward geostrophic wind at sea level",
        "m s-1",
        (_MSL,),
        _geostrophic_east,
        "geostrophic_eastward_wind",
        _GEOSTROPHY,
        differentiates=True,
        geostrophic=True,
    ),
    "vg": Recipe(
        "northward geostrophic wind at sea level",
        "m s-1",
        (_MSL,),
        _geostrophic_north,
        "geostrophic_northward_wind",
        _GEOSTROPHY,
        differentiates=True,
        geostrophic=True,
    ),
    "vog": Recipe(
        "relative vorticity of the geostrophic wind at sea level",
        "s-1",
        (_MSL,),
        _geostrophic_vorticity,
        reference=f"curl of the geostrophic wind; {_GEOSTROPHY}",
        differentiates=True,
        geostrophic=True,
    ),
    "u10": Recipe("10 m eastward wind", "m s-1", (Need("u10"),), _same, "eastward_wind"),
    "v10": Recipe("10 m northward wind", "m s-1", (Need("v10"),), _same, "northward_wind"),
    "gh500": Recipe(
        "geopotential height at 500 hPa",
        "m",
        (Need("z", 500.0),),
        _height,
        "geopotential_height",
        f"geopotential divided by {GRAVITY} m s-2",
    ),
}


def choose_fields(names: Sequence[str]) -> dict[str, Recipe]:
    """Return the recipes of ``names``, in that order.

    Raises:
        InputError: a name is unknown.
    """
    return {name: choose(FIELDS, name, "derive.fields") for name in names}


def check_grid(fields: dict[str, Recipe], grid: Grid) -> None:
    """Check that every field can be computed on ``grid``.

    Raises:
        InputError: too few points for differences, a pole, or latitudes near the equator for a geostrophic field.
    """
    for name, recipe in fields.items():
        if recipe.differentiates and min(grid.shape) < sphere.LEAST:
            raise InputError(
                f"derive.fields: {name} needs at least {sphere.LEAST} latitudes and longitudes, the raw files have "
                f"{grid.describe()}; download a larger area or leave the field out"
            )
        if recipe.differentiates and np.abs(grid.latitude).max() > 89.99:
            raise InputError(
                f"derive.fields: {name} has no value at a pole, and the raw files have {grid.describe()}; "
                "cut the area or leave the field out"
            )
        if recipe.geostrophic and np.abs(grid.latitude).min() < geostrophy.NEAREST:
            raise InputError(
                f"derive.fields: {name} does not exist within {geostrophy.NEAREST:g} degrees of the equator, and the "
                f"raw files have {grid.describe()}; cut the area or leave the field out"
            )
