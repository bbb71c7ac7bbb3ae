"""Forecasts that need no map or chart, to be beaten: everything, the season, yesterday, and season with yesterday."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, best_cut, one_hot
from pipeline.evaluate.climate import (
    Days,
    climatology,
    day_before,
    day_of_year,
    fit_transition,
    prior,
    seasons_without_own_year,
)

Flags = NDArray[np.bool_]
ALL_POSITIVE, CLIMATOLOGY, PERSISTENCE, BOTH = (
    "all_positive",
    "climatology",
    "persistence",
    "climatology_and_persistence",
)
MAJORITY = "majority"
"""Of single-label targets, instead of everything: always the class that is most frequent in training."""


@dataclass(frozen=True)
class LabelHistory:
    """All labelled days of the store, ascending, and which of them trained the model."""

    days: Days
    target: NDArray[Any]
    """M × K."""
    train: Flags
    """M."""
    single: bool = False
    """Whether each sample has exactly one class."""
    dated: bool = True
    """Whether days are real; without, only what needs no calendar is forecast."""


@dataclass(frozen=True)
class Forecast:
    """Scores (N × K, larger is likelier) and decisions (N × K) of one baseline."""

    score: Floats
    chosen: Flags


def baselines(
    history: LabelHistory, tune_days: Days, tune_target: NDArray[Any], days: Days, fallback: float
) -> dict[str, Forecast]:
    """Return the baselines for ``days``: fitted on training days, thresholds tuned on ``tune_days``.

    ``all_positive`` says yes to every class every day. ``climatology`` is the frequency of each class in training
    within 15 days of the year. ``persistence`` repeats the labels of the day before (the overall frequency where that
    day is not known). ``climatology_and_persistence`` is a logistic regression of each class on its climatology and
    on all labels of the day before. Of single-label targets the likeliest class is said, and ``majority`` takes the
    place of ``all_positive``.

    Args:
        history: labels of the store; the day before may be any day of it.
        tune_days: V validation days.
        tune_target: V × K, 0 or 1.
        days: N days to forecast.
        fallback: threshold of a class without positives among ``tune_days``.
    """
    scores = _scores(history, np.concatenate([tune_days, days])) if history.dated else {}
    forecasts = _constant(history, (len(days), tune_target.shape[1]))
    for name, score in scores.items():
        if history.single:
            inside = score[len(tune_days) :]
            forecasts[name] = Forecast(inside, one_hot(inside))
            continue
        cut = best_cut(tune_target, score[: len(tune_days)])
        threshold = np.where(np.isnan(cut.threshold), fallback, cut.threshold)
        inside = score[len(tune_days) :]
        forecasts[name] = Forecast(inside, inside >= threshold)
    return forecasts


def _constant(history: LabelHistory, shape: tuple[int, int]) -> dict[str, Forecast]:
    """Return the forecast that looks at nothing: every class, or always the most frequent one."""
    if not history.single:
        ones = np.ones(shape)
        return {ALL_POSITIVE: Forecast(ones, ones > 0)}
    frequency = np.broadcast_to(prior(history.target[history.train]), shape)
    return {MAJORITY: Forecast(frequency, one_hot(frequency))}


def _scores(history: LabelHistory, days: Days) -> dict[str, Floats]:
    past, labels = history.days[history.train], history.target[history.train]
    season = climatology(past, labels)[day_of_year(days)]
    yesterday = day_before(days, history.days, history.target)
    transition = fit_transition(
        seasons_without_own_year(past, labels), day_before(past, history.days, history.target), labels
    )
    return {
        CLIMATOLOGY: season,
        PERSISTENCE: np.where(np.isnan(yesterday), prior(labels), yesterday),
        BOTH: transition.probability(season, yesterday),
    }
