"""Local days, hours, and the change in 24 hours that is a change in 24 hours."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.derive.days import common_times, keep_hours, local_months, missing_days
from tests.derive.raw_files import DAY, days, load, pressure, run, settings, write_raw

LAT, LON = (50.0, 45.0, 40.0, 35.0), (120.0, 125.0, 130.0, 135.0, 140.0)


def hourly(first: str, count: int, step: int = 1) -> np.ndarray:
    return days(first, 1)[0] + np.arange(count) * step * 3600


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2001-01-31T23:00", "2001-01-31"),
        ("Asia/Tokyo", "2001-01-31T00:00", "2001-01-31"),
        ("Asia/Tokyo", "2001-01-31T14:59", "2001-01-31"),
        ("Asia/Tokyo", "2001-01-31T15:00", "2001-02-01"),
        ("America/New_York", "2001-02-01T04:59", "2001-01-31"),
        ("America/New_York", "2001-07-01T04:00", "2001-07-01"),
        ("Asia/Kathmandu", "2001-01-31T18:15", "2001-02-01"),
        ("Europe/London", "1969-12-31T23:30", "1970-01-01"),
    ],
)
def test_the_local_day_of_a_time(zone: str, moment: str, day: str) -> None:
    (month,) = local_months(np.array([moment], "datetime64[s]").astype(np.int64), zone, [])
    assert month.dates == (day,)
    assert month.name == day[:7]


def test_months_are_those_of_the_local_calendar() -> None:
    """At 18 UTC it is the next day in Tokyo, so the last day of January UTC is in February."""
    months = local_months(days("2001-01-30", 4, hour=18), "Asia/Tokyo", [])
    assert [(month.name, month.dates) for month in months] == [
        ("2001-01", ("2001-01-31",)),
        ("2001-02", ("2001-02-01", "2001-02-02", "2001-02-03")),
    ]


def test_two_times_a_day_need_an_hour() -> None:
    with pytest.raises(InputError, match=r"derive\.hours: 4 times on the local day 2001-01-01.*derive\.hours=\[0\]"):
        local_months(hourly("2001-01-01", 12, 6), "UTC", [])


def test_the_hour_around_which_summer_time_ends() -> None:
    """22 UTC is midnight in Berlin in summer and 23 h in winter: 27 October 2002 has both, 31 March none."""
    times = days("2002-10-20", 14, hour=22)
    with pytest.raises(
        InputError, match=r"derive\.hours: 2 times on the local day 2002-10-27.*summer time.*another hour"
    ):
        local_months(times, "Europe/Berlin", [22])
    assert len(local_months(times, "Asia/Tokyo", [22])[0].dates) == 11


def test_hours_keep_full_hours_only() -> None:
    seconds = np.sort(np.concatenate([hourly("2001-01-01", 8, 6), hourly("2001-01-01", 2, 24) + 1800]))
    kept = keep_hours(seconds, [0, 12])
    assert kept.tolist() == hourly("2001-01-01", 4, 12).tolist()


def test_an_hour_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"derive\.hours: no time at 3 UTC; the raw files have 00:00, 12:00 UTC"):
        keep_hours(hourly("2001-01-01", 4, 12), [3])


def test_missing_days() -> None:
    assert missing_days(["2000-02-27", "2000-03-01"]) == ["2000-02-28", "2000-02-29"]
    assert missing_days(["2001-12-31", "2002-01-01"]) == []


# --- change in 24 hours ----------------------------------------------------------------------------------------------


def change(raw: list[Path], folder: Path, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the times in seconds and ``msl_dt24``, all months in a row."""
    config = settings(*raw, fields=["msl_dt24"], **changes)
    data = load(folder, run(config, folder))
    return data["time"].values.astype("datetime64[s]").astype(np.int64), data["msl_dt24"].values


def expected(present: np.ndarray, kept: np.ndarray) -> np.ndarray:
    values = pressure(kept, LAT, LON) - pressure(kept - DAY, LAT, LON)
    return np.where(np.isin(kept - DAY, present)[:, None, None], values, np.float32(np.nan))


