"""Which day trains, chooses or judges: blocks of years with gaps, leave-one-year-out, or (asked for) random days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, SPLITS
from pipeline.core.errors import InputError, shorten
from pipeline.store.config import SplitConfig

Dates = NDArray[np.datetime64]
Marks = NDArray[np.str_]
GAP = "gap"


def split_days(dates: Dates, config: SplitConfig) -> dict[str, Marks]:
    """Mark N samples, for each fold, with ``train``, ``val``, ``test``, ``gap`` or nothing (unused).

    Args:
        dates: the local day of each sample, ascending; samples of one day stay together.
        config: the rules.

    Raises:
        InputError: a year is not in the data, or a split is empty.
    """
    days, day_of = np.unique(dates, return_inverse=True)
    folds = {DEFAULT_FOLD: _random(days, config)} if config.by == "random_days" else _blocks_of_years(days, config)
    return {name: marks[day_of] for name, marks in folds.items()}


def _blocks_of_years(days: Dates, config: SplitConfig) -> dict[str, Marks]:
    _check_years(days, config)
    folds = {DEFAULT_FOLD: {split: getattr(config, split) for split in SPLITS}}
    if config.leave_one_year_out:
        folds |= leave_one_year_out(config.train + config.val)
    marks = {name: _by_years(days, table, config.gap_days) for name, table in folds.items()}
    for name, table in folds.items():
        _refuse_empty(name, marks[name], [split for split in SPLITS if table[split]], config.gap_days)
    return marks


def leave_one_year_out(years: Iterable[int]) -> dict[str, dict[str, list[int]]]:
    """Return a fold for each year: it tests, the year before it (the last, for the first) validates, the rest train.

    Raises:
        InputError: fewer than three years.
    """
    ordered = sorted(years)
    if len(ordered) < 3:
        raise InputError(
            f"store.split.leave_one_year_out: needs 3 years or more in train and val together, found {len(ordered)}"
        )
    folds = {}
    for place, test in enumerate(ordered):
        val = ordered[place - 1]
        train = [year for year in ordered if year not in (test, val)]
        folds[str(test)] = {"train": train, "val": [val], "test": [test]}
    return folds


def smallest_distance(dates: Dates, marks: Marks) -> int | None:
    """Return the least number of days between a day of one split and a day of another; ``None`` with fewer than two.

    1 means neighbouring days: what is learned from one is nearly the answer to the other.
    """
    used = np.isin(marks, SPLITS)
    days, splits = dates[used].astype(np.int64), marks[used]
    border = splits[1:] != splits[:-1]
    return int(np.diff(days)[border].min()) if border.any() else None


def years_of(dates: Dates) -> NDArray[np.int64]:
    """Return the calendar year of each day."""
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


def _by_years(dates: Dates, table: Mapping[str, list[int]], gap_days: int) -> Marks:
    marks = np.zeros(len(dates), dtype="<U5")
    years = years_of(dates)
    for split, listed in table.items():
        marks[np.isin(years, listed)] = split
    marks[_near_border(dates, marks, gap_days)] = GAP
    return marks


def _near_border(dates: Dates, marks: Marks, gap_days: int) -> NDArray[np.bool_]:
    """Find the days within ``gap_days`` of a day of another split (unused days have none)."""
    days = dates.astype(np.int64)
    near = np.zeros(len(dates), bool)
    # Days occur once and ascend, so a day within the gap is at most gap_days places away.
    for step in range(1, min(gap_days, len(days) - 1) + 1):
        early, late = marks[:-step], marks[step:]
        close = (days[step:] - days[:-step] <= gap_days) & (early != late) & (early != "") & (late != "")
        near[:-step] |= close
        near[step:] |= close
    return near


def _random(dates: Dates, config: SplitConfig) -> Marks:
    count = len(dates)
    first, second = (round(count * share) for share in np.cumsum(config.fractions)[:2])
    marks = np.full(count, "test", dtype="<U5")
    order = np.random.default_rng(config.seed).permutation(count)
    marks[order[:first]] = "train"
    marks[order[first:second]] = "val"
    wanted = [split for split, share in zip(SPLITS, config.fractions, strict=True) if share > 0]
    _refuse_empty(DEFAULT_FOLD, marks, ["train", "val", *wanted], 0)
    return marks


def _check_years(dates: Dates, config: SplitConfig) -> None:
    present = set(years_of(dates).tolist())
    for split in SPLITS:
        years: list[int] = getattr(config, split)
        if not years and split != "test":
            raise InputError(f"store.split.{split}: no years given; {_has(present)}")
        absent = [year for year in years if year not in present]
        if absent:
            raise InputError(f"store.split.{split}: no labelled day in {shorten(absent)}; {_has(present)}")


def _has(years: Iterable[int]) -> str:
    return f"the labelled days are of the years {shorten(sorted(years), 60)}"


def _refuse_empty(fold: str, marks: Marks, wanted: Iterable[str], gap_days: int) -> None:
    for split in wanted:
        if not (marks == split).any():
            where = "" if fold == DEFAULT_FOLD else f" in fold {fold}"
            raise InputError(
                f"store.split.{split}: no day is left{where} of {len(marks)} labelled days "
                f"(gap_days {gap_days} drops days at the borders); give it more years or a smaller gap"
            )
