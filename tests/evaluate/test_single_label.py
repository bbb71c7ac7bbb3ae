"""One class a sample: calibration by softmax, the likeliest class, and baselines that also say one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics import confusion_matrix as sklearn_matrix

from pipeline.contract.predictions import load_decisions, load_split
from pipeline.contract.scores import log_loss_of, macro, softmax
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.report.case import load_case
from pipeline.report.config import ConfusionConfig, ReportConfig
from pipeline.report.matrix import confusion_matrix
from pipeline.report.stage import report
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.multiclass import calibrate_softmax
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, make

CLASSES = ("A", "C", "N", "E", "S", "W")


def made_single(folder: Path, monkeypatch: pytest.MonkeyPatch, **more) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(folder))
    made = make(folder, CLASSES, single=True, days_a_year=150, **more)
    fit_thresholds(ThresholdsConfig(), made.run)
    evaluate(EvaluateConfig(bootstrap=40), made.run, made.store)
    return made


def test_scores_are_those_of_sklearn_for_the_likeliest_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = made_single(tmp_path, monkeypatch)
    predictions = load_split(made.run, "test")
    decisions = load_decisions(made.run, predictions.labels)
    chosen = decisions.decide(predictions.logits)
    assert (chosen.sum(axis=1) == 1).all()
    truth, said = predictions.target.argmax(axis=1), decisions.probabilities(predictions.logits).argmax(axis=1)
    scores = read_json(made.run / "test_report.json")["scores"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert decisions.probabilities(predictions.logits).sum(axis=1) == pytest.approx(1.0)


def test_baselines_say_one_class_and_majority_takes_the_place_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = made_single(tmp_path, monkeypatch)
    found = read_json(made.run / "test_report.json")["baselines"]
    assert set(found) == {"majority", "climatology", "persistence", "climatology_and_persistence"}
    target = load_split(made.run, "test").target
    store_target = np.load(made.store / "target.npy")
    frequent = store_target[: 3 * 150].sum(axis=0).argmax()
    hits = target[:, frequent].mean()
    assert found["majority"]["micro_f1"] == pytest.approx(hits)


def test_samples_without_a_time_have_no_calendar_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = made_single(tmp_path, monkeypatch, dated=False)
    found = read_json(made.run / "test_report.json")
    assert set(found["baselines"]) == {"majority"}
    assert found["intervals"]["block_days"] == 1
    assert not found["dated"]
    assert report(ReportConfig(dpi=50), made.run).names


def test_calibration_recovers_a_known_temperature_and_offset():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60_000, 3)) * 2
    offset = np.array([0.8, -0.3, -0.5])
    true = softmax(0.4 * logits + offset)
    target = np.eye(3)[[rng.choice(3, p=p) for p in true]]
    a, b = calibrate_softmax(logits, target, "platt", 1.0)
    # Standard errors of 60 000 draws are about 0.005 and 0.01.
    assert a == pytest.approx(np.full(3, 0.4), abs=0.02)
    assert b == pytest.approx(offset - offset.mean(), abs=0.04)
    only, zero = calibrate_softmax(logits, target, "temperature", 1.0)
    assert (zero == 0).all()
    assert only[0] < 0.6
    assert calibrate_softmax(logits, target, "none", 1.0)[0].tolist() == [1, 1, 1]


def test_a_prior_draws_few_samples_toward_the_network_itself():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20, 4))
    target = np.eye(4)[rng.integers(0, 4, 20)]
    near = calibrate_softmax(logits, target, "platt", 1e6)
    assert near[0] == pytest.approx(np.ones(4), abs=1e-3)
    assert near[1] == pytest.approx(np.zeros(4), abs=1e-3)
    perfect = calibrate_softmax(np.eye(4)[rng.integers(0, 4, 50)] * 9, np.eye(4)[rng.integers(0, 4, 50)], "platt", 5.0)
    assert np.isfinite(perfect).all()


def test_calibration_lowers_the_loss_on_days_it_has_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = made_single(tmp_path, monkeypatch)
    predictions = load_split(made.run, "test")
    decisions = load_decisions(made.run, predictions.labels)
    after = log_loss_of(predictions.target, decisions.probabilities(predictions.logits))
    assert macro(after) < macro(log_loss_of(predictions.target, decisions.raw(predictions.logits)))


def test_the_matrix_is_drawn_with_every_option_and_its_numbers_are_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = made_single(tmp_path, monkeypatch)
    case = load_case(made.run, "test")
    config = ConfusionConfig(
        title="T",
        xlabel="X",
        ylabel="Y",
        fontsize=9,
        title_fontsize=11,
        label_fontsize=8,
        figsize=(5, 4.5),
        cmap="RdPu",
    )
    figure = confusion_matrix(case, config)
    axis = figure.axes[0]
    drawn = np.array([int(text.get_text()) for text in axis.texts]).reshape(len(CLASSES), -1)
    truth, said = case.target.argmax(axis=1), case.chosen.argmax(axis=1)
    assert (drawn == sklearn_matrix(truth, said, labels=range(len(CLASSES)))).all()
    assert (axis.get_title(loc="left"), axis.get_xlabel().strip(), axis.get_ylabel()) == ("T", "X", "Y")
    assert tuple(figure.get_size_inches()) == (5, 4.5)
    assert {text.get_fontsize() for text in axis.texts} == {9}
    assert axis.images[0].get_cmap().name == "RdPu"
    with pytest.raises(
        InputError, match=r"report\.confusion_matrix\.cmap: unknown name 'Bluess'; did you mean 'Blues'"
    ):
        confusion_matrix(case, ConfusionConfig(cmap="Bluess"))


def test_text_is_readable_on_every_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = made_single(tmp_path, monkeypatch)
    axis = confusion_matrix(load_case(made.run, "test"), ConfusionConfig()).axes[0]
    share, cmap = axis.images[0].get_array(), axis.images[0].get_cmap()
    for text, value in zip(axis.texts, np.ravel(share), strict=True):
        dark = sum(cmap(value)[:3]) < 1.2
        assert (text.get_color() == "white") == dark or 0.9 < sum(cmap(value)[:3]) < 1.7
