"""Judge one split of a run: every score of the model, of the four baselines, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import Decisions, Predictions
from pipeline.contract.scores import (
    Floats,
    average_precision,
    brier,
    calibration_error,
    f_score,
    log_loss,
    log_loss_of,
    macro,
    one_hot,
)
from pipeline.evaluate.baselines import Forecast
from pipeline.evaluate.bootstrap import Draws, ap_resamples, draw, f1_resamples, interval, macro_resamples
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.metrics import Flags, by_kind, classification_report, day_scores, micro_f1
from pipeline.evaluate.subscores import subscores

COMPARED = ("map", "macro_f1", "macro_f1_excluding", "micro_f1")


@dataclass(frozen=True)
class Case:
    """One split with the model's forecast of it."""

    predictions: Predictions
    target: Flags
    score: Floats
    """N × K: ranks the samples of each class; logits where classes are judged by themselves, else probabilities."""
    raw: Floats
    """N × K: probabilities as the network gives them."""
    probability: Floats
    """N × K: calibrated."""
    chosen: Flags
    counted: Flags
    """K: classes that are not excluded from ``macro_f1_excluding``."""

    @property
    def model(self) -> Forecast:
        """The model in the form the baselines have."""
        return Forecast(self.score, self.chosen)

    @property
    def untuned(self) -> Flags:
        """N × K decisions without calibration and thresholds: each class at 0.5, or the likeliest."""
        return one_hot(self.raw) if self.predictions.single else self.raw > 0.5


def make_case(predictions: Predictions, decisions: Decisions, exclude: list[str]) -> Case:
    """Apply calibration and thresholds to the logits of a split."""
    probability, raw = decisions.probabilities(predictions.logits), decisions.raw(predictions.logits)
    return Case(
        predictions=predictions,
        target=predictions.target > 0,
        score=raw if predictions.single else np.asarray(predictions.logits, np.float64),
        raw=raw,
        probability=probability,
        chosen=decisions.choose(probability),
        counted=~np.isin(predictions.classes, exclude),
    )


def judge(
    case: Case, decisions: Decisions, baselines: dict[str, Forecast], config: EvaluateConfig, trained: NDArray[Any]
) -> dict[str, Any]:
    """Return the scores of one split as JSON values; ``None`` stands for what could not be measured.

    Args:
        case: the split.
        decisions: calibration and thresholds.
        baselines: what else could have been said.
        config: the settings.
        trained: K, on how many training samples each class occurs.
    """
    block = config.block_days if case.predictions.dated else 1
    draws = draw(case.predictions.days, block, config.bootstrap, config.seed)
    model, others = compared(case, case.model), {name: compared(case, value) for name, value in baselines.items()}
    best = {key: max(others, key=lambda name: _known(others[name][key])) for key in COMPARED}
    return {
        **_occurrence(case, config.exclude),
        "classification_report": classification_report(case.target, case.chosen, case.predictions.labels),
        "scores": {**model, **_other_scores(case)},
        "per_class": _per_class(case, decisions),
        "kinds": by_kind(case.target, case.chosen, case.score, case.predictions.kinds),
        "baselines": {name: {**scores, **_baseline_classes(case, baselines[name])} for name, scores in others.items()},
        "best_baseline": best,
        "uplift": {key: model[key] - others[best[key]][key] for key in COMPARED},
        "intervals": _intervals(case, baselines, best, config, draws),
        "subscores": subscores(case.predictions, case.chosen, case.score, trained, draws, config.confidence),
    }


def compared(case: Case, forecast: Forecast) -> dict[str, float]:
    """Return the scores that model and baselines share."""
    f1, precision = class_scores(case, forecast)
    return {
        "map": macro(precision),
        "macro_f1": macro(f1),
        "macro_f1_excluding": macro(f1[case.counted]),
        "micro_f1": micro_f1(case.target, forecast.chosen),
    }


