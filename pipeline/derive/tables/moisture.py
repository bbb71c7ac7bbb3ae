"""Warm and moist air, transport of water vapour, rain, and where the sea is."""

from __future__ import annotations

import numpy as np

from pipeline.core.errors import InputError
from pipeline.derive import thermo, wind
from pipeline.derive.ingredient import Field, Need, Recipe, Values
from pipeline.derive.tables.pressure import GRADIENT, steepness
from pipeline.raw.grid import Grid

_BOLTON = "Bolton (1980), Mon. Wea. Rev. 108, 1046-1053, eqs. 21 and 39"
_FLUX = (Need("viwve"), Need("viwvn"))
_FROM = "direction that the transport comes from, clockwise from north: 90 from the east, 360 from the north, 0 none"


def _equivalent(grid: Grid, temperature: Values, humidity: Values) -> Values:
    return thermo.equivalent_potential_temperature(temperature, humidity, 85_000.0)


def _convergence(grid: Grid, humidity: Values, east: Values, north: Values) -> Values:
    return thermo.moisture_flux_convergence(humidity, east, north, grid.latitude, grid.longitude)


def _length(grid: Grid, east: Values, north: Values) -> Values:
    return wind.speed(east, north)


def _direction(grid: Grid, east: Values, north: Values) -> Values:
    return wind.direction(east, north)


def _sine(grid: Grid, east: Values, length: Values) -> Values:
    return wind.direction_sine(east, length)


def _cosine(grid: Grid, north: Values, length: Values) -> Values:
    return wind.direction_cosine(north, length)


def _sum(grid: Grid, *hours: Values) -> Values:
    result = hours[0] + hours[1]
    for hour in hours[2:]:
        result += hour
    return result


def _land(grid: Grid, temperature: Values) -> Values:
    missing = np.isnan(temperature)
    if not (missing == missing[:1]).all():
        raise InputError(
            "derive.fields: land_mask: sea surface temperature is missing in other cells at other times, so it does "
            "not tell where land is; leave land_mask out"
        )
    return missing.astype(np.float32)


MOISTURE: dict[str, Recipe] = {
    "thetae850": Recipe(
        "equivalent potential temperature at 850 hPa",
        "K",
        (Need("t", 850.0), Need("q", 850.0)),
        _equivalent,
        180,
        650,
        "air_equivalent_potential_temperature",
        _BOLTON,
    ),
    "grad_thetae850": Recipe(
        "magnitude of the horizontal gradient of equivalent potential temperature at 850 hPa",
        "K m-1",
        (Field("thetae850"),),
        steepness,
        0,
        0.05,
        reference=f"{GRADIENT}; {_BOLTON}",
        differentiates=True,
    ),
    "mfc850": Recipe(
        "convergence of the horizontal moisture flux at 850 hPa",
        "kg kg-1 s-1",
        (Need("q", 850.0), Need("u", 850.0), Need("v", 850.0)),
        _convergence,
        -1e-3,
        1e-3,
        reference="−∇·(q V) on the sphere; Banacos and Schultz (2005), Wea. Forecasting 20, 351-366, eq. 5",
        differentiates=True,
    ),
    "ivt": Recipe(
        "magnitude of the vertically integrated water vapour transport",
        "kg m-1 s-1",
        _FLUX,
        _length,
        0,
        12_000,
        reference="length of the vector (viwve, viwvn), integrated over the whole column",
    ),
    "ivt_dir": Recipe(
        "direction that the vertically integrated water vapour transport comes from",
        "degree",
        _FLUX,
        _direction,
        0,
        360,
        reference="atan2(−viwve, −viwvn); WMO-No. 8, part I, chapter 5",
        attributes={"comment": _FROM},
    ),
    "ivt_dir_sin": Recipe(
        "sine of the direction that the water vapour transport comes from",
        "1",
        (Need("viwve"), Field("ivt")),
        _sine,
        -1.00001,
        1.00001,
        reference="−viwve / ivt",
        attributes={"comment": f"{_FROM}; sine and cosine are 0 without transport"},
    ),
    "ivt_dir_cos": Recipe(
        "cosine of the direction that the water vapour transport comes from",
        "1",
        (Need("viwvn"), Field("ivt")),
        _cosine,
        -1.00001,
        1.00001,
        reference="−viwvn / ivt",
        attributes={"comment": f"{_FROM}; sine and cosine are 0 without transport"},
    ),
    "tp_24h": Recipe(
        "total precipitation of the 24 hours before",
        "m",
        tuple(Need("tp", hours_before=hours) for hours in range(24)),
        _sum,
        -0.0024,
        3,
        "lwe_thickness_of_precipitation_amount",
        "sum of the 24 hourly values that end at the time, missing where one of them is not there",
        may_miss=True,
        attributes={"cell_methods": "time: sum (interval: 1 hour comment: the 24 hours that end at the given time)"},
    ),
    "land_mask": Recipe(
        "land, where there is no sea surface temperature",
        "1",
        (Need("sst"),),
        _land,
        0,
        1,
        "land_binary_mask",
        "1 where the sea surface temperature is missing, 0 elsewhere",
        constant=True,
    ),
}
