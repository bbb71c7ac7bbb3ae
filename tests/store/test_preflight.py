import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.store.config import SplitConfig, TargetConfig
from pipeline.store.labels import Labels, encode
from pipeline.store.preflight import preflight, table
from pipeline.store.splits import split_days
from tests.store.conftest import Build, World
from tests.store.derived_files import days, write_derived

DATES = days("2001-01-01", "2003-12-31")
SPLIT = SplitConfig(train=[2001], val=[2002], test=[2003], gap_days=2)


def labels(texts: np.ndarray) -> Labels:
    return encode(texts.tolist(), DATES.astype(str).tolist(), TargetConfig(classes=["A", "B", "C", "D"]))


def texts() -> np.ndarray:
    """A each day; B in 2001 on 5 days (one of them in the gap) and in 2002 on 3 as A+B; C in 2003 only; D never."""
    text = np.full(len(DATES), "A", dtype="<U3")
    text[[0, 10, 20, 30, 364]] = "B"
    text[[370, 380, 390]] = "A+B"
    text[[800, 900]] = "A-C"
    return text


def test_counts_per_split_class_and_kind() -> None:
    found = labels(texts())
    report = preflight(DATES, found, split_days(DATES, SPLIT), 4, random_days=False)
    fold = report["folds"]["default"]
    splits = fold["splits"]
    assert {name: split["samples"] for name, split in splits.items()} == {
        "train": 363, "val": 361, "test": 363, "gap": 8, "unused": 0,
    }  # fmt: skip
    assert (splits["train"]["first"], splits["train"]["last"]) == ("2001-01-01", "2001-12-29")
    assert splits["train"]["classes"] == {"A": 359, "B": 4, "C": 0, "D": 0}
    assert splits["val"]["classes"] == {"A": 361, "B": 3, "C": 0, "D": 0}
    assert splits["val"]["kinds"] == {"single": 358, "composite": 3, "transition": 0}
    assert splits["test"]["kinds"] == {"single": 361, "composite": 0, "transition": 2}
    assert fold["absent"] == {"train": ["C", "D"], "val": ["C", "D"], "test": ["B", "D"]}
    assert fold["imbalance"] == pytest.approx(359 / 4, abs=0.01)
    assert fold["smallest_distance_days"] == 5
    assert report["dropped_unlabelled"] == 4
    assert report["kinds"] == {"single": 1090, "composite": 3, "transition": 2}
    assert report["types_per_day"] == pytest.approx((1095 + 5) / 1095, abs=1e-4)
    assert sum(split["samples"] for split in splits.values()) == len(DATES)


def test_classes_that_cannot_be_learned_or_measured_are_named() -> None:
    report = preflight(DATES, labels(texts()), split_days(DATES, SPLIT), 0, random_days=False)
    assert report["warnings"] == [
        "cannot be learned, no training day: C, D",
        "fewer than 10 training days: B (4)",
        "no threshold can be chosen for, no val day: C, D",
        "not measured, no test day: B, D",
    ]


def test_random_days_are_warned_about() -> None:
    config = SplitConfig(by="random_days")
    report = preflight(DATES, labels(texts()), split_days(DATES, config), 0, random_days=True)
    assert "neighbouring days are nearly equal" in report["warnings"][0]
    assert report["folds"]["default"]["smallest_distance_days"] == 1


def test_the_table_shows_what_the_report_holds() -> None:
    text = table(preflight(DATES, labels(texts()), split_days(DATES, SPLIT), 0, random_days=False))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert rows["train"] == ["363", "2001-01-01", "2001-12-29", "363", "0", "0"]
    assert rows["B"] == ["4", "3", "0", "1.1"]
    assert "nearest two splits: 5" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_build_says_and_keeps_its_warnings(
    build: Build, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = np.where(world.dates >= np.datetime64("2003"), "6C", "1")
    write_derived(tmp_path / "derived", world.dates, late)
    with caplog.at_level(logging.WARNING, "isobar"):
        store = build(tmp_path / "derived")
    assert "cannot be learned, no training day: 6C" in caplog.text
    assert "cannot be learned, no training day: 6C" in store.spec.preflight["warnings"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "isobar"):
        build(tmp_path / "derived")
    assert "6C" in caplog.text
