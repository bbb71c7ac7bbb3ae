"""Walk-forward folds with gaps: what is judged lies after what was trained on, and shares no rows with it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.samples import Samples

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Positions of samples, in order of time."""

    train: Places
    judged: Places


@dataclass(frozen=True)
class Folds:
    """Folds for everything that is chosen, and the last block, for one look."""

    walk: tuple[Fold, ...]
    test: Fold
    development: int
    """Samples before the last block; folds are made of them."""
    purge: int
    embargo: int

    @property
    def gap(self) -> int:
        """Return the rows before a judged block that are not trained on."""
        return self.purge + self.embargo


def make_folds(config: ImportanceConfig, samples: Samples) -> Folds:
    """Cut the samples by time: ``splits`` + 1 blocks for the folds, then the test block.

    Before each judged block the last ``purge + embargo`` rows of its series are not trained on. The purge is the
    horizon of labels: no trained label looks into the block (López de Prado 2018, section 7.4.1). The embargo is one
    less than the rows that a judged sample is made of, reaching back from the row that it knows last.

    Raises:
        InputError: a fold is left without samples to train on, or with less than two classes.
    """
    settings, labels = config.validation, config.labels
    purge = labels.horizon if settings.purge is None else settings.purge
    embargo = samples.span - 1 - labels.known_offset if settings.embargo is None else settings.embargo
    gap = purge + embargo
    everything = np.arange(len(samples.y))
    development = _at_new_time(
        samples, everything, len(everything) - max(1, round(settings.test_share * len(samples.y)))
    )
    walk = _walk(samples, everything[:development], settings.splits, gap, "validation: ")
    test = _fold(samples, everything, development, len(everything), gap, "validation: the test")
    return Folds(walk, test, development, purge, embargo)


def inner_folds(samples: Samples, fold: Fold, splits: int, gap: int, name: str) -> tuple[Fold, ...]:
    """Cut what ``fold`` is trained on into ``splits`` folds with the same gap, for choices that its block may not see.

    Raises:
        InputError: it is too short for that.
    """
    try:
        return _walk(samples, fold.train, splits, gap, f"search: {name}, inner ")
    except InputError as error:
        raise InputError(f"{error}; or set search.splits lower, or search.trials: 0") from None


def _walk(samples: Samples, places: Places, splits: int, gap: int, name: str) -> tuple[Fold, ...]:
    cuts = [_at_new_time(samples, places, round(k * len(places) / (splits + 1))) for k in range(1, splits + 1)]
    return tuple(
        _fold(samples, places, start, end, gap, f"{name}fold {number}")
        for number, (start, end) in enumerate(pairwise([*cuts, len(places)]), 1)
    )


def _at_new_time(samples: Samples, places: Places, start: int) -> int:
    """Return the first of ``places`` from ``start`` on whose time is a new one, so that a moment is in one block."""
    time = samples.time[places]
    while 0 < start < len(time) and time[start] == time[start - 1]:
        start += 1
    return start


def _fold(samples: Samples, places: Places, start: int, end: int, gap: int, name: str) -> Fold:
    before, judged = places[:start], places[start:end]
    first = _first_rows(samples, places[start:])
    train = before[samples.row[before] < first[samples.series[before]] - gap]
    classes = len(np.unique(samples.y[train]))
    if len(judged) == 0 or classes < 2:
        raise InputError(
            f"{name} has {len(train)} samples of {classes} classes to train on and {len(judged)} to judge, with a gap "
            f"of {gap} rows between them; use fewer splits, shorter windows, or more data"
        )
    return Fold(train, judged)


def _first_rows(samples: Samples, later: Places) -> Places:
    """Return, for each series, its row with which the judged block begins: that of its first sample from there on."""
    first = np.full(len(samples.series_names), np.iinfo(np.int64).max)
    np.minimum.at(first, samples.series[later], samples.row[later])
    # A series without a later sample has nothing in the block that its rows could give away.
    return first
