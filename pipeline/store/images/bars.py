"""The number of the bar that an image ends with, so that two images can be told to share bars.

With a series, bars are its rows. Without one the calendar of the images themselves is used: the times of the week at
which any image of the data set lies (a market that closes at the weekend has no Saturday). Between two images there
are at least as many bars as such times, so nothing that overlaps is missed for want of images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.store.images.series import Bars, Series
from pipeline.store.sections.series import SeriesConfig

Ints = NDArray[np.int64]
_WEEK = 7 * 86400 * 1_000_000


def bar_numbers(time: Ints, group: NDArray[np.str_], series: Series | None) -> Ints:
    """Return the bar of each of N images at ``time`` (microseconds of UTC), counted within its data set ``group``."""
    numbers = np.zeros(len(time), np.int64)
    for name in np.unique(group).tolist():
        mine = np.flatnonzero(group == name)
        calendar = _Calendar(time[mine])
        bars = series.of[name] if series is not None else None
        numbers[mine] = calendar.number(time[mine]) if bars is None else _rows(bars, calendar, time[mine])
    return numbers


def span(image_bars: int, series: SeriesConfig | None) -> int:
    """Return how many bars one sample covers: those in the image and those in its window of the series."""
    if series is None:
        return image_bars
    first = min(1 - image_bars, series.offset + 1 - series.window_size)
    return max(0, series.offset) - first + 1


class _Calendar:
    """The times of the week at which images lie."""

    def __init__(self, time: Ints) -> None:
        self._slots = np.unique(time % _WEEK)

    def number(self, time: Ints) -> Ints:
        """Count these times from 1970 on, up to and including ``time``."""
        within = np.searchsorted(self._slots, time % _WEEK, side="right")
        return np.asarray(time // _WEEK * len(self._slots) + within, np.int64)


def _rows(bars: Bars, calendar: _Calendar, time: Ints) -> Ints:
    """Count rows of the series; before its first and after its last row the calendar goes on."""
    inside = np.clip(time, bars.time[0], bars.time[-1])
    rows = np.searchsorted(bars.time, inside, side="right") - 1
    return np.asarray(rows + calendar.number(time) - calendar.number(inside), np.int64)
