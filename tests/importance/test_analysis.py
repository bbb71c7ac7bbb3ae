"""The whole analysis: known truth, nothing learned from noise, one look at the test, kills, and the command line."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.importance.boosting import Machine, Trainer, defaults, macro_f1, probabilities, sample_weights
from pipeline.importance.folds import inner_folds, make_folds
from pipeline.importance.journal import Journal
from pipeline.importance.measures import measure
from pipeline.importance.samples import load_samples
from pipeline.importance.search import search
from pipeline.importance.stage import analyse, importance_run
from pipeline.importance.verdict import verdict
from tests.importance.made_up_series import contents, place, read, settings, write_bars


@pytest.fixture(scope="module")
def result(done: Path) -> dict[str, Any]:
    return read(done)


def test_what_tells_something_is_found(result: dict[str, Any]) -> None:
    assert result["selected"] == ["signal", "weak"]
    rows = {row["column"]: row for row in result["columns"]}
    assert [rows[name]["exceeds_null"] for name in ("signal", "weak")] == [True, True]
    assert rows["signal"]["p_permutation"] == rows["signal"]["p_family"] == 0.05
    assert rows["signal"]["frequency"] == 1
    noise = [row["permutation"] for name, row in rows.items() if name.startswith("noise")]
    assert max(noise) < rows["weak"]["permutation"] / 2
    assert rows["signal"]["gain_share"] > 0.3
    assert rows["signal"]["shap"] > 2 * max(rows[f"noise_{number}"]["shap"] for number in (1, 2, 3, 4))
    assert sum(row["gain_share"] for row in rows.values()) == pytest.approx(1)


def test_scores_stand_beside_what_is_simple(result: dict[str, Any]) -> None:
    scores, test = result["scores"], result["test"]
    assert scores["p_value"] == 0.05
    # Three classes of about a third, p: the most frequent one alone reaches 2 p / (1 + p) / 3.
    assert np.mean(scores["baselines"]["majority"]) == pytest.approx(0.18, abs=0.03)
    assert test["macro_f1"] > 0.6 > 3 * test["baselines"]["majority"]
    # Two of six columns tell the class, the others are noise.
    assert test["macro_f1_selected"] == pytest.approx(test["macro_f1"], abs=0.1)
    assert [len(block["values"]) for block in result["search"]["blocks"]] == [3, 3, 3, 3]
    assert "above chance" in result["verdict"]
    assert "the last block agrees" in result["verdict"]
    low, high = test["interval_95"]
    assert low < test["macro_f1"] < high
    assert test["p_value"] <= 0.005
    assert np.array(test["confusion"]).sum() == test["samples"] == 100
    assert max(scores["null"]["macro_f1"]) < scores["mean"]


def test_the_search_never_sees_the_last_block(truth: Path, done: Path) -> None:
    """With other labels in the last block everything but its own judgement is the same, byte for byte."""
    other = place(truth / "other")
    lines = (other / "truth.csv").read_text().splitlines()
    turned = {"low": "high", "high": "low"}
    parted = [line.rsplit(",", 1) for line in lines]
    lines[401:] = [f"{row},{turned.get(label, label)}" for row, label in parted[401:]]
    (other / "truth.csv").write_text("\n".join(lines) + "\n")
    again = analyse(settings(shap=True), other, Interrupt()).run
    for name in ("trials.jsonl", "shuffles.jsonl", "importance.csv"):
        assert (again / name).read_bytes() == (done / name).read_bytes(), name
    before, after = read(done), read(again)
    assert after["test"]["macro_f1"] < 0.3 < before["test"]["macro_f1"]


def test_no_search_sees_the_block_that_it_is_judged_by(truth: Path, tmp_path: Path) -> None:
    """With other labels in the last fold its own search is the same, number for number; that of the test is not."""
    config = settings()
    samples, _ = load_samples(config, truth)
    folds = make_folds(config, samples)
    y = samples.y.copy()
    y[folds.walk[-1].judged] = (y[folds.walk[-1].judged] + 1) % 3
    trials = []
    for number, labels in enumerate((samples.y, y)):
        journal = Journal(tmp_path / f"{number}.jsonl")
        found = search(config, replace(samples, y=labels), folds, Machine(3, 0, 1, 63), journal, Interrupt())
        assert [len(one.trials) for one in found] == [3, 3, 3, 3]
        trials.append(journal.steps)
    assert [step["block"] for step in trials[0][:4]] == ["fold 1", "fold 2", "fold 3", "last block"]
    for before, after in zip(*trials, strict=True):
        assert (before == after) == (before["block"] != "last block")


def test_inner_folds_lie_in_what_their_fold_is_trained_on(truth: Path) -> None:
    config = settings(features={"window": 3})
    samples, _ = load_samples(config, truth)
    folds = make_folds(config, samples)
    for fold in (*folds.walk, folds.test):
        inner = inner_folds(samples, fold, 3, folds.gap, "this one")
        assert len(inner) == 3
        assert inner[-1].judged[-1] == fold.train[-1]
        for one in inner:
            assert set(one.train) | set(one.judged) <= set(fold.train)
            assert samples.row[one.train].max() < samples.row[one.judged].min() - folds.gap
    with pytest.raises(InputError, match=r"search: this one, inner fold 1 has .*search.splits lower, or search.trials"):
        inner_folds(samples, folds.walk[0], 40, folds.gap, "this one")


def test_a_leak_is_the_first_column_and_is_doubted(tmp_path: Path) -> None:
    """A column shifted one row into the future: the return that the label is made of, known a row too early."""
    write_bars(tmp_path / "bars.csv", 500, 3)
    lines = (tmp_path / "bars.csv").read_text().splitlines()
    close = np.array([float(line.split(",")[4]) for line in lines[1:]])
    early = [*(f"{value:.6f}" for value in np.diff(np.log(close))), ""]
    text = [f"{line},{cell}" for line, cell in zip(lines, ["early", *early], strict=True)]
    (tmp_path / "bars.csv").write_text("\n".join(text) + "\n")
    config = settings(
        data={"files": ["bars.csv"]},
        labels={"column": "", "rule": {"horizon": 1}},
        features={"raw": ["early"], "indicators": {"returns": {}, "rsi": {}, "bollinger": {}}},
        search={"trials": 0},
    )
    result = analyse(config, tmp_path, Interrupt()).result
    assert result["columns"][0]["column"] == "early"
    assert result["scores"]["mean"] > 0.95
    assert "above chance" in result["verdict"]
    assert any(line.startswith("early alone holds 1") for line in result["warnings"])


@pytest.mark.parametrize(
    ("p_folds", "p_test", "expected"),
    [
        (
            0.4,
            0.001,
            "nothing found: macro-F1 0.400 on folds is not above chance (shuffled labels reach 0.300 to 0.420",
        ),
        (0.05, 0.01, "above chance (shuffled labels reach 0.300 to 0.420, p 0.050); the last block agrees"),
        (0.05, 0.3, "the last block does not agree (0.350, p 0.300)"),
        (0.05, None, "the last block is too short to say whether it agrees"),
        (None, None, "not compared with shuffled labels"),
    ],
)
def test_the_verdict_is_plain(p_folds: float | None, p_test: float | None, expected: str) -> None:
    null = None if p_folds is None else {"macro_f1": [0.3, 0.42]}
    scores = {"mean": 0.4, "p_value": p_folds, "null": null}
    assert expected in verdict(scores, {"p_value": p_test, "macro_f1": 0.35}, 0.05)


def test_a_random_walk_has_nothing_to_find(tmp_path: Path) -> None:
    """Over 6 columns × 4 walks and a level of 5 %, 1.2 columns exceed by luck; 5 or more have probability 0.6 %."""
    found, scores = 0, []
    for seed in range(4):
        write_bars(tmp_path / "bars.csv", 500, seed)
        config = settings(
            data={"files": ["bars.csv"]},
            labels={"column": "", "rule": {"horizon": 2}},
            features={"raw": [], "indicators": {"returns": {}, "rsi": {}, "stochastic": {}}},
            search={"trials": 0},
        )
        result = analyse(config, tmp_path, Interrupt()).result
        found += sum(row["exceeds_null"] for row in result["columns"])
        scores.append(result["scores"]["p_value"])
        doubted = any(line.startswith("nothing found") for line in result["warnings"])
        assert doubted == (scores[-1] > 0.05)
    assert found < 5
    assert max(scores) > 0.05


def test_permutation_importance_by_definition(truth: Path) -> None:
    """Of a column with two inputs: both shuffled together, in the order that the seed gives."""
    config = settings(features={"window": 3, "statistics": ["last", "mean"]})
    samples, _ = load_samples(config, truth)
    folds = make_folds(config, samples)
    machine = Machine(3, 5, 1, 63)
    params = defaults(config.lightgbm)
    found = measure(samples, folds.walk, machine, samples.y, [params] * 3, repeats=2)
    fold = folds.walk[1]
    model = Trainer(samples, fold.train, machine).train(samples.y[fold.train], params)
    x, y = samples.x[fold.judged], samples.y[fold.judged]
    score = macro_f1(y, probabilities(model, x, machine))
    random, drops = np.random.default_rng([5, 1, 0]), []
    for _ in range(2):
        mixed = x.copy()
        mixed[:, :2] = x[random.permutation(len(x))][:, :2]
        drops.append(score - macro_f1(y, probabilities(model, mixed, machine)))
    assert samples.inputs[:2] == ("signal.last", "signal.mean")
    assert found.permutation[1, 0] == pytest.approx(np.mean(drops))
    assert found.macro_f1[1] == score


def test_weights_balance_classes() -> None:
    y = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(sample_weights(y, 3, 1.0), [2 / 3, 2 / 3, 2 / 3, 2])
    np.testing.assert_allclose(sample_weights(y, 3, 0.0), 1)


def test_threads_change_nothing(truth: Path, done: Path, tmp_path: Path) -> None:
    """Five models at a time give the numbers of one at a time, byte for byte."""
    again = analyse(settings(shap=True, threads=5), place(tmp_path), Interrupt()).run
    assert contents(again) == contents(done)


def test_an_analysis_stopped_anywhere_ends_the_same(done: Path, tmp_path: Path) -> None:
    """Stopped every few steps, by a signal's flag."""
    home = place(tmp_path)

    class Once(Interrupt):
        def __init__(self) -> None:
            super().__init__()
            self.checks = 0

        def check(self, what_is_saved: str) -> None:
            self.checks += 1
            if self.checks == 5:
                self.reason = "SIGTERM"
            super().check(what_is_saved)

    stops = 0
    while True:
        try:
            finished = analyse(settings(shap=True), home, Once())
            break
        except Interrupted:
            stops += 1
    assert stops >= 5
    assert contents(finished.run) == contents(done)
    assert analyse(settings(shap=True), home, Interrupt()).fresh
    assert analyse(settings(shap=True, threads=2), home, Interrupt()).fresh


def test_a_torn_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Journal(path).add({"value": 0.1})
    with path.open("a") as stream:
        stream.write('{"value": 0.')
    again = Journal(path)
    assert again.steps == [{"value": 0.1}]
    again.add({"value": 1 / 3})
    assert Journal(path).steps == [{"value": 0.1}, {"value": 1 / 3}]


def test_the_folder_is_named_by_contents_and_settings(truth: Path, tmp_path: Path) -> None:
    moved = place(tmp_path / "moved")
    base = importance_run(settings(), truth).path.name
    assert importance_run(settings(), moved).path.name == base
    assert importance_run(settings(threads=2, update="x.yaml", results="elsewhere"), truth).path.name == base
    assert importance_run(settings(seed=1), truth).path.name != base
    with (moved / "truth.csv").open("a") as stream:
        stream.write("2025-01-01 00:00,1,1,1,1,1,1,1,low\n")
    assert importance_run(settings(), moved).path.name != base


def test_features_are_columns_that_a_store_reads(done: Path) -> None:
    with (done / "features.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["timestamp", "signal", "weak", "noise_1", "noise_2", "noise_3", "noise_4"]
    assert rows[1][0] == "2024-01-01T00:00:00"
    assert len(rows) == 501
