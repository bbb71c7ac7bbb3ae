"""Numbers made of the last rows of a column."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 16
_LEAST_SHARE = 0.5
_OF_ENDS = ("last", "change")
"""NaN by themselves where an end is."""


def _mean(window: Floats, known: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.where(known, window, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _std(window: Floats, known: NDArray[np.bool_]) -> Floats:
    error = np.where(known, window - _mean(window, known)[:, None], 0.0)
    return np.asarray(np.sqrt((error**2).sum(axis=1) / np.maximum(known.sum(axis=1), 1)))


def _slope(window: Floats, known: NDArray[np.bool_]) -> Floats:
    count = np.maximum(known.sum(axis=1), 1)
    place = np.arange(window.shape[1], dtype=np.float64)
    centred = np.where(known, place - ((known * place).sum(axis=1) / count)[:, None], 0.0)
    error = np.where(known, window - _mean(window, known)[:, None], 0.0)
    spread = (centred**2).sum(axis=1)
    return np.asarray(
        np.divide((centred * error).sum(axis=1), spread, out=np.full(len(window), np.nan), where=spread > 0)
    )


STATISTICS: dict[str, Callable[[Floats, NDArray[np.bool_]], Floats]] = {
    "last": lambda window, known: np.asarray(window[:, -1]),
    "mean": _mean,
    "std": _std,
    "min": lambda window, known: np.asarray(np.where(known, window, np.inf).min(axis=1)),
    "max": lambda window, known: np.asarray(np.where(known, window, -np.inf).max(axis=1)),
    "slope": _slope,
    "change": lambda window, known: np.asarray(window[:, -1] - window[:, 0]),
}
"""``mean``, ``std`` (divisor n), ``min``, ``max``, the least-squares ``slope`` a row, and last minus first value."""


def window_statistic(x: Floats, rows: int, name: str) -> Floats:
    """Return a statistic of the last ``rows`` values of every row, N values.

    NaN where fewer than half of the values are there; of ``last`` and ``change`` where an end is NaN.
    """
    result = np.full(len(x), np.nan)
    padded = np.concatenate([np.full(rows - 1, np.nan), x])
    windows = sliding_window_view(padded, rows)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        window = windows[start : start + _ROWS_AT_ONCE]
        known = ~np.isnan(window)
        enough = (known.sum(axis=1) >= _LEAST_SHARE * rows) | (name in _OF_ENDS)
        with np.errstate(invalid="ignore"):
            value = STATISTICS[name](window, known)
        result[start : start + len(window)] = np.where(enough, value, np.nan)
    return result
