"""Which hours in UTC a local day takes, which day is the newest, and where grid and hours come from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.errors import InputError
from pipeline.daily.config import DailyConfig, Fetch
from pipeline.daily.wanted import Wanted, covers, days_between, frame_of, hours_of, overlapping, wanted_by
from pipeline.derive.recipe import Need
from pipeline.download.config import DownloadConfig

DAY = date(2001, 5, 3)
NEEDS = (Need("msl"), Need("msl", hours_before=24), Need("t", 850.0))


def japan(*hours: int, needs: tuple[Need, ...] = NEEDS) -> Wanted:
    return Wanted(needs, hours, ZoneInfo("Asia/Tokyo"))


def utc(*hours_of_the_third: int) -> list[int]:
    start = int(datetime(2001, 5, 3, tzinfo=UTC).timestamp())
    return [start + 3600 * hour for hour in hours_of_the_third]


def test_a_local_day_takes_hours_of_two_days_in_utc() -> None:
    # Japan is nine hours ahead: 18 UTC of the 2nd is 03 local time of the 3rd.
    assert japan(0, 6, 12, 18).times(DAY) == utc(-6, 0, 6, 12)
    assert japan(18).dates(DAY, earlier=False) == [date(2001, 5, 2)]
    assert japan(18).dates(DAY, earlier=True) == [date(2001, 5, 1)]
    assert japan(0, 18).dates(DAY, earlier=False) == [date(2001, 5, 2), DAY]


def test_the_newest_day_is_whole() -> None:
    assert japan(0).newest(DAY) == DAY
    # Its last map is of 12 UTC of the same day; what is 18 UTC belongs to the next.
    assert japan(0, 6, 12, 18).newest(DAY) == DAY
    # 18 UTC of the 3rd is the whole of the 4th.
    assert japan(18).newest(DAY) == date(2001, 5, 4)
    west = Wanted(NEEDS, (0, 12), ZoneInfo("America/Los_Angeles"))
    # 00 UTC of the 4th still belongs to the 3rd there, so the 3rd is not whole yet.
    assert west.newest(DAY) == date(2001, 5, 2)


def test_hours_that_a_clock_skips_make_a_day_without_maps() -> None:
    berlin = Wanted(NEEDS, (22,), ZoneInfo("Europe/Berlin"))
    counts = [len(berlin.times(day)) for day in days_between(date(2001, 3, 23), date(2001, 3, 27))]
    assert counts == [1, 1, 0, 1, 1]


def test_the_table_asks_for_what_is_read_and_no_more() -> None:
    assert japan(0, 6).table(earlier=False) == [
        {"variables": ["msl"], "levels": [], "hours": [0, 6]},
        {"variables": ["t"], "levels": [850], "hours": [0, 6]},
    ]
    assert japan(3, needs=(Need("msl", hours_before=6),)).table(earlier=True) == [
        {"variables": ["msl"], "levels": [], "hours": [21]}
    ]
    assert len(japan(0).datasets()) == 2
    assert japan(0, needs=(Need("msl"),)).datasets() == ("reanalysis-era5-single-levels",)


def test_files_are_chosen_by_variable_and_time() -> None:
    def entry(name: str, first: str, last: str) -> dict[str, Any]:
        return {"variables": [name], "first": first, "last": last}

    entries = {
        "a": entry("msl", "2001-05-02T00:00:00", "2001-05-02T00:00:00"),
        "b": entry("msl", "2001-05-03T00:00:00", "2001-05-04T00:00:00"),
        "c": entry("t", "2001-04-01T00:00:00", "2001-05-02T00:00:00"),
        "d": entry("sst", "2001-05-03T00:00:00", "2001-05-03T00:00:00"),
    }
    names = japan(0).by_name(DAY)
    assert overlapping(entries, names) == ["a", "b"]
    assert not covers(entries, names)
    entries["c"]["last"] = "2001-05-03T00:00:00"
    assert covers(entries, names)
    assert overlapping(entries, names) == ["a", "b", "c"]


def a_run(**more: Any) -> Any:
    derive = SimpleNamespace(hours=more.get("hours", []), timezone="Asia/Tokyo", fields=["msl"])
    store = SimpleNamespace(region=more.get("region"), coarsen=more.get("coarsen", 1))
    axes = {"latitude": [55.0, 50.0, 45.0], "longitude": [115.0, 117.5, 120.0, 122.5]}
    norm = {"inputs": {"grid": {"channels": ["msl", "msl_dt24"]}}, "grid": axes}
    settings = SimpleNamespace(derive=derive, store=store)
    return SimpleNamespace(name="run", settings=settings, norm=norm, of_images=more.get("of_images", False))


FETCHED = DownloadConfig.model_validate(
    {
        "source": "cds",
        "start": "1991-01-01",
        "hours": [6],
        "area": [50, 100, 10, 150],
        "requests": [{"variables": ["msl"]}],
    }
)


def test_the_grid_is_the_one_of_the_run() -> None:
    assert frame_of(Fetch(), a_run(), DownloadConfig()) == {"area": [55, 115, 45, 122.5], "grid": [5, 2.5]}
    assert frame_of(Fetch(), a_run(), FETCHED) == {"area": [50, 100, 10, 150], "grid": [], "format": "netcdf"}
    assert frame_of(Fetch(area=[1, 2, 0, 3]), a_run(), FETCHED)["area"] == [1, 2, 0, 3]
    for change in ({"coarsen": 2}, {"region": [1, 2, 3, 4]}):
        with pytest.raises(InputError, match=r"set download.area and download.grid"):
            frame_of(Fetch(), a_run(**change), DownloadConfig())


def test_hours_are_told_by_the_run_or_by_the_user() -> None:
    config = DailyConfig(run="results/a/b")
    assert hours_of(config, a_run(hours=[12]), FETCHED) == [12]
    assert hours_of(config, a_run(), FETCHED) == [6]
    assert hours_of(DailyConfig(run="a", hours=[3]), a_run(hours=[12]), FETCHED) == [3]
    with pytest.raises(InputError, match=r"daily.hours: run does not tell"):
        hours_of(config, a_run(), DownloadConfig())


def test_what_a_run_reads() -> None:
    found = wanted_by(a_run(), [0])
    assert set(found.needs) == {Need("msl"), Need("msl", hours_before=24)}
    with pytest.raises(InputError, match="trained on images"):
        wanted_by(a_run(of_images=True), [0])
