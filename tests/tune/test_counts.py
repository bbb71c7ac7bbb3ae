"""Every sampler with every pruner in every storage: as many trials as were asked for, also over a restart."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipeline.core.artifact import read_json
from pipeline.tune.plan import Plan
from pipeline.tune.sections.choices import PRUNERS, SAMPLERS
from pipeline.tune.trial import Trainer
from tests.tune.small import search, write

STORAGES = ("memory", "sqlite", "journal")
SPACE = {
    "train.optimizer.lr": {"type": "float", "low": 0.01, "high": 0.05, "step": 0.01},
    "batch_size": {"type": "categorical", "choices": [4, 8, 16, 20]},
}


def history_of(experiment: Any) -> dict[str, Any]:
    """Return what training would bring, from the settings alone."""
    value = 1 - abs(experiment.train.optimizer.lr - 0.03) * experiment.train.batch_size / 20
    entries = [{"epoch": epoch + 1, "val_map": value - 0.1 / (epoch + 1)} for epoch in range(experiment.train.epochs)]
    return {"epochs": entries, "best_epoch": len(entries)}


def report_only(self: Trainer, experiment: Any, run: Any, after_epoch: Any) -> dict[str, Any]:
    """Report the epochs of a training as the loop does, and train nothing."""
    history = history_of(experiment)
    for number in range(1, len(history["epochs"]) + 1):
        progress = type("P", (), {"history": history["epochs"][:number], "epoch": number})()
        progress.finished = number == len(history["epochs"])
        after_epoch(progress)
    return history


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trials take no time: epochs are reported as the loop does, nothing is trained."""
    monkeypatch.setattr(Trainer, "train", report_only)


def states(plan: Plan) -> list[str]:
    rows = read_json(plan.folder / "trials_history.json")["trials"]
    assert [row["number"] for row in rows] == list(range(len(rows)))
    return [row["state"] for row in rows]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("sampler", "storage"), [*itertools.product(SAMPLERS, STORAGES)])
def test_exact_counts_over_a_restart(place: Path, sampler: str, storage: str) -> None:
    if sampler == "CmaEs":
        pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    # All pruners with every sampler and storage are the slow test's.
    for pruner in PRUNERS if (sampler, storage) == ("TPE", "journal") else ("Hyperband",):
        tuning = {"name": f"{pruner}", "epochs": 2}
        path = write(place, study=tuning, sampler=sampler, pruner=pruner, storage=storage, search_space=SPACE)
        assert len(states(search(path, "study.n_trials=2"))) == 2
        found = states(search(path, "study.n_trials=4"))
        assert len(found) == 4
        assert set(found) <= {"COMPLETE", "PRUNED"}
        assert states(search(path, "study.n_trials=4")) == found, "a finished study is left alone"


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("sampler", "storage"), [*itertools.product(SAMPLERS, STORAGES)])
def test_twelve_trials_then_twenty(place: Path, sampler: str, storage: str) -> None:
    if sampler == "CmaEs":
        pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    for pruner in PRUNERS:
        study = {"name": pruner, "epochs": 2}
        path = write(place, study=study, sampler=sampler, pruner=pruner, storage=storage, search_space=SPACE)
        assert len(states(search(path, "study.n_trials=12"))) == 12
        assert len(states(search(path, "study.n_trials=20"))) == 20


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("pruner", ["Nop", "none", None])
def test_no_pruner_prunes_nothing(place: Path, pruner: str | None) -> None:
    plan = search(write(place, study={"n_trials": 12, "epochs": 3}, pruner=pruner, search_space=SPACE))
    assert states(plan) == ["COMPLETE"] * 12


@pytest.mark.usefixtures("quick")
def test_the_median_pruner_prunes_the_worse_half(place: Path) -> None:
    pruner = {"name": "Median", "n_startup_trials": 2}
    plan = search(write(place, study={"n_trials": 12, "epochs": 3}, sampler="Random", pruner=pruner))
    assert "PRUNED" in states(plan)


@pytest.mark.usefixtures("quick")
def test_a_grid_visits_each_point_once_and_ends(place: Path) -> None:
    plan = search(write(place, study={"n_trials": 99}, sampler="Grid", search_space=SPACE))
    rows = read_json(plan.folder / "trials_history.json")["trials"]
    visited = {(row["params"]["train.optimizer.lr"], row["params"]["batch_size"]) for row in rows}
    assert len(rows) == len(visited) == 20


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sampler", ["Grid", "TPE"])
def test_a_trial_whose_worker_died_before_its_first_parameter_is_begun_again(place: Path, sampler: str) -> None:
    path = write(place, study={"n_trials": 6}, sampler=sampler, pruner="none", search_space=SPACE)
    plan = search(path, "study.n_trials=2")
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(plan.storage_file))))
    study._storage.create_new_trial(study._study_id)  # what `ask` does first; here the worker is killed
    assert states(search(path)) == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 4
    rows = read_json(plan.folder / "trials_history.json")["trials"]
    if sampler == "Grid":
        assert len({str(row["params"]) for row in rows if row["state"] == "COMPLETE"}) == 6


@pytest.mark.usefixtures("quick")
def test_a_search_stopped_in_between_ends_as_one_without_a_stop(place: Path) -> None:
    one = search(write(place, study={"name": "one", "n_trials": 14}, search_space=SPACE))
    path = write(place, study={"name": "two", "n_trials": 14}, search_space=SPACE)
    for count in (3, 8, 14):
        two = search(path, f"study.n_trials={count}")
    rows = [read_json(plan.folder / "trials_history.json")["trials"] for plan in (one, two)]
    assert [row["params"] for row in rows[0]] == [row["params"] for row in rows[1]]
