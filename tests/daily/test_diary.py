"""Records and their table."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InputError
from pipeline.daily.diary import Diary, change_told, failed, revised

DAY = date(1999, 3, 10)


def record(**more: Any) -> dict[str, Any]:
    return {
        "date": "1999-03-10", "status": "done", "labels": ["1"], "joiner": "+", "classes": ["1", "2A"],
        "probability": {"1": 0.8, "2A": 0.3}, "raw": {"1": 0.7, "2A": 0.4}, "data": "ERA5T", "filled": 0,
        "run": {"name": "r"}, "made_at": "1999-03-16T06:00:00Z", **more,
    }  # fmt: skip


def test_the_table_has_a_line_a_day_in_order(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.write(date(1999, 3, 11), failed({}, date(1999, 3, 11), "no data", 1))
    diary.write(DAY, record(labels=["1", "2A"]))
    diary.write(
        date(1999, 3, 9), record(date="1999-03-09", labels=[], classes=["1"], probability={"1": 0.1}, raw={"1": 0.2})
    )
    diary.write_table(diary.all())
    lines = (tmp_path / "daily.csv").read_text().splitlines()
    assert lines == [
        "date,status,labels,p_1,p_2A,raw_1,raw_2A,data,filled,run,made_at",
        "1999-03-09,done,,0.1,,0.2,,ERA5T,0,r,1999-03-16T06:00:00Z",
        "1999-03-10,done,1+2A,0.8,0.3,0.7,0.4,ERA5T,0,r,1999-03-16T06:00:00Z",
        "1999-03-11,failed,,,,,,,,,",
    ]


def test_failures_are_counted_and_a_classified_day_stays_one() -> None:
    first = failed({}, DAY, "a", 1)
    second = failed(first, DAY, "b", 2)
    assert second["status"] == "failed"
    assert (second["trouble"]["tries"], second["trouble"]["reason"], second["trouble"]["exit_code"]) == (2, "b", 2)
    assert second["trouble"]["first_tried"] == first["trouble"]["first_tried"]
    kept = failed(record(), DAY, "c", 1)
    assert {**kept, "trouble": None} == {**record(), "trouble": None}


def test_what_changed_is_told() -> None:
    assert revised({}, record()) == record()
    assert "history" not in revised(failed({}, DAY, "a", 1), record())
    final = revised(record(), record(data="ERA5", labels=["2A"], probability={"1": 0.2, "2A": 0.5}))
    assert final["changed"] == {
        "data": {"before": "ERA5T", "after": "ERA5"},
        "labels": {"before": ["1"], "after": ["2A"]},
        "largest": {"class": "1", "before": 0.8, "after": 0.2},
    }
    assert change_told(final) == "was 1, largest change 1 0.80 → 0.20"
    assert len(final["history"]) == 1
    again = revised(final, record(data="ERA5", labels=["2A"], probability={"1": 0.2, "2A": 0.5}))
    assert len(again["history"]) == 2
    assert change_told(again) == "same types, same probabilities"


def test_a_strange_record_is_named(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.write(DAY, record(date="1999-03-11"))
    with pytest.raises(InputError, match=r"1999-03-10.json: not the record of 1999-03-10; delete it"):
        diary.read(DAY)
    diary.write(DAY, record())
    diary.path(DAY).write_text(diary.path(DAY).read_text().replace("0.8", "0.9"))
    with pytest.raises(InputError, match=r"1999-03-10.json: changed since it was written; delete it"):
        diary.read(DAY)
    diary.path(DAY).write_text("{")
    with pytest.raises(InputError, match="not a readable JSON file"):
        diary.read(DAY)
