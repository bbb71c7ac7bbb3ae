"""Whether a downloaded piece is what was asked for: opened, compared with the request, and read to the last value."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.artifact import sha256
from pipeline.core.errors import InputError, shorten
from pipeline.download.grib import check_messages, is_preliminary_grib
from pipeline.download.survey import Survey, Target, find, is_preliminary, look, look_grib
from pipeline.raw.grid import NOISE, Grid, canonical
from pipeline.raw.layout import EXPERIMENT
from pipeline.raw.reader import opened
from pipeline.raw.variables import RAW, lookup

Seconds = NDArray[np.int64]

NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")
GRIB = b"GRIB"
ZIP = b"PK"
_LEVEL_NOISE = 1e-3  # hPa
_FULL_CIRCLE = 360.0
_COORDINATES = (
    ("valid_time", "time"),
    ("pressure_level", "level", "isobaricInhPa"),
    ("latitude", "lat"),
    ("longitude", "lon"),
)


class Rejected(Exception):
    """A file is no good, and one line why: fetch it again."""


@dataclass(frozen=True)
class Expected:
    """What a piece must hold."""

    keys: tuple[tuple[str, float | None], ...]
    """Variable (key of :data:`RAW` or the data centre's own name) and pressure level in hPa, ``None``: no level."""
    seconds: Seconds
    """Times in seconds since 1970-01-01 UTC, ascending."""
    area: tuple[float, float, float, float]
    """North, west, south, east in degrees."""
    grid: tuple[float, float]
    """Spacing of latitude and longitude in degrees."""


@dataclass(frozen=True)
class Checked:
    """What a good file is like."""

    bytes: int
    sha256: str
    preliminary: bool
    """Whether any time is ERA5T's."""
    first: str
    last: str
    """First and last time, ISO, UTC."""
    variables: tuple[str, ...]
    missing_share: dict[str, float]
    """Variable → share of cells without a value, 0 … 1."""


def check_file(path: Path, expected: Expected) -> Checked:
    """Check a piece against what was asked for; each of its values is read once.

    Good is a file with the first bytes of NetCDF or GRIB that opens; holds every expected variable at every expected
    level; on exactly the expected grid; every expected time once and no other; in units that are understood; all
    values finite, plausible, and none missing but where that has a meaning (sea surface temperature over land).

    Raises:
        Rejected: it is none of these; the message names the file and says why.
        InputError: the file is GRIB and the packages that read it are not installed.
    """
    grib = _check_first_bytes(path) == GRIB
    try:
        surveys = (_survey_grib if grib else _survey)(path, expected)
    except InputError as error:
        raise Rejected(str(error)) from error
    preliminary = any(survey.preliminary for survey in surveys.values())
    first, last = (str(np.datetime64(int(expected.seconds[place]), "s")) for place in (0, -1))
    shares = {label: survey.missing_share for label, survey in surveys.items()}
    return Checked(path.stat().st_size, sha256(path), preliminary, first, last, tuple(shares), shares)


def _survey(path: Path, expected: Expected) -> dict[str, Survey]:
    known, others = _find(path, expected.keys)
    with opened(path) as data:
        found = {**known, **_find_others(data, path, others, {target.name for target in known.values()})}
        _compare_all(found, path, expected)
        late = is_preliminary(data)
        surveys = {name: look(data, target, path) for name, target in found.items()}
    return {name: replace(survey, preliminary=late or survey.preliminary) for name, survey in surveys.items()}


def _survey_grib(path: Path, expected: Expected) -> dict[str, Survey]:
    check_messages(path)
    known, others = _find(path, expected.keys)
    _compare_all(known, path, expected)
    late = is_preliminary_grib(path)
    surveys = {name: look_grib(target, path) for name, target in known.items()}
    if others:
        with opened(path) as data:
            taken = {lower for target in known.values() if target.key for lower in RAW[target.key].names}
            found = _find_others(data, path, others, taken)
            _compare_all(found, path, expected)
            surveys |= {name: look(data, target, path) for name, target in found.items()}
    return {name: replace(survey, preliminary=late) for name, survey in surveys.items()}


def check_installed(path: Path, magic: bytes) -> None:
    """Check that GRIB can be read if the file is GRIB.

    Raises:
        InputError: it cannot.
    """
    if magic.startswith(GRIB) and importlib.util.find_spec("eccodes") is None:
        raise InputError(f"{path}: is GRIB, which needs the package eccodes; uv sync --extra grib (or NetCDF)")


def expected_grids(area: Sequence[float], spacing: Sequence[float]) -> tuple[Grid, ...]:
    """Return the grids that an answer may have: from the north-west corner on, as the Climate Data Store cuts areas.

    Where the corner is no multiple of the spacing, the store shifts its grid there, while other sources have the
    multiples inside the area; both are right.
    """
    grids: list[Grid] = []
    for shift in (False, True):
        north, west, south, east = area
        if shift:
            north, west = _down(north, spacing[0]), -_down(-west, spacing[1])
        latitude = north - spacing[0] * np.arange(_count(north - south, spacing[0]))
        width = min(east - west, _FULL_CIRCLE - spacing[1])
        longitude = west + spacing[1] * np.arange(_count(width, spacing[1]))
        if len(latitude) and len(longitude):
            grids.append(canonical(latitude, longitude, "the area of the request")[0])
    return tuple(grids)


def _down(value: float, step: float) -> float:
    """Return the greatest multiple of ``step`` that is not above ``value``."""
    return float(np.floor(value / step + NOISE) * step)


def _count(length: float, step: float) -> int:
    return int(np.floor(length / step + NOISE)) + 1


# --- first bytes -----------------------------------------------------------------------------------------------


def _check_first_bytes(path: Path) -> bytes:
    """Return the first four bytes of NetCDF or GRIB."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise Rejected(f"{path}: cannot be read: {error.strerror}") from error
    if head.startswith((*NETCDF, GRIB)):
        check_installed(path, head)
        return head[:4]
    raise Rejected(f"{path}: {_other(head)}")


def _other(head: bytes) -> str:
    """Say what a file is that is no data."""
    text = " ".join(head.decode("utf-8", "replace").split())
    if not head:
        return "is empty (0 bytes)"
    if head.startswith(ZIP):
        return "is a ZIP archive that was not unpacked"
    if text.startswith("<"):
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE)
        return f"is a web page instead of data: {title[1] if title else text[:80]}"
    if text.startswith(("{", "[")):
        return f"is a JSON message instead of data: {text[:160]}"
    return f"begins with {head[:8]!r}, which is neither NetCDF nor GRIB"


# --- variables -------------------------------------------------------------------------------------------------


def _find(path: Path, keys: Iterable[tuple[str, float | None]]) -> tuple[dict[str, Target], dict[str, bool]]:
    """Return the expected variables that Isobar knows, and the names of the others with whether they have levels."""
    wanted = {name: level is not None for name, level in keys}
    known = {name: key for name in wanted if (key := lookup(name)) and RAW[key].on_levels == wanted[name]}
    targets, names = find(path, tuple(known.values()))
    lacking = [name for name, key in known.items() if key not in targets]
    if lacking:
        raise InputError(f"{path}: lacks {shorten(lacking)}; holds {shorten(names, 10)}")
    found = {name: targets[key] for name, key in known.items()}
    return found, {name: on_levels for name, on_levels in wanted.items() if name not in known}


def _find_others(data: xr.Dataset, path: Path, wanted: Iterable[str], taken: Collection[str]) -> dict[str, Target]:
    """Find the expected variables that Isobar does not know among those that are not ``taken``."""
    rest = [str(name) for name, item in data.data_vars.items() if str(name) not in taken and item.ndim > 1]
    return {name: _unknown(data, path, item) for name, item in _pair(list(wanted), rest, data, path).items()}


def _pair(names: Sequence[str], candidates: Sequence[str], data: xr.Dataset, path: Path) -> dict[str, str]:
    """Return the variable in the file of each name that Isobar does not know: by its titles, else by elimination."""
    found: dict[str, str] = {}
    for name in names:
        fits = [item for item in candidates if _plain(name) in _titles(data, item) and item not in found.values()]
        if len(fits) == 1:
            found[name] = fits[0]
    left = [name for name in names if name not in found]
    others = [item for item in candidates if item not in found.values()]
    if left and len(left) != len(others):
        raise InputError(f"{path}: lacks {shorten(left)}; holds {shorten(map(str, data.data_vars), 10)}")
    return {**found, **dict(zip(left, others, strict=True))} if left else found


def _titles(data: xr.Dataset, name: str) -> set[str]:
    attributes = data[name].attrs
    texts = (attributes.get(key) for key in ("long_name", "GRIB_name", "standard_name", "GRIB_shortName", "short_name"))
    return {_plain(name), *(_plain(str(text)) for text in texts if text)}


def _plain(title: str) -> str:
    """Return a title as the Climate Data Store writes names: ``2 metre temperature`` → ``2m_temperature``."""
    text = re.sub(r"(\d+)[ _]?met(?:re|er)s?\b", r"\1m", title.lower())
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _unknown(data: xr.Dataset, path: Path, name: str) -> Target:
    """Describe a variable that is not in :data:`RAW` by the coordinates that the Climate Data Store's files have."""
    dims = [str(dim) for dim in data[name].dims]
    time, level, north, east = (
        next((dim for dim in dims if dim in names and dim in data.coords), "") for names in _COORDINATES
    )
    if not (time and north and east):
        raise InputError(
            f"{path}: variable {name!r} has dimensions {shorten(dims)}; time, latitude, longitude expected"
        )
    try:
        times = xr.decode_cf(xr.Dataset(coords={time: data[time]}))[time].values.astype("datetime64[s]")
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"{path}: times cannot be decoded ({str(error).splitlines()[0]})") from error
    levels = tuple(float(value) for value in data[level].values) if level else ()
    grid = canonical(data[north].values, data[east].values, path)[0]
    versions = range(data.sizes[EXPERIMENT]) if EXPERIMENT in dims else ()
    return Target(name, None, time, times.astype(np.int64), grid, levels, tuple(versions))


