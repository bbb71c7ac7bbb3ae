"""The evaluate job on made-up runs whose worth is known: perfect, worthless, ordinary; and its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.contract.predictions import load_decisions, load_split
from pipeline.core.artifact import read_json, write_json
from pipeline.core.errors import InputError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, make

JOB = Path(__file__).parents[2] / "jobs" / "evaluate.py"
FAST = EvaluateConfig(bootstrap=100)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    found = make(tmp_path, classes=("A", "B", "C", "D"), rare=(3,), absent=(3,), days_a_year=120)
    fit_thresholds(ThresholdsConfig(), found.run)
    return found


def judged(made: MadeUp, split: str = "test", config: EvaluateConfig = FAST) -> dict:
    evaluate(config, made.run, made.store)
    return read_json(made.run / f"{split}_report.json")


def with_logits(made: MadeUp, function) -> MadeUp:
    for split in ("val", "test"):
        predictions = load_split(made.run, split)
        logits = function(predictions.target).astype(np.float32)
        replace(predictions, logits=logits).save(made.run / f"predictions_{split}.npz")
    fit_thresholds(ThresholdsConfig(), made.run)
    return made


def test_perfect_predictions(made: MadeUp):
    report = judged(with_logits(made, lambda target: 8.0 * target - 4.0))
    for key in ("map", "macro_f1", "micro_f1", "macro_f1_at_half", "subset_accuracy"):
        assert report["scores"][key] == 1.0, key
    assert report["scores"]["hamming_loss"] == 0.0
    assert report["intervals"]["macro_f1"] == [1.0, 1.0]
    assert all(report["uplift"][key] > 0 for key in report["uplift"])
    assert not any("does not beat" in warning for warning in report["warnings"])


def test_worthless_predictions_are_told_so(made: MadeUp):
    rng = np.random.default_rng(0)
    report = judged(with_logits(made, lambda target: rng.normal(size=target.shape)))
    assert report["uplift"]["map"] < 0
    best = report["best_baseline"]["map"]
    assert any(f"map {report['scores']['map']:.3f} does not beat the baseline {best}" in w for w in report["warnings"])


def test_reversed_predictions_score_below_chance(made: MadeUp):
    rng = np.random.default_rng(0)
    report = judged(with_logits(made, lambda target: 4.0 - 8.0 * target + rng.normal(size=target.shape)))
    chance = report["baselines"]["all_positive"]["map"]
    assert report["scores"]["map"] < chance
    assert report["scores"]["subset_accuracy"] < 0.2


def test_scores_are_those_of_sklearn_at_the_written_thresholds(made: MadeUp):
    report = judged(made)
    predictions = load_split(made.run, "test")
    chosen = load_decisions(made.run, predictions.labels).decide(predictions.logits)
    target, present = predictions.target, [0, 1, 2]
    theirs = sk.classification_report(target[:, present], chosen[:, present], output_dict=True, zero_division=0)
    assert report["classification_report"]["macro avg"] == pytest.approx(theirs["macro avg"])
    assert report["scores"]["macro_f1"] == report["classification_report"]["macro avg"]["f1-score"]
    precision = [sk.average_precision_score(target[:, k], predictions.logits[:, k]) for k in present]
    assert report["per_class"]["average_precision"][:3] == pytest.approx(precision)
    assert report["scores"]["map"] == pytest.approx(np.mean(precision))
    half = sk.f1_score(target[:, present], predictions.logits[:, present] > 0, average="macro")
    assert report["scores"]["macro_f1_at_half"] == pytest.approx(half)


def test_absent_class_is_listed_and_not_measured(made: MadeUp):
    report = judged(made)
    assert report["absent"] == ["D"]
    assert report["support"][3] == 0
    assert report["classification_report"]["D"]["f1-score"] is None
    assert report["per_class"]["average_precision"][3] is None
    assert report["intervals"]["per_class"]["f1"][3] == [None, None]
    assert any("classes that do not occur" in warning and "D" in warning for warning in report["warnings"])


def test_excluded_classes_count_everywhere_but_in_their_own_score(made: MadeUp):
    report = judged(made, config=EvaluateConfig(bootstrap=50, exclude=["B"]))
    rows = report["classification_report"]
    expected = (rows["A"]["f1-score"] + rows["C"]["f1-score"]) / 2
    assert report["scores"]["macro_f1_excluding"] == pytest.approx(expected)
    assert report["scores"]["macro_f1"] == pytest.approx((2 * expected + rows["B"]["f1-score"]) / 3)


def test_calibration_helps_on_days_it_has_not_seen(made: MadeUp):
    scores = judged(made)["scores"]
    assert scores["brier"] < scores["brier_before_calibration"]
    assert scores["ece"] < scores["ece_before_calibration"]


def test_intervals_hold_the_score_and_come_in_order(made: MadeUp):
    report = judged(made)
    for key in ("map", "macro_f1", "macro_f1_excluding", "micro_f1"):
        low, high = report["intervals"][key]
        assert low < report["scores"][key] < high, key
        low, high = report["intervals"]["uplift"][key]
        assert low < report["uplift"][key] < high, key


def test_years_and_what_they_were_used_for(made: MadeUp):
    splits = judged(made)["splits"]
    assert {name: part["years"] for name, part in splits.items()} == {
        "train": [2001, 2002, 2003],
        "val": [2004],
        "test": [2005],
    }
    assert splits["train"]["days"] == 360
    assert splits["test"]["used_for"] == "judging only"


def test_notes_say_what_flatters(made: MadeUp):
    val, test = judged(made, "val"), judged(made, "test")
    lower = read_json(made.run / "thresholds.json")["cross_fit"]["flatters_by"]
    assert "flatter" in val["note"]
    assert f"{abs(lower):.3f} {'lower' if lower >= 0 else 'higher'}" in val["note"]
    assert "were chosen on these days" in val["note"]
    assert "come from validation only" in test["note"]


def test_four_baselines_and_the_best_of_them(made: MadeUp):
    report = judged(made)
    assert set(report["baselines"]) == {"all_positive", "climatology", "persistence", "climatology_and_persistence"}
    for key in ("map", "macro_f1", "micro_f1"):
        best = max(values[key] for values in report["baselines"].values())
        assert report["baselines"][report["best_baseline"][key]][key] == best
        assert report["uplift"][key] == pytest.approx(report["scores"][key] - best)


def test_without_test_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    made = make(tmp_path, classes=("A", "B"), years=([2001, 2002], [2003], []), days_a_year=60)
    fit_thresholds(ThresholdsConfig(), made.run)
    assert list(evaluate(FAST, made.run, made.store).scores) == ["val"]
    assert not (made.run / "test_report.json").exists()


def test_second_call_is_fresh_and_repeats_byte_for_byte(made: MadeUp):
    first = evaluate(FAST, made.run, made.store)
    before = (made.run / "test_report.json").read_bytes()
    again = evaluate(FAST, made.run, made.store)
    assert (first.fresh, again.fresh) == (False, True)
    assert again.scores == first.scores
    (made.run / "test_report.json").unlink()
    assert not evaluate(FAST, made.run, made.store).fresh
    assert (made.run / "test_report.json").read_bytes() == before


def test_other_thresholds_make_other_reports(made: MadeUp):
    evaluate(FAST, made.run, made.store)
    fit_thresholds(ThresholdsConfig(beta=2), made.run)
    assert not evaluate(FAST, made.run, made.store).fresh


def test_stale_thresholds_are_refused(made: MadeUp):
    predictions = load_split(made.run, "val")
    replace(predictions, logits=predictions.logits + 1).save(made.run / "predictions_val.npz")
    with pytest.raises(InputError, match=r"made from another predictions_val\.npz .* run the thresholds job again"):
        evaluate(FAST, made.run, made.store)


def test_thresholds_and_calibration_must_belong_together(made: MadeUp):
    other = read_json(made.run / "calibration.json")
    fit_thresholds(ThresholdsConfig(beta=2), made.run)
    write_json(made.run / "calibration.json", other)
    with pytest.raises(InputError, match="run the thresholds job again"):
        evaluate(FAST, made.run, made.store)


def test_another_store_is_refused(made: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "other"
    monkeypatch.setenv("ISOBAR_HOME", str(home))
    other = make(home, classes=("A", "B", "C", "D"), days_a_year=100)
    with pytest.raises(InputError, match="this run was trained on store"):
        evaluate(FAST, made.run, other.store)


def test_unknown_excluded_class(made: MadeUp):
    with pytest.raises(InputError, match=r"evaluate\.exclude: 'E' is not a class.* Allowed: A, B, C, D"):
        evaluate(EvaluateConfig(exclude=["E"]), made.run, made.store)


def test_unknown_fold(made: MadeUp):
    with pytest.raises(InputError, match="'1999' is not in the store"):
        evaluate(FAST, made.run, made.store, fold="1999")


def test_command_line(made: MadeUp):
    environment = {**os.environ, "ISOBAR_HOME": str(made.home), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(JOB), *arguments], env=environment, capture_output=True, text=True)

    first = run(str(made.config_path))
    assert first.returncode == 0, first.stderr
    assert "wrote: reports in" in first.stderr
    assert "WARNING test: classes that do not occur" in first.stderr
    assert "fresh already" in run(str(made.run)).stderr
    (made.run / "thresholds.json").unlink()
    missing = run(str(made.run))
    assert missing.returncode == 2
    assert "thresholds.json: no such file; run the thresholds job first" in missing.stderr


def test_no_stage_after_training_imports_torch():
    code = (
        "import sys, pipeline.thresholds.stage, pipeline.evaluate.stage, pipeline.report.stage\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'xarray') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
