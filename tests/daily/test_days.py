"""Day after day: the first, the next, nothing to do, an outage, a bad day, final data; with the real client."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import EnvironmentFault, InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.daily.stage import DaysFailed
from pipeline.synthetic.cds_faults import Fault
from pipeline.synthetic.plan import Weather
from tests.daily.conftest import LAST, Place
from tests.predict.finished_runs import opened, say


def fails(*days: int, levels: bool) -> Fault:
    """Return a fault that strikes one request: of these days, for fields on levels or those without."""
    told = ", ".join(f'"{day}"' for day in days)
    last = "pressure_level" if levels else "product_type"
    words = f'"day": [{told}], "download_format": "unarchived", "grid": [5.0, 5.0], "month": ["03"], "{last}"'
    return Fault("failed", match=words)


def test_the_first_day_the_next_one_and_nothing_to_do(place: Place) -> None:
    report = place.work()
    assert [record["date"] for record in report.made] == ["1999-03-10"]
    assert "wrote" in report.told()
    assert place.drawn.days == ["1999-03-10"]
    # msl of the day before for its change, msl and t of the day itself: no more is fetched.
    asked = sorted((s.inputs["variable"][0], s.inputs["day"]) for s in place.centre.submissions)
    assert asked == [
        ("mean_sea_level_pressure", ["09"]),
        ("mean_sea_level_pressure", ["10"]),
        ("temperature", ["10"]),
    ]
    before = {path.name: path.read_bytes() for path in place.diary.folder.glob("*-*.*")}
    again = place.work()
    assert not again.made
    assert again.told().startswith("nothing to do: ")
    assert "1999-03-10" in again.told()
    assert {path.name: path.read_bytes() for path in place.diary.folder.glob("*-*.*")} == before
    assert len(place.centre.submissions) == 3
    place.centre.change(latest=date(1999, 3, 11))
    assert [record["date"] for record in place.work().made] == ["1999-03-11"]
    assert len(place.centre.submissions) == 5
    assert not (place.home / "data" / "derived" / ".weather-daily").exists()


def test_the_record_says_what_the_run_says(place: Place, tmp_path: Path) -> None:
    place.work()
    record = place.day(10)
    output = tmp_path / "table.json"
    raw = sorted((place.home / "data/raw/weather-daily").glob("*.nc"))
    say(opened(place.run), raw, output, days=["1999-03-10"])
    (sample,) = json.loads(output.read_text())["samples"]
    with pytest.raises(InputError, match=r"new files: no time on 1999-04-01 \(Asia/Tokyo\)"):
        say(opened(place.run), raw, output, days=["1999-04-01"])
    assert record["probability"] == sample["probability"]
    assert record["raw"] == sample["raw"]
    assert record["labels"] == sample["labels"]
    assert record["filled"] == 0
    assert record["times"] == ["1999-03-10T00:00:00Z"]
    assert (record["data"], record["source"]) == ("ERA5", "cds")
    assert set(record["files"]) == {path.name for path in raw}
    assert set(record["run"]["files"]) == {"model.pt", "norm.json", "calibration.json", "thresholds.json"}


def test_an_outage_of_four_days_is_caught_up_within_bounds(place: Place) -> None:
    place.work()
    place.centre.change(latest=LAST + timedelta(4))
    sent = len(place.centre.submissions)
    report = place.work()
    assert [record["date"] for record in report.made] == [f"1999-03-{number}" for number in (11, 12, 13, 14)]
    # Four days of two data sets in one request each.
    assert len(place.centre.submissions) - sent == 2
    place.centre.change(latest=LAST + timedelta(10))
    report = place.work(daily={"catch_up_days": 2})
    assert [record["date"] for record in report.made] == ["1999-03-19", "1999-03-20"]
    rows = list(csv.DictReader((place.diary.folder / "daily.csv").open()))
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    assert [row["date"][-2:] for row in rows] == ["10", "11", "12", "13", "14", "19", "20"]
    assert float(rows[0]["p_1"]) == pytest.approx(place.day(10)["probability"]["1"], rel=1e-5)  # six digits
    assert place.drawn.tables[-1][-1] == "1999-03-20"


def test_a_bad_day_does_not_stop_the_next_and_is_tried_again(place: Place) -> None:
    place.work()
    place.centre.change(latest=LAST + timedelta(4))
    place.centre.faults.add(fails(11, 12, 13, 14, levels=True), fails(12, levels=True))
    report = place.work()
    assert place.status(11, 12, 13, 14) == ["done", "failed", "done", "done"]
    with pytest.raises(DaysFailed, match=r"1 day could not be classified \(1999-03-12\): .*MARS.*3 days done") as told:
        report.told()
    assert told.value.exit_code == 1
    trouble = place.day(12)["trouble"]
    assert (trouble["tries"], trouble["exit_code"]) == (1, 1)
    assert "pl_t_850_1999-03-12.nc" in trouble["reason"]
    # The change of the 13th needs the pressure of the 12th, which is there.
    assert place.day(13)["filled"] == 0
    assert place.work().failures
    assert place.day(12)["trouble"]["tries"] == 2
    assert place.day(12)["trouble"]["first_tried"] == trouble["first_tried"]
    line = next(row for row in csv.DictReader((place.diary.folder / "daily.csv").open()) if row["date"] == "1999-03-12")
    assert (line["status"], line["labels"], line["p_1"]) == ("failed", "", "")
    place.centre.faults.clear()
    assert [record["date"] for record in place.work().made] == ["1999-03-12"]
    assert "trouble" not in place.day(12)


@pytest.mark.slow
def test_a_day_without_pressure_takes_the_next_along_but_no_more(place: Place) -> None:
    """The change of pressure is a channel; without the day before there is nothing true to put there."""
    place.work()
    place.centre.change(latest=LAST + timedelta(3))
    for days in ((11, 12, 13), (11, 12), (11,)):
        place.centre.faults.add(fails(*days, levels=False))
    with pytest.raises(DaysFailed, match="2 days could not be classified"):
        place.work().told()
    assert place.status(11, 12, 13) == ["failed", "failed", "done"]
    place.centre.faults.clear()
    assert [record["date"] for record in place.work().made] == ["1999-03-11", "1999-03-12"]


def test_final_data_in_place_of_preliminary(place: Place) -> None:
    place.centre.change(final_until=date(1999, 3, 1))
    place.work()
    first = place.day(10)
    assert first["data"] == "ERA5T"
    # Made today: not asked again before a week is over.
    sent = len(place.centre.submissions)
    assert not place.work().made
    assert len(place.centre.submissions) == sent
    at_once = {"refresh_every_days": 0}
    assert not place.work(daily=at_once).made
    assert "asked_for_final" in place.day(10)
    assert place.day(10)["made_at"] == first["made_at"]
    place.centre.change(final_until=LAST, weather=Weather(seed=9))
    report = place.work(daily=at_once)
    assert [record["date"] for record in report.made] == ["1999-03-10"]
    record = place.day(10)
    assert record["data"] == "ERA5"
    assert record["history"] == [{name: first[name] for name in ("made_at", "data", "labels", "probability", "run")}]
    assert record["changed"]["data"] == {"before": "ERA5T", "after": "ERA5"}
    largest = record["changed"]["largest"]
    assert largest["before"] == first["probability"][largest["class"]] != largest["after"]
    assert "largest change" in report.lines()[0]
    sent = len(place.centre.submissions)
    assert not place.work(daily=at_once).made
    assert len(place.centre.submissions) == sent
    # A young day is not asked for.
    assert not place.work(daily={**at_once, "refresh_after_days": 100_000}).made


@pytest.mark.slow
def test_a_refresh_that_fails_keeps_the_day(place: Place) -> None:
    place.centre.change(final_until=date(1999, 3, 1))
    place.work()
    first = place.day(10)
    place.centre.faults.add(Fault("failed"))
    report = place.work(daily={"refresh_every_days": 0})
    with pytest.raises(DaysFailed, match="final data: "):
        report.told()
    assert place.day(10)["status"] == "done"
    assert place.day(10)["probability"] == first["probability"]
    place.centre.faults.clear()
    place.centre.change(final_until=LAST)
    assert place.work().made[0]["data"] == "ERA5"
    assert "trouble" not in place.day(10)


def test_two_at_once(place: Place) -> None:
    with exclusive(place.diary.folder), pytest.raises(EnvironmentFault, match=r"in use by process \d+ on "):
        place.work()
    assert not place.centre.submissions


@pytest.mark.slow
def test_a_stop_keeps_finished_days(place: Place) -> None:
    class AfterTheFirst(Interrupt):
        def requested(self) -> bool:
            self.reason = "SIGTERM" if place.status(8) == ["done"] else None
            return super().requested()

    start = {"start": "1999-03-08"}
    with pytest.raises(Interrupted, match="1 day done"):
        place.work(AfterTheFirst(), daily=start)
    assert place.status(8) == ["done"]
    place.work(daily=start)
    assert place.status(8, 9, 10) == ["done", "done", "done"]


def test_a_service_that_is_away_ends_the_job_at_once(place: Place) -> None:
    place.centre.stop()
    with pytest.raises(EnvironmentFault, match="cannot be asked for its last day"):
        place.work()
    assert not place.diary.days()


def test_a_wrong_key_is_the_users_and_no_fault_of_a_day(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDSAPI_KEY", "wrong")
    with pytest.raises(InputError, match="the key was not accepted"):
        place.work(daily={"start": "1999-03-08"})
    assert not place.diary.days()


@pytest.mark.slow
def test_a_day_that_was_deleted_is_made_again_with_the_same_result(place: Place) -> None:
    place.work()
    first = place.day(10)
    place.diary.path(LAST).unlink()
    place.work()
    assert {**place.day(10), "made_at": ""} == {**first, "made_at": ""}


@pytest.mark.slow
def test_several_maps_a_day_and_hours_of_the_day_before(place: Place) -> None:
    place.work(daily={"hours": [0, 12]})
    both = place.day(10)
    assert both["times"] == ["1999-03-10T00:00:00Z", "1999-03-10T12:00:00Z"]
    place.diary.path(LAST).unlink()
    single = []
    for hour in (0, 12):
        place.work(daily={"hours": [hour]})
        single.append(place.day(10)["probability"])
        place.diary.path(LAST).unlink()
    for name, value in both["probability"].items():
        assert value == pytest.approx(np.mean([one[name] for one in single]), abs=1e-6)  # batches of other sizes
    # 18 UTC of the last day is 03 local time of the next.
    assert [record["date"] for record in place.work(daily={"hours": [18]}).made] == ["1999-03-11"]
    assert place.day(11)["times"] == ["1999-03-10T18:00:00Z"]


@pytest.mark.slow
def test_raw_files_may_be_deleted(place: Place) -> None:
    place.centre.change(final_until=date(1999, 3, 1))
    place.work()
    shutil.rmtree(place.home / "data")
    assert not place.work().made
    place.centre.change(final_until=LAST)
    assert [record["data"] for record in place.work(daily={"refresh_every_days": 0}).made] == ["ERA5"]
