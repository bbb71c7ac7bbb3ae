"""Files that somebody else puts there; and files that are not what the run reads."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InputError
from pipeline.daily.stage import DaysFailed
from pipeline.testing import World, write_world
from tests.daily.conftest import WORLD, Place

LOCAL = {"source": "local", "files": ["incoming/*.nc"]}


def deliver(place: Place, world: World) -> Path:
    folder = place.home / "incoming"
    write_world(world, folder)
    return folder


def day_world(number: int, **more: Any) -> World:
    return replace(WORLD, start=date(1999, 3, number), days=1, **more)


def one_day(place: Place, number: int, **more: Any) -> None:
    """Put the files of one day there, under names of their own."""
    folder = place.home / f"of{number}"
    for path in write_world(day_world(number, **more), folder).files:
        (place.home / "incoming").mkdir(exist_ok=True)
        path.rename(place.home / "incoming" / f"{path.stem}-{number}.nc")
    shutil.rmtree(folder)


def test_a_folder_that_grows(place: Place) -> None:
    with pytest.raises(InputError, match=r"download.files: no file matches"):
        place.work(download=LOCAL)
    one_day(place, 5)
    with pytest.raises(InputError, match="no day is there as a whole; this run reads msl, t"):
        place.work(download=LOCAL)
    one_day(place, 6)
    assert [record["date"] for record in place.work(download=LOCAL).made] == ["1999-03-06"]
    assert (place.day(6)["source"], place.day(6)["data"]) == ("local", "local files")
    assert not place.work(download=LOCAL).made
    one_day(place, 7)
    one_day(place, 8)
    assert [record["date"] for record in place.work(download=LOCAL).made] == ["1999-03-07", "1999-03-08"]
    assert not place.centre.requests


@pytest.mark.slow
def test_a_broken_file_stops_only_its_own_day(place: Place) -> None:
    for number in (5, 6, 7, 8, 9):
        one_day(place, number)
    bad = place.home / "incoming" / "era5_t_850_1999-03-7.nc"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    report = place.work(download=LOCAL, daily={"start": "1999-03-06"})
    assert place.status(6, 7, 8, 9) == ["done", "failed", "done", "done"]
    with pytest.raises(DaysFailed, match=r"1999-03-07.*not all can be read.*era5_t_850_1999-03-7.nc") as told:
        report.told()
    assert told.value.exit_code == 1
    bad.write_bytes(whole)
    assert [record["date"] for record in place.work(download=LOCAL).made] == ["1999-03-07"]


@pytest.mark.slow
def test_a_month_of_which_one_variable_lags_behind(place: Place) -> None:
    """Files of several days: what another variable lacks at the end is no matter to the days before."""
    folder = deliver(place, replace(WORLD, start=date(1999, 3, 1), days=8))
    for path in write_world(replace(WORLD, start=date(1999, 3, 1), days=6), place.home / "short").files:
        if "t_850" in path.name:
            path.replace(folder / path.name)
    assert [record["date"] for record in place.work(download=LOCAL).made] == ["1999-03-06"]


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ({"lat_points": 17, "lon_points": 17}, "latitudes 17 from 55 to 15 every 2.5 .* was trained on latitudes 9"),
        ({"groups": ("msl", "z_500_1000", "t_850")}, ""),
    ],
)
def test_another_grid_is_refused_and_more_variables_are_not(place: Place, world: dict[str, Any], message: str) -> None:
    deliver(place, replace(WORLD, start=date(1999, 3, 5), days=2, **world))
    report = place.work(download=LOCAL)
    if not message:
        assert [record["date"] for record in report.made] == ["1999-03-06"]
        return
    with pytest.raises(DaysFailed, match=message) as told:
        report.told()
    assert told.value.exit_code == 2


def test_a_variable_that_is_not_there_is_named(place: Place) -> None:
    deliver(place, replace(WORLD, start=date(1999, 3, 5), days=2, groups=("msl",)))
    with pytest.raises(InputError, match="no day is there as a whole; this run reads msl, t"):
        place.work(download=LOCAL)


@pytest.mark.slow
def test_a_level_that_is_not_there_is_named(place: Place) -> None:
    folder = deliver(place, replace(WORLD, start=date(1999, 3, 5), days=2))
    path = folder / "era5_t_850_1999-03.nc"
    import netCDF4

    with netCDF4.Dataset(path, "r+") as data:
        data["pressure_level"][:] = 500.0
    with pytest.raises(DaysFailed, match="t is not there at 850 hPa, only at 500") as told:
        place.work(download=LOCAL).told()
    assert told.value.exit_code == 2
