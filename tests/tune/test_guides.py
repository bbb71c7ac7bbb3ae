"""The guides' forms of a search, key by key: what ``docs/settings.md`` tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from pipeline.core.artifact import read_json
from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.experiment import Experiment
from pipeline.train.batches import Resident
from pipeline.tune import stage
from pipeline.tune.choosing import build_pruner, build_sampler
from pipeline.tune.config import TuneConfig
from pipeline.tune.plan import Plan, make_plan
from pipeline.tune.stage import tune
from pipeline.tune.trial import Trainer
from pipeline.tune.view import show
from tests.dialects.configs import POCHI
from tests.dialects.pictures import write_photos
from tests.dialects.test_training import EXAMPLES, run
from tests.train.stores import marked_images
from tests.tune.small import ground, write
from tests.tune.test_counts import SPACE, report_only
from tests.tune.test_optimized import store_of_images

LR = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}
SMALL = POCHI.replace("resnet18", "simple").replace("epochs = 20", "epochs = 4").replace("= 32", "= 8")
FIXED = ("overrides=[train.threads=1, train.device=cpu, train.model.pool_size=2]", "pictures=false")


@pytest.fixture
def images(place: Path) -> Path:
    """A place with 40 images of 4 classes."""
    store_of_images(place, *marked_images(40, 4, 12))
    return place


def pochi(place: Path, optuna: dict[str, Any] | None, more: str = "") -> Path:
    """Write a config after pochitrain's guide with a section ``optuna = {…}``; its first line is line 12."""
    path = place / "mine.py"
    section = "" if optuna is None else f"optuna = {optuna!r}\n"
    path.write_text(f"{SMALL}{section}{more}\n", encoding="utf-8")
    return path


def tuning(place: Path, **sections: Any) -> Path:
    """Write a config after the image classifier's tuning guide, for a base in ours."""
    write(place)
    path = place / "tuning.yaml"
    found = {"base": "base.yaml", "parameter_ranges": {"learning_rate": LR}} | sections
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


def read(path: Path, *typed: str) -> TuneConfig:
    return load(path, TuneConfig, typed).config


def plan_of(path: Path, *typed: str) -> Plan:
    typed = (*FIXED, *typed)
    return make_plan(read(path, *typed), ground(path.parent), str(path), typed)


def searched(path: Path, *typed: str, interrupt: Interrupt | None = None) -> Plan:
    plan = plan_of(path, *typed)
    tune(plan, interrupt or Interrupt(), lambda number: [])
    return plan


def rows_of(plan: Plan) -> list[dict[str, Any]]:
    return list(read_json(plan.folder / "trials_history.json")["trials"])


