"""Label files as people make them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.derive.config import LabelFile
from pipeline.derive.labels import read_labels
from tests.derive.raw_files import days, load, run, settings, write_raw

LAT, LON = [55.0, 52.5, 50.0, 47.5], [115.0, 117.5, 120.0, 122.5]


def read(folder: Path, contents: str | bytes, **columns: str) -> dict[str, str]:
    path = folder / "labels.csv"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return read_labels([path], LabelFile(**columns))  # type: ignore[arg-type]


RIGHT = {"2001-01-01": "2A+3B", "2001-01-02": "NA"}


@pytest.mark.parametrize(
    "contents",
    [
        "date,label\n2001-01-01,2A+3B\n2001-01-02,NA\n",
        "\ufeffdate,label\n2001-01-01,2A+3B\n2001-01-02,NA\n",
        "date,label\r\n2001-01-01,2A+3B\r\n2001-01-02,NA\r\n",
        "date,label\r2001-01-01,2A+3B\r2001-01-02,NA",
        "label,remark,date\n2A+3B,,2001/1/1\n NA ,x,20010102\n",
        '"date","label"\n"2001-01-01","2A+3B"\n"2001-01-02","NA"\n',
        "\n\ndate , label\n\n2001-01-02,NA\n ,\n2001-01-01 , 2A+3B\n\n",
        "date,label\n2001-01-01,2A+3B\n2001-01-01,2A+3B\n2001-01-02,NA\n2001-01-03,\n",
    ],
    ids=["plain", "BOM", "CRLF", "CR", "columns", "quotes", "blank-lines", "repeated-and-empty"],
)
def test_spellings(tmp_path: Path, contents: str) -> None:
    """``NA`` is a label (a code of some catalogues), not a missing value; an empty cell is no label."""
    assert read(tmp_path, contents) == RIGHT


@pytest.mark.parametrize("text", ["NA", "nan", "null", "None", "0", "1", "01", "1e5", "C|NW", "南岸低気圧"])
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"date,label\n2001-01-01,{text}\n") == {"2001-01-01": text}


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ("date,label\n2001-01-01,A\n2001-02-30,B\n", r"labels\.csv:3: '2001-02-30' is not a date; write.*YYYY-MM-DD"),
        ("date,label\n01.02.2001,A\n", r"labels\.csv:2: '01\.02\.2001' is not a date"),
        ("date,label\n,A\n", r"labels\.csv:2: '' is not a date"),
        ("date,label\n2001-01-01\n", r"labels\.csv:2: 1 columns, the header has 2; complete the line"),
        ("date,lable\n2001-01-01,A\n", r"csv:1: no column 'label' \(derive\.labels\.label_column\); did you mean 'l"),
        ("day,label\n2001-01-01,A\n", r"no column 'date' \(derive\.labels\.date_column\).* There are day, label"),
        ("date,label\n2001-01-01,A\n\n2001-01-01,B\n", r"csv:4: 2001-01-01 has label 'B', but 'A' in .*csv:2; keep"),
        ("date,label\n2001-01-01,\n", r"holds no label at all"),
        ("", r"holds no label at all"),
        ("date,label\n2001-01-01,雪\n".encode("shift_jis"), r"labels\.csv: not UTF-8 text; save it as CSV in UTF-8"),
        (b"date,label\n2001-01-01,A\x00B\n", r"labels\.csv:2: holds a NUL character"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, contents: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path, contents)
    assert "\n" not in str(caught.value)


def test_two_files_that_disagree(tmp_path: Path) -> None:
    for name, label in (("a.csv", "A"), ("b.csv", "B")):
        (tmp_path / name).write_text(f"date,label\n2001-01-01,{label}\n")
    with pytest.raises(InputError, match=r"b\.csv:2: 2001-01-01 has label 'B', but 'A' in .*a\.csv:2"):
        read_labels([tmp_path / "a.csv", tmp_path / "b.csv"], LabelFile())


def test_labels_are_those_of_the_local_day(tmp_path: Path) -> None:
    """18 UTC is the next day in Tokyo; days without a label have an empty one, foreign labels are counted."""
    raw = write_raw(tmp_path / "raw.nc", days("2001-01-30", 3, hour=18), LAT, LON)
    (tmp_path / "labels.csv").write_text("date,label\n2001-01-30,x\n2001-01-31,A\n2001-02-02,NA\n2005-01-01,y\n")
    config = settings(raw, labels={"files": [str(tmp_path / "labels.csv")]}, timezone="Asia/Tokyo")
    data = load(tmp_path / "out", run(config, tmp_path / "out"))
    assert data["date"].values.tolist() == ["2001-01-31", "2001-02-01", "2001-02-02"]
    assert data["label"].values.tolist() == ["A", "", "NA"]
    coverage = json.loads((tmp_path / "out" / "coverage.json").read_text())
    assert coverage["labels"] == {"labelled": 2, "unlabelled": 1, "outside": 2}


def test_no_day_in_common(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw.nc", days("2001-01-01", 3), LAT, LON)
    (tmp_path / "labels.csv").write_text("date,label\n1999-01-01,A\n1999-06-01,B\n")
    config = settings(raw, labels={"files": [str(tmp_path / "labels.csv")]})
    says = r"derive\.labels\.files: no label for any day.*1999-01-01 … 1999-06-01, data 2001-01-01 … 2001-01-03"
    with pytest.raises(InputError, match=says):
        run(config, tmp_path / "out")


def test_without_labels(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw.nc", days("2001-01-01", 3), LAT, LON)
    data = load(tmp_path / "out", run(settings(raw), tmp_path / "out"))
    assert data["label"].values.tolist() == ["", "", ""]
