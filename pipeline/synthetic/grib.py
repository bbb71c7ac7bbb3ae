"""GRIB files as the Climate Data Store delivers ERA5: edition 1, ECMWF's local section, 16 bits a value.

One message a time, variable and level. Analyses carry their own time; accumulations are forecasts of 06 and 18 UTC
whose step ends at the valid time (tp at 00 UTC: the forecast of 18 UTC the day before, step 5-6), see "ERA5: data
documentation", table "accumulations" (ECMWF). Preliminary data (ERA5T) has the experiment version 0005.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.raw.grib import load_eccodes
from pipeline.synthetic.files import ACCUMULATED, VARIABLES, Content, Header

eccodes = load_eccodes("a synthetic world")
_MISSING = 9999.0
_HALF_DAY = 12


def write_grib(path: Path, content: Content) -> None:
    """Write all of ``content`` as GRIB messages, ordered by time, variable and level."""
    header = content.header
    with path.open("wb") as stream:
        for position, seconds in enumerate(header.times.tolist()):
            for name in header.names:
                values = content.arrays[name][position]
                if header.levels:
                    for level, plane in zip(header.levels, values, strict=True):
                        _write_message(stream, header, name, level, seconds, plane)
                else:
                    _write_message(stream, header, name, None, seconds, values)


def _write_message(
    stream: BinaryIO, header: Header, name: str, level: int | None, seconds: int, plane: NDArray[np.float32]
) -> None:
    sample = "regular_ll_sfc_grib1" if level is None else "regular_ll_pl_grib1"
    handle = eccodes.codes_grib_new_from_samples(sample)
    try:
        keys = {**_identity(header, name, level, seconds), **_time(name, seconds), **_grid(header), "bitsPerValue": 16}
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        _set_values(handle, plane)
        eccodes.codes_write(handle, stream)
    finally:
        eccodes.codes_release(handle)


def _identity(header: Header, name: str, level: int | None, seconds: int) -> dict[str, Any]:
    """Return who made the message and what it holds; the local section names the data stream for MARS."""
    return {
        "centre": 98,
        "setLocalDefinition": 1,
        "localDefinitionNumber": 1,
        "class": "ea",
        "type": "fc" if name in ACCUMULATED else "an",
        "stream": "oper",
        "expver": header.version(seconds),
        "paramId": VARIABLES[name].parameter,
        **({"level": level} if level is not None else {}),
    }


def _time(name: str, seconds: int) -> dict[str, Any]:
    """Return base time and step: an analysis has step 0, an accumulation runs over the hour before its end."""
    valid = datetime.fromtimestamp(seconds, UTC)
    if name not in ACCUMULATED:
        return {"dataDate": int(f"{valid:%Y%m%d}"), "dataTime": int(f"{valid:%H%M}"), "stepRange": "0"}
    # Steps 1 to 12 of the forecasts of 06 and 18 UTC cover the day.
    step = (valid.hour - 6 - 1) % _HALF_DAY + 1
    base = valid - timedelta(hours=step)
    return {
        "dataDate": int(f"{base:%Y%m%d}"),
        "dataTime": int(f"{base:%H%M}"),
        "stepType": "accum",
        "stepRange": f"{step - 1}-{step}",
    }


def _grid(header: Header) -> dict[str, Any]:
    lat, lon = header.latitude, header.longitude
    return {
        "Ni": len(lon),
        "Nj": len(lat),
        "latitudeOfFirstGridPointInDegrees": float(lat[0]),
        "latitudeOfLastGridPointInDegrees": float(lat[-1]),
        "longitudeOfFirstGridPointInDegrees": float(lon[0]),
        "longitudeOfLastGridPointInDegrees": float(lon[-1]),
        "iDirectionIncrementInDegrees": header.spacing("longitude"),
        "jDirectionIncrementInDegrees": header.spacing("latitude"),
        "jScansPositively": int(lat[0] < lat[-1]),
    }


def _set_values(handle: int, plane: NDArray[np.float32]) -> None:
    """Pack the values; the steps of 16 bits are powers of two, so that values of one field come back as they were."""
    missing = np.isnan(plane)
    if missing.any():
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", _MISSING)
    eccodes.codes_set_values(handle, np.where(missing, _MISSING, plane).astype(np.float64).ravel())
