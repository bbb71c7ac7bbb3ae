"""The season as two pairs of sine and cosine, counted from December solstice to December solstice.

A cosine alone puts spring and autumn on one point; with its sine every day of the year has a place of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]

# Meeus, Astronomical Algorithms, 2nd ed. (1998), chapter 27: table 27.B (December, years 1000 to 3000) and table 27.C.
_MEAN = (2451900.05952, 365242.74049, -0.06223, -0.00823, 0.00032)
_TERMS = np.array(
    [
        (485, 324.96, 1934.136),
        (203, 337.23, 32964.467),
        (199, 342.08, 20.186),
        (182, 27.85, 445267.112),
        (156, 73.14, 45036.886),
        (136, 171.52, 22518.443),
        (77, 222.54, 65928.934),
        (74, 296.72, 3034.906),
        (70, 243.58, 9037.513),
        (58, 119.81, 33718.147),
        (52, 297.17, 150.678),
        (50, 21.02, 2281.226),
        (45, 247.54, 29929.562),
        (44, 325.15, 31555.956),
        (29, 60.93, 4443.417),
        (18, 155.12, 67555.328),
        (17, 288.79, 4562.452),
        (16, 198.04, 62894.029),
        (14, 199.76, 31436.921),
        (12, 95.39, 14577.848),
        (12, 287.11, 31931.756),
        (12, 320.81, 34777.259),
        (9, 227.73, 1222.114),
        (8, 15.45, 16859.074),
    ]
)
_UNIX_EPOCH = 2440587.5
"""Julian date of 1970-01-01 00:00."""


@cache
def december_solstice(year: int) -> float:
    """Return the moment of the December solstice of ``year`` (1000 … 3000) in seconds since 1970-01-01.

    Within a minute of the true moment for 1951–2050 (Meeus); the result is in dynamical time, 0.5 to 1.2 minutes ahead
    of UTC in 1950–2050, which is left as it is: both together are 4e-6 of a year.
    """
    thousands = (year - 2000) / 1000
    mean = sum(factor * thousands**power for power, factor in enumerate(_MEAN))
    century = (mean - 2451545.0) / 36525
    w = np.deg2rad(35999.373 * century - 2.47)
    stretch = 1 + 0.0334 * np.cos(w) + 0.0007 * np.cos(2 * w)
    size, phase, speed = _TERMS.T
    periodic = float(np.sum(size * np.cos(np.deg2rad(phase + speed * century))))
    return float((mean + 0.00001 * periodic / stretch - _UNIX_EPOCH) * 86400)


def fraction_of_year(seconds: Seconds) -> NDArray[np.float64]:
    """Return how far each time (Unix seconds) is from the last December solstice to the next, in [0, 1)."""
    years = seconds.astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970
    nodes = np.array([december_solstice(int(year)) for year in range(int(years.min()) - 1, int(years.max()) + 2)])
    last = np.searchsorted(nodes, seconds, side="right") - 1
    return np.asarray((seconds - nodes[last]) / (nodes[last + 1] - nodes[last]))


def _wave(seconds: Seconds, turns: int, shift: float = 0.0) -> NDArray[np.float32]:
    return np.cos(2 * np.pi * (turns * fraction_of_year(seconds) - shift)).astype(np.float32)


SCALARS: dict[str, tuple[str, Callable[[Seconds], NDArray[np.float32]]]] = {
    "f1_season": ("cos(2πt), once a year, 1 at the December solstice", partial(_wave, turns=1)),
    "f1_season_sin": ("sin(2πt), once a year, 1 near the March equinox", partial(_wave, turns=1, shift=0.25)),
    "f2_season": ("cos(4πt), twice a year, 1 at the solstices", partial(_wave, turns=2)),
    "f2_season_sin": ("sin(4πt), twice a year", partial(_wave, turns=2, shift=0.25)),
}
"""Name → long name, and function of times in seconds since 1970-01-01 UTC; all without unit."""
