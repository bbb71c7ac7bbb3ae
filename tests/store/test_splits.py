import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.contract.store import SPLITS
from pipeline.core.errors import InputError
from pipeline.store.config import SplitConfig
from pipeline.store.splits import leave_one_year_out, smallest_distance, split_days, years_of
from tests.store.derived_files import days

DATES = days("2001-01-01", "2006-12-31")


def chosen(marks: np.ndarray, split: str) -> np.ndarray:
    return DATES[marks == split]


def test_years_with_three_days_dropped_on_each_side_of_a_border() -> None:
    config = SplitConfig(train=[2001, 2002], val=[2003], test=[2004])
    marks = split_days(DATES, config)["default"]
    gap = [*days("2002-12-29", "2003-01-03"), *days("2003-12-29", "2004-01-03")]
    assert chosen(marks, "gap").tolist() == [day.item() for day in gap]
    assert chosen(marks, "train")[[0, -1]].astype(str).tolist() == ["2001-01-01", "2002-12-28"]
    assert chosen(marks, "val")[[0, -1]].astype(str).tolist() == ["2003-01-04", "2003-12-28"]
    # 2005 and 2006 are in no split, so the end of 2004 is not a border.
    assert chosen(marks, "test")[[0, -1]].astype(str).tolist() == ["2004-01-04", "2004-12-31"]
    assert (marks[years_of(DATES) >= 2005] == "").all()
    assert smallest_distance(DATES, marks) == 7


@given(
    st.lists(st.sampled_from(["train", "val", "test", ""]), min_size=6, max_size=6),
    st.integers(0, 40),
    st.integers(0, 2**32 - 1),
)
def test_no_two_splits_come_closer_than_the_gap(table: list[str], gap: int, seed: int) -> None:
    by = {split: [2001 + place for place, name in enumerate(table) if name == split] for split in SPLITS}
    if not by["train"] or not by["val"]:
        return
    some = np.sort(np.random.default_rng(seed).choice(DATES, 1500, replace=False))
    marks = split_days(some, SplitConfig(**by, gap_days=gap))["default"]
    places = {split: some[marks == split].astype(int) for split in SPLITS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if len(places[one]) and len(places[other]):
            assert np.abs(places[one][:, None] - places[other][None]).min() > gap
    years = years_of(some)
    for split, listed in by.items():
        assert set(years[marks == split]) <= set(listed)
    # A gap day lies near a day of another split, and every other day of a listed year is kept.
    kept = sum(len(place) for place in places.values())
    assert kept + (marks == "gap").sum() == np.isin(years, by["train"] + by["val"] + by["test"]).sum()
    if gap == 0:
        assert not (marks == "gap").any()


def test_leave_one_year_out_tests_each_year_and_keeps_the_test_years_out() -> None:
    config = SplitConfig(train=[2001, 2002, 2003], val=[2004], test=[2006], leave_one_year_out=True)
    folds = split_days(DATES, config)
    assert list(folds) == ["default", "2001", "2002", "2003", "2004"]
    years = years_of(DATES)
    assert set(years[folds["2002"] == "test"]) == {2002}
    assert set(years[folds["2002"] == "val"]) == {2001}
    assert set(years[folds["2001"] == "val"]) == {2004}
    assert set(years[folds["2002"] == "train"]) == {2003, 2004}
    for name, marks in folds.items():
        assert smallest_distance(DATES, marks) == 7
        if name != "default":
            assert (marks[years >= 2005] == "").all()


def test_leave_one_year_out_needs_three_years() -> None:
    with pytest.raises(InputError, match="needs 3 years"):
        leave_one_year_out([2001, 2002])


def test_samples_of_one_day_stay_together() -> None:
    twice = np.repeat(DATES, 2)
    for config in (SplitConfig(by="random_days"), SplitConfig(train=[2001], val=[2002])):
        marks = split_days(twice, config)["default"]
        assert (marks[::2] == marks[1::2]).all()


def test_random_days_follow_the_seed_and_the_shares() -> None:
    marks = split_days(DATES, SplitConfig(by="random_days", fractions=(0.5, 0.3, 0.2), seed=7))["default"]
    again = split_days(DATES, SplitConfig(by="random_days", fractions=(0.5, 0.3, 0.2), seed=7))["default"]
    other = split_days(DATES, SplitConfig(by="random_days", fractions=(0.5, 0.3, 0.2), seed=8))["default"]
    assert (marks == again).all()
    assert (marks != other).any()
    shares = [(marks == split).mean() for split in SPLITS]
    assert np.allclose(shares, [0.5, 0.3, 0.2], atol=1 / len(DATES))
    assert smallest_distance(DATES, marks) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SplitConfig(), "split.train: no years given; the labelled days are of the years 2001, 2002"),
        (SplitConfig(train=[2001]), "split.val: no years given"),
        (SplitConfig(train=[2001], val=[2011]), "split.val: no labelled day in 2011; .* 2001, 2002"),
        (SplitConfig(train=[2001], val=[2002], test=[1999]), "split.test: no labelled day in 1999"),
        (SplitConfig(train=[2001], val=[2002], gap_days=400), "split.train: no day is left"),
    ],
)
def test_what_cannot_be_split_is_an_error(config: SplitConfig, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_days(DATES, config)


@pytest.mark.parametrize(
    "settings",
    [
        {"train": [2001], "val": [2001]},
        {"by": "random_days", "train": [2001]},
        {"by": "random_days", "leave_one_year_out": True},
        {"fractions": [0.5, 0.3, 0.3]},
        {"fractions": [1.2, -0.1, -0.1]},
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig.model_validate(settings)


def test_fewer_than_two_splits_have_no_distance() -> None:
    assert smallest_distance(DATES, np.full(len(DATES), "train")) is None
