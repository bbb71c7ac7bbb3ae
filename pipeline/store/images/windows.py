"""The window of each image: the last rows of its series that end at or before its time, never after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.store.images.series import Bars, Floats, Series
from pipeline.store.moments import Moments, moments_of
from pipeline.store.sections.series import SeriesConfig

Ints = NDArray[np.int64]
_SECONDS = {"min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AT_A_TIME = 4096


@dataclass(frozen=True)
class Windows:
    """Which rows each of N images sees: ``first`` to ``last`` (none if ``first > last``) of its series.

    Position p of a window of size T is row ``end − T + 1 + p``; rows outside ``first … last`` are missing.
    """

    bars: tuple[Bars, ...]
    features: tuple[str, ...]
    size: int
    series: Ints
    """Which of ``bars``."""
    end: Ints
    first: Ints
    last: Ints

    def __len__(self) -> int:
        """Return N."""
        return len(self.end)

    @property
    def steps(self) -> Ints:
        """How many rows of each window there are."""
        steps: Ints = np.maximum(self.last - self.first + 1, 0)
        return steps

    def take(self, rows: NDArray[np.bool_]) -> Windows:
        """Return the windows of the images ``rows``."""
        cut = (self.series[rows], self.end[rows], self.first[rows], self.last[rows])
        return Windows(self.bars, self.features, self.size, *cut)

    def seen(self, images: Ints) -> list[NDArray[np.bool_]]:
        """Tell, for each series, which of its rows occur in a window of ``images``."""
        marks = []
        for number, bars in enumerate(self.bars):
            mine = images[(self.series[images] == number) & (self.steps[images] > 0)]
            edges = np.zeros(len(bars.time) + 1, np.int64)
            np.add.at(edges, self.first[mine], 1)
            np.add.at(edges, self.last[mine] + 1, -1)
            marks.append(np.cumsum(edges)[:-1] > 0)
        return marks

    def with_gaps(self) -> list[bool]:
        """Tell, for each feature, whether a window lacks a value of it."""
        if (self.steps < self.size).any():
            return [True] * len(self.features)
        gaps = np.zeros(len(self.features), bool)
        for bars, mark in zip(self.bars, self.seen(np.arange(len(self))), strict=True):
            gaps |= np.isnan(bars.values[mark]).any(axis=0)
        return gaps.tolist()

    def scale(self, images: Ints) -> Moments:
        """Return the moments of each feature over the rows that windows of ``images`` show, each row once."""
        marks = self.seen(images)
        rows = np.concatenate([bars.values[mark] for bars, mark in zip(self.bars, marks, strict=True)])
        if len(rows) == 0:
            nothing = np.zeros(len(self.features))
            return Moments(nothing, nothing, nothing)
        return moments_of(np.ascontiguousarray(rows.T))

    def blocks(self, scale: Moments) -> Iterator[NDArray[np.float32]]:
        """Yield the standardised windows in blocks: n × T × F, NaN where a row or a cell is missing."""
        scaled = [(bars.values - scale.mean) / scale.std for bars in self.bars]
        for start in range(0, len(self), _AT_A_TIME):
            yield self._block(scaled, slice(start, start + _AT_A_TIME))

    def _block(self, scaled: list[Floats], part: slice) -> NDArray[np.float32]:
        rows = self.end[part, None] + np.arange(1 - self.size, 1)
        valid = (rows >= self.first[part, None]) & (rows <= self.last[part, None])
        block = np.full((*rows.shape, len(self.features)), np.nan, np.float32)
        for number, values in enumerate(scaled):
            chosen = valid & (self.series[part, None] == number)
            block[chosen] = values[rows[chosen]]
        return block


def seconds(duration: str | None) -> int | None:
    """Return the seconds of a text such as ``15min`` or ``3d``."""
    if duration is None:
        return None
    number, unit = re.fullmatch(r"(\d+) ?(\w+)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _SECONDS[unit]


def align(series: Series, config: SeriesConfig, time: Ints, group: NDArray[np.str_]) -> Windows:
    """Find the window of each of N images at ``time`` (microseconds of UTC) of the data sets ``group``.

    Raises:
        InputError: no image has a row of its series in its window, or all rows are of times before the first image.
    """
    unique = tuple({id(bars): bars for bars in series.of.values()}.values())
    number_of = {id(bars): number for number, bars in enumerate(unique)}
    which, end, first, last = (np.zeros(len(time), np.int64) for _ in range(4))
    for name, bars in series.of.items():
        mine = np.flatnonzero(group == name)
        which[mine] = number_of[id(bars)]
        end[mine], first[mine], last[mine] = _window(bars, config, time[mine])
    windows = Windows(unique, series.features, config.window_size, which, end, first, last)
    if not (windows.steps > 0).any():
        stamps = [np.datetime64(int(moment), "us").astype("datetime64[s]") for moment in (time.min(), time.max())]
        rows = np.concatenate([bars.time for bars in unique])
        covered = [np.datetime64(int(moment), "us").astype("datetime64[s]") for moment in (rows.min(), rows.max())]
        raise InputError(
            f"store.series: no image has a row in its window: images are of {stamps[0]}Z to {stamps[1]}Z, rows of "
            f"{covered[0]}Z to {covered[1]}Z (store.series.max_age {config.max_age or 'off'})"
        )
    _refuse_all_late(windows, time)
    return windows


def _refuse_all_late(windows: Windows, time: Ints) -> None:
    """Raise ``InputError`` where images of several times would all see the last rows of series that ended before."""
    ends = np.array([bars.time[-1] for bars in windows.bars])[windows.series]
    if len(np.unique(time)) > 1 and (time > ends).all():
        last, first = (np.datetime64(int(moment), "us").astype("datetime64[s]") for moment in (ends.max(), time.min()))
        raise InputError(
            f"store.series: the rows end at {last}Z, before the first image ({first}Z), so that all images would see "
            "the same ones; add the rows of their times, or correct store.series.timezone"
        )


def _window(bars: Bars, config: SeriesConfig, time: Ints) -> tuple[Ints, Ints, Ints]:
    end = np.searchsorted(bars.time, time, side="right") - 1 + config.offset
    last = np.minimum(end, len(bars.time) - 1)
    first = np.maximum(end - config.window_size + 1, 0)
    gap, age = seconds(config.max_gap), seconds(config.max_age)
    there = last >= 0
    if gap is not None:
        breaks = np.diff(bars.time) > gap * 1_000_000
        run = np.maximum.accumulate(np.append(0, np.where(breaks, np.arange(1, len(bars.time)), 0)))
        first[there] = np.maximum(first[there], run[last[there]])
    if age is not None:
        old = there & (time - bars.time[np.maximum(last, 0)] > age * 1_000_000)
        first[old] = last[old] + 1
    return end, first, last
