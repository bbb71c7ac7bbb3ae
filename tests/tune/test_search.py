"""Searches with real trainings: what a trial is, what is written, and what comes out of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.core.artifact import describe_files, read_json
from pipeline.core.config import load
from pipeline.core.errors import InputError, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.job import run_job
from pipeline.core.run import RunFolder
from pipeline.train.stage import train
from pipeline.tune.config import TuneConfig
from pipeline.tune.plan import Plan
from pipeline.tune.sections.words import FLAGS, options
from pipeline.tune.verdict import confirmation_text
from pipeline.tune.view import all_studies, list_studies, show
from tests.tune.small import BASE, Tiny, main, search, write


def rows_of(plan: Plan) -> list[dict[str, Any]]:
    return list(read_json(plan.folder / "trials_history.json")["trials"])


def base_with(**more: Any) -> dict[str, Any]:
    base = copy.deepcopy(BASE)
    base["train"] |= more
    return base


def test_each_trial_is_a_run_with_its_own_settings(place: Path) -> None:
    plan = search(write(place, study={"n_trials": 3}, pruner="none"))
    for row in rows_of(plan):
        folder = plan.folder / row["run"]
        assert RunFolder(folder).status == "done"
        assert (folder / "model.pt").exists()
        settings = yaml.safe_load((folder / "config.yaml").read_text())["train"]
        assert settings["batch_size"] == row["params"]["batch_size"]
        assert settings["optimizer"]["lr"] == pytest.approx(row["params"]["train.optimizer.lr"], rel=1e-12)
        history = read_json(folder / "history.json")
        assert row["value"] == history["epochs"][history["best_epoch"] - 1]["val_map"]
        reported = [row["intermediate_values"][str(number)] for number in (1, 2)]
        assert reported == [entry["val_map"] for entry in history["epochs"]]


def test_a_trial_is_bit_for_bit_the_run_of_its_config(place: Path) -> None:
    """Sharing the store and the process between trials changes nothing."""
    plan = search(write(place, study={"n_trials": 3}, pruner="none"))
    row = rows_of(plan)[2]
    config = load(plan.folder / row["run"] / "config.yaml", Tiny).config
    run = RunFolder(place / "alone")
    run.begin("")
    train(config.train, config.store_folder(), run, Interrupt(), place)
    alone, ours = (torch.load(folder / "model.pt")["model"] for folder in (run.path, plan.folder / row["run"]))
    assert all(torch.equal(alone[name], ours[name]) for name in alone)


def test_the_optimized_config_trains_to_the_best_value(place: Path) -> None:
    plan = search(write(place, study={"n_trials": 3}, pruner="none"))
    best = read_json(plan.folder / "best_params.json")
    config = load(plan.folder / "optimized_config.yaml", Tiny).config
    assert config.train.batch_size == best["best_params"]["batch_size"]
    run = config.run()
    run.begin("")
    progress = train(config.train, config.store_folder(), run, Interrupt(), place)
    assert progress.best == best["best_value"]
    assert best["best_value"] == max(row["value"] for row in rows_of(plan))


def test_minimising_the_loss_finds_the_least_loss(place: Path) -> None:
    plan = search(write(place, study={"n_trials": 3, "direction": "minimize"}, pruner="none"))
    best = read_json(plan.folder / "best_params.json")
    assert best["metric"] == "val_loss"
    assert best["best_value"] == min(row["value"] for row in rows_of(plan))
    history = read_json(plan.folder / rows_of(plan)[0]["run"] / "history.json")
    assert history["select"] == "val_loss", "trials keep the epoch of least loss"


def test_a_failing_trial_is_recorded_and_the_search_goes_on(place: Path) -> None:
    space = {"train.optimizer.lr": {"type": "categorical", "choices": [1e-3, 1e30]}}
    base = base_with(optimizer={"name": "sgd", "momentum": 0})
    plan = search(write(place, base, study={"n_trials": 2}, sampler="Grid", search_space=space))
    rows = {row["params"]["train.optimizer.lr"]: row for row in rows_of(plan)}
    assert rows[1e-3]["state"] == "COMPLETE"
    assert rows[1e30]["state"] == "FAIL"
    assert "loss is" in rows[1e30]["error"]
    assert read_json(plan.folder / "study_statistics.json")["failed"] == 1


def test_when_all_trials_fail_the_job_says_so_and_tells_why(place: Path) -> None:
    space = {"train.optimizer.lr": {"type": "float", "low": 1e29, "high": 1e30, "log": True}}
    path = write(place, base_with(optimizer={"name": "sgd"}), study={"n_trials": 2}, search_space=space)
    with pytest.raises(IsobarError, match=r"no trial came to its end.*2 failed"):
        search(path)
    (folder,) = (place / "results" / "tiny").iterdir()
    assert read_json(folder / "best_params.json")["best_params"] is None
    assert len(read_json(folder / "trials_history.json")["trials"]) == 2
    assert not (folder / "optimized_config.yaml").exists()


def test_conditions_hold(place: Path) -> None:
    space = {
        "train.optimizer.momentum": {"type": "float", "low": 0.1, "high": 0.9, "when": {"optimizer": "SGD"}},
        "optimizer": {"type": "categorical", "choices": ["SGD", "Adam"]},
    }
    plan = search(write(place, study={"n_trials": 6, "epochs": 1}, sampler="Random", search_space=space))
    seen = set()
    for row in rows_of(plan):
        kind = row["params"]["optimizer"]
        seen.add(kind)
        assert ("train.optimizer.momentum" in row["params"]) == (kind == "SGD")
        optimizer = yaml.safe_load((plan.folder / row["run"] / "config.yaml").read_text())["train"]["optimizer"]
        assert optimizer["name"] == kind.lower()
        assert optimizer["weight_decay"] == {"SGD": 1e-4, "Adam": 0.0}[kind], "the guide's constants"
    assert seen == {"SGD", "Adam"}


GUIDE = {
    "learning_rate": ({"type": "float", "low": 1e-4, "high": 1e-1, "log": True}, "optimizer.lr"),
    "batch_size": ({"type": "categorical", "choices": [4, 8]}, "batch_size"),
    "scheduler_gamma": ({"type": "float", "low": 0.85, "high": 0.99}, "schedule.gamma"),
    "scheduler_step_size": ({"type": "int", "low": 5, "high": 30}, "schedule.step_size"),
    "weight_decay": ({"type": "float", "low": 0.01, "high": 0.1, "log": True}, "optimizer.weight_decay"),
    "drop_path_rate": ({"type": "float", "low": 0.1, "high": 0.3}, "model.drop_path"),
    "agc_clip_factor": ({"type": "float", "low": 0.001, "high": 0.1, "log": True}, "agc.clip_factor"),
    "aux_loss_weight": ({"type": "float", "low": 0.1, "high": 0.5}, "model.aux_loss_weight"),
    "focal_gamma": ({"type": "float", "low": 0.5, "high": 3}, "loss.gamma"),
    "loss": ({"type": "categorical", "choices": ["bce", "focal"]}, "loss.kind"),
    "sampler": ({"type": "categorical", "choices": ["shuffle", "weighted"]}, "sampler"),
    "backbone": ({"type": "categorical", "choices": ["simple", "positional"]}, "model.backbone"),
    "lr_head": ({"type": "float", "low": 5e-5, "high": 5e-3, "log": True}, "rates.head"),
    "lr_backbone": ({"type": "float", "low": 5e-6, "high": 5e-4, "log": True}, "rates.backbone"),
    "lr_decay_rate": ({"type": "float", "low": 0.1, "high": 0.5}, "rates.decay"),
}


@pytest.mark.parametrize("names", [[name] for name in GUIDE if not name.startswith("lr_")] + [[n for n in GUIDE if n.startswith("lr_")]], ids=lambda names: names[0])  # fmt: skip  # noqa: E501
def test_the_guides_parameters_by_name(place: Path, names: list[str]) -> None:
    space = {name: GUIDE[name][0] for name in names}
    plan = search(write(place, study={"n_trials": 1, "epochs": 1}, search_space=space))
    row = rows_of(plan)[0]
    assert row["state"] == "COMPLETE", row["error"]
    trained = yaml.safe_load((plan.folder / row["run"] / "config.yaml").read_text())["train"]
    for name in names:
        here = trained
        for part in GUIDE[name][1].split("."):
            here = here[part]
        assert here == row["params"][name]
    if names == ["agc_clip_factor"]:
        assert trained["agc"]["enabled"]
    if names == ["lr_head"]:
        assert trained["rates"]["by"] == "stages"
    if names == ["scheduler_step_size"]:
        assert trained["schedule"]["name"] == "step"


def test_post_training_begins_with_the_weights_and_uses_its_own_rates(place: Path) -> None:
    first = Tiny.model_validate(base_with(epochs=6))
    run = first.run()
    run.begin("")
    done = train(first.train, first.store_folder(), run, Interrupt(), place)
    before = done.history[done.best_epoch - 1]["val_loss"]
    space = {"learning_rate": {"type": "categorical", "choices": [1e-12, 1e-2]}}
    post = {"is_post_training": True, "checkpoint_path": str(run.path.relative_to(place)), "fine_tuning_epochs": 1}
    base = base_with(optimizer={"weight_decay": 0}, schedule={"name": "none"})
    plan = search(write(place, base, study={"n_trials": 2}, sampler="Grid", search_space=space, pruner=None, **post))
    loss = {}
    for row in rows_of(plan):
        entries = read_json(plan.folder / row["run"] / "history.json")["epochs"]
        assert len(entries) == 1
        loss[row["params"]["learning_rate"]] = entries[0]["val_loss"]
        assert entries[0]["lr"] == row["params"]["learning_rate"], "its own rate, not that of the finished run"
    # A step of 1e-12 cannot move float32 weights of size 0.1; batch statistics move a little.
    assert loss[1e-12] == pytest.approx(before, abs=0.02)
    assert loss[1e-2] != pytest.approx(loss[1e-12], abs=1e-6)
    optimized = load(plan.folder / "optimized_config.yaml", Tiny).config
    assert optimized.train.start_from == post["checkpoint_path"]
    assert optimized.train.epochs == 1


def test_a_confirmation_ranks_by_the_mean_over_new_seeds(place: Path) -> None:
    path = write(place, study={"n_trials": 4}, pruner="none")
    plan = search(path, "confirm.best=2", "confirm.seeds=2")
    found = read_json(plan.folder / "confirm.json")
    assert [row["seeds"] for row in found["trials"]] == [[43, 44]] * 2, "the search's own seed, 42, was chosen by luck"
    means = [row["mean"] for row in found["trials"]]
    assert means == sorted(means, reverse=True)
    for row in found["trials"]:
        assert row["mean"] == pytest.approx(sum(row["values"]) / 2)
        for name, value in zip(row["runs"], row["values"], strict=True):
            history = read_json(plan.folder / name / "history.json")
            assert value == history["best"]
    assert read_json(plan.folder / "best_params.json")["trial"] == found["trials"][0]["number"]
    luck = found["luck"]
    assert luck["luck"] == pytest.approx(luck["search_value"] - luck["confirmed_mean"])
    assert "was luck" in confirmation_text(plan.folder)
    assert "the base's settings" in show(plan)
    assert plan.folder.name in list_studies(plan)


def test_the_test_split_chooses_nothing(place: Path) -> None:
    """With other test days the whole history of the search is the same."""
    import shutil

    import numpy as np

    path = write(place, study={"n_trials": 3})
    one = [(row["params"], row["value"]) for row in rows_of(search(path))]
    shutil.rmtree(place / "results")
    target = np.load(place / "store" / "target.npy")
    target[32:] = 1 - target[32:]
    np.save(place / "store" / "target.npy", target)
    spec = json.loads((place / "store" / "store.json").read_text())
    spec["files"] |= describe_files(place / "store", ["target.npy"])
    (place / "store" / "store.json").write_text(json.dumps(spec))
    assert [(row["params"], row["value"]) for row in rows_of(search(path))] == one


def test_a_raised_count_goes_on_and_pictures_are_drawn(place: Path) -> None:
    from pipeline.report.search import draw_search

    path = write(place, study={"n_trials": 5, "epochs": 1}, pictures=True)
    plan = search(path)
    assert set(draw_search(plan.folder)) == {
        "optimization_history.png", "param_importances.png", "parallel_coordinate.png", "slice_plot.png",
        "contour_plot.png",
    }  # fmt: skip
    pytest.importorskip("plotly", reason="the package plotly is not installed")
    pages = {page.name for page in (plan.folder / "html").glob("*.html")}
    assert pages == {f"{name}.html" for name in ("optimization_history", "param_importances", "parallel_coordinate", "slice_plot", "contour_plot")}  # fmt: skip  # noqa: E501
    assert max(page.stat().st_size for page in (plan.folder / "html").glob("*.html")) < 200_000


def test_enqueued_parameters_come_first(place: Path) -> None:
    first = {"train.optimizer.lr": 0.005, "batch_size": 16}
    plan = search(write(place, study={"n_trials": 2, "epochs": 1, "enqueue": [first]}))
    assert rows_of(plan)[0]["params"] == first


def test_a_study_is_looked_at_and_gone_on_with_by_its_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(place, study={"n_trials": 2, "epochs": 1})
    plan = search(path)
    path.unlink()
    (place / "base.yaml").unlink()
    folder = str(plan.folder)
    assert job("show", folder) == 0
    assert "2 of 2 trials: 2 complete" in capsys.readouterr().out
    assert job("watch", folder) == 0
    assert "best val_map" in capsys.readouterr().out
    assert job("list", folder) == 0
    assert f"{plan.folder.name}  done  2 of 2 trials" in capsys.readouterr().out
    assert f"tiny/{plan.folder.name}  done  2 of 2 trials" in all_studies(place / "results")
    assert job(folder, "study.n_trials=3") == 0
    assert [row["state"] for row in rows_of(plan)] == ["COMPLETE"] * 3
    assert job(folder, "study.epochs=2") == 2, "that would be another study"
    assert job(str(plan.folder / rows_of(plan)[0]["run"])) == 2, "a run is no study"


def job(*arguments: str) -> int:
    return run_job(main, TuneConfig, "", options(arguments), FLAGS)


def test_show_before_a_search_says_what_to_do(place: Path) -> None:
    from tests.tune.small import plan_of

    with pytest.raises(InputError, match="no study yet"):
        show(plan_of(write(place)))
