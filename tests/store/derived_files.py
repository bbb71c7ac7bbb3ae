"""Small derived folders with known values, written as pipeline/contract/derived.py says."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5netcdf
import h5py
import hdf5plugin
import numpy as np

from pipeline.contract.derived import DerivedSpec, Piece

LATITUDE = np.linspace(55, 15, 9)
LONGITUDE = np.linspace(115, 155, 11)


def days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)


def weather(dates: np.ndarray, latitude: np.ndarray = LATITUDE, longitude: np.ndarray = LONGITUDE) -> dict:
    """Pressure near 101 kPa, a Laplacian with a spread of 5e-9, and a sea temperature that is missing over land."""
    shape = (len(dates), len(latitude), len(longitude))
    generator = np.random.default_rng(int(dates[0].astype(int)))
    land = (np.arange(shape[1])[:, None] < 3) & (np.arange(shape[2])[None] < 4)
    return {
        "msl": 101_300 + 900 * generator.standard_normal(shape),
        "lap_msl": 5e-9 * generator.standard_normal(shape),
        "sst": np.where(land, np.nan, 290 + 5 * generator.standard_normal(shape)),
    }


def write_derived(
    folder: Path,
    dates: np.ndarray,
    labels: Sequence[str],
    fields: Callable[..., Mapping[str, np.ndarray]] = weather,
    latitude: np.ndarray = LATITUDE,
    longitude: np.ndarray = LONGITUDE,
    units: Mapping[str, str] | None = None,
    may_miss: tuple[str, ...] = ("sst",),
    compress: bool = True,
) -> DerivedSpec:
    """Write monthly files of ``fields(dates of the month, latitude, longitude)``; return their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    units = units or {"msl": "Pa", "lap_msl": "Pa m-2", "sst": "K"}
    months = dates.astype("datetime64[M]")
    pieces, names = [], []
    for month in np.unique(months):
        here = months == month
        values = fields(dates[here], latitude, longitude)
        names = list(values)
        path = folder / f"{month}.nc"
        _write_month(path, dates[here], np.asarray(labels, object)[here], values, latitude, longitude, units, compress)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        first, last = (str(dates[here][end].astype("datetime64[D]")) for end in (0, -1))
        pieces.append(Piece(path.name, path.stat().st_size, sha, int(here.sum()), first, last, "made up"))
    spec = DerivedSpec(
        dataset="made_up",
        timezone="Asia/Tokyo",
        fields={name: units.get(name, "1") for name in names},
        scalars={"f1_season": "1", "f1_season_sin": "1"},
        may_miss=may_miss,
        latitude=tuple(latitude.tolist()),
        longitude=tuple(longitude.tolist()),
        pieces=tuple(pieces),
        complete=True,
    )
    spec.save(folder)
    return spec


def _write_month(path, dates, labels, values, latitude, longitude, units, compress) -> None:
    angle = 2 * np.pi * (dates.astype("datetime64[D]").astype(int) % 365) / 365
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"time": len(dates), "latitude": len(latitude), "longitude": len(longitude)}
        time = file.create_variable("time", ("time",), data=dates.astype("datetime64[s]").astype(np.int64))
        time.attrs["units"] = "seconds since 1970-01-01"
        file.create_variable("latitude", ("latitude",), data=latitude)
        file.create_variable("longitude", ("longitude",), data=longitude)
        file.create_variable("f1_season", ("time",), data=np.cos(angle).astype(np.float32))
        file.create_variable("f1_season_sin", ("time",), data=np.sin(angle).astype(np.float32))
        local_days = dates.astype("datetime64[D]").astype(str)
        for name, texts in (("date", local_days), ("label", labels)):
            item = file.create_variable(name, ("time",), h5py.string_dtype())
            item[...] = texts.astype(object)
        packing = {"shuffle": True, **hdf5plugin.LZ4()} if compress else {}
        for name, field in values.items():
            chunk = (1, len(latitude), len(longitude))
            item = file.create_variable(name, ("time", "latitude", "longitude"), "f4", chunks=chunk, **packing)
            item[...] = field.astype(np.float32)
            item.attrs["units"] = units.get(name, "1")
