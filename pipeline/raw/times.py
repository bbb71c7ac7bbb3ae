"""Times of CF variables as whole seconds since 1970-01-01 UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PLAIN = re.compile(
    r"(days?|hours?|hrs?|h|minutes?|mins?|seconds?|secs?|s) since "
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.0*)?)?)?\s*(?:Z|UTC|\+?00:?00)?",
    re.IGNORECASE,
)
_GREGORIAN = {"", "standard", "gregorian", "proleptic_gregorian"}
_REFORM = np.datetime64("1582-10-15")


def decode_times(values: NDArray[Any], attrs: Mapping[str, Any]) -> Seconds:
    """Return the times of a CF time variable, rounded to seconds.

    Raises:
        ValueError: they cannot be decoded, are missing, or are not of the real calendar.
    """
    found = _PLAIN.fullmatch(str(attrs.get("units", "")).strip())
    calendar = str(attrs.get("calendar", "")).lower()
    if found and calendar in _GREGORIAN and values.dtype.kind in "fiu":
        start = _start(found)
        numbers = values.astype(np.float64)
        if (start >= _REFORM or calendar == "proleptic_gregorian") and np.isfinite(numbers).all():
            size = _UNITS[found[1][0].lower()]
            return np.asarray(np.floor(numbers * size + 0.5).astype(np.int64) + start.astype(np.int64))
    return _decode_rare(values, attrs)


def _start(found: re.Match[str]) -> np.datetime64:
    year, month, day, hour, minute, second = (int(text or 0) for text in found.groups()[1:])
    return np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s")


def _decode_rare(values: NDArray[Any], attrs: Mapping[str, Any]) -> Seconds:
    """Decode what the short way does not know: other zones, starts before the reform of the calendar."""
    import xarray as xr

    try:
        decoded = xr.decode_cf(xr.Dataset({"decoded": ("n", values, dict(attrs))}))["decoded"].values
    except (OverflowError, TypeError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    if decoded.dtype.kind != "M" or np.isnat(decoded).any():
        raise ValueError(f"calendar {attrs.get('calendar')!r} or missing times; dates of the real (gregorian) calendar")
    return np.asarray((decoded.astype("datetime64[ms]").astype(np.int64) + 500) // 1000)