def class_scores(case: Case, forecast: Forecast) -> tuple[Floats, Floats]:
    """Return F1 and average precision of each class, K values each."""
    return f_score(case.target, forecast.chosen), average_precision(case.target, forecast.score)


def _known(value: float) -> float:
    return -1.0 if np.isnan(value) else value


def _occurrence(case: Case, exclude: list[str]) -> dict[str, Any]:
    support = case.target.sum(axis=0)
    return {
        "labels": case.predictions.labels,
        "support": support,
        "absent": case.predictions.classes[support == 0],
        "excluded": exclude,
    }


def _other_scores(case: Case) -> dict[str, float]:
    raw, untuned = case.raw, case.untuned
    days = day_scores(case.target, case.chosen)
    accuracy = {"accuracy": days["subset_accuracy"]} if case.predictions.single else {}
    return {
        **accuracy,
        "macro_f1_at_half": macro(f_score(case.target, untuned)),
        "micro_f1_at_half": micro_f1(case.target, untuned),
        **days,
        "brier": float(brier(case.target, case.probability).mean()),
        "brier_before_calibration": float(brier(case.target, raw).mean()),
        "ece": float(calibration_error(case.target, case.probability).mean()),
        "ece_before_calibration": float(calibration_error(case.target, raw).mean()),
    }


def _per_class(case: Case, decisions: Decisions) -> dict[str, Any]:
    raw = case.raw
    losses = _log_losses(case, decisions)
    return {
        "threshold": decisions.thresholds,
        "threshold_is_fallback": decisions.fallback,
        "prevalence": case.target.mean(axis=0),
        "average_precision": average_precision(case.target, case.score),
        "f1_at_half": f_score(case.target, case.untuned),
        "brier": brier(case.target, case.probability),
        "brier_before_calibration": brier(case.target, raw),
        "ece": calibration_error(case.target, case.probability),
        "ece_before_calibration": calibration_error(case.target, raw),
        "log_loss": losses[0],
        "log_loss_before_calibration": losses[1],
    }


def _log_losses(case: Case, decisions: Decisions) -> tuple[Floats, Floats]:
    """Return the log loss of each class after and before calibration."""
    if case.predictions.single:
        return log_loss_of(case.target, case.probability), log_loss_of(case.target, case.raw)
    return log_loss(case.target, case.score * decisions.a + decisions.b), log_loss(case.target, case.score)


def _baseline_classes(case: Case, forecast: Forecast) -> dict[str, Any]:
    return {
        "average_precision": average_precision(case.target, forecast.score),
        "f1": f_score(case.target, forecast.chosen),
    }


def _intervals(
    case: Case, baselines: dict[str, Forecast], best: dict[str, str], config: EvaluateConfig, draws: Draws | None
) -> dict[str, Any]:
    """Return percentile intervals of the scores, and of the uplift over the best baseline on the same resamples."""
    block = config.block_days if case.predictions.dated else 1
    method = {"confidence": config.confidence, "resamples": config.bootstrap, "block_days": block}
    if draws is None:
        return method | {"resamples": 0}

    def resample(forecast: Forecast) -> tuple[dict[str, Floats], Floats, Floats]:
        f1, micro = f1_resamples(draws, case.target, forecast.chosen)
        precision = ap_resamples(draws, case.target, forecast.score)
        f1_all, precision_all = class_scores(case, forecast)
        excluding = macro_resamples(f1, f1_all, case.counted)
        values = (macro_resamples(precision, precision_all), macro_resamples(f1, f1_all), excluding, micro)
        return dict(zip(COMPARED, values, strict=True)), f1, precision

    scores, f1, precision = resample(case.model)
    others = {name: resample(baselines[name])[0] for name in set(best.values())}
    limits = {key: interval(values, config.confidence) for key, values in scores.items()}
    uplift = {key: interval(scores[key] - others[best[key]][key], config.confidence) for key in COMPARED}
    classes = {"f1": interval(f1, config.confidence), "average_precision": interval(precision, config.confidence)}
    return {**method, **limits, "uplift": uplift, "per_class": classes}
