"""The command itself: leave-one-year-out in one line, finished runs untouched, failures told, wrong names refused."""

from __future__ import annotations

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.contract.predictions import load_decisions, load_split
from pipeline.contract.scores import f_score, macro
from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.experiment import Experiment
from pipeline.sweep.config import FLAGS, OWN, SweepConfig
from pipeline.sweep.crew import last_words
from pipeline.sweep.machine import divide, free_memory_gb
from tests.conftest import CONFIG, ROOT, Ended, Place, environment, run_job

SWEPT = runpy.run_path(str(ROOT / "jobs" / "run_backbones.py"))["Swept"]

YEARS = ("1994", "1995", "1996")
SPLIT = "train: [1994, 1995]\n    val: [1996]\n    leave_one_year_out: true"
FOLDS = ("1994", "1995")
"""Two of the three, because a training takes seconds to import torch; a slow test takes all."""
ASKED = ("--backbones", "simple,positional", "--folds", ",".join(FOLDS), "--seeds", "1")


@pytest.fixture(scope="module")
def derived(raw_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Derived files, no store yet, and a config that leaves out each year in turn."""
    place = raw_place.copy(tmp_path_factory.mktemp("derived"))
    text = CONFIG.replace("train: [1995]\n    val: [1996]\n    test: [1994]", SPLIT).replace("epochs: 2", "epochs: 1")
    assert SPLIT in text
    place.config.write_text(f"{text}report:\n  dpi: 50\n", encoding="utf-8")
    ended = run_job("derive", place.config)
    assert ended.code == 0, ended.text
    return place


@pytest.fixture(scope="module")
def swept(derived: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Ended]:
    """Two backbones × two years left out, by one command; treat as read-only."""
    place = derived.copy(tmp_path_factory.mktemp("swept"))
    ended = sweep(place, "--jobs", "2")
    assert ended.code == 0, ended.text
    return place, ended


def sweep(place: Place, *more: str, asked: tuple[str, ...] = ASKED) -> Ended:
    return run_job("run_backbones", place.config, *asked, *more)


def summary_of(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.one("results/tiny/sweeps/*/summary.json").read_text())
    return found


def bytes_of(place: Place) -> dict[str, bytes]:
    """Return what lies in results, but not what was said on the way, nor the page, which tells as of when it is."""
    files = [path for path in (place.home / "results" / "tiny").rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        str(p.relative_to(place.home)): p.read_bytes()
        for p in files
        if p.suffix not in (".log", ".jsonl") and p.name != ".lock"
    }


def test_one_command_makes_ordinary_runs_and_their_summary(swept: tuple[Place, Ended]) -> None:
    place, ended = swept
    summary = summary_of(place)
    assert summary["complete"]
    assert (summary["folds"], summary["seeds"]) == (list(FOLDS), [1])
    assert [(one["planned"], one["finished"]) for one in summary["backbones"]] == [(2, 2), (2, 2)]
    for row in summary["runs"]:
        run = place.home / "results" / "tiny" / row["run"]
        report = json.loads((run / "val_report.json").read_text())
        test = json.loads((run / "test_report.json").read_text())
        assert row["val"]["macro_f1"] == report["scores"]["macro_f1"]
        assert row["val"]["weighted_f1"] == report["classification_report"]["weighted avg"]["f1-score"]
        assert row["test"]["map"] == test["scores"]["map"]
        assert {test["first"][:4], test["last"][:4]} == {row["fold"]}
        history = json.loads((run / "history.json").read_text())["epochs"]
        assert row["val"]["val_loss"] == history[row["best_epoch"] - 1]["val_loss"]
        record = json.loads((run / "run.json").read_text())
        assert row["parameters"] == record["model"]["parameters"]["trained"] > 1000
        assert 100 < row["peak_memory_mb"] == record["peak_memory_mb"] < 4000
    for text in ("TEST days: judged, chosen by nothing", "with fewer than 6 folds there is none", "pooled", "±"):
        assert text in ended.text, text
    assert "next:" not in ended.text


def test_means_order_and_differences(swept: tuple[Place, Ended]) -> None:
    summary = summary_of(swept[0])
    scores = {
        name: np.array([row["val"]["macro_f1"] for row in summary["runs"] if row["backbone"] == name])
        for name in ("simple", "positional")
    }
    best, other = summary["backbones"]
    assert summary["best"] == best["backbone"] == max(scores, key=lambda name: scores[name].mean())
    assert best["val"]["macro_f1"]["mean"] == pytest.approx(scores[best["backbone"]].mean(), abs=1e-12)
    assert best["val"]["macro_f1"]["sd"] == pytest.approx(scores[best["backbone"]].std(ddof=1), abs=1e-12)
    differences = scores[other["backbone"]] - scores[best["backbone"]]
    assert best["against_best"] is None
    assert list(other["against_best"]["differences"].values()) == pytest.approx(list(differences), abs=1e-12)
    assert other["against_best"]["better"] == int((differences > 0).sum())


def test_pooled_test_days_count_each_year_once(swept: tuple[Place, Ended]) -> None:
    summary = summary_of(swept[0])
    for one in summary["backbones"]:
        pooled = one["test"]["pooled"]
        rows = [row for row in summary["runs"] if row["backbone"] == one["backbone"]]
        target, chosen = [], []
        for row in rows:
            run = swept[0].home / "results" / "tiny" / row["run"]
            predictions = load_split(run, "test")
            target.append(predictions.target)
            chosen.append(load_decisions(run, predictions.labels).decide(predictions.logits))
        expected = macro(f_score(np.concatenate(target), np.concatenate(chosen)))
        assert pooled["macro_f1"]["mean"] == pytest.approx(expected, abs=1e-12)
        assert pooled["days"] == sum(row["test"]["days"] for row in rows)


def test_csv_and_pictures(swept: tuple[Place, Ended]) -> None:
    folder = swept[0].one("results/tiny/sweeps/*")
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    expected = summary_of(swept[0])["runs"]
    assert [float(row["val_map"]) for row in rows] == [row["val"]["map"] for row in expected]
    assert {row["status"] for row in rows} == {"finished"}
    with (folder / "backbones.csv").open(newline="", encoding="utf-8") as stream:
        means = list(csv.DictReader(stream))
    for row, one in zip(means, summary_of(swept[0])["backbones"], strict=True):
        assert (row["backbone"], row["finished"]) == (one["backbone"], "2")
        assert float(row["val_weighted_f1_sd"]) == one["val"]["weighted_f1"]["sd"]
        assert float(row["seconds_mean"]) == one["seconds"]["mean"]
    assert (means[0]["against_best_mean"], means[1]["against_best_pairs"]) == ("", "2")
    assert folder.name in (swept[0].home / "results" / ".site" / "data.js").read_text(), "the page of all results"
    pictures = {path.name: path.read_bytes()[:4] for path in (folder / "figures").iterdir()}
    assert pictures == dict.fromkeys(("scores.png", "cost.png", "differences.png"), b"\x89PNG")


def test_again_starts_no_program_and_changes_no_byte(swept: tuple[Place, Ended], tmp_path: Path) -> None:
    place = swept[0].copy(tmp_path)
    before = bytes_of(place)
    logs = {path: path.stat().st_mtime_ns for path in place.home.glob("results/tiny/sweeps/*/logs/*")}
    ended = sweep(place)
    assert ended.code == 0, ended.text
    assert "4 runs, 4 of them finished already" in ended.text
    assert "at a time" not in ended.text
    assert bytes_of(place) == before
    assert logs == {path: path.stat().st_mtime_ns for path in logs}


def test_a_failed_run_is_shown_with_its_error_and_never_an_older_score(
    swept: tuple[Place, Ended], tmp_path: Path
) -> None:
    place = swept[0].copy(tmp_path)
    row = next(row for row in summary_of(place)["runs"] if (row["backbone"], row["fold"]) == ("simple", "1995"))
    run = place.home / "results" / "tiny" / row["run"]
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    assert (run / "val_report.json").exists()
    ended = sweep(place)
    assert ended.code == 1, ended.text
    summary = summary_of(place)
    (failed,) = [one for one in summary["runs"] if one["status"] != "finished"]
    assert (failed["run"], failed["status"], failed["val"], failed["test"]) == (row["run"], "failed", None, None)
    said = last_words(place.one(f"results/tiny/sweeps/*/logs/{row['run']}.log"), 2)
    assert failed["error"] == f"train: {said}"
    assert "last.ckpt" in said
    simple = next(one for one in summary["backbones"] if one["backbone"] == "simple")
    assert (simple["finished"], simple["failed"], simple["val"]["macro_f1"]["n"]) == (1, 1, 1)
    assert simple["test"]["pooled"]["why_not"] == "no seed has all folds finished and tested"
    assert summary["best"] == "positional"
    assert not summary["complete"]
    assert "1 of 4 runs failed" in ended.text
    assert "runs without scores" in ended.text


def test_other_settings_of_thresholds_only_judge_again(swept: tuple[Place, Ended], tmp_path: Path) -> None:
    place = swept[0].copy(tmp_path)
    asked = ("--backbones", "positional", "--folds", "1995", "--seeds", "1", "thresholds.beta=2")
    weights = {path: path.stat().st_mtime_ns for path in place.home.glob("results/tiny/*/model.pt")}
    ended = sweep(place, asked=asked)
    assert ended.code == 0, ended.text
    assert "1 runs, 0 of them finished already" in ended.text
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert len(list(place.home.glob("results/tiny/sweeps/*"))) == 2


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sweep.folds=1997,all", "'all' stands alone"),
        ("sweep.seeds=1,one", "sweep.seeds.1"),
        ("sweep.seeds=1,1", "1 written twice"),
        ("sweep.jobs=0", "sweep.jobs"),
        ("sweep.parts=3/2", "i of i/n lies within"),
        ("sweep.by=macro_f", "did you mean 'macro_f1'?"),
        ("train.epoch=2", "did you mean 'epochs'"),
    ],
)
def test_wrong_settings_are_refused(derived: Place, setting: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(derived.config, SWEPT, [setting])
    assert said in str(caught.value)
    assert str(caught.value).startswith("command line: ")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--folds", "1095,1996", "--jobs", "2"), "unknown fold '1095'; did you mean '1995'?"),
        (("--by", "macro_f"), "did you mean 'macro_f1'?"),
        (("--seeds", "1", "train.seed=2"), "this is what --seeds varies"),
        (("train.model.backbone=simple",), "this is what --backbones varies"),
        (("--new",), "--new is for single runs"),
    ],
)
def test_wrong_words_are_refused_before_anything_starts(
    swept: tuple[Place, Ended], more: tuple[str, ...], said: str
) -> None:
    ended = sweep(swept[0], *more, asked=())
    assert ended.code == 2, ended.text
    assert said in ended.text
    assert len(list(swept[0].home.glob("results/tiny/sweeps/*"))) == 1


def test_a_section_in_the_config_is_refused_because_other_jobs_would_not_know_it(derived: Place) -> None:
    config = derived.home / "with_section.yaml"
    config.write_text(derived.config.read_text() + "sweep:\n  jobs: 2\n")
    ended = run_job("run_backbones", config, "--seeds", "1")
    assert ended.code == 2, ended.text
    assert "with_section.yaml: sweep: what varies is given on the command line" in ended.text
    assert len(ended.text.splitlines()) == 1


def test_all_stands_for_our_own_backbones() -> None:
    assert SweepConfig(backbones="all").backbones == list(OWN)
    assert SweepConfig(backbones="all,resnet18").backbones == [*OWN, "resnet18"]


@pytest.mark.slow
def test_a_wrong_backbone_is_refused_with_names_like_it(derived: Place) -> None:
    ended = sweep(derived, asked=("--backbones", "resnet_smal,resnet1,resnet18,efficientnet"))
    assert ended.code == 2
    first, second = [line for line in ended.text.splitlines() if "unknown name" in line]
    assert "'resnet_smal'; did you mean 'resnet_small'?" in first
    assert "'resnet1'; did you mean 'resnet18'?" in second
    assert not (derived.home / "data" / "store").exists(), "not even the store is built"
    assert not (derived.home / "results").exists()


def test_a_run_folder_is_no_sweep(swept: tuple[Place, Ended]) -> None:
    run = next(swept[0].home.glob("results/tiny/simple-*"))
    ended = run_job("run_backbones", run)
    assert ended.code == 2
    assert "config.yaml" in ended.text


def test_dry_run_starts_and_writes_nothing(swept: tuple[Place, Ended]) -> None:
    before = bytes_of(swept[0])
    ended = sweep(swept[0], "--dry-run", asked=("--backbones", "simple,resnet_small", "--folds", "all", "--seeds", "1"))
    assert ended.code == 0, ended.text
    assert ended.text.count(": finished (") == 2
    assert ended.text.count(": not begun (") == 4, "all three years, of which two are done with one of the backbones"
    assert ended.text.count("resnet_small, fold 1996, seed 1: not begun (") == 1
    assert bytes_of(swept[0]) == before


def test_own_names_are_those_that_train_offers() -> None:
    from pipeline.train.backbones import BACKBONES

    assert tuple(BACKBONES) == OWN


def test_every_flag_is_described() -> None:
    ended = run_job("run_backbones", "--help")
    assert ended.code == 0
    for flag, setting in FLAGS.items():
        assert flag in ended.text
        assert f"({setting})" in ended.text


def test_a_planned_folder_is_the_one_that_train_takes(swept: tuple[Place, Ended], monkeypatch: Any) -> None:
    place = swept[0]
    monkeypatch.setenv("ISOBAR_HOME", str(place.home))
    settings = ["train.model.backbone=positional", "train.fold=1995", "train.seed=1"]
    config = load(place.config, Experiment, settings).config
    planned = [row for row in summary_of(place)["runs"] if (row["backbone"], row["fold"]) == ("positional", "1995")]
    assert [row["run"] for row in planned] == [config.run().path.name]


def test_cores_and_memory_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("pipeline.sweep.machine.os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("pipeline.sweep.machine.free_memory_gb", lambda: 64.0)
    share = divide(jobs=3, runs=9, threads=0, memory_gb=6, data_gb=9)
    assert (share.jobs, share.threads, share.memory_gb) == (3, 2, 2)
    assert divide(jobs=3, runs=2, threads=0, memory_gb=6, data_gb=9).threads == 4
    assert divide(jobs=3, runs=9, threads=5, memory_gb=6, data_gb=9).threads == 5
    assert share.environment(1)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setattr("pipeline.sweep.machine.free_memory_gb", lambda: 4.5)
    assert divide(jobs=8, runs=9, threads=0, memory_gb=2, data_gb=9).jobs == 2
    assert divide(jobs=8, runs=9, threads=0, memory_gb=2, data_gb=0.1).jobs == 4
    monkeypatch.setattr("pipeline.sweep.machine.free_memory_gb", lambda: 0.5)
    assert divide(jobs=8, runs=9, threads=0, memory_gb=2, data_gb=9).jobs == 1


def test_several_accelerators_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    share = divide(jobs=4, runs=4, threads=1, memory_gb=0.001, data_gb=9)
    if share.jobs == 4:
        assert [share.environment(place)["CUDA_VISIBLE_DEVICES"] for place in range(4)] == ["3", "5", "3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" not in divide(1, 1, 1, 1, 1).environment(0)


def test_free_memory_is_told_here() -> None:
    free = free_memory_gb()
    assert free is not None
    assert 0 < free < 1e5
    assert not Interrupt().requested()


# --- slow: whole commands stopped and killed --------------------------------------------------------------------


LONG = ("--backbones", "simple,positional", "--folds", "1995", "--seeds", "1,2", "--jobs", "2", "train.epochs=100")


def start(place: Place) -> subprocess.Popen[str]:
    if divide(2, 4, 1, 0, 0).jobs < 2:
        pytest.skip("too little memory is free for two trainings at a time")
    command = [sys.executable, str(ROOT / "jobs" / "run_backbones.py"), str(place.config), *LONG]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(place.config))


def at_work(place: Place) -> list[str]:
    """Return the command lines of processes that work on this config."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(place.config).encode() in words:
            lines.append(b" ".join(words).decode())
    return lines


def wait_for_training(place: Place) -> None:
    end = time.monotonic() + 300
    # By their names: ``latest`` is one of them once more.
    while len(list(place.home.glob("results/tiny/*-*/checkpoints/last.ckpt"))) < 2:
        assert time.monotonic() < end, "no training came as far as a checkpoint"
        time.sleep(0.1)


def kill_a_child(parent: int) -> None:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while True:
        with suppress(ProcessLookupError):  # it ended meanwhile; the next one has begun
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
            return


@pytest.fixture(scope="module")
def whole(derived: Place, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The runs of the summary of a long sweep that nobody stopped."""
    place = derived.copy(tmp_path_factory.mktemp("whole"))
    ended = sweep(place, asked=LONG)
    assert ended.code == 0, ended.text
    found: list[dict[str, Any]] = summary_of(place)["runs"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_the_same_command_goes_on(
    derived: Place, whole: list[dict[str, Any]], tmp_path: Path, how: signal.Signals
) -> None:
    place = derived.copy(tmp_path)
    assert run_job("store", place.config).code == 0
    process = start(place)
    wait_for_training(place)
    process.send_signal(how)
    code = process.wait(timeout=300)
    assert code == (75 if how == signal.SIGTERM else -signal.SIGKILL)
    end = time.monotonic() + 60
    while at_work(place) and time.monotonic() < end:
        time.sleep(0.1)
    assert at_work(place) == []
    summary = summary_of(place)
    assert summary["counts"]["interrupted"] == (2 if how == signal.SIGTERM else 0)
    assert summary["counts"]["not run"] == (2 if how == signal.SIGTERM else 4)
    assert all(row["val"] is None for row in summary["runs"])
    ended = sweep(place, asked=LONG)
    assert ended.code == 0, ended.text
    scores = [[(row["run"], row["val"], row["test"]) for row in rows] for rows in (summary_of(place)["runs"], whole)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_killed_child_is_told_and_goes_on_with_the_same_command(
    derived: Place, whole: list[dict[str, Any]], tmp_path: Path
) -> None:
    place = derived.copy(tmp_path)
    assert run_job("store", place.config).code == 0
    process = start(place)
    wait_for_training(place)
    kill_a_child(process.pid)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert "1 of 4 runs failed" in said
    summary = summary_of(place)
    assert summary["counts"] == {"finished": 3, "failed": 1, "interrupted": 0, "not run": 0}
    (failed,) = [row for row in summary["runs"] if row["status"] == "failed"]
    assert failed["error"].startswith("train: killed by SIGKILL")
    assert failed["val"] is None
    # The signal may come between the last epoch and the end of the process: what is left then is to judge the run.
    done = json.loads((place.home / "results" / "tiny" / failed["run"] / "run.json").read_text())["status"] == "done"
    ended = sweep(place, asked=LONG)
    assert ended.code == 0, ended.text
    assert f"{'is judged' if done else 'goes on'} ({failed['run']})" in ended.text
    assert [(row["run"], row["val"]) for row in summary_of(place)["runs"]] == [(r["run"], r["val"]) for r in whole]


@pytest.mark.slow
def test_leave_one_year_out_is_one_command(derived: Place, tmp_path: Path) -> None:
    place = derived.copy(tmp_path)
    ended = sweep(place, asked=("--backbones", "positional,resnet10t", "--folds", "all"))
    assert ended.code == 0, ended.text
    summary = summary_of(place)
    assert summary["folds"] == list(YEARS)
    for row in summary["runs"]:
        assert {row["test"]["first"][:4], row["test"]["last"][:4]} == {row["fold"]}
    for one in summary["backbones"]:
        assert one["test"]["pooled"]["days"] == sum(row["test"]["days"] for row in summary["runs"]) / 2


@pytest.mark.slow
def test_parts_of_a_job_array_together_are_the_sweep(derived: Place, tmp_path: Path) -> None:
    place = derived.copy(tmp_path)
    assert run_job("store", place.config).code == 0
    for part in ("1/2", "2/2"):
        ended = sweep(place, "--parts", part)
        assert ended.code == 0, ended.text
        assert not list(place.home.glob("results/tiny/sweeps/*/summary.json"))
    ended = sweep(place)
    assert "4 of them finished already" in ended.text
    assert summary_of(place)["complete"]
