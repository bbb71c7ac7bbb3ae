"""Everything that raw files and settings can have wrong: one line that names it, and nothing half-written."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.contract.derived import load_derived
from pipeline.core.errors import InputError
from pipeline.derive.config import DeriveConfig
from pipeline.derive.series import open_archive
from pipeline.raw.reader import keeping_open
from pipeline.testing import World, plant, write_world
from tests.derive.raw_files import RawLayout, days, pressure, run, settings, write_raw

LAT, LON = [55.0, 52.5, 50.0, 47.5], [115.0, 117.5, 120.0, 122.5, 125.0]
TIMES = days("2001-01-01", 6)
FIELDS = ["msl", "msl_dt24", "grad_msl", "lap_msl"]


def refused(config: DeriveConfig, folder: Path, says: str) -> str:
    """Check that deriving fails with one line that matches, without a finished data set or a stray file."""
    with pytest.raises(InputError, match=says) as caught:
        run(config, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    with pytest.raises(InputError, match=r"no such file|unfinished"):
        load_derived(folder)
    return message


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(World(start=date(1995, 1, 1), days=90, types=("1", "3B")), folder)
    return folder


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("truncated_file", r"era5_msl_1995-02\.nc: truncated or corrupt \(.+\); download it again"),
        ("nan", r"era5_msl_1995-02\.nc: 'msl' is missing or infinite in 1 cells, first at 1995-02-15T00:00:00 UTC"),
        ("inf", r"era5_msl_1995-02\.nc: 'msl' is missing or infinite in 1 cells, first at 1995-02-15T00:00:00 UTC"),
        ("missing_units", r"era5_msl_1995-02\.nc: variable 'msl' has no units; .*one of pa, .*hpa"),
        ("mislabelled_units", r"'msl' is 9\d\d\.?\d* Pa at 1995-02.*85000 … 112000 Pa.*units = 'Pa' right\?"),
        ("duplicate_times", r"era5_msl_1995-02\.nc: time 1995-02-15T00:00:00 UTC \(number 16\) occurs twice"),
    ],
)
def test_planted_faults(world: Path, tmp_path: Path, fault: str, says: str) -> None:
    raw = [tmp_path / path.name for path in sorted(world.glob("*.nc"))]
    for path in raw:
        path.write_bytes((world / path.name).read_bytes())
    plant(fault, raw[1])
    refused(settings(*raw, fields=FIELDS), tmp_path / "out", says)


def test_faults_that_are_none(world: Path, tmp_path: Path) -> None:
    """Missing days, another declared unit and turned latitudes are read."""
    raw = [tmp_path / path.name for path in sorted(world.glob("*.nc"))]
    for path, fault in zip(raw, ("missing_days", "wrong_units", "flipped_latitude"), strict=True):
        path.write_bytes((world / path.name).read_bytes())
        plant(fault, path)
    assert sum(piece.days for piece in run(settings(*raw, fields=FIELDS), tmp_path / "out").pieces) == 88


@pytest.mark.filterwarnings("ignore:Cannot close a netcdf_file")
@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_truncated_anywhere(tmp_path: Path, file_format: str, part: float) -> None:
    """Wherever the download stopped: never zeros in place of the missing end."""
    layout = RawLayout(file_format=file_format)
    lat, lon = np.linspace(55, 15, 41), np.linspace(115, 155, 41)
    path = write_raw(tmp_path / "raw.nc", days("2001-01-01", 20), lat, lon, layout=layout)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    refused(
        settings(path), tmp_path / "out", r"raw\.nc: (truncated or corrupt|is not NetCDF|is empty).*download it again"
    )
    gc.collect()  # scipy warns of its open memory map when the traceback that holds it goes; here, not in a later test


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"", r"raw\.nc: is empty; download it again"),
        (b"<!DOCTYPE html><html>", r"raw\.nc: is not NetCDF \(it begins with b'<!DO'\); download it again"),
        (b"GRIB\x00\x00", r"raw\.nc: truncated or corrupt \(.+\); download it again"),
        (b"PK\x03\x04rest", r"raw\.nc: a ZIP archive that is truncated or corrupt"),
        (b"CDF\x05" + bytes(40), r"raw\.nc: truncated or corrupt \(the header is cut off\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"raw\.nc: truncated or corrupt"),
    ],
)
def test_not_netcdf(tmp_path: Path, contents: bytes, says: str) -> None:
    path = tmp_path / "raw.nc"
    path.write_bytes(contents)
    refused(settings(path), tmp_path / "out", says)


@dataclass(frozen=True)
class File:
    """A single raw file that must be refused."""

    name: str
    says: str
    times: tuple[int, ...] = tuple(TIMES.tolist())
    lat: tuple[float, ...] = tuple(LAT)
    lon: tuple[float, ...] = tuple(LON)
    layout: RawLayout | None = None
    fields: tuple[str, ...] = ("msl",)


T = TIMES.tolist()
SINGLE = [
    File("unknown units", r"variable 'msl' has units 'furlong'; msl needs one of", layout=RawLayout(units="furlong")),
    File("times go back", r"number 3\) comes after a later one", times=(T[0], T[2], T[1], T[3])),
    File(
        "no variable",
        r"no file holds msl \(mean sea level pressure\); there is t2m in raw\.nc",
        layout=RawLayout("t2m"),
    ),
    File("latitude twice", r"latitude or longitude occurs twice", lat=(50.0, 50.0, 40.0, 30.0)),
    File("latitude unsorted", r"neither ascending nor descending", lat=(50.0, 30.0, 40.0, 20.0)),
    File("0 and 360", r"0 and 360 are one meridian", lon=(0.0, 90.0, 180.0, 270.0, 360.0)),
    File("metres", r"latitude 100 … 400, longitude 115 … 125 are not degrees", lat=(400.0, 300.0, 200.0, 100.0)),
    File("not a coordinate", r"latitude or longitude is missing or infinite", lat=(np.nan, 50.0, 40.0, 30.0)),
    File("month without real days", r"calendar '360_day'.*real \(gregorian\)", layout=RawLayout(calendar="360_day")),
    File(
        "no latitude",
        r"no latitude coordinate \(dimensions .*rows.*\); name it 'latitude' or set its units",
        layout=RawLayout(latitude="rows", lat_attributes={}),
    ),
    File("no time", r"no time coordinate.*hours since 1900", times=(T[0],)),
    File("too few points", r"grad_msl needs at least 4 latitudes.*3 latitudes", lat=(50, 45, 40), fields=("grad_msl",)),
    File("a pole", r"lap_msl has no value at a pole.*cut the area", lat=(90, 85, 80, 75), fields=("lap_msl",)),
    File("equator", r"ug does not exist within 5 degrees of the equator.*cut", lat=(20, 10, 0, -10), fields=("ug",)),
    File("near the equator", r"vog does not exist within 5 degrees", lat=(16, 12, 8, 4), fields=("msl", "vog")),
    File("south of it, too", r"vg does not exist within 5 degrees", lat=(-4.9, -8, -12, -16), fields=("vg",)),
]


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name.replace(" ", "-"))
def test_single_file(tmp_path: Path, case: File) -> None:
    layout = case.layout or RawLayout()
    values = pressure(np.array(case.times), np.nan_to_num(case.lat), case.lon)
    if case.name == "no time":
        path = write_raw(tmp_path / "raw.nc", np.array(case.times), case.lat, case.lon, values)
        with netCDF4.Dataset(path, "a") as file:
            file["valid_time"].units = "1"
    else:
        path = write_raw(tmp_path / "raw.nc", np.array(case.times), case.lat, case.lon, values, layout)
    refused(settings(path, fields=list(case.fields)), tmp_path / "out", case.says)


def test_geostrophy_at_five_degrees_is_allowed(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "raw.nc", TIMES, [20.0, 15.0, 10.0, 5.0], LON)
    run(settings(path, fields=["ug", "vg", "vog"]), tmp_path / "out")


# --- several files ---------------------------------------------------------------------------------------------------


def test_overlapping_files_are_both_named(tmp_path: Path) -> None:
    left = write_raw(tmp_path / "left.nc", TIMES[:4], LAT, LON)
    right = write_raw(tmp_path / "right.nc", TIMES[3:], LAT, LON)
    says = r"right\.nc: holds msl at 2001-01-04T00:00:00 UTC, and so does .*left\.nc \(1 times in all"
    refused(settings(left, right), tmp_path / "out", says)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [(LAT[:3], LON), ([value + 0.25 for value in LAT], LON), (LAT, [value + 0.001 for value in LON])],
)
def test_different_grids_are_both_named(tmp_path: Path, lat: list[float], lon: list[float]) -> None:
    left = write_raw(tmp_path / "left.nc", TIMES[:3], LAT, LON)
    right = write_raw(tmp_path / "right.nc", TIMES[3:], lat, lon)
    says = rf"right\.nc: its grid has {len(lat)} latitudes .* but that of .*left\.nc has 4 latitudes 55 … 47\.5"
    refused(settings(left, right), tmp_path / "out", says)


def test_variables_with_different_times(tmp_path: Path) -> None:
    left = write_raw(tmp_path / "msl.nc", TIMES, LAT, LON)
    values = pressure(TIMES[:4], LAT, LON) * 0
    right = write_raw(tmp_path / "u10.nc", TIMES[:4], LAT, LON, values, RawLayout("u10", "m s-1"))
    says = r"derive\.raw: u10 lacks 2 times that msl has, first 2001-01-05T00:00:00 UTC; download"
    refused(settings(left, right, fields=["msl", "u10"]), tmp_path / "out", says)


@pytest.mark.parametrize(
    ("months", "says"),
    [
        (["1995-01", "1995-02", "1995-05"], r"2 whole months are missing between 1995-01 and 1995-05: 1995-03 to"),
        (["1994-12", "1996-01"], r"12 whole months are missing between 1994-12 and 1996-01: 1995; download"),
        (["1994-12", "1997-02", "1997-04"], r": 1995-01 to 1997-01, 1997-03; download"),
    ],
)
def test_missing_months_are_named(tmp_path: Path, months: list[str], says: str) -> None:
    raw = [write_raw(tmp_path / f"{month}.nc", days(f"{month}-03", 5), LAT, LON) for month in months]
    refused(settings(*raw), tmp_path / "out", says)
    spec = run(settings(*raw, allow_gaps=True), tmp_path / "out")
    assert [piece.file for piece in spec.pieces] == [f"{month}.nc" for month in months]


def test_missing_days_are_listed(tmp_path: Path) -> None:
    """Not an error: downloads of single days fail, and a month with gaps is better than none."""
    times = np.delete(days("2001-01-01", 31), [4, 5, 20])
    run(settings(write_raw(tmp_path / "raw.nc", times, LAT, LON)), tmp_path / "out")
    coverage = json.loads((tmp_path / "out" / "coverage.json").read_text())
    assert coverage["missing_days"] == ["2001-01-05", "2001-01-06", "2001-01-21"]


def test_two_candidates(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON)
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("MSL", "f4", file["msl"].dimensions).units = "Pa"
    refused(settings(path), tmp_path / "out", r"raw\.nc: msl, MSL could each be msl .*keep one")


def test_a_level_that_is_not_there(tmp_path: Path) -> None:
    raw = write_world(World(days=3, groups=("t_850",)), tmp_path)
    refused(
        settings(*raw.files, fields=["gh500"]), tmp_path / "out", r"no file holds z \(geopotential\); there is t in"
    )


def test_a_broken_file_is_named_when_it_is_read_late(tmp_path: Path) -> None:
    """The header is whole but the values are not: found when the month is made; earlier months stay saved."""
    first = write_raw(tmp_path / "first.nc", days("2001-01-01", 31), LAT, LON)
    values = pressure(days("2001-02-01", 28), LAT, LON)
    values[20, 1, 2] = 3e5
    second = write_raw(tmp_path / "second.nc", days("2001-02-01", 28), LAT, LON, values)
    refused(settings(first, second), tmp_path / "out", r"second\.nc: 'msl' is 300000 Pa at 2001-02-21T00:00:00 UTC")
    assert (tmp_path / "out" / "2001-01.nc").exists()
    assert not (tmp_path / "out" / "2001-02.nc").exists()


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fields": ["msl", "grad_mls"]}, r"derive\.fields: unknown name 'grad_mls'; did you mean 'grad_msl'.*lap_msl"),
        ({"scalars": ["f3_season"]}, r"derive\.scalars: unknown name 'f3_season'.*f1_season_sin"),
        ({"raw": []}, r"derive\.raw: names no file"),
        ({"raw": ["nowhere/*.nc"]}, r"derive\.raw: no file matches 'nowhere/\*\.nc'"),
        ({"labels": {"files": ["labels_1990.csv"]}}, r"derive\.labels\.files: no file matches 'labels_1990\.csv'"),
        ({"hours": [12]}, r"derive\.hours: no time at 12 UTC; the raw files have 00:00 UTC"),
    ],
)
def test_settings_that_the_files_refute(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON)
    refused(settings(path, **changes), tmp_path / "out", says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timezone": "Asia/Tokio"}, r"unknown IANA time zone 'Asia/Tokio'; did you mean 'Asia/Tokyo'"),
        ({"timezone": ""}, r"unknown IANA time zone ''"),
        ({"timezone": "../etc/passwd"}, r"unknown IANA time zone"),
        ({"hours": [24]}, r"0 to 23"),
        ({"hours": [0, 0]}, r"each once"),
        ({"fields": []}, r"at least 1"),
        ({"fields": ["msl", "msl"]}, r"named twice: msl"),
        ({"compression": "zstd"}, r"lz4\|zlib\|none"),
        ({"parts": "3/2"}, r"i of i/n lies within 1 and n"),
        ({"workers": -1}, r"greater than or equal to 0"),
        ({"keep_bits": 24}, r"less than or equal to 23"),
    ],
)
def test_settings_that_are_never_right(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DeriveConfig(**changes)  # type: ignore[arg-type]


# --- files that stay open --------------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_open_is_read_anew(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON)
    with keeping_open():
        for count in (6, 4):
            part = write_raw(tmp_path / "part.nc", TIMES[:count], LAT, LON)
            part.replace(path)
            assert len(open_archive([path], [("msl", None)]).series["msl", None].seconds) == count


def test_more_files_than_stay_open(tmp_path: Path) -> None:
    times = days("2001-01-01", 40)
    raw = [write_raw(tmp_path / f"{number:02}.nc", times[number : number + 1], LAT, LON) for number in range(40)]
    assert sum(piece.days for piece in run(settings(*raw), tmp_path / "out").pieces) == 40
