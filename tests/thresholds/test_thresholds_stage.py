"""The thresholds job on a made-up run: files, freshness, and its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.predictions import load_decisions, load_split
from pipeline.contract.scores import f_score
from pipeline.core.artifact import read_json
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.lock import exclusive
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, make

JOB = Path(__file__).parents[2] / "jobs" / "thresholds.py"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    return make(tmp_path, classes=("A", "B", "C", "D"), rare=(3,), absent=(3,), days_a_year=90)


def run_job(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, str(JOB), *arguments], env=environment, capture_output=True, text=True)


def test_writes_what_reproduces_its_own_scores(made: MadeUp):
    done = fit_thresholds(ThresholdsConfig(), made.run)
    values = read_json(made.run / "thresholds.json")
    predictions = load_split(made.run, "val")
    decisions = load_decisions(made.run, predictions.labels)
    f1 = f_score(predictions.target, decisions.decide(predictions.logits))
    assert f1[:3].tolist() == values["f_beta"][:3]
    assert values["f_beta"][3] is None
    assert values["fallback"] == [False, False, False, True]
    assert values["thresholds"][3] == 0.7
    assert values["support"] == predictions.target.sum(axis=0).tolist()
    assert not done.fresh
    assert done.macro_f1 == pytest.approx(np.nanmean(f1))
    assert done.macro_f1_cross_fit == values["cross_fit"]["macro_f1_cross_fit"]


def test_calibration_lowers_the_loss_of_every_class(made: MadeUp):
    fit_thresholds(ThresholdsConfig(), made.run)
    values = read_json(made.run / "calibration.json")
    assert all(
        after < before for before, after in zip(values["log_loss_before"], values["log_loss_after"], strict=True)
    )


def test_a_second_call_is_fresh_and_another_setting_is_not(made: MadeUp):
    fit_thresholds(ThresholdsConfig(), made.run)
    first = (made.run / "thresholds.json").read_bytes()
    stamp = (made.run / "thresholds.json").stat().st_mtime_ns
    assert fit_thresholds(ThresholdsConfig(), made.run).fresh
    assert (made.run / "thresholds.json").stat().st_mtime_ns == stamp
    assert not fit_thresholds(ThresholdsConfig(beta=2), made.run).fresh
    assert (made.run / "thresholds.json").read_bytes() != first
    assert not fit_thresholds(ThresholdsConfig(), made.run).fresh
    assert (made.run / "thresholds.json").read_bytes() == first


@pytest.mark.parametrize("damaged", ["calibration.json", "thresholds.json"])
def test_a_damaged_output_is_written_anew(made: MadeUp, damaged: str):
    fit_thresholds(ThresholdsConfig(), made.run)
    whole = (made.run / damaged).read_bytes()
    (made.run / damaged).write_bytes(whole[: len(whole) // 2])
    assert not fit_thresholds(ThresholdsConfig(), made.run).fresh
    assert (made.run / damaged).read_bytes() == whole


def test_only_validation_is_read(made: MadeUp):
    (made.run / "predictions_test.npz").write_bytes(b"not to be opened")
    assert not fit_thresholds(ThresholdsConfig(), made.run).fresh


def test_a_folder_in_use_is_left_alone(made: MadeUp):
    with exclusive(made.run), pytest.raises(EnvironmentFault, match="in use by process"):
        fit_thresholds(ThresholdsConfig(), made.run)
    assert not (made.run / "thresholds.json").exists()


def test_a_run_that_does_not_exist_makes_no_folder(tmp_path: Path):
    with pytest.raises(InputError, match="train first"):
        fit_thresholds(ThresholdsConfig(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_command_line_with_config_and_with_run_folder(made: MadeUp):
    first = run_job(made.home, str(made.config_path))
    assert first.returncode == 0, first.stderr
    assert "wrote:" in first.stderr
    assert "next: python jobs/evaluate.py" in first.stderr
    again = run_job(made.home, str(made.run))
    assert "fresh already:" in again.stderr
    other = run_job(made.home, str(made.run), "thresholds.beta=2")
    assert "wrote:" in other.stderr
    assert read_json(made.run / "thresholds.json")["beta"] == 2


def test_command_line_without_predictions(made: MadeUp):
    (made.run / "predictions_val.npz").unlink()
    result = run_job(made.home, str(made.config_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "predictions_val.npz: no such file; train first" in result.stderr
