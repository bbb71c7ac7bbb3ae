"""Pressure at sea level of the days that are shown, from raw files, where the store itself holds none."""

from __future__ import annotations

import glob
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import Store
from pipeline.core.artifact import writing
from pipeline.core.errors import InputError
from pipeline.core.logs import log

PRESSURE = "msl"
_DAY = np.datetime64("1970-01-01T00:00:00", "s")


def pressure_path(listed: Path) -> Path:
    """Return where the pressure of a list's samples is: ``row``, ``values`` (hPa), ``latitude`` and ``longitude``."""
    return listed.with_suffix(".pressure.npz")


def write_pressure(listed: Path, store: Store, rows: Sequence[int], patterns: Iterable[str], home: Path) -> None:
    """Write the pressure at the time of some samples beside their list, as far as raw files on this machine have it.

    Nothing is written where the store holds pressure or no maps, or where the raw files are not here.

    Args:
        listed: the list of samples.
        store: the store that they are in.
        rows: rows of the store.
        patterns: raw files and globs, as the config names them.
        home: where relative ones start from.
    """
    grids = [spec for spec in store.spec.inputs.values() if spec.kind == "grid"]
    path = pressure_path(listed)
    if not grids or any(PRESSURE in spec.channels for spec in grids) or _has(path, rows):
        return
    matches = (glob.glob(str(home / Path(pattern).expanduser()), recursive=True) for pattern in patterns)
    files = sorted({Path(name) for found in matches for name in found if not name.endswith(".json")})
    seconds = _seconds(store.column("time")[list(rows)]) if rows else np.empty(0, np.int64)
    maps = _read(files, seconds, store) if len(seconds) else None
    if maps is not None:
        with writing(path) as part, part.open("wb") as stream:
            np.savez(stream, row=np.asarray(rows), **maps)


def _has(path: Path, rows: Sequence[int]) -> bool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return bool(np.array_equal(arrays["row"], rows))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def _seconds(times: NDArray[np.str_]) -> NDArray[np.int64]:
    return (np.char.rstrip(times, "Z").astype("datetime64[s]") - _DAY).astype(np.int64)


def _read(files: Sequence[Path], seconds: NDArray[np.int64], store: Store) -> dict[str, Any] | None:
    """Return the maps at ``seconds``, NaN where no file has one, cut to the store's box; ``None`` without any."""
    from pipeline.raw.grid import Grid
    from pipeline.raw.pressure import pressure_at  # raw formats: only where the store lacks pressure

    values: NDArray[np.float64] | None = None
    grid: Grid | None = None
    missing = set(seconds.tolist())
    for path in files:
        try:
            maps = pressure_at([path], missing)
        except InputError as error:
            log.info("no isobars from %s", error)
            continue
        for second, one in maps.items():
            here = Grid(one.latitude, one.longitude)
            if grid is None or values is None:
                grid, values = here, np.full((len(seconds), *here.shape), np.nan)
            if grid.same(here):
                values[seconds == second] = one.values
                missing.remove(second)
    return None if values is None or grid is None else _cut(values, grid.latitude, grid.longitude, store)


def _cut(
    values: NDArray[np.float64], latitude: NDArray[np.float64], longitude: NDArray[np.float64], store: Store
) -> dict[str, Any]:
    """Cut maps to the box of the store's cells."""
    box = store.spec.latitude, store.spec.longitude
    rows, columns = (
        np.flatnonzero((axis >= min(inside)) & (axis <= max(inside)))
        for axis, inside in zip((latitude, longitude), box, strict=True)
    )
    cut = values[:, rows][:, :, columns]
    return {"values": cut, "latitude": latitude[rows], "longitude": longitude[columns]}
