"""Two runs compared on the same resamples: known differences, refusals, and the sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.contract.predictions import load_split
from pipeline.core.errors import InputError
from pipeline.evaluate.against import compare_runs
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, logits_for, make

JOB = Path(__file__).parents[2] / "jobs" / "evaluate.py"
FAST = EvaluateConfig(bootstrap=100)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    found = make(tmp_path, classes=("A", "B", "C"), days_a_year=150, inputs=("grid",))
    fit_thresholds(ThresholdsConfig(), found.run)
    return found


def another(made: MadeUp, change=lambda predictions: predictions, name: str = "other") -> Path:
    """Write a second run, whose predictions are those of the first after ``change``."""
    folder = made.run.with_name(name)
    folder.mkdir()
    for file in ("config.yaml", "run.json"):
        (folder / file).write_bytes((made.run / file).read_bytes())
    for split in ("val", "test"):
        change(load_split(made.run, split)).save(folder / f"predictions_{split}.npz")
    fit_thresholds(ThresholdsConfig(), folder)
    return folder


def with_skill(skill: float, seed: int = 3):
    return lambda one: replace(one, logits=logits_for(one.target, np.random.default_rng(seed), skill))


def compared(made: MadeUp, other: Path, split: str = "test") -> dict:
    return json.loads(compare_runs(FAST, made.run, other).read_text(encoding="utf-8"))["splits"][split]


def test_a_run_against_its_twin_differs_nowhere(made: MadeUp):
    found = compared(made, another(made))
    for one in found["differences"].values():
        # Sums over another memory layout differ in the last bit.
        assert [one["value"], *one["interval"]] == pytest.approx([0.0] * 3, abs=1e-12)
    assert not found["differences"]["macro_f1"]["beyond_chance"]
    assert "do not tell which is better" in found["sentence"]


def test_a_worse_run_is_found_worse_in_every_score(made: MadeUp):
    found = compared(made, another(made, with_skill(0.6)))
    for key, one in found["differences"].items():
        sign = -1 if key == "brier" else 1
        assert sign * one["value"] > 0, key
        assert one["beyond_chance"], key
        low, high = one["interval"]
        assert low <= one["value"] <= high
    assert "more than the choice of days explains" in found["sentence"]
    assert "higher than that of other" in found["sentence"]


def test_differences_are_those_of_the_two_reports(made: MadeUp):
    other = another(made, with_skill(1.2))
    found = compared(made, other)
    reports = []
    for run in (made.run, other):
        evaluate(FAST, run, made.store)
        reports.append(json.loads((run / "test_report.json").read_text()))
    for key in ("map", "macro_f1", "micro_f1", "brier"):
        expected = reports[0]["scores"][key] - reports[1]["scores"][key]
        assert found["differences"][key]["value"] == pytest.approx(expected)
    rows = [report["classification_report"] for report in reports]
    for one in found["per_class"]:
        f1 = [row[one["class"]]["f1-score"] for row in rows]
        assert one["f1"]["difference"] == pytest.approx(f1[0] - f1[1])


def test_pairing_makes_intervals_narrower_than_those_of_each_run(made: MadeUp):
    """A run with a little noise on the same logits: days that are hard are hard for both."""
    rng = np.random.default_rng(0)
    near = lambda one: replace(one, logits=one.logits + 0.3 * rng.normal(size=one.logits.shape).astype(np.float32))  # noqa: E731
    low, high = compared(made, another(made, near))["differences"]["macro_f1"]["interval"]
    evaluate(FAST, made.run, made.store)
    alone = json.loads((made.run / "test_report.json").read_text())["intervals"]["macro_f1"]
    assert high - low < 0.8 * (alone[1] - alone[0])


def test_classes_in_another_order_are_the_same_classes(made: MadeUp):
    def turned(one):
        return replace(one, logits=one.logits[:, ::-1], target=one.target[:, ::-1], classes=one.classes[::-1])

    found = compared(made, another(made, turned))
    assert all(one["value"] == pytest.approx(0.0, abs=1e-12) for one in found["differences"].values())
    assert [one["f1"]["difference"] for one in found["per_class"]] == pytest.approx([0.0] * 3)


def test_the_samples_in_both_are_compared_and_it_is_said(made: MadeUp):
    def fewer(one, keep=100):
        rows = slice(0, keep)
        names = ("logits", "target", "ids", "dates", "kinds")
        return replace(one, **{name: getattr(one, name)[rows] for name in names})

    found = compared(made, another(made, fewer))
    assert found["samples"] == 100
    assert found["notes"] == ["test: only the 100 samples in both are compared (of 150 and 100)"]
    with pytest.raises(InputError, match=r"only 60 val samples are in both runs \(of 150 and 60\)"):
        compared(made, another(made, lambda one: fewer(one, 60), "few"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda one: replace(one, classes=np.array(["A", "B", "Z"])),
            r"has other classes \(C, Z are in one run only\)",
        ),
        (lambda one: replace(one, target=1 - one.target), "150 of 150 samples have other labels"),
    ],
)
def test_what_cannot_be_compared_is_refused(made: MadeUp, change, message: str):
    with pytest.raises(InputError, match=message):
        compare_runs(FAST, made.run, another(made, change))


def test_the_run_itself_and_no_run_are_refused(made: MadeUp, tmp_path: Path):
    with pytest.raises(InputError, match="is the run itself"):
        compare_runs(FAST, made.run, made.run)
    with pytest.raises(InputError, match="not a run folder"):
        compare_runs(FAST, made.run, tmp_path / "nowhere")


def test_command_line(made: MadeUp):
    other = another(made, with_skill(0.8))
    environment = {**os.environ, "ISOBAR_HOME": str(made.home), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        str(JOB),
        str(made.run),
        "--against",
        str(other),
        "evaluate.bootstrap=30",
        "report.dpi=50",
    ]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "On 150 test days the macro F1 of" in ended.stderr
    assert imread(made.run / "against/made_up.other_test.png")[..., :3].std() > 0.03
    assert (made.run / "test_report.json").exists()
