"""Four forecasts that need no map, to be beaten: everything, the season, yesterday, and season with yesterday."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, best_cut
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


@dataclass(frozen=True)
class LabelHistory:
    """All labelled days of the store, ascending, and which of them trained the model."""

    days: Days
    target: NDArray[Any]
    """M × K."""
    train: Flags
    """M."""


@dataclass(frozen=True)
class Forecast:
    """Scores (N × K, larger is likelier) and decisions (N × K) of one baseline."""

    score: Floats
    chosen: Flags


def baselines(
    history: LabelHistory, tune_days: Days, tune_target: NDArray[Any], days: Days, fallback: float
) -> dict[str, Forecast]:
    """Return the four baselines for ``days``: fitted on training days, thresholds tuned on ``tune_days``.

    ``all_positive`` says yes to every class every day. ``climatology`` is the frequency of each class in training
    within 15 days of the year. ``persistence`` repeats the labels of the day before (the overall frequency where that
    day is not known). ``climatology_and_persistence`` is a logistic regression of each class on its climatology and
    on all labels of the day before.

    Args:
        history: labels of the store; the day before may be any day of it.
        tune_days: V validation days.
        tune_target: V × K, 0 or 1.
        days: N days to forecast.
        fallback: threshold of a class without positives among ``tune_days``.
    """
    scores = _scores(history, np.concatenate([tune_days, days]))
    ones = np.ones((len(days), tune_target.shape[1]))
    forecasts = {ALL_POSITIVE: Forecast(ones, ones > 0)}
    for name, score in scores.items():
        cut = best_cut(tune_target, score[: len(tune_days)])
        threshold = np.where(np.isnan(cut.threshold), fallback, cut.threshold)
        inside = score[len(tune_days) :]
        forecasts[name] = Forecast(inside, inside >= threshold)
    return forecasts


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
