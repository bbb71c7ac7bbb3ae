from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.store.config import SplitConfig
from pipeline.store.images.bars import bar_numbers, span
from pipeline.store.images.folds import Samples, overlaps, split_images
from pipeline.store.images.series import Bars, Series
from pipeline.store.sections.series import SeriesConfig

MINUTE = 60_000_000
QUARTER = 15 * MINUTE
Marks = np.ndarray


def samples(bars: Any, given: Any = "", group: Any = "eur", label: Any = "a", timed: bool = True) -> Samples:
    bar = np.array(bars, np.int64)
    order = np.argsort(bar, kind="stable")

    def column(value: Any) -> np.ndarray:
        return np.broadcast_to(np.array(value, np.str_), bar.shape)[order].copy()

    time = bar[order] * QUARTER
    date = time.astype("datetime64[us]").astype("datetime64[D]")
    if not timed:
        return Samples(column(given), None, None, column(group), column(label), np.zeros(len(bar), np.int64))
    return Samples(column(given), time, date, column(group), column(label), bar[order])


def split(of: Samples, embargo: int = 0, **config: Any) -> dict[str, Marks]:
    return split_images(of, SplitConfig.model_validate(config), embargo)


def counts(marks: Marks) -> dict[str, int]:
    return {name: int((marks == name).sum()) for name in ("train", "val", "test", "gap") if (marks == name).any()}


def least_distance(of: Samples, marks: Marks, first: str, second: str) -> int:
    """The least number of bars between two splits, by looking at every pair of one data set."""
    pairs = [
        abs(int(of.bar[i]) - int(of.bar[j]))
        for i in np.flatnonzero(marks == first)
        for j in np.flatnonzero(marks == second)
        if of.group[i] == of.group[j]
    ]
    return min(pairs, default=10**9)


RULES = st.sampled_from(
    [
        {"by": "blocks"},
        {"by": "blocks", "fractions": [0.5, 0.5, 0.0]},
        {"by": "kfold", "num_folds": 3},
        {"by": "kfold", "num_folds": 5},
        {"by": "walk_forward", "num_folds": 3},
    ]
)


@given(
    bars=st.lists(st.integers(0, 400), min_size=30, max_size=60),
    embargo=st.integers(0, 12),
    rule=RULES,
    seed=st.integers(0, 9),
)
def test_no_two_splits_of_a_data_set_come_closer_than_the_embargo(
    bars: list[int], embargo: int, rule: dict[str, Any], seed: int
) -> None:
    group = np.random.default_rng(seed).choice(["eur", "usd"], len(bars))
    of = samples(bars, group=group)
    folds: dict[str, Marks] = {}
    with suppress(InputError):
        folds = split(of, embargo, **rule)
    event("divided" if folds else "nothing left")
    for marks in folds.values():
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            assert least_distance(of, marks, first, second) > embargo
        assert overlaps(marks, of, embargo + 1) == 0
        order = [of.time[marks == name] for name in ("val", "test")] if of.time is not None else []
        if rule["by"] != "kfold" and all(len(part) for part in order):
            assert order[0].max() <= order[1].min(), "validation before test"


def test_folders_are_respected_and_purged_from_train_first() -> None:
    given = ["train"] * 50 + ["val"] * 20 + ["test"] * 30
    marks = split(samples(range(100), given), 3)["default"]
    assert counts(marks) == {"train": 47, "val": 17, "test": 30, "gap": 6}
    assert (marks[47:50] == "gap").all()
    assert (marks[67:70] == "gap").all()
    assert counts(split(samples(range(100), given), 0)["default"]) == {"train": 50, "val": 20, "test": 30}


def test_folders_without_val_give_the_last_block_of_train() -> None:
    given = ["train"] * 80 + ["test"] * 20
    marks = split(samples(range(100), given), 2, val_share=0.25)["default"]
    assert counts(marks) == {"train": 58, "val": 18, "test": 20, "gap": 4}
    assert (np.flatnonzero(marks == "val") == np.arange(60, 78)).all()
    with pytest.raises(InputError, match=r"folders needs a val folder or the time of each image.*by: random"):
        split(samples(range(100), given, timed=False))


def test_training_without_validation_must_be_asked_for() -> None:
    of = samples(range(100), ["train"] * 80 + ["test"] * 20, timed=False)
    assert counts(split(of, val_share=0)["default"]) == {"train": 80, "test": 20}
    assert counts(split(of, by="random", fractions=[1, 0, 0])["default"]) == {"train": 80, "test": 20}
    assert counts(split(samples(range(100), "train"), val_share=0)["default"]) == {"train": 100}


def test_folders_among_each_other_in_time_are_told() -> None:
    of = samples(range(100), np.random.default_rng(0).choice(["train", "val", "test"], 100))
    with pytest.raises(InputError, match=r"no image is left in train of 100: .* share bars with another split"):
        split(of, 9)


def test_blocks_take_their_shares_in_order_of_time_and_keep_moments_together() -> None:
    marks = split(samples(np.repeat(np.arange(50), 2)), by="blocks", fractions=[0.5, 0.25, 0.25])["default"]
    assert counts(marks) == {"train": 50, "val": 24, "test": 26} or counts(marks) == {
        "train": 50, "val": 26, "test": 24,
    }  # fmt: skip
    assert (marks[::2] == marks[1::2]).all()
    with_test = samples(range(100), ["train"] * 80 + ["test"] * 20)
    marks = split(with_test, by="blocks", fractions=[0.6, 0.2, 0.2])["default"]
    assert counts(marks) == {"train": 60, "val": 20, "test": 20}