def trained(plan: Plan, row: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial's training."""
    found: dict[str, Any] = yaml.safe_load((plan.folder / row["run"] / "config.yaml").read_text())["train"]
    return found


def rates(plan: Plan, row: dict[str, Any]) -> list[float]:
    return [entry["lr"] for entry in read_json(plan.folder / row["run"] / "history.json")["epochs"]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have trials take no time; what is handed in is done before each."""
    before: list[Callable[[], None]] = []

    def train(self: Trainer, experiment: Any, run: Any, after_epoch: Any) -> dict[str, Any]:
        for do in before:
            do()
        return report_only(self, experiment, run, after_epoch)

    monkeypatch.setattr(Trainer, "train", train)
    return before.append


# --- pochitrain: optuna = {…} --------------------------------------------------------------------------------


def test_the_optuna_section_with_its_defaults(place: Path) -> None:
    config = read(pochi(place, {"search_space": {"learning_rate": LR}}))
    assert config.base == str(place / "mine.py")
    assert (config.study.name, config.study.direction) == ("pochitrain_optimization", "maximize")
    assert (config.study.n_trials, config.study.epochs, config.workers) == (20, 10, 1)
    assert (config.sampler.name, config.pruner.name, config.storage.kind) == ("TPE", "Median", "memory")


def test_the_optuna_section_with_values(place: Path) -> None:
    asked = {"study_name": "s", "n_trials": 3, "n_jobs": 2, "optuna_epochs": 5, "search_space": {"learning_rate": LR}}
    plan = plan_of(pochi(place, asked))
    assert plan.folder.name.startswith("s-")
    assert plan.folder.parent == place / "work_dirs" / "mine"
    assert (plan.config.study.n_trials, plan.config.workers, plan.epochs) == (3, 2, 5)
    assert plan.config.storage.kind == "journal", "processes share no memory"
    assert read(place / "mine.py", "optuna.n_trials=7").study.n_trials == 7


def test_flat_keys_are_refused(place: Path) -> None:
    path = pochi(place, None, f"study_name = 's'\nsearch_space = {{'learning_rate': {LR}}}")
    with pytest.raises(InputError) as caught:
        read(path)
    assert f"{path}:12: study_name: unknown key" in str(caught.value)
    assert "base: required, but not set" in str(caught.value)


@pytest.mark.parametrize(
    ("direction", "metric", "best"), [("maximize", "val_accuracy", max), ("minimize", "val_loss", min)]
)
def test_directions_are_of_accuracy_and_loss(images: Path, direction: str, metric: str, best: Any) -> None:
    asked = {"direction": direction, "n_trials": 3, "optuna_epochs": 2, "search_space": {"learning_rate": LR}}
    plan = searched(pochi(images, asked | {"pruner": None}))
    found = read_json(plan.folder / "best_params.json")
    assert (found["metric"], found["direction"]) == (metric, direction)
    values = []
    for row in rows_of(plan):
        epochs = read_json(plan.folder / row["run"] / "history.json")["epochs"]
        assert row["value"] == best(entry[metric] for entry in epochs)
        values.append(row["value"])
    assert found["best_value"] == best(values)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler", "CmaEsSampler", "GridSampler"])
def test_samplers_by_the_guides_names(images: Path, name: str) -> None:
    space = {"learning_rate": SPACE["train.optimizer.lr"], "batch_size": {"type": "int", "low": 8, "high": 9}}
    asked = {"sampler": name, "n_trials": 12, "search_space": space}
    plan = searched(pochi(images, asked, "early_stopping = {'monitor': 'val_map'}"))
    rows = rows_of(plan)
    assert len(rows) == {"GridSampler": 10}.get(name, 12)
    sampler = build_sampler(plan.config.sampler, 0, 0, plan.space)
    assert isinstance(sampler, getattr(optuna.samplers, name))
    if name == "CmaEsSampler":
        told = [row["system_attrs"] for row in rows]
        assert any(attribute.startswith("cma:") for found in told for attribute in found), "the method was at work"
    assert all(0.01 <= row["params"]["learning_rate"] <= 0.05 for row in rows)


PRUNERS = ["MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner", None]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", PRUNERS)
def test_pruners_by_the_guides_names(images: Path, name: str | None) -> None:
    space = {"learning_rate": SPACE["train.optimizer.lr"], "batch_size": SPACE["batch_size"]}
    asked = {"pruner": name, "sampler": "RandomSampler", "n_trials": 20, "optuna_epochs": 3, "search_space": space}
    plan = searched(pochi(images, asked, "early_stopping = {'monitor': 'val_map'}"))
    states = {row["state"] for row in rows_of(plan)}
    pruner = build_pruner(plan.config.pruner, plan.epochs)
    if name in ("NopPruner", None):
        assert isinstance(pruner, optuna.pruners.NopPruner)
        assert states == {"COMPLETE"}
    else:
        assert isinstance(pruner, getattr(optuna.pruners, name))
        if name == "PercentilePruner":
            assert pruner._percentile == 25
        assert states == {"COMPLETE", "PRUNED"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("storage", [None, "sqlite:///optuna_study.db"])
def test_storages_of_the_guide_go_on(images: Path, storage: str | None) -> None:
    space = {"learning_rate": SPACE["train.optimizer.lr"]}
    path = pochi(images, {"storage": storage, "search_space": space}, "early_stopping = {'monitor': 'val_map'}")
    first = rows_of(searched(path, "study.n_trials=3"))
    plan = searched(path, "study.n_trials=5")
    assert [row["params"] for row in rows_of(plan)[:3]] == [row["params"] for row in first]
    assert len(rows_of(plan)) == 5
    assert (images / "optuna_study.db").exists() == (storage is not None)
    if storage is not None:
        found = optuna.load_study(study_name=plan.folder.name, storage=f"sqlite:///{images}/optuna_study.db")
        assert len(found.trials) == 5


def test_kinds_of_parameters(images: Path) -> None:
    """``float``, ``int`` and ``categorical`` of the guide, as the trials have them; a mistake has its line."""
    space = {
        "learning_rate": LR,
        "scheduler_step_size": {"type": "int", "low": 1, "high": 4, "log": True},
        "optimizer": {"type": "categorical", "choices": ["SGD", "Adam", "AdamW"]},
    }
    step = "scheduler = 'StepLR'\nscheduler_params = {'step_size': 1, 'gamma': 0.5}"
    plan = searched(pochi(images, {"n_trials": 4, "optuna_epochs": 1, "search_space": space}, step))
    constants = {"SGD": ("sgd", 1e-4), "Adam": ("adam", 0.0), "AdamW": ("adamw", 1e-2)}
    for row in rows_of(plan):
        params, settings = row["params"], trained(plan, row)
        assert 1e-4 <= params["learning_rate"] <= 1e-2
        assert params["scheduler_step_size"] in (1, 2, 3, 4)
        optimizer = settings["optimizer"]
        assert (optimizer["name"], optimizer["weight_decay"]) == constants[params["optimizer"]]
        assert rates(plan, row) == [pytest.approx(params["learning_rate"], rel=1e-12)]
    with pytest.raises(InputError, match=r"mine\.py:12: search_space\.learning_rate\.type: unknown name 'weird'"):
        read(pochi(images, {"search_space": {"learning_rate": LR | {"type": "weird"}}}))
    with pytest.raises(InputError, match=r"mine\.py:12: search_space\.learning_rate\.?.*low: float needs low and high"):
        read(pochi(images, {"search_space": {"learning_rate": {"type": "float", "high": 1.0}}}))


def test_batch_sizes_are_those_that_trials_train_with(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where batches are cut: 24 training images."""
    seen: list[list[int]] = []
    original = Resident.batches

    def batches(self: Resident, parts: Sequence[Any]) -> Iterator[Any]:
        seen.append([len(part) for part in parts])
        return original(self, parts)

    monkeypatch.setattr(Resident, "batches", batches)
    space = {"batch_size": {"type": "categorical", "choices": [4, 12]}}
    plan = searched(pochi(images, {"sampler": "GridSampler", "optuna_epochs": 1, "search_space": space}))
    sizes = [row["params"]["batch_size"] for row in rows_of(plan)]
    assert sorted(sizes) == [4, 12]
    cut = [parts for parts in seen if sum(parts) == 24]
    assert [max(parts) for parts in cut] == sizes


@pytest.mark.parametrize(
    ("name", "parameter", "base", "factors"),
    [
        ("scheduler_gamma", {"choices": [0.5, 0.9]}, "ExponentialLR', {'gamma': 0.95}", lambda g: [1, g, g**2]),
        ("scheduler_step_size", {"choices": [1, 2]}, "StepLR', {'step_size': 9, 'gamma': 0.1}",
         lambda n: [0.1 ** (epoch // n) for epoch in range(3)]),
    ],
)  # fmt: skip
def test_parameters_of_the_schedule_change_the_rates(
    images: Path, name: str, parameter: dict[str, Any], base: str, factors: Any
) -> None:
    asked = {"sampler": "GridSampler", "optuna_epochs": 3, "pruner": None}
    space = {name: {"type": "categorical"} | parameter}
    path = pochi(images, asked | {"search_space": space}, f"(scheduler, scheduler_params) = ('{base})")
    plan = searched(path)
    rows = rows_of(plan)
    assert len(rows) == 2
    for row in rows:
        assert rates(plan, row) == pytest.approx([0.01 * factor for factor in factors(row["params"][name])])


@pytest.mark.slow
def test_the_command_searches_by_a_training_config(tmp_path: Path) -> None:
    """The example, from photos to a config that the train job takes."""
    write_photos(tmp_path / "data" / "photos", classes=4, train=6)
    small = ("model_name=simple", "enable_layer_wise_lr=false", "train.threads=1", "train.export_metrics=false")
    example = EXAMPLES / "pochi_train_config.py"
    assert run(tmp_path, "store", example, *small).code == 0
    more = ("optuna.n_trials=2", "optuna.optuna_epochs=1", f"overrides={json.dumps(small)}", "pictures=false")
    ended = run(tmp_path, "tune", example, *more, "search_space.batch_size.choices=[4, 8]")
    assert ended.code == 0, ended.text
    (study,) = tmp_path.glob("work_dirs/pochi_train_config/pochitrain_optimization-*/")
    assert len(read_json(study / "trials_history.json")["trials"]) == 2
    assert f"python jobs/train.py {study}/optimized_config.yaml" in ended.text
    best = read_json(study / "best_params.json")["best_params"]
    assert load(study / "optimized_config.yaml", Experiment).config.train.optimizer.lr == best["learning_rate"]


@pytest.mark.usefixtures("quick")
def test_statistics_are_those_of_the_trials(images: Path) -> None:
    space = {"learning_rate": SPACE["train.optimizer.lr"], "batch_size": SPACE["batch_size"]}
    asked = {"n_trials": 12, "sampler": "RandomSampler", "optuna_epochs": 3, "search_space": space}
    plan = searched(pochi(images, asked, "early_stopping = {'monitor': 'val_map'}"))
    found, rows = read_json(plan.folder / "study_statistics.json"), rows_of(plan)
    values = [row["value"] for row in rows if row["state"] == "COMPLETE"]
    mean = sum(values) / len(values)
    assert found["direction"] == "maximize"
    assert (found["n_trials"], found["complete"], found["failed"]) == (12, len(values), 0)
    assert found["pruned"] == 12 - len(values) > 0
    assert (found["best"], found["worst"]) == (max(values), min(values))
    assert found["mean"] == pytest.approx(mean)
    assert found["std"] == pytest.approx((sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5)
    assert set(found["importances"]) == {"learning_rate", "batch_size"}
    assert sum(found["importances"].values()) == pytest.approx(1)


# --- image classifier: the tuning guide ----------------------------------------------------------------------


def test_the_tuning_guides_sections(place: Path) -> None:
    path = tuning(
        place,
        study={"name": "s", "direction": "maximize", "metric": "val_f1", "n_trials": 7, "timeout": 90,
               "tuning_max_epochs": 3},
        storage={"path": "./studies/study.db"},
        output={"log_dir": "./logs", "checkpoint_dir": "./checkpoints"},
        parallel={"n_jobs": 2},
        visualization={"create_plots": False, "save_dir": "./visualization", "plot_types": ["slice_plot"]},
    )  # fmt: skip
    config = read(path)
    study = config.study
    assert (study.name, study.direction, study.metric, study.n_trials) == ("s", "maximize", "val_f1", 7)
    assert (study.timeout, study.epochs) == (1.5, 3), "seconds there, minutes here"
    assert (config.storage.kind, config.storage.path) == ("sqlite", "./studies/study.db")
    assert (config.workers, config.pictures) == (2, False)
    without = tuning(place, parallel={"n_jobs": 2}, output={"log_dir": "a"}, visualization={"save_dir": "b"})
    assert read(without).model_copy(update={"places": {}}) == read(tuning(place, parallel={"n_jobs": 2})).model_copy(
        update={"places": {}}
    )
    assert read(tuning(place, study={"study_name": "t"})).study.name == "t"


def test_as_many_workers_as_cores(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda who: set(range(6)))
    assert read(tuning(place, parallel={"n_jobs": -1})).workers == 6
    assert read(pochi(place, {"n_jobs": -1, "search_space": {"learning_rate": LR}})).workers == 6


def test_the_objective_is_the_best_epochs_f1(place: Path) -> None:
    study = {"metric": "val_f1", "n_trials": 2, "tuning_max_epochs": 3}
    plan = searched(tuning(place, study=study, storage={"path": "sqlite:///studies/study.db"}), "pruner=none")
    assert (place / "studies" / "study.db").exists()
    for row in rows_of(plan):
        epochs = read_json(plan.folder / row["run"] / "history.json")["epochs"]
        assert len(epochs) == 3
        assert row["value"] == max(entry["val_f1"] for entry in epochs)


RANGES = {
    "lr_head": {"type": "float", "low": 5e-5, "high": 5e-3, "log": True},
    "lr_backbone": {"type": "float", "low": 5e-6, "high": 5e-4, "log": True},
    "lr_decay_rate": {"type": "float", "low": 0.1, "high": 0.5},
    "drop_path_rate": {"type": "float", "low": 0.1, "high": 0.3},
    "agc_clip_factor": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 12, 16]},
    "weight_decay": {"type": "float", "low": 0.01, "high": 0.1, "log": True},
    "aux_loss_weight": {"type": "float", "low": 0.0, "high": 0.5},
}


def test_the_guides_ranges_at_once(place: Path) -> None:
    plan = searched(tuning(place, parameter_ranges=RANGES, study={"n_trials": 2, "tuning_max_epochs": 1}))
    for row in rows_of(plan):
        assert row["state"] in ("COMPLETE", "PRUNED"), row["error"]
        params, found = row["params"], trained(plan, row)
        assert found["rates"] | {"log_scale": None, "layer_rates": None} == {
            "by": "stages", "head": params["lr_head"], "backbone": params["lr_backbone"],
            "decay": params["lr_decay_rate"], "log_scale": None, "layer_rates": None,
        }  # fmt: skip
        assert (found["agc"]["enabled"], found["agc"]["clip_factor"]) == (True, params["agc_clip_factor"])
        assert found["model"]["drop_path"] == params["drop_path_rate"]
        assert found["model"]["reasoning_dim"] > 0, "without it there is no auxiliary loss"
        assert found["model"]["aux_loss_weight"] == params["aux_loss_weight"]
        assert found["batch_size"] == params["batch_size"]
        assert found["optimizer"]["weight_decay"] == params["weight_decay"]


@pytest.mark.usefixtures("quick")
def test_the_best_trial_is_told_while_the_search_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, quick: Callable[[Callable[[], None]], None]
) -> None:
    monkeypatch.setattr(stage, "_TABLES_SECONDS", 0.0)
    path = tuning(place, study={"n_trials": 4}, parameter_ranges={"learning_rate": SPACE["train.optimizer.lr"]})
    folder = plan_of(path, "pruner=none").folder
    told: list[tuple[int, float]] = []

    def look() -> None:
        if (folder / "best_params.json").exists():
            found = read_json(folder / "best_params.json")
            told.append((found["n_trials"], found["best_value"]))

    quick(look)
    values = [row["value"] for row in rows_of(searched(path, "pruner=none"))]
    assert told == [(count, max(values[:count])) for count in (1, 2, 3)]


@pytest.mark.usefixtures("quick")
def test_show_tells_the_best_first_and_importances(place: Path) -> None:
    ranges = {"learning_rate": SPACE["train.optimizer.lr"], "batch_size": SPACE["batch_size"]}
    plan = searched(tuning(place, study={"n_trials": 8}, parameter_ranges=ranges), "pruner=none")
    lines = show(plan).splitlines()
    best = read_json(plan.folder / "best_params.json")
    values = [float(line.split()[2]) for line in lines if line.startswith("  trial ")]
    assert values == sorted(values, reverse=True)
    assert len(values) == 8
    assert f"best: trial {best['trial']}" in lines
    assert f"  learning_rate: {best['best_params']['learning_rate']}" in lines
    shares = [line.split(": ") for line in lines[lines.index("importance:") + 1 :]]
    assert {name.strip() for name, _ in shares} == set(ranges)
    assert [float(share) for _, share in shares] == sorted((float(share) for _, share in shares), reverse=True)


@pytest.mark.parametrize(
    ("ranges", "kind"),
    [({"low": 1e-5, "high": 1e-3}, "float"), ({"low": 1, "high": 4}, "int"), ({"choices": [8, 16]}, "categorical")],
)
def test_ranges_without_a_type_are_what_their_numbers_are(tmp_path: Path, ranges: dict[str, Any], kind: str) -> None:
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({"parameter_ranges": {"train.batch_size": ranges}}))
    assert read(path).search_space["train.batch_size"].type == kind
