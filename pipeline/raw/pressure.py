"""Maps of mean sea-level pressure at given times, from raw files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.contract.pressure import PressureMap
from pipeline.raw.reader import read, scan_members

PRESSURE = "msl"
_PASCALS = 100.0
"""In a hectopascal."""


def pressure_at(files: Iterable[Path], seconds: Iterable[int]) -> dict[int, PressureMap]:
    """Return the maps at times (Unix seconds) from the first of ``files`` that has each; times in none are left out.

    Raises:
        InputError: a file is broken that was looked into before all times were found.
    """
    wanted, found = {int(second) for second in seconds}, dict[int, PressureMap]()
    for path in files:
        if found.keys() == wanted:
            break
        for member in scan_members(path, [PRESSURE])[0]:
            layout = member.layout
            places = np.flatnonzero(np.isin(layout.seconds, list(wanted - found.keys())))
            if not len(places):
                continue
            values = read(member, PRESSURE, None, places).astype(np.float64) / _PASCALS
            latitude, longitude = np.asarray(layout.grid.latitude), np.asarray(layout.grid.longitude)
            for second, one in zip(layout.seconds[places].tolist(), values, strict=True):
                found[second] = PressureMap(latitude, longitude, one)
    return found