def test_kfold_tests_each_image_once_and_validates_on_the_block_before() -> None:
    folds = split(samples(range(100)), by="kfold", num_folds=5)
    assert list(folds) == ["default", *(f"fold{number}" for number in range(5))]
    tested = sum((folds[f"fold{number}"] == "test").astype(int) for number in range(5))
    assert (tested == 1).all()
    assert counts(folds["fold0"]) == {"train": 60, "val": 20, "test": 20}
    assert (np.flatnonzero(folds["fold2"] == "val") == np.arange(20, 40)).all()
    assert (folds["default"] == folds["fold4"]).all()
    purged = split(samples(range(100)), 4, by="kfold", num_folds=5)["fold2"]
    assert counts(purged) == {"train": 52, "val": 16, "test": 20, "gap": 12}


def test_a_test_folder_stays_the_test_of_every_fold() -> None:
    of = samples(range(100), ["train"] * 60 + ["val"] * 20 + ["test"] * 20)
    for by in ("kfold", "walk_forward", "random", "blocks"):
        for marks in split(of, by=by, num_folds=4).values():
            assert ((marks == "test") == (np.arange(100) >= 80)).all(), by
    assert counts(split(of, by="kfold", num_folds=4)["fold1"]) == {"train": 60, "val": 20, "test": 20}


def test_walking_forward_trains_on_the_past_only() -> None:
    folds = split(samples(range(100)), by="walk_forward", num_folds=3)
    for number in range(3):
        marks = folds[f"fold{number}"]
        assert counts(marks) == {"train": 20 * (number + 1), "val": 20, "test": 20}
        places = [np.flatnonzero(marks == name) for name in ("train", "val", "test")]
        assert places[0].max() < places[1].min() <= places[1].max() < places[2].min()
    assert (folds["default"] == folds["fold2"]).all()


def test_groups_stay_whole() -> None:
    group = np.repeat([f"patient{number}" for number in range(7)], [30, 20, 10, 10, 10, 10, 10])
    of = samples(range(100), group=group, timed=False)
    folds = split(of, by="kfold", unit="group", num_folds=3)
    for marks in folds.values():
        for name in np.unique(group):
            assert len(set(marks[of.group == name])) == 1
        assert min(counts(marks).values()) >= 30
    with pytest.raises(InputError, match=r"group needs 8 groups or more for num_folds 8, found 7"):
        split(of, by="kfold", unit="group", num_folds=8)


def test_random_keeps_the_shares_of_each_class_and_depends_on_the_seed_alone() -> None:
    label = np.repeat(["a", "b"], [80, 20])
    of = samples(range(100), label=label, timed=False)
    marks = split(of, by="random", fractions=[0.5, 0.25, 0.25])["default"]
    assert counts(marks[of.label == "b"]) == {"train": 10, "val": 5, "test": 5}
    assert (marks == split(of, by="random", fractions=[0.5, 0.25, 0.25])["default"]).all()
    assert (marks != split(of, by="random", fractions=[0.5, 0.25, 0.25], seed=1)["default"]).any()


def test_years_divide_images_as_they_do_maps() -> None:
    bars = np.arange(0, 3 * 366, 3) * 96
    of = samples(bars)
    marks = split(of, by="years", train=[1970], val=[1971], test=[1972], gap_days=0)["default"]
    assert set(marks[: len(marks) // 4]) == {"train"}
    assert marks[-1] == "test"


@pytest.mark.parametrize(
    ("config", "timed", "message"),
    [
        ({"by": "folders"}, True, "folders, but the list has no column split"),
        ({"by": "blocks"}, False, "blocks needs the time of each image"),
        ({}, False, "blocks needs the time of each image"),
        ({"by": "kfold"}, False, "kfold needs the time of each image"),
        ({"by": "kfold", "num_folds": 2}, True, "2 leaves nothing to train on without a test folder"),
    ],
)
def test_rules_that_need_more(config: dict[str, Any], timed: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(samples(range(100), timed=timed), **config)


# --- bars --------------------------------------------------------------------------------------------------------


def test_without_a_series_the_images_own_calendar_counts_the_bars() -> None:
    """Quarters of an hour from Monday to Friday, 9 to 11: after the last bar of Friday comes the first of Monday."""
    monday = 4 * 1440 * MINUTE  # 1970-01-05
    clock = (9 * 60 + np.arange(8) * 15) * MINUTE
    days = monday + np.array([0, 1, 2, 3, 4, 7, 8]) * 1440 * MINUTE
    time = (days[:, None] + clock).ravel()
    numbers = bar_numbers(time, np.full(len(time), "eur"), None)
    assert (np.diff(numbers) == 1).all()
    sparse = time[::5]
    gaps = np.diff(bar_numbers(sparse, np.full(len(sparse), "eur"), None))
    assert (gaps <= 5).all(), "never more bars than there are, so nothing that overlaps is missed"


def test_with_a_series_its_rows_are_the_bars_and_the_calendar_goes_on_outside() -> None:
    rows = np.array([0, 1, 2, 3, 50, 51]) * QUARTER
    series = Series(("x",), {"eur": Bars(rows, np.zeros((6, 1)))}, ())
    time = np.array([0, 1, 3, 50, 51, 52, 53]) * QUARTER
    assert bar_numbers(time, np.full(7, "eur"), series).tolist() == [0, 1, 3, 4, 5, 6, 7]


def test_the_span_covers_image_and_window() -> None:
    def window(size: int, offset: int) -> SeriesConfig:
        return SeriesConfig(files=["a"], window_size=size, offset=offset, look_ahead=offset > 0)

    assert span(40, None) == 40
    assert span(1, window(40, 0)) == 40
    assert span(10, window(10, -1)) == 11
    assert span(10, window(3, -1)) == 10
    assert span(1, window(5, 1)) == 5
    assert span(4, window(2, 1)) == 5
