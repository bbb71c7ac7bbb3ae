"""Speed and shear of the wind."""

from __future__ import annotations

from pipeline.derive import wind
from pipeline.derive.ingredient import Need, Recipe, Values
from pipeline.raw.grid import Grid


def _speed(grid: Grid, east: Values, north: Values) -> Values:
    return wind.speed(east, north)


def _shear(grid: Grid, *winds: Values) -> Values:
    return wind.shear(*winds)


def _at(level: float) -> tuple[Need, Need]:
    return Need("u", level), Need("v", level)


_SPEED = "√(u² + v²)"

FLOW: dict[str, Recipe] = {
    "vmag500": Recipe("wind speed at 500 hPa", "m s-1", _at(500.0), _speed, 0, 280, "wind_speed", _SPEED),
    "vmag850": Recipe("wind speed at 850 hPa", "m s-1", _at(850.0), _speed, 0, 280, "wind_speed", _SPEED),
    "vmag10": Recipe(
        "10 m wind speed", "m s-1", (Need("u10"), Need("v10")), _speed, 0, 170, "wind_speed", f"{_SPEED} at 10 m"
    ),
    "shear_850_500": Recipe(
        "magnitude of the vector difference of the winds at 500 and 850 hPa",
        "m s-1",
        (*_at(500.0), *_at(850.0)),
        _shear,
        0,
        500,
        reference="√((u500 − u850)² + (v500 − v850)²), not divided by the height of the layer",
    ),
}
