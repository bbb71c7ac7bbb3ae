import logging
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.store.images.series import Series, microseconds, read_series
from pipeline.store.sections.series import SeriesConfig
from tests.store.images.made_up_images import feature, time_of, write_series


def read(home: Path, *groups: str, **other: object) -> Series:
    given = {"files": ["*.csv"], **other}
    return read_series(SeriesConfig.model_validate(given), home, groups or ("eur",))


def write(home: Path, *lines: str, name: str = "eur_15m.csv") -> Path:
    (home / name).write_text("\n".join(lines) + "\n")
    return home


def test_rows_and_columns_come_as_they_are(tmp_path: Path) -> None:
    write_series(tmp_path / "any.csv", range(5), 3)
    series = read(tmp_path, feature_columns=["f2", "f0"])
    bars = series.of["eur"]
    assert series.features == ("f2", "f0")
    assert bars.time.tolist() == [microseconds(time_of(bar)) for bar in range(5)]
    assert bars.values.tolist() == [[feature(bar, 2), feature(bar, 0)] for bar in range(5)]
    assert read(tmp_path).features == ("f0", "f1", "f2")


def test_unsorted_rows_are_sorted_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "eur_15m.csv", [3, 0, 2, 1])
    with caplog.at_level(logging.INFO, "isobar"):
        bars = read(tmp_path).of["eur"]
    assert "rows are not in order of time; sorted" in caplog.text
    assert bars.values[:, 0].tolist() == [feature(bar, 0) for bar in range(4)]


def test_equal_rows_count_once_and_different_ones_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["timestamp,x", "2024-01-01 09:00,1", "2024-01-01 09:15,2", "2024-01-01 09:00,1"]
    write(tmp_path, *rows, "2024-01-01 09:15,")
    with pytest.raises(InputError, match=r"eur_15m.csv:3 and .*eur_15m.csv:5: the same time \(2024-01-01T09:15:00Z\)"):
        read(tmp_path)
    write(tmp_path, *rows)
    with caplog.at_level(logging.INFO, "isobar"):
        assert read(tmp_path).of["eur"].values.tolist() == [[1], [2]]
    assert "1 rows occur twice with the same values" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["timestamp,x", "2024-01-01,abc"], "eur_15m.csv:2: x is 'abc', not a number"),
        (["timestamp,x,y", "2024-01-01,1,", "2024-01-02,1,inf"], "eur_15m.csv:3: y is 'inf', not a finite number"),
        (["timestamp,x", "2024-01-01,1", "", "noon,2"], "eur_15m.csv:4: time 'noon'"),
        (["timestamp,x", "2024-02-30,1"], "eur_15m.csv:2: time '2024-02-30'"),
        (["when,x", "2024-01-01,1"], "eur_15m.csv:1: no time column .* found when, x; set store.series.time_column"),
        (["timestamp,x"], "no rows below the header"),
        (["timestamp", "2024-01-01"], "no feature column beside timestamp"),
        (["timestamp,x", "2024-01-01,1,2"], "eur_15m.csv:2: 3 cells, the header has 2"),
        (["timestamp,x,x", "2024-01-01,1,2"], "column 'x' occurs twice"),
        (["", "2024-01-01,1"], "eur_15m.csv:1: no header"),
    ],
)
def test_wrong_cells_are_told_by_line_and_column(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, *lines))


def test_missing_cells_are_nan(tmp_path: Path) -> None:
    write(tmp_path, "date;x;y", "2024.01.01 09:00;1.5;", "2024.01.01 09:15;NA;-2e3")
    values = read(tmp_path).of["eur"].values
    assert np.array_equal(values, [[1.5, np.nan], [np.nan, -2000]], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2024-01-01 09:00", "Asia/Tokyo", datetime(2024, 1, 1, 0)),
        ("2024-07-01T09:00:00+02:00", "Asia/Tokyo", datetime(2024, 7, 1, 7)),
        ("2024-07-01T09:00:00Z", "UTC", datetime(2024, 7, 1, 9)),
        ("2024-07-01 09:00:00-05", "UTC", datetime(2024, 7, 1, 14)),
        ("2024-07-01 09:00:00.25", "UTC", datetime(2024, 7, 1, 9, 0, 0, 250_000)),
        ("2024-07-01 09:00", "America/New_York", datetime(2024, 7, 1, 13)),
    ],
)
def test_time_zones(tmp_path: Path, text: str, zone: str, expected: datetime) -> None:
    write(tmp_path, "datetime,x", f"{text},1")
    assert read(tmp_path, timezone=zone).of["eur"].time.tolist() == [microseconds(expected)]


def test_dataset_ids_and_file_names_say_whose_rows_they_are(tmp_path: Path) -> None:
    lines = ["timestamp,x,dataset_id", "2024-01-01,1,eur", "2024-01-01,2,usd", "2024-01-02,3,gbp"]
    write(tmp_path, *lines, name="all.csv")
    series = read(tmp_path, "eur", "usd")
    assert series.features == ("x",)
    assert [series.of[name].values.tolist() for name in ("eur", "usd")] == [[[1]], [[2]]]
    (tmp_path / "all.csv").unlink()
    write_series(tmp_path / "eur_15m_202412301431.csv", range(3))
    write_series(tmp_path / "fix_labeled_data_usd_15m.csv", range(4))
    write_series(tmp_path / "jpy_15m.csv", range(5))
    series = read(tmp_path, "eur", "usd")
    assert [len(series.of[name].time) for name in ("eur", "usd")] == [3, 4]
    with pytest.raises(InputError, match=r"no rows for data set chf; .*give eur, usd"):
        read(tmp_path, "eur", "usd", "chf")


def test_one_series_for_all_must_be_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path / "rates.csv", range(3))
    with pytest.raises(InputError, match=r"no column dataset_id and no data set in its name, .*eur, usd.*shared: true"):
        read(tmp_path, "eur", "usd")
    series = read(tmp_path, "eur", "usd", shared=True)
    assert series.of["eur"] is series.of["usd"]
    write(tmp_path, "timestamp,f0,f1,dataset_id", "2024-01-01,1,2,usd", name="ids.csv")
    mixed = read(tmp_path, "eur", "usd", shared=True, feature_columns=["f0"])
    assert [len(mixed.of[name].time) for name in ("eur", "usd")] == [3, 1], "rows with an id are of their data set"
    (tmp_path / "ids.csv").unlink()
    assert len(read(tmp_path, "eur").of["eur"].time) == 3, "with one data set there is no doubt"


def test_files_and_columns_that_are_not_there(tmp_path: Path) -> None:
    write_series(tmp_path / "eur_15m.csv", range(3))
    with pytest.raises(InputError, match=r"store.series.files: \*.tsv: no file matches"):
        read(tmp_path, files=["*.tsv"])
    with pytest.raises(InputError, match=r"no.csv: no such file"):
        read(tmp_path, files=["no.csv"])
    with pytest.raises(InputError, match=r"feature_columns: ff0 not in .*; did you mean 'f0'"):
        read(tmp_path, feature_columns=["ff0"])
