"""Which times are read together, so that memory is bounded and every compressed stretch of a raw file inflated once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.derive.series import Archive, Key
from pipeline.raw.times import Seconds

_LEAST = 24
"""A window is not cut before this many times, even where a cut costs nothing."""


def costs_of_cuts(seconds: Seconds, keys: Iterable[Key], archive: Archive) -> NDArray[np.int64]:
    """Return for each time how many series would be inflated twice if a window began with it."""
    costs = np.zeros(len(seconds), np.int64)
    for key in keys:
        stretches = archive.series[key].stretches(seconds)
        costs[1:] += (stretches[1:] == stretches[:-1]) & (stretches[1:] >= 0)
    return costs


def plan_windows(costs: NDArray[np.int64], most: int) -> list[slice]:
    """Divide times into windows of at most ``most``, cut where that costs least.

    A cut that costs nothing is taken as soon as the window is worth its while; otherwise the cheapest one that memory
    allows, the last of several.
    """
    windows: list[slice] = []
    start, count = 0, len(costs)
    while start < count:
        limit = min(start + max(most, 1), count)
        ends = np.arange(start + 1, limit + 1)
        prices = np.append(costs, 0)[ends]
        free = ends[(prices == 0) & (ends >= start + _LEAST)]
        end = int(free[0]) if len(free) else int(ends[::-1][np.argmin(prices[::-1])])
        windows.append(slice(start, end))
        start = end
    return windows


def independent(costs: NDArray[np.int64], sizes: Sequence[int]) -> list[slice]:
    """Group consecutive months of ``sizes`` times into units that share no compressed stretch."""
    firsts = np.cumsum([0, *sizes[:-1]])
    cuts = [number for number, first in enumerate(firsts.tolist()) if number == 0 or costs[first] == 0]
    return [slice(start, end) for start, end in zip(cuts, [*cuts[1:], len(sizes)], strict=True)]
