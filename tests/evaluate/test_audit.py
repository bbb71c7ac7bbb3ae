"""The label audit: only what was held out speaks, planted errors come first, and an expert gets a list to fill in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.scores import sigmoid, softmax
from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.doubt import doubts
from pipeline.evaluate.modes import examine
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, make, relabel, run_of_fold

YEARS = ([2001, 2002, 2003], [2004], [])


def planted(target: np.ndarray, share: float, rng: np.random.Generator, single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which ``share`` of the samples have one class exchanged for another, and which these are."""
    wrong = np.sort(rng.choice(len(target), round(share * len(target)), replace=False))
    noisy = target.copy()
    for row in wrong:
        have, lack = np.flatnonzero(target[row]), np.flatnonzero(target[row] == 0)
        noisy[row, rng.choice(have)] = 0
        noisy[row, rng.choice(lack)] = 1
    assert not single or (noisy.sum(axis=1) == 1).all()
    return noisy, wrong


@pytest.mark.parametrize("single", [False, True])
def test_planted_errors_come_first(single: bool):
    """3 % of labels flipped, calibrated probabilities of ordinary skill: the odds rank errors far above chance."""
    rng = np.random.default_rng(0)
    truth = np.eye(6)[rng.integers(0, 6, 3000)]
    if not single:
        truth = np.maximum(truth, rng.random(truth.shape) < 0.15)
    # Evidence of 0 and 4 with a spread of 1.2 means log odds of 4 x / 1.2² beside those of the prior.
    evidence = 4.0 / 1.2**2 * (4.0 * truth - 2.0 + 1.2 * rng.normal(size=truth.shape))
    share = truth.mean(axis=0)
    probability = softmax(evidence) if single else sigmoid(evidence + np.log(share / (1 - share)))
    noisy, wrong = planted(truth.astype(np.uint8), 0.03, rng, single)
    order = doubts(noisy > 0, probability, single).order(len(wrong))
    assert np.isin(order, wrong).mean() > 0.75, "by chance it would be 0.03"


def test_evidence_is_the_likelihood_ratio():
    target, probability = np.array([[True, False, True]]), np.array([[0.2, 0.9, 0.7]])
    found = doubts(target, probability, single=False)
    # The model's own answer is (no, yes, yes): 0.8 · 0.9 · 0.7 against 0.2 · 0.1 · 0.7.
    assert np.exp(found.evidence[0]) == pytest.approx(0.8 * 0.9 / (0.2 * 0.1))
    assert found.contradicted[0] == 1, "9 to 1 against the missing class, 4 to 1 against the given one"
    assert found.answer[0].tolist() == [False, True, True]
    one = doubts(np.array([[True, False, False], [False, True, False]]), np.array([[0.1, 0.6, 0.3]] * 2), single=True)
    assert np.exp(one.evidence) == pytest.approx([6.0, 1.0])
    assert one.contradicted.tolist() == [0, 1]
    assert one.order(5).tolist() == [0], "a label that the model would give is not contradicted"


@pytest.fixture
def folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MadeUp, np.ndarray]:
    """A run and those of all four leave-one-year-out folds, whose logits know the truth; 3 % of labels are wrong."""
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    made = make(tmp_path, ("A", "B", "C", "D"), years=YEARS, days_a_year=180, inputs=("grid",), folds=True)
    truth = np.load(made.store / "target.npy")
    noisy, wrong = planted(truth, 0.03, np.random.default_rng(1), single=False)
    relabel(made, noisy)
    # The default fold has no test split; its validation must speak of the same labels.
    run_of_fold(made, "default", truth, seed=9)
    fit_thresholds(ThresholdsConfig(), made.run)
    for number, fold in enumerate(Store(made.store).spec.folds[1:]):
        fit_thresholds(ThresholdsConfig(), run_of_fold(made, fold, truth, seed=number))
    return made, wrong


def audited(made: MadeUp, **settings) -> tuple[list[dict[str, str]], dict]:
    config = EvaluateConfig.model_validate({"mode": "audit", "audit": settings})
    examine(made.config.model_copy(update={"evaluate": config}), made.run, made.store, made.home)
    with (made.run / "label_audit/suspects.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return rows, json.loads((made.run / "label_audit/suspects.json").read_text(encoding="utf-8"))


def test_the_list_of_all_folds_finds_planted_errors_and_leaves_the_verdict_open(folds):
    made, wrong = folds
    rows, value = audited(made, count=len(wrong))
    assert value["folds"] == ["2001", "2002", "2003", "2004"]
    assert value["samples"] == value["of"] == 720
    store = Store(made.store)
    errors = set(store.column("date")[wrong])
    found = [row["date"] in errors for row in rows]
    assert np.mean(found) > 0.5, "by chance it would be 0.03"
    assert all(row["verdict"] == "" and row["remark"] == "" for row in rows)
    assert list(rows[0])[-2:] == ["verdict", "remark"]
    strength = [float(row["times_likelier"]) for row in rows]
    assert strength == sorted(strength, reverse=True)
    for row in rows:
        assert row["fold"] == row["date"][:4], "the run that speaks of a day is the one that left its year out"
        p = float(row["calibrated_probability"])
        assert (p < 0.5) == (row["given"] == "yes")
        assert (row["class_contradicted"] in row["label_given"].split("+")) == (row["given"] == "yes")


def test_neighbours_are_not_the_days_around(folds):
    rows, value = audited(folds[0], count=5, apart_days=10)
    for sample in value["shown"]:
        day = np.datetime64(sample["date"])
        assert len(sample["neighbours"]) == 5
        assert all(abs(np.datetime64(near["date"]) - day) > np.timedelta64(10, "D") for near in sample["neighbours"])
    assert rows[0]["neighbours_with_class"].endswith(" of 5")


def test_what_a_run_learned_from_is_never_audited(folds, caplog: pytest.LogCaptureFixture):
    """Without the run of a fold, the days of its year are left out, though every other run has learned them."""
    made, _ = folds
    lost = next(path for path in made.run.parent.iterdir() if "fold: '2002'" in (path / "config.yaml").read_text())
    (lost / "predictions_test.npz").unlink()
    _, value = audited(made, count=1000)
    assert value["samples"] == 540
    assert not any(sample["date"].startswith("2002") for sample in value["shown"])


def test_thresholds_of_another_training_stop_the_audit(folds):
    made, _ = folds
    other = next(path for path in made.run.parent.iterdir() if "fold: '2003'" in (path / "config.yaml").read_text())
    run_of_fold(made, "2003", np.load(made.store / "target.npy"), seed=77)
    with pytest.raises(InputError, match=rf"{other.name}.*run the thresholds job again"):
        audited(made)
