"""Scores of a finished run, and the scores of all folds' test days taken together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import load_decisions, load_split, number, predictions_path
from pipeline.contract.scores import Floats, average_precision, f_score, macro
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.core.run import RunFolder
from pipeline.sweep.standing import facts

METRICS = ("macro_f1", "macro_f1_cross_fit", "macro_f1_excluding", "weighted_f1", "map", "val_loss")
"""Of validation days; those of test days are the same without ``macro_f1_cross_fit`` and ``val_loss``."""
TEST_METRICS = ("macro_f1", "macro_f1_excluding", "weighted_f1", "map")


def numbers_of(run: RunFolder) -> dict[str, Any]:
    """Return the facts and scores of a finished run.

    Returns:
        ``facts`` of the run, ``val`` and ``test`` by metric (``None`` without test days), ``excluded`` classes.

    Raises:
        InputError: a report or the history is missing.
    """
    told, path = facts(run), run.path
    val = _of_report(read_json(path / "val_report.json"))
    cross = read_json(path / "thresholds.json")["cross_fit"]["macro_f1_cross_fit"]
    val |= {"macro_f1_cross_fit": cross, "val_loss": _loss(path, told["best_epoch"])}
    tested = predictions_path(path, "test").exists()
    test = _of_report(read_json(path / "test_report.json")) if tested else None
    excluded = read_json(path / "val_report.json")["excluded"]
    return {"facts": told, "val": val, "test": test, "excluded": excluded}


def _of_report(report: dict[str, Any]) -> dict[str, Any]:
    scores = {name: report["scores"][name] for name in ("macro_f1", "macro_f1_excluding", "map")}
    weighted = report["classification_report"]["weighted avg"]["f1-score"]
    return scores | {"weighted_f1": weighted, "days": report["days"], "first": report["first"], "last": report["last"]}


def _loss(path: Path, epoch: int | None) -> float | None:
    entries = read_json(path / "history.json")["epochs"]
    found = [entry.get("val_loss") for entry in entries if entry["epoch"] == epoch]
    return found[0] if found else None


def pooled_test(runs: Sequence[Path]) -> dict[str, Any]:
    """Return scores over the test days of several folds together, each decided on by its own fold's model.

    With one year left out a fold, every year is judged once by a model that never saw it, and a class that is rare in
    one year counts with all its days. Classes are ranked by calibrated probabilities: logits of different models share
    no scale.

    Raises:
        InputError: folds share test days, so that they would count twice; or classes differ.
    """
    targets, chosen, probabilities, ids = [], [], [], []
    classes: tuple[str, ...] | None = None
    for run in runs:
        predictions = load_split(run, "test")
        decisions = load_decisions(run, predictions.labels)
        if classes not in (None, predictions.labels):
            raise InputError(f"{run}: other classes than the other folds; the store changed, run the sweep again")
        classes = predictions.labels
        probabilities.append(decisions.probabilities(predictions.logits))
        chosen.append(decisions.choose(probabilities[-1]))
        targets.append(predictions.target > 0)
        ids.append(predictions.ids)
    if len(np.unique(np.concatenate(ids))) < sum(map(len, ids)):
        raise InputError("folds share test days")
    return _together(np.concatenate(targets), np.concatenate(chosen), np.concatenate(probabilities))


def _together(target: Floats, chosen: Floats, probability: Floats) -> dict[str, Any]:
    f1, support = f_score(target, chosen), target.sum(axis=0)
    occurs = support > 0
    weighted = float((f1[occurs] * support[occurs]).sum() / support.sum()) if support.sum() else None
    ranked = macro(average_precision(target, probability))
    return {"macro_f1": macro(f1), "weighted_f1": weighted, "map": ranked, "days": len(target), "f1": f1}


def score(row: dict[str, Any], metric: str) -> float:
    """Return the validation score of a row of the summary; NaN where it has none."""
    return number(row["val"][metric]) if row["val"] else float("nan")
