"""Baselines, and the one look at the last block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import f_score, macro
from pipeline.importance.boosting import Machine, Params, defaults, fold_models, log_loss, macro_f1, probabilities
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.folds import Fold
from pipeline.importance.null import shuffled
from pipeline.importance.samples import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_RESAMPLES = 999
_LEAST_BLOCKS = 4


def baselines(config: ImportanceConfig, samples: Samples, fold: Fold) -> dict[str, float]:
    """Return the macro-F1 on the judged block of the most frequent class before it, and of the class last known.

    ``persistence`` says the class of the newest earlier sample of the series whose label is known by then.
    """
    count = len(samples.classes)
    majority = np.full(len(fold.judged), np.bincount(samples.y[fold.train], minlength=count).argmax())
    lag = max(1, config.labels.horizon - config.labels.known_offset)
    kept = majority.copy()
    for number in range(len(samples.series_names)):
        own = np.flatnonzero(samples.series == number)
        here = np.flatnonzero(samples.series[fold.judged] == number)
        place = np.searchsorted(samples.row[own], samples.row[fold.judged[here]] - lag, side="right") - 1
        known = place >= 0
        kept[here[known]] = samples.y[own[place[known]]]
    truth = samples.y[fold.judged]
    said = {"majority": majority, "persistence": kept}
    return {name: macro_f1(truth, np.eye(count)[answer]) for name, answer in said.items()}


def judge_test(
    config: ImportanceConfig,
    samples: Samples,
    test: Fold,
    machine: Machine,
    params: Params,
    selected: Sequence[int],
    block: int,
) -> dict[str, Any]:
    """Train on everything before the last block but the gap, and judge that block: JSON values.

    The interval resamples blocks of ``block`` samples with replacement; the p-value exchanges blocks of true classes
    under the forecasts. Both are ``None`` where the test has fewer than four blocks. ``macro_f1_selected`` is the score
    of a model that knows the selected columns only, ``macro_f1_of_config`` that of the parameters before the search.
    """
    model = fold_models(samples, (test,), machine, samples.y, (params,))[0]
    truth = samples.y[test.judged]
    probability = probabilities(model, samples.x[test.judged], machine)
    said = probability.argmax(axis=1)
    numbers = np.arange(len(samples.classes))
    score = macro_f1(truth, probability)
    enough = len(truth) >= _LEAST_BLOCKS * block
    series = samples.series[test.judged]
    few = samples.of_columns(selected)
    return {
        "trained": len(test.train),
        "samples": len(truth),
        "macro_f1": score,
        "macro_f1_selected": fold_scores(few, (test,), machine, (params,))[0] if selected else None,
        "macro_f1_of_config": fold_scores(samples, (test,), machine, (defaults(config.lightgbm),))[0],
        "interval_95": _interval(truth, said, block, len(numbers), config.seed) if enough else None,
        "p_value": _p_value(truth, series, said, score, block, len(numbers), config.seed) if enough else None,
        "block": block,
        "accuracy": float((said == truth).mean()),
        "log_loss": log_loss(truth, probability),
        "f1": f_score(truth[:, None] == numbers, said[:, None] == numbers),
        "confusion": np.bincount(truth * len(numbers) + said, minlength=len(numbers) ** 2).reshape(len(numbers), -1),
        "baselines": baselines(config, samples, test),
    }


def fold_scores(samples: Samples, folds: Sequence[Fold], machine: Machine, params: Sequence[Params]) -> list[float]:
    """Return the macro-F1 on each judged block of a model trained before it."""
    models = fold_models(samples, folds, machine, samples.y, params)
    return [
        macro_f1(samples.y[fold.judged], probabilities(model, samples.x[fold.judged], machine))
        for fold, model in zip(folds, models, strict=True)
    ]


def _score(truth: Ints, said: Ints, classes: int) -> float:
    numbers = np.arange(classes)
    return macro(f_score(truth[:, None] == numbers, said[:, None] == numbers))


def _interval(truth: Ints, said: Ints, block: int, classes: int, seed: int) -> list[float]:
    random = np.random.default_rng([seed, 11])
    count = -(-len(truth) // block)
    scores = []
    for _ in range(_RESAMPLES):
        starts = random.integers(len(truth) - block + 1, size=count)
        places = (starts[:, None] + np.arange(block)).ravel()[: len(truth)]
        scores.append(_score(truth[places], said[places], classes))
    return [float(value) for value in np.quantile(scores, (0.025, 0.975))]


def _p_value(truth: Ints, series: Ints, said: Ints, score: float, block: int, classes: int, seed: int) -> float:
    random = np.random.default_rng([seed, 13])
    reached = sum(_score(shuffled(truth, series, block, random), said, classes) >= score for _ in range(_RESAMPLES))
    return (1 + reached) / (1 + _RESAMPLES)
