"""Indicators of price series in numpy: the value of a row depends on that row and earlier ones, never on later ones.

Arrays are of N rows in order of time. NaN stands where too few rows came before, and where a row that is needed is NaN.
Averages with memory (:func:`ema`, :func:`wilder`) pass over NaN: the row is NaN and the average goes on after it.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DAY = 86_400_000_000
"""Microseconds."""


def lagged(x: Floats, rows: int) -> Floats:
    """Return ``x[t − rows]``; NaN in the first rows."""
    moved = np.full(len(x), np.nan)
    if rows < len(x):
        moved[rows:] = x[: len(x) - rows]
    return moved


def _rolling(x: Floats, rows: int) -> Floats:
    """Return the last ``rows`` values of every row that has them, (N − rows + 1) × rows."""
    return sliding_window_view(x, rows) if rows <= len(x) else np.empty((0, rows))


def _from(values: Floats, rows: int) -> Floats:
    """Put values that begin at some row at the end of N ``rows``; NaN before them."""
    return np.concatenate([np.full(rows - len(values), np.nan), values])


def _ratio(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    """Return ``above / below``; ``otherwise`` where ``below`` is 0 and NaN where either is NaN."""
    known = ~(np.isnan(above) | np.isnan(below))
    result = np.where(known, otherwise, np.nan)
    return np.divide(above, below, out=result, where=known & (below != 0))


def log_return(x: Floats, rows: int) -> Floats:
    """Return ``ln(x[t] / x[t − rows])``; NaN where either is not above 0 (Campbell, Lo & MacKinlay 1997, eq. 1.4.5)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(x > 0, np.log(x), np.nan)
    return log - lagged(log, rows)


def change(x: Floats, rows: int) -> Floats:
    """Return ``x[t] − x[t − rows]``."""
    return x - lagged(x, rows)


def sma(x: Floats, rows: int) -> Floats:
    """Return the mean of the last ``rows`` values (simple moving average)."""
    return _from(_rolling(x, rows).mean(axis=1), len(x))


def rolling_std(x: Floats, rows: int) -> Floats:
    """Return the population standard deviation (divisor n) of the last ``rows`` values."""
    return _from(_rolling(x, rows).std(axis=1), len(x))


def _smoothed(x: Floats, rows: int, weight: float) -> Floats:
    """Return ``s[t] = s[t−1] + weight (x[t] − s[t−1])``, begun with the mean of the first ``rows`` values."""
    result = np.full(len(x), np.nan)
    known = np.flatnonzero(~np.isnan(x))
    if len(known) < rows:
        return result
    values = x[known].tolist()
    state = sum(values[:rows]) / rows
    course = [state]
    for value in values[rows:]:
        state += weight * (value - state)
        course.append(state)
    result[known[rows - 1 :]] = course
    return result


def ema(x: Floats, rows: int) -> Floats:
    """Return the exponential moving average with weight ``2 / (rows + 1)``, begun with a simple average of ``rows``.

    The form of Appel (2005) and of TA-Lib.
    """
    return _smoothed(x, rows, 2 / (rows + 1))


def wilder(x: Floats, rows: int) -> Floats:
    """Return Wilder's average, ``s[t] = ((rows − 1) s[t−1] + x[t]) / rows`` (Wilder 1978)."""
    return _smoothed(x, rows, 1 / rows)


def average_form(x: Floats, average: Floats, form: str) -> Floats:
    """Return ``x / average − 1`` (``ratio``), ``x − average`` (``difference``) or the average (``level``)."""
    if form == "ratio":
        return _ratio(x, average) - 1
    return x - average if form == "difference" else average


def volatility(x: Floats, rows: int) -> Floats:
    """Return the standard deviation of the last ``rows`` logarithmic returns of one row."""
    return rolling_std(log_return(x, 1), rows)


def rsi(x: Floats, rows: int) -> Floats:
    """Return the relative strength index, ``100 U / (U + D)`` with Wilder's averages of gains U and losses D.

    The same as ``100 − 100 / (1 + U/D)`` (Wilder 1978, section VI); 50 where neither rose nor fell.
    """
    step = change(x, 1)
    gain, loss = wilder(np.maximum(step, 0), rows), wilder(np.maximum(-step, 0), rows)
    return 100 * _ratio(gain, gain + loss, 0.5)


def macd(close: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats]:
    """Return line and histogram: ``L = EMA_fast − EMA_slow`` and ``L − EMA_signal(L)``, both over the close.

    Appel (2005), divided by the close so that values of different times are comparable.
    """
    line = ema(close, fast) - ema(close, slow)
    return _ratio(line, close), _ratio(line - ema(line, signal), close)


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return ``max(H − L, |H − C[t−1]|, |L − C[t−1]|)`` (Wilder 1978, section III)."""
    before = lagged(close, 1)
    return np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))


def atr(high: Floats, low: Floats, close: Floats, rows: int) -> Floats:
    """Return Wilder's average of the true range, over the close."""
    return _ratio(wilder(true_range(high, low, close), rows), close)


def bollinger(x: Floats, rows: int, width: float) -> tuple[Floats, Floats]:
    """Return ``%b = (x − lower) / (upper − lower)`` and bandwidth ``(upper − lower) / middle``.

    Bands lie ``width`` population standard deviations from the simple average (Bollinger 2001, chapters 7 and 8); %b is
    0.5 where all values are equal.
    """
    middle, spread = sma(x, rows), rolling_std(x, rows)
    return _ratio(x - middle + width * spread, 2 * width * spread, 0.5), _ratio(2 * width * spread, middle)


def stochastic(high: Floats, low: Floats, close: Floats, k: int, d: int) -> tuple[Floats, Floats]:
    """Return ``%K = 100 (C − L_k) / (H_k − L_k)`` and %D, its simple average of ``d`` rows (Lane 1984).

    ``H_k`` and ``L_k`` are the highest high and lowest low of the last ``k`` rows; %K is 50 where they are equal.
    """
    highest = _from(_rolling(high, k).max(axis=1), len(high))
    lowest = _from(_rolling(low, k).min(axis=1), len(low))
    percent = 100 * _ratio(close - lowest, highest - lowest, 0.5)
    return percent, sma(percent, d)


def relative_volume(volume: Floats, rows: int) -> Floats:
    """Return ``v / SMA(v) − 1``; NaN where nothing was traded in all ``rows``."""
    return _ratio(volume, sma(volume, rows)) - 1


def cycle(local: NDArray[np.int64], length: str) -> tuple[Floats, Floats]:
    """Return sine and cosine of the place in the ``day``, ``week`` (from Monday) or ``year`` (of 365 or 366 days).

    Args:
        local: microseconds since 1970 on the clock that is meant.
        length: the cycle.
    """
    if length == "year":
        moments = local.astype("datetime64[us]")
        start = moments.astype("datetime64[Y]")
        part = (moments - start.astype("datetime64[us]")) / ((start + 1).astype("datetime64[us]") - start)
    else:
        # 1 January 1970 was a Thursday.
        part = (local + 3 * DAY) % (7 * DAY) / (7 * DAY) if length == "week" else local % DAY / DAY
    return np.sin(2 * np.pi * part), np.cos(2 * np.pi * part)
