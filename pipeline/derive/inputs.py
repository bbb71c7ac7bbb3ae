"""Raw values in memory, a window of times at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.derive.recipe import Need, Values
from pipeline.derive.series import Archive, Key, Series
from pipeline.derive.windows import costs_of_cuts, plan_windows
from pipeline.raw.memory import blank
from pipeline.raw.times import Seconds

_HOUR = 3600
_BLOCK_BYTES = 1 << 20
"""One field of a block: with its ingredients it stays in the processor's cache."""


class Inputs:
    """The raw values that some needs take over the times of consecutive months."""

    def __init__(self, archive: Archive, needs: Sequence[Need], seconds: Seconds, memory: float) -> None:
        """Plan the reading of ``needs`` at ``seconds`` (ascending) with at most ``memory`` bytes in memory."""
        self._archive, self._seconds = archive, seconds
        self._before: dict[Key, list[int]] = {}
        for need in needs:
            self._before.setdefault(need.key, []).append(need.hours_before * _HOUR)
        cell = 4 * archive.grid.shape[0] * archive.grid.shape[1]
        costs = costs_of_cuts(seconds, self._before, archive)
        # One series is in memory twice while it is put together.
        self._windows = plan_windows(costs, int(memory / cell / (len(self._before) + 1)))
        self._most = max(1, _BLOCK_BYTES // cell)
        self._times: dict[Key, Seconds] = {}
        self._values: dict[Key, Values] = {}
        self._loaded = slice(0, 0)

    def blocks(self, seconds: Seconds) -> Iterator[slice]:
        """Yield parts of ``seconds`` (a month of those planned) to compute at once; each one's values are loaded.

        The parts depend on nothing but the month and the grid, so that its file has the same bytes whatever windows
        are read. A part that begins in one window and ends in the next takes its first times along.
        """
        start = int(np.searchsorted(self._seconds, seconds[0]))
        for first in range(0, len(seconds), self._most):
            block = slice(first, min(first + self._most, len(seconds)))
            self._load(start + block.start, start + block.stop)
            yield block

    def of(self, need: Need, seconds: Seconds) -> Values:
        """Return time × latitude × longitude of ``need`` at ``seconds`` of a block, NaN where its time is absent."""
        places = np.searchsorted(self._times[need.key], seconds - need.hours_before * _HOUR)
        values = self._values[need.key]
        if places[-1] - places[0] + 1 == len(places):
            return values[places[0] : places[-1] + 1]
        return values[places]

    def _load(self, start: int, stop: int) -> None:
        """Have the times from number ``start`` to ``stop`` in memory.

        A window is read in place of the one before; of that one only what is needed again stays.
        """
        if self._loaded.start <= start and stop <= self._loaded.stop:
            return
        window = next(window for window in self._windows if stop <= window.stop)
        self._loaded = slice(min(start, window.start), window.stop)
        seconds = self._seconds[self._loaded]
        wanted = {
            key: np.unique(np.concatenate([seconds - shift for shift in before]))
            for key, before in self._before.items()
        }
        old = {key: self._still_needed(key, times) for key, times in wanted.items()}
        self._times, self._values = wanted, {}
        for key, times in wanted.items():
            self._values[key] = _completed(self._archive.series[key], times, *old[key])

    def _still_needed(self, key: Key, times: Seconds) -> tuple[Seconds, Values | None]:
        """Return those of ``times`` that are in memory, and a copy of their values; the rest is dropped."""
        there = self._times.get(key, times[:0])
        kept = np.flatnonzero(np.isin(there, times))
        values = self._values.pop(key, None)
        return there[kept], values[kept] if values is not None and len(kept) else None


def _completed(series: Series, times: Seconds, kept: Seconds, old: Values | None) -> Values:
    """Return the values at ``times``, those at ``kept`` from ``old``, the others read."""
    if old is None:
        return series.read(times)
    fresh = ~np.isin(times, kept)
    if not fresh.any():
        return old
    new = series.read(times[fresh])
    values = blank((len(times), *new.shape[1:]))
    values[~fresh] = old
    values[fresh] = new
    return values
