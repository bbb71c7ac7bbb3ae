"""What labels alone can tell of a day: its season, and the day before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, logit, sigmoid

Days = NDArray[np.datetime64]
_YEAR = 366
_FIRST_OF_MONTH = np.cumsum([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30])


def day_of_year(days: Days) -> NDArray[np.int64]:
    """Return 0…365 counted in a leap year, so that a date has the same number every year."""
    months = days.astype("datetime64[M]")
    return np.asarray(_FIRST_OF_MONTH[months.astype(np.int64) % 12] + (days - months).astype(np.int64))


def year_of(days: Days) -> NDArray[np.int64]:
    """Return the calendar year of each day."""
    return days.astype("datetime64[Y]").astype(np.int64) + 1970


def climatology(days: Days, target: NDArray[Any], window: int = 15) -> Floats:
    """Return the frequency of each class around each day of the year, 366 × K.

    The mean over all ``days`` at most ``window`` days of the year away (around the turn of the year), with one day of
    the overall frequency added, so that it is never 0 for a class that occurs and a gap in the year has an answer.

    Args:
        days: N dates, in any order.
        target: N × K, 0 or 1.
        window: days each side.
    """
    number = day_of_year(days)
    sums = np.zeros((_YEAR, target.shape[1] + 1))
    np.add.at(sums, number, np.column_stack([np.ones(len(days)), target > 0]))
    around = np.concatenate([sums[_YEAR - window :], sums, sums[:window]])
    total = np.cumsum(np.concatenate([np.zeros((1, sums.shape[1])), around]), axis=0)
    inside = total[2 * window + 1 :] - total[: -2 * window - 1]
    return np.asarray((inside[:, 1:] + prior(target)) / (inside[:, :1] + 1.0))


def prior(target: NDArray[Any]) -> Floats:
    """Return the frequency of each class, K values."""
    return np.asarray((target > 0).mean(axis=0, dtype=np.float64))


def seasons_without_own_year(days: Days, target: NDArray[Any]) -> Floats:
    """Return for each day the climatology of the other years (of all, if there is one year only), N × K.

    A model that learns how far to trust a climatology must not see one that contains the day itself and its neighbours.
    """
    years, number = year_of(days), day_of_year(days)
    frequency = climatology(days, target)[number]
    distinct = np.unique(years)
    for year in distinct if len(distinct) > 1 else []:
        own = years == year
        frequency[own] = climatology(days[~own], target[~own])[number[own]]
    return frequency


def day_before(days: Days, known_days: Days, known: NDArray[Any]) -> Floats:
    """Return the labels of the day before each of ``days``, N × K; NaN where that day is not known.

    Args:
        days: N dates.
        known_days: M dates, ascending.
        known: M × K, 0 or 1.
    """
    before = days - np.timedelta64(1, "D")
    place = np.minimum(np.searchsorted(known_days, before), len(known_days) - 1)
    found = known_days[place] == before
    return np.where(found[:, None], (known[place] > 0).astype(np.float64), np.nan)


@dataclass(frozen=True)
class Transition:
    """P(class today | season, labels of yesterday): a logistic regression around the climatology."""

    weights: Floats
    """F × K: constant, log odds of the climatology, yesterday's K labels."""

    def probability(self, season: Floats, yesterday: Floats) -> Floats:
        """Return N × K probabilities; the climatology where yesterday is not known.

        Args:
            season: N × K frequencies.
            yesterday: N × K labels, NaN where unknown.
        """
        known = ~np.isnan(yesterday).any(axis=1)
        odds = _odds(season)
        shift = np.einsum("nfk,fk->nk", _features(odds[known], yesterday[known]), self.weights)
        odds[known] += shift
        return sigmoid(odds)


def fit_transition(season: Floats, yesterday: Floats, target: NDArray[Any], ridge: float = 1.0) -> Transition:
    """Fit how far yesterday's labels move each class from its climatology (Newton's method on the log loss).

    The penalty ``ridge/2 · |weights|²`` draws toward the climatology itself.

    Args:
        season: N × K frequencies.
        yesterday: N × K labels, NaN where unknown; such days are left out.
        target: N × K, 0 or 1.
        ridge: strength of the penalty.
    """
    known = ~np.isnan(yesterday).any(axis=1)
    odds, truth = _odds(season[known]), (target[known] > 0).astype(np.float64)
    features = _features(odds, yesterday[known])
    weights = np.zeros((features.shape[1], target.shape[1]))
    for k in range(target.shape[1]):
        weights[:, k] = _logistic(features[:, :, k], odds[:, k], truth[:, k], ridge)
    return Transition(weights)


def _odds(frequency: Floats) -> Floats:
    return logit(np.clip(frequency, 1e-6, 1 - 1e-6))


def _features(odds: Floats, yesterday: Floats) -> Floats:
    """Return N × F × K: for each class the constant, its own log odds, and all of yesterday's labels."""
    days, classes = odds.shape
    labels = np.broadcast_to(yesterday[:, :, None], (days, classes, classes))
    return np.concatenate([np.ones((days, 1, classes)), odds[:, None, :], labels], axis=1)


def _logistic(x: Floats, offset: Floats, truth: Floats, ridge: float, iterations: int = 50) -> Floats:
    weights = np.zeros(x.shape[1])
    for _ in range(iterations):
        p = sigmoid(x @ weights + offset)
        slope = x.T @ (p - truth) + ridge * weights
        second = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
        step = np.linalg.solve(second, slope)
        # A step longer than this can only come from the flat ends of the sigmoid; shortened, it still goes down.
        weights -= step / max(1.0, float(np.abs(step).max()) / 3.0)
        if np.abs(step).max() < 1e-8:
            break
    return weights
