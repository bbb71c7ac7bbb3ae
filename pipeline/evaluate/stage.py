"""The evaluate stage: predictions and thresholds of a run in, ``val_report.json`` and ``test_report.json`` out."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from pipeline.contract.predictions import (
    Decisions,
    Predictions,
    is_fresh,
    load_decisions,
    load_split,
    made_from,
    number,
    predictions_path,
)
from pipeline.contract.store import DEFAULT_FOLD, Store
from pipeline.core.artifact import read_json, write_json
from pipeline.core.choose import near
from pipeline.core.config import signature
from pipeline.core.errors import InputError, shorten
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.evaluate.baselines import baselines
from pipeline.evaluate.config import FORMAT, EvaluateConfig
from pipeline.evaluate.judge import COMPARED, judge, make_case
from pipeline.evaluate.subject import TUNED, Labels

NOTES = {
    "val": (
        "The best epoch, the calibration and the thresholds were chosen on these {samples}, so the numbers flatter; "
        "with calibration and thresholds tuned on some blocks of them and judged on the others, macro F1 is {change}."
    ),
    "test": (
        "These {samples} chose nothing: the best epoch, the calibration and the thresholds come from validation only. "
        "Test {samples} are judged here and nowhere else; compare settings by val_report.json, not by this file."
    ),
}


@dataclass(frozen=True)
class Judged:
    """The splits that were judged, whether that was done before, and the scores that model and baselines share."""

    fresh: bool
    scores: dict[str, dict[str, float]]


def evaluate(config: EvaluateConfig, run: Path, store_folder: Path, fold: str = DEFAULT_FOLD) -> Judged:
    """Judge the validation and test predictions in ``run``, unless that was done with these settings and inputs.

    Args:
        config: the settings.
        run: the run folder.
        store_folder: the store that the run was trained on: labels of training days and of the days before.
        fold: the division of the store that the run was trained on.

    Raises:
        InputError: predictions or thresholds are missing or old, the store is another one, or a class is unknown.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    validation = load_split(run, "val")
    _check_excluded(config, validation)
    with exclusive(run):
        decisions = load_decisions(run, validation.labels)
        store = Store(store_folder)
        labels = Labels(store, store.fold(fold))
        fresh, scores = True, {}
        for split in [name for name in ("val", "test") if predictions_path(run, name).exists()]:
            names = [predictions_path(run, name).name for name in ("val", split)]
            stamp = made_from([FORMAT, signature(config), store.spec.version, fold], run, [*names, *TUNED])
            path = run / f"{split}_report.json"
            if not is_fresh(path, stamp):
                fresh = False
                predictions = validation if split == "val" else load_split(run, split)
                report = _report(config, predictions, validation, decisions, labels)
                write_json(path, report | {"made_from": stamp})
            report = read_json(path)
            for warning in report["warnings"]:
                log.warning("%s: %s", split, warning)
            scores[split] = {key: number(report["scores"][key]) for key in COMPARED}
    return Judged(fresh, scores)


def _check_excluded(config: EvaluateConfig, predictions: Predictions) -> None:
    for name in config.exclude:
        if name not in predictions.labels:
            allowed = shorten(predictions.labels, 30)
            raise InputError(
                f"evaluate.exclude: {name!r} is not a class{near(name, predictions.labels)} Allowed: {allowed}"
            )


def _report(
    config: EvaluateConfig, predictions: Predictions, validation: Predictions, decisions: Decisions, labels: Labels
) -> dict[str, Any]:
    labels.check(predictions)
    case = make_case(predictions, decisions, config.exclude)
    others = baselines(
        labels.history, validation.days, validation.target, predictions.days, decisions.details["settings"]["fallback"]
    )
    trained = labels.history.target[labels.history.train].sum(axis=0)
    judged = judge(case, decisions, others, config, trained)
    flattery = decisions.details["cross_fit"]["flatters_by"]
    return {
        "split": predictions.split,
        "kind": predictions.target_kind,
        "dated": predictions.dated,
        "note": _note(predictions, flattery),
        "warnings": _warnings(judged, decisions),
        "days": len(predictions.dates),
        "first": predictions.dates[0],
        "last": predictions.dates[-1],
        "splits": labels.used_for(),
        "thresholds_settings": decisions.details["settings"],
        "cross_fit_flattery": flattery,
        **judged,
    }


def _note(predictions: Predictions, flattery: float) -> str:
    lower = number(flattery)
    change = "not known (too few)" if isnan(lower) else f"{abs(lower):.3f} {'lower' if lower >= 0 else 'higher'}"
    samples = "days" if predictions.dated else "samples"
    return NOTES[predictions.split].format(samples=samples, change=change)


def _warnings(judged: dict[str, Any], decisions: Decisions) -> list[str]:
    found = []
    for key in ("map", "macro_f1"):
        if not judged["uplift"][key] > 0:
            name = judged["best_baseline"][key]
            ours, theirs = judged["scores"][key], judged["baselines"][name][key]
            found.append(f"the model's {key} {ours:.3f} does not beat the baseline {name} ({theirs:.3f})")
    if len(judged["absent"]):
        found.append(f"classes that do not occur are left out of macro scores: {shorten(judged['absent'])}")
    unfitted = [name for name, flag in zip(decisions.classes, decisions.fallback, strict=True) if flag]
    if unfitted:
        found.append(f"classes without positives in validation, so their threshold is not fitted: {shorten(unfitted)}")
    return found
