"""Units of raw variables: the spellings that files use, and the factor to the unit that Isobar computes in."""

from __future__ import annotations

FACTORS: dict[str, dict[str, float]] = {
    "Pa": {"pa": 1, "pascal": 1, "pascals": 1, "hpa": 100, "mbar": 100, "mb": 100, "millibar": 100, "millibars": 100},
    "hPa": {"pa": 0.01, "pascal": 0.01, "pascals": 0.01, "hpa": 1, "mbar": 1, "mb": 1, "millibar": 1, "millibars": 1},
    "m s-1": {"m s-1": 1, "m/s": 1, "meter/second": 1, "km/h": 1 / 3.6},
    "m2 s-2": {"m2 s-2": 1, "m2/s2": 1, "j kg-1": 1, "j/kg": 1},
}
"""Unit that Isobar computes in → spelling in files (see :func:`spelling`) → factor."""


def spelling(units: str) -> str:
    """Return ``units`` in lower case, single spaces, powers without ``**`` or ``^``: ``m s**-1`` → ``m s-1``."""
    return " ".join(units.lower().replace("**", "").replace("^", "").replace(".", " ").split())


def factor(found: str, wanted: str) -> float | None:
    """Return the number that turns a value in ``found`` into one in ``wanted``; ``None`` if that is not known."""
    return FACTORS[wanted].get(spelling(found))