@pytest.mark.parametrize("gone", [[3], [3, 4], [31], [30, 31, 32], [0], list(range(20, 50)), [5, 7]])
def test_after_a_gap_the_change_is_missing(tmp_path: Path, gone: list[int]) -> None:
    """Never a difference over 48 hours or more, whether the gap is inside a month or at its border."""
    every = days("2001-01-01", 75)
    present = np.delete(every, gone)
    found, values = change([write_raw(tmp_path / "raw.nc", present, LAT, LON)], tmp_path / "out")
    assert found.tolist() == present.tolist()
    np.testing.assert_array_equal(values, expected(present, present))
    assert np.isnan(values[0]).all()


def test_across_files_and_months_as_in_one_series(tmp_path: Path) -> None:
    """Files cut at odd places, months derived one by one: the same as from a single file."""
    every = days("2001-01-20", 60)
    parts = [
        write_raw(tmp_path / f"raw_{number}.nc", part, LAT, LON)
        for number, part in enumerate(np.split(every, [5, 12, 13, 41]))
    ]
    _, values = change(parts, tmp_path / "parts")
    _, whole = change([write_raw(tmp_path / "whole.nc", every, LAT, LON)], tmp_path / "out")
    np.testing.assert_array_equal(values, whole)
    np.testing.assert_array_equal(values, expected(every, every))
    assert np.isnan(values).all(axis=(1, 2)).tolist() == [True] + [False] * 59


def test_several_hours_a_day_each_against_its_own_hour(tmp_path: Path) -> None:
    every = hourly("2001-01-30", 20, 6)
    found, values = change([write_raw(tmp_path / "raw.nc", every, LAT, LON)], tmp_path / "out", hours=[6, 18])
    assert found.tolist() == every[1::2].tolist()
    np.testing.assert_array_equal(values, expected(every, found))
    assert np.isnan(values).all(axis=(1, 2)).sum() == 2


def test_an_hour_that_is_left_out_still_serves_as_the_day_before(tmp_path: Path) -> None:
    """In summer time the same UTC hour; the value 24 hours before is looked up among all times of the files."""
    every = hourly("2001-03-24", 10 * 24)
    found, values = change(
        [write_raw(tmp_path / "raw.nc", every, LAT, LON)], tmp_path / "out", hours=[12], timezone="Europe/Berlin"
    )
    assert len(found) == 10
    np.testing.assert_array_equal(values, expected(every, found))


def test_no_change_at_all_is_an_error(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw.nc", days("2001-01-01", 10)[::2], LAT, LON)
    with pytest.raises(InputError, match=r"msl_dt24 would be missing at all 5 times.*24 hours before"):
        change([raw], tmp_path / "out")


def test_missing_days_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    present = np.delete(days("2001-01-01", 40), [3, 33])
    raw = write_raw(tmp_path / "raw.nc", present, LAT, LON)
    with caplog.at_level(logging.INFO, "isobar"):
        run(settings(raw, fields=["msl", "msl_dt24"]), tmp_path / "out")
    assert "2 days between 2001-01-01 and 2001-02-09 are missing: 2001-01-04, 2001-02-03" in caplog.text
    assert "msl_dt24 is missing at 3 times" in caplog.text
    coverage = (tmp_path / "out" / "coverage.json").read_text()
    assert '"2001-02-03"' in coverage


def test_variables_at_different_hours_need_the_hours_that_all_have() -> None:
    daily, every_hour = days("2001-01-01", 3), hourly("2001-01-01", 72)
    with pytest.raises(InputError, match=r"msl lacks 69 times that tp has.* derive\.hours=\[0\]$"):
        common_times({"msl": daily, "tp": every_hour})
    with pytest.raises(InputError, match=r"leave the other files of these times out$"):
        common_times({"msl": daily[:2], "tp": daily})
