"""Every mode that needs no network, on made-up runs of maps, images, and images with series; one and many labels."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.contract.predictions import load_decisions, load_split
from pipeline.core.errors import InputError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.modes import examine
from pipeline.report.config import ReportConfig
from pipeline.report.modes import draw
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.conftest import Place, run_job
from tests.evaluate.made_up_run import MadeUp, make

JOB = Path(__file__).parents[2] / "jobs" / "evaluate.py"
CLASSES = ("A", "北東", "C", "D$x$")
KINDS = {
    "grid": {"inputs": ("grid",), "single": False},
    "grid single": {"inputs": ("grid",), "single": True},
    "image": {"inputs": ("image",), "single": True},
    "image many": {"inputs": ("image",), "single": False, "dated": False},
    "image and series": {"inputs": ("image", "series"), "single": True},
    "series": {"inputs": ("series",), "single": True},
}
QUICK = {"misclassified": {"count": 7, "pictures": 2}, "visualize": {"count": 2}, "audit": {"pictures": 2}}
FAST = ["report.dpi=50", *(f"evaluate.{mode}.{key}={value}" for mode, of in QUICK.items() for key, value in of.items())]


def run(made: MadeUp, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ISOBAR_HOME": str(made.home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(JOB), str(made.run), *FAST, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def finished(home: Path, monkeypatch: pytest.MonkeyPatch, **more) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(home))
    made = make(home, **{"classes": CLASSES, "days_a_year": 60, **more})
    fit_thresholds(ThresholdsConfig(), made.run)
    return made


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def listed(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_lists_and_their_pictures(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, **KINDS[kind])
    in_process(made, "visualize", "misclassified", "audit")
    for name in ("visualize/test", "misclassified/test", "label_audit/suspects"):
        picture = imread(made.run / f"{name}.png")[..., :3]
        assert picture.std() > 0.05, name
        check_list(made, listed(made.run / f"{name}.json"))


def in_process(made: MadeUp, *modes: str, **settings) -> None:
    """Do what the job does, without starting Python for each mode."""
    for mode in modes:
        values = {"mode": mode, **QUICK, **settings}
        config = made.config.model_copy(update={"evaluate": EvaluateConfig.model_validate(values)})
        for one in examine(config, made.run, made.store, made.home):
            draw(ReportConfig(dpi=50), made.store, one.listed, one.pictures)


def check_list(made: MadeUp, value: dict) -> None:
    """Compare what a list says of its samples with the predictions themselves."""
    predictions = load_split(made.run, "test")
    decisions = load_decisions(made.run, predictions.labels)
    probability = decisions.probabilities(predictions.logits)
    place = {name: number for number, name in enumerate(predictions.ids.tolist())}
    assert value["shown"]
    for sample in value["shown"]:
        n = place[sample["id"]]
        assert list(sample["probability"].values()) == pytest.approx(probability[n].tolist())
        assert sample["truth"] == [c for c, flag in zip(predictions.labels, predictions.target[n], strict=True) if flag]
        assert sample["date"] == predictions.dates[n]


def test_worst_first_with_neighbours_from_training_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, inputs=("grid",))
    ended = run(made, "--mode", "misclassified")
    assert ended.returncode == 0, ended.stderr
    assert "test: 7 worst of " in ended.stderr
    rows = rows_of(made.run / "misclassified/test.csv")
    assert [int(row["rank"]) for row in rows] == list(range(1, 8))
    surprise = [float(row["surprise"]) for row in rows]
    assert surprise == sorted(surprise, reverse=True)
    assert all(row["truth"] != row["said"] for row in rows)
    predictions = load_split(made.run, "test")
    p = load_decisions(made.run, predictions.labels).probabilities(predictions.logits)
    loss = -np.log(np.where(predictions.target > 0, p, 1 - p)).sum(axis=1)
    first = predictions.ids.tolist().index(rows[0]["id"])
    assert surprise[0] == pytest.approx(loss[first], abs=1e-3)
    for sample in listed(made.run / "misclassified/test.json")["shown"]:
        years = {int(near["date"][:4]) for near in sample["neighbours"]}
        assert years <= {2001, 2002, 2003}
        distance = [near["distance"] for near in sample["neighbours"]]
        assert len(distance) == 3
        assert distance == sorted(distance)


def test_samples_are_drawn_by_lot_and_again_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, inputs=("grid",))
    ended = run(made, "--mode", "visualize")
    assert ended.returncode == 0, ended.stderr
    assert "2 of 60 days, drawn by lot (seed 42), test" in ended.stderr
    path, picture = made.run / "visualize/test.json", made.run / "visualize/test.png"
    before = path.read_bytes(), picture.read_bytes()
    times = path.stat().st_mtime_ns, picture.stat().st_mtime_ns
    in_process(made, "visualize")
    assert (path.stat().st_mtime_ns, picture.stat().st_mtime_ns) == times, "nothing is done twice"
    path.unlink()
    picture.unlink()
    in_process(made, "visualize")
    assert (path.read_bytes(), picture.read_bytes()) == before
    in_process(made, "visualize", seed=1)
    assert path.read_bytes() != before[0]


def test_samples_of_days_and_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, inputs=("grid",))

    def shown(**settings) -> list[dict]:
        config = EvaluateConfig.model_validate({"mode": "visualize", "visualize": settings})
        examine(made.config.model_copy(update={"evaluate": config}), made.run, made.store, made.home)
        return listed(made.run / "visualize/test.json")["shown"]

    days = [date(2005, 1, 3), "2005-02-01"]
    assert [sample["date"] for sample in shown(dates=days)] == ["2005-01-03", "2005-02-01"]
    assert all("北東" in sample["truth"] for sample in shown(classes=["北東"]))
    with pytest.raises(InputError, match=r"visualize\.dates: 1999-01-01 not among the 60 samples of test"):
        shown(dates=["1999-01-01"])
    with pytest.raises(InputError, match=r"evaluate\.visualize\.classes: 'Q' is not a class"):
        shown(classes=["Q"])


def test_an_unknown_mode_is_answered_with_those_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, inputs=("grid",))
    ended = run(made, "--mode", "visualise")
    assert ended.returncode == 2
    assert "evaluate.mode: unknown name 'visualise'; did you mean 'visualize'?" in ended.stderr


def test_without_test_samples_validation_is_shown_and_nothing_can_be_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = finished(tmp_path, monkeypatch, inputs=("image",), single=True, years=([2001, 2002], [2003], []))
    in_process(made, "visualize")
    assert (made.run / "visualize/val.png").exists()
    with pytest.raises(
        InputError, match=r"no run of any fold has predicted days that it did not learn from.*--folds all"
    ):
        in_process(made, "audit")


def test_a_perfect_run_has_no_worst_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, inputs=("grid",), skill=40.0)
    in_process(made, "misclassified")
    value = listed(made.run / "misclassified/test.json")
    assert value["rule"] == "no wrong decision in 60 samples"
    assert rows_of(made.run / "misclassified/test.csv") == []
    assert not (made.run / "misclassified/test.png").exists()


@pytest.mark.slow
def test_all_of_it_on_a_trained_run(trained_place: Place, tmp_path: Path):
    """The explaining modes run the network; the second time nothing is left to do."""
    place = trained_place.copy(tmp_path)
    run_folder = place.one("results/tiny/simple-*")
    settings = [*FAST, "explain.feature.repeats=2", "explain.reasoning.samples=4"]
    first = run_job("evaluate", run_folder, "--mode", "all", *settings)
    assert first.code == 0, first.text
    for name in ("visualize/test.png", "misclassified/test.csv", "label_audit/suspects.csv", "test_report.json"):
        assert (run_folder / name).exists(), name
    for mode in ("reasoning", "feature"):
        assert list((run_folder / "explain" / mode).glob("*.png")), mode
    again = run_job("evaluate", run_folder, "--mode", "all", *settings)
    assert again.code == 0
    assert again.text.count("fresh already") == 3