# --- comparison with the request -------------------------------------------------------------------------------


def _compare_all(found: Mapping[str, Target], path: Path, expected: Expected) -> None:
    for name, target in found.items():
        _compare(target, [level for key, level in expected.keys if key == name], path, expected)


def _compare(target: Target, levels: Sequence[float | None], path: Path, expected: Expected) -> None:
    _compare_levels(target, levels, path)
    grids = expected_grids(expected.area, expected.grid)
    if not any(target.grid.same(grid) for grid in grids):
        wanted = grids[0].describe() if grids else "no point at all"
        raise InputError(f"{path}: is on {target.grid.describe()}; asked for were {wanted}")
    times, count = np.unique(target.seconds, return_counts=True)
    if (count > 1).any():
        raise InputError(f"{path}: holds {np.count_nonzero(count > 1)} times twice: {_times(times[count > 1])}")
    lacking, extra = np.setdiff1d(expected.seconds, times), np.setdiff1d(times, expected.seconds)
    if len(lacking):
        raise InputError(f"{path}: lacks {len(lacking)} of {len(expected.seconds)} times: {_times(lacking)}")
    if len(extra):
        raise InputError(f"{path}: holds {len(extra)} times that were not asked for: {_times(extra)}")


def _compare_levels(target: Target, wanted: Iterable[float | None], path: Path) -> None:
    levels = np.array(target.levels)
    for level in wanted:
        hits = 1 if level is None else np.count_nonzero(np.abs(levels - level) < _LEVEL_NOISE)
        if hits != 1:
            what = "occurs twice" if hits else "is not there"
            names = shorten((f"{found:g}" for found in levels), 10) or "no levels"
            raise InputError(f"{path}: level {level:g} hPa of {target.name!r} {what}; holds {names}")


def _times(seconds: Seconds) -> str:
    return shorten((str(np.datetime64(int(value), "s")) for value in seconds), 3)
