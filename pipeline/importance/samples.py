"""Samples: the class of a row, and what LightGBM may know of it, rows of all series in one order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.times import read_time, zone
from pipeline.importance.columns import Column, candidate_columns
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.indicators import lagged
from pipeline.importance.labels import Texts, class_names, row_classes
from pipeline.importance.series import Series, read_series
from pipeline.importance.sheet import microseconds
from pipeline.importance.windows import window_statistic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """N samples in order of time, with M inputs made of C columns."""

    x: Floats
    """N × M; NaN where too few rows came before."""
    y: Ints
    """N class numbers."""
    time: Ints
    """N, microseconds of UTC, of the row whose class it is."""
    series: Ints
    """N numbers of the series."""
    row: Ints
    """N places of the sample's row in its series."""
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    derived: tuple[bool, ...]
    """C, whether the column is an indicator."""
    inputs: tuple[str, ...]
    """M, ``{column}.{statistic}``."""
    owner: Ints
    """M, the column that an input is made of."""
    series_names: tuple[str, ...]
    span: int
    """Rows that the inputs of a sample are made of, at most."""

    def of_columns(self, columns: Sequence[int]) -> Samples:
        """Return the same samples with the inputs of these columns only."""
        kept = np.isin(self.owner, list(columns))
        inputs = tuple(name for name, keep in zip(self.inputs, kept, strict=True) if keep)
        return replace(self, x=self.x[:, kept], inputs=inputs, owner=self.owner[kept])


@dataclass(frozen=True)
class Table:
    """The candidate columns of a series, R × C, for the CSV file that a store can read."""

    name: str
    time: Ints
    values: Floats


def load_samples(config: ImportanceConfig, home: Path) -> tuple[Samples, list[Table]]:
    """Read the data, compute the candidate columns and their window statistics, and attach the classes.

    Raises:
        InputError: the data or the labels are not as they must be, or too few rows have a label.
    """
    series = read_series(config, home)
    texts = row_classes(config, home, series)
    classes = class_names(config, texts)
    candidates = [candidate_columns(config.features, one) for one in series]
    statistics: list[str] = ["last"] if config.features.window == 1 else [*config.features.statistics]
    parts = [
        _part(config, statistics, number, *each, classes)
        for number, each in enumerate(zip(series, candidates, texts, strict=True))
    ]
    x, y, time, owner, row = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if len(y) < 10 * (config.validation.splits + 2):
        raise InputError(
            f"labels: {len(y)} rows have a class and {config.validation.splits} folds are asked for; that takes at "
            f"least {10 * (config.validation.splits + 2)}"
        )
    order = np.lexsort((owner, time))
    columns = candidates[0]
    samples = Samples(
        x[order],
        y[order],
        time[order],
        owner[order],
        row[order],
        classes,
        tuple(column.name for column in columns),
        tuple(column.derived for column in columns),
        tuple(f"{column.name}.{name}" for column in columns for name in statistics),
        np.repeat(np.arange(len(columns)), len(statistics)),
        tuple(one.name for one in series),
        max(column.rows for column in columns) + config.features.window - 1,
    )
    tables = [
        Table(one.name, one.time, np.column_stack([column.values for column in found]))
        for one, found in zip(series, candidates, strict=True)
    ]
    return samples, tables


def _until(config: ImportanceConfig) -> int:
    """Return the moment from which on nothing is looked at."""
    text = config.data.until
    time = read_time(text) if text else None
    if text and time is None:
        raise InputError(f"data.until: {text!r}; expected a date, or date and time, such as 2024-01-31 09:15")
    return microseconds(time, zone(config.data.timezone, "data.timezone")) if time else np.iinfo(np.int64).max


def _part(
    config: ImportanceConfig,
    statistics: list[str],
    number: int,
    series: Series,
    columns: list[Column],
    texts: Texts,
    classes: tuple[str, ...],
) -> tuple[Floats, Ints, Ints, Ints, Ints]:
    """Return inputs, classes, times, series number and rows of the samples of one series."""
    place = {name: number for number, name in enumerate(classes)}
    y = np.array([place.get(text, -1) for text in texts.tolist()], np.int64)
    known_until, window = -config.labels.known_offset, config.features.window
    row = np.flatnonzero(y >= 0)
    row = row[row >= known_until]
    needed = np.minimum(row + config.labels.horizon, len(series.time) - 1)
    row = row[series.time[needed] < _until(config)]
    inputs = [
        lagged(window_statistic(column.values, window, name), known_until)[row]
        for column in columns
        for name in statistics
    ]
    x = np.column_stack(inputs)
    return x, y[row], series.time[row], np.full(len(row), number, np.int64), row
