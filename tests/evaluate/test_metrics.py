"""Reports of decisions against scikit-learn, and without the classes that do not occur."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.evaluate.metrics import by_kind, classification_report, day_scores, micro_f1

NAMES = ("A", "B", "C", "D", "E")


def case(seed: int, days: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random((days, 5)) < np.linspace(0.08, 0.6, 5)
    target[rng.integers(days), :] = True  # every class occurs
    return target, target ^ (rng.random(target.shape) < 0.25)


@pytest.mark.parametrize("seed", range(5))
def test_report_equals_sklearn_where_every_class_occurs(seed: int):
    target, chosen = case(seed)
    chosen[:, 1] = False  # a class that is never said
    ours = classification_report(target, chosen, NAMES)
    theirs = sk.classification_report(target, chosen, target_names=NAMES, output_dict=True, zero_division=0)
    assert list(ours) == list(theirs)
    for name, row in theirs.items():
        assert ours[name] == pytest.approx(row, abs=1e-12), name


def test_absent_class_has_no_scores_and_is_left_out_of_means():
    target, chosen = case(0)
    target[:, 3] = False
    ours = classification_report(target, chosen, NAMES)
    assert np.isnan([ours["D"][key] for key in ("precision", "recall", "f1-score")]).all()
    assert ours["D"]["support"] == 0
    present = [0, 1, 2, 4]
    theirs = sk.classification_report(target[:, present], chosen[:, present], output_dict=True, zero_division=0)
    for name in ("macro avg", "weighted avg"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12)
    # Its false alarms are still alarms.
    assert ours["micro avg"]["precision"] == pytest.approx(sk.precision_score(target, chosen, average="micro"))


def test_nothing_occurs():
    nothing = np.zeros((4, 2), bool)
    report = classification_report(nothing, ~nothing, ("A", "B"))
    assert np.isnan(report["macro avg"]["f1-score"])
    assert np.isnan(micro_f1(nothing, ~nothing))


def test_day_scores_and_micro_f1_equal_sklearn():
    target, chosen = case(7)
    scores = day_scores(target, chosen)
    assert scores["subset_accuracy"] == pytest.approx(sk.accuracy_score(target, chosen))
    assert scores["hamming_loss"] == pytest.approx(sk.hamming_loss(target, chosen))
    assert micro_f1(target, chosen) == pytest.approx(sk.f1_score(target, chosen, average="micro"))


def test_kinds_are_scored_by_themselves():
    target, chosen = case(3)
    kinds = np.array(["single", "composite"] * 40)
    scores = by_kind(target, chosen, chosen.astype(float), kinds)
    assert list(scores) == ["composite", "single"]
    half = kinds == "single"
    assert scores["single"]["days"] == 40
    assert scores["single"]["micro_f1"] == pytest.approx(sk.f1_score(target[half], chosen[half], average="micro"))
    assert scores["single"]["subset_accuracy"] == pytest.approx(sk.accuracy_score(target[half], chosen[half]))
