"""The thresholds stage: validation logits of a run in, ``calibration.json`` and ``thresholds.json`` out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import (
    CALIBRATION,
    THRESHOLDS,
    Predictions,
    is_fresh,
    load_split,
    made_from,
    number,
    predictions_path,
)
from pipeline.contract.scores import f_score
from pipeline.core.artifact import read_json, write_json
from pipeline.core.config import signature
from pipeline.core.errors import shorten
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.thresholds.config import FORMAT, ThresholdsConfig
from pipeline.thresholds.fit import CrossFit, Fitted, cross_fit, fit, flattery

SPLIT = "val"


@dataclass(frozen=True)
class Written:
    """Whether there was nothing to do, and the macro F1 on validation: tuned on it, and on held-out blocks of it."""

    fresh: bool
    macro_f1: float
    macro_f1_cross_fit: float


def fit_thresholds(config: ThresholdsConfig, run: Path) -> Written:
    """Fit calibration and thresholds on the validation logits in ``run``, unless that was done with these settings.

    Raises:
        InputError: there are no validation predictions.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    predictions = load_split(run, SPLIT)
    settings = [FORMAT, signature(config)]
    with exclusive(run):
        stamp = made_from(settings, run, [predictions_path(run, SPLIT).name])
        fresh = all(is_fresh(run / name, stamp) for name in (CALIBRATION, THRESHOLDS))
        if not fresh:
            _write(config, run, predictions, stamp)
        scores = read_json(run / THRESHOLDS)["cross_fit"]
    return Written(fresh, number(scores["macro_f1_in_sample"]), number(scores["macro_f1_cross_fit"]))


def _write(config: ThresholdsConfig, run: Path, predictions: Predictions, stamp: dict[str, Any]) -> None:
    logits, target, single = predictions.logits, predictions.target, predictions.single
    fitted = fit(logits, target, config, single)
    crossed = cross_fit(logits, target, config, predictions.days, single, ordered=predictions.dated)
    _warn_of_rare(predictions, fitted)
    write_json(run / CALIBRATION, _calibration(config, predictions, fitted, crossed) | {"made_from": stamp})
    write_json(run / THRESHOLDS, _thresholds(config, predictions, fitted, crossed) | {"made_from": stamp})


def _calibration(
    config: ThresholdsConfig, predictions: Predictions, fitted: Fitted, crossed: CrossFit
) -> dict[str, Any]:
    logits, target = predictions.logits, predictions.target
    same = replace(fitted, a=np.ones_like(fitted.a), b=np.zeros_like(fitted.b))
    return {
        "kind": config.calibration,
        "labels": predictions.labels,
        "a": fitted.a,
        "b": fitted.b,
        "log_loss_before": same.log_loss(logits, target),
        "log_loss_after": fitted.log_loss(logits, target),
        "log_loss_cross_fit": crossed.log_loss,
    }


def _thresholds(
    config: ThresholdsConfig, predictions: Predictions, fitted: Fitted, crossed: CrossFit
) -> dict[str, Any]:
    target = predictions.target
    decisions = fitted.decide(predictions.logits)
    return {
        "kind": predictions.target_kind,
        "labels": predictions.labels,
        "thresholds": fitted.thresholds,
        "fallback": fitted.fallback,
        "support": (target > 0).sum(axis=0),
        "beta": config.beta,
        "f_beta": f_score(target, decisions, config.beta),
        "days": len(target),
        "first": predictions.dates[0],
        "last": predictions.dates[-1],
        "settings": signature(config),
        "cross_fit": flattery(target, decisions, crossed, config.beta),
    }


def _warn_of_rare(predictions: Predictions, fitted: Fitted) -> None:
    if fitted.fallback.any():
        names = shorten(predictions.classes[fitted.fallback])
        log.warning("classes without positives in validation get thresholds.fallback: %s", names)
