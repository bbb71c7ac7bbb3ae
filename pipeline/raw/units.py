"""Units of raw variables: the spellings that files use, and how they turn into the unit that Isobar computes in."""

from __future__ import annotations

GRAVITY = 9.80665
"""Standard gravity in m s-2 (ISO 80000-4), by which WMO defines the geopotential metre."""

_SPEED = {"m s-1": 1.0, "m/s": 1.0, "meter/second": 1.0, "meters/second": 1.0, "meters/s": 1.0, "km/h": 1 / 3.6}
_PER_SECOND = {"s-1": 1.0, "1/s": 1.0, "/s": 1.0, "10-5 s-1": 1e-5, "1e-5 s-1": 1e-5}
_MASS = {"kg m-2": 1.0, "kg/m2": 1.0, "mm": 1.0, "g m-2": 1e-3, "cm": 10.0, "m": 1000.0}
_METRES = ("m", "gpm", "meter", "meters", "metre", "metres", "geopotential meter", "geopotential metre", "m (gpm)")

FACTORS: dict[str, dict[str, float]] = {
    "Pa": {"pa": 1, "pascal": 1, "pascals": 1, "hpa": 100, "mbar": 100, "mb": 100, "millibar": 100, "millibars": 100},
    "hPa": {"pa": 0.01, "pascal": 0.01, "pascals": 0.01, "hpa": 1, "mbar": 1, "mb": 1, "millibar": 1, "millibars": 1},
    "K": {"k": 1, "kelvin": 1, "kelvins": 1, "degk": 1, "deg k": 1, "deg_k": 1}
    | dict.fromkeys(("degc", "deg c", "deg_c", "c", "°c", "celsius", "degrees_celsius", "degree_celsius"), 1.0)
    | dict.fromkeys(("degrees celsius", "degree celsius", "degreesc", "degrees_c", "degree_c"), 1.0),
    "m s-1": _SPEED,
    # A height in metres is a geopotential height: times standard gravity it is the geopotential.
    "m2 s-2": {"m2 s-2": 1, "m2/s2": 1, "m2/s-2": 1, "j kg-1": 1, "j/kg": 1}
    | dict.fromkeys(_METRES, GRAVITY)
    | dict.fromkeys(("dam", "gpdm", "dkm", "decameters"), 10 * GRAVITY),
    "kg kg-1": {"kg kg-1": 1, "kg/kg": 1, "1": 1, "g kg-1": 1e-3, "g/kg": 1e-3, "gram/kg": 1e-3, "grams/kg": 1e-3},
    "%": {"%": 1, "percent": 1, "1": 100, "fraction": 100, "(0 - 1)": 100},
    "1": {"1": 1, "(0 - 1)": 1, "fraction": 1, "0-1": 1, "dimensionless": 1, "%": 0.01, "percent": 0.01, "okta": 0.125},
    "s-1": _PER_SECOND,
    "Pa s-1": {"pa s-1": 1, "pa/s": 1, "pascal/s": 1, "pascals/s": 1, "hpa s-1": 100, "hpa/s": 100}
    | {"hpa/h": 100 / 3600, "hpa h-1": 100 / 3600, "pa/day": 1 / 86_400, "hpa/day": 100 / 86_400},
    "kg m-2": _MASS,
    "kg m-1 s-1": {"kg m-1 s-1": 1, "kg/m/s": 1, "kg/(m s)": 1, "kg/m s": 1},
    "J kg-1": {"j kg-1": 1, "j/kg": 1, "m2 s-2": 1, "m2/s2": 1},
    "m": {"m": 1, "meter": 1, "meters": 1, "m of water equivalent": 1, "mm": 1e-3, "cm": 1e-2, "kg m-2": 1e-3}
    | {"kg/m2": 1e-3},
}
"""Unit that Isobar computes in → spelling in files (see :func:`spelling`) → factor."""

_CELSIUS_ZERO = 273.15
_KELVINS = ("k", "kelvin", "kelvins", "degk", "deg k", "deg_k")
OFFSETS: dict[str, dict[str, float]] = {
    "K": {name: _CELSIUS_ZERO for name in FACTORS["K"] if name not in _KELVINS},
}
"""Unit that Isobar computes in → spelling → what is added after the factor; 0 where nothing is said."""


def spelling(units: str) -> str:
    """Return ``units`` in lower case, single spaces, powers without ``**`` or ``^``: ``m s**-1`` → ``m s-1``."""
    return " ".join(units.lower().replace("**", "").replace("^", "").replace(".", " ").split())


def conversion(found: str, wanted: str) -> tuple[float, float] | None:
    """Return factor and offset that turn a value in ``found`` into one in ``wanted``; ``None`` if not known."""
    name = spelling(found)
    if name not in FACTORS[wanted]:
        return None
    return FACTORS[wanted][name], OFFSETS.get(wanted, {}).get(name, 0.0)


def factor(found: str, wanted: str) -> float | None:
    """Return the number that alone turns a value in ``found`` into one in ``wanted``; ``None`` if there is none."""
    both = conversion(found, wanted)
    return None if both is None or both[1] else both[0]
