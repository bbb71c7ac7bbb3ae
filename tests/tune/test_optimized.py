"""``optimized_config.yaml`` trains as it is: with every transform, every option, and the guides' examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.core.artifact import read_json
from pipeline.core.config import dotted_names, load
from pipeline.core.interrupt import Interrupt
from pipeline.experiment import Experiment
from pipeline.train.sections.transforms import plain
from pipeline.train.stage import train
from pipeline.train.transforms import build_pipeline
from pipeline.tune.config import TuneConfig
from pipeline.tune.plan import Plan, make_plan
from pipeline.tune.stage import tune
from tests.conftest import ROOT
from tests.train.stores import marked_images, write_images
from tests.train.test_transforms import LEAVES, images
from tests.tune.small import Tiny, ground, plan_of, search, write

EXAMPLES = ROOT / "configs" / "examples"
LR = {"train.optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
OTHER: list[dict[str, Any]] = [
    {
        "seed": 7, "inputs": ["grid"], "epochs": 3, "batch_size": 12, "accumulate": 2, "select": "val_f1",
        "sampler": "weighted", "clip_norm": 0.5, "precision": "bf16", "channels_last": False, "compile": True,
        "start_head": "new", "resume": "epoch.ckpt", "keep_checkpoints": 2, "export_metrics": False, "device": "cpu",
        "cudnn_benchmark": False, "threads": 1, "memory_gb": 0.5, "checkpoint_minutes": 1e-3, "fold": "1994",
        "model": {
            "backbone": "resnet_small", "pretrained": "weights.pt", "fallback": "resnet18", "coordinates": True,
            "pooling": "windows", "pool_size": 2, "windows": 3, "members": 2, "hidden": [32, 16], "activation": "silu",
            "head_dropout": [0.1, 0.2], "dropout": 0.1, "drop_path": 1e-5,
            "normalize": [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]],
            "series": {"dim": 16, "layers": 1, "heads": 2, "feedforward": 8, "dropout": 0.0, "output": "mean"},
            "fusion": "cross_attention", "modality_dropout": 0.3,
        },
        "loss": {
            "kind": "asymmetric", "gamma": 1.5, "class_weights": [1.0, 2.0], "gamma_negative": 3.0,
            "gamma_positive": 0.5, "margin": 0.1, "pos_weight": True, "pos_weight_max": 7.0, "label_smoothing": 0.1,
        },
        "optimizer": {
            "name": "sgd", "lr": 3e-5, "weight_decay": 1e-7, "momentum": 0.8, "nesterov": False, "betas": [0.8, 0.99],
        },
        "rates": {
            "by": "layers", "head": 1e-3, "backbone": 1e-6, "decay": 0.5, "log_scale": False,
            "layer_rates": {"^conv1\\.": 1e-5, "層.*": 1e-4},
        },
        "schedule": {
            "name": "multistep", "factor": 0.1, "patience": 2, "warmup_epochs": 0.5, "start": 0.5, "final": 0.1,
            "length": 4, "each": "epoch", "step_size": 3, "gamma": 0.3, "milestones": [1, 2],
        },
        "agc": {"enabled": True, "clip_factor": 0.1, "eps": 1e-4},
        "augment": {"shift": 1, "noise": 0.1, "smooth_noise": 0.2, "mixup": 0.3, "cutmix": 0.4},
        "ema": {"decay": 0.9},
        "early_stopping": {"patience": 3, "min_delta": 1e-4, "monitor": "val_f1"},
        "gradients": {
            "enabled": True, "record_frequency": 2, "exclude_patterns": ["a: b", "#"], "group_by_block": False,
            "aggregation_method": "rms",
        },
    },
    {
        "max_time": 5.0, "ranks_timeout": 3.0, "start_from": "start.pt",
        "tensorboard": {"scalars": False, "images": 3, "graph": True, "histograms": 2},
        "model": {"hidden_layers": 2, "reasoning_dim": 4, "aux_loss_weight": 0.2, "transforms": [{"Resize": 4}]},
        "schedule": {"name": "cosine", "eta_min": 1e-6},
        "unfreeze": {"enabled": True, "epochs": [1, 2], "rest": "last"},
        "augment": {"transforms": [{"RandomCrop": {"size": [4, 4], "padding": 1}}]},
    },
]  # fmt: skip
"""Settings of a training with other values than by default, all of them."""


def leaves(values: dict[str, Any], prefix: str) -> set[str]:
    tables = ("layer_rates",)
    found = set()
    for name, value in values.items():
        inner = isinstance(value, dict) and name not in tables
        found |= leaves(value, f"{prefix}.{name}") if inner else {f"{prefix}.{name}"}
    return found


def optimized(plan: Plan, folder: Path, **values: Any) -> Experiment:
    """Return what the optimized config of a trial is, as ``jobs/train.py`` reads it."""
    path = folder / "optimized_config.yaml"
    path.write_text(plan.ground.dump(plan.full(values)))
    return load(path, Tiny).config


def test_these_are_all_settings_of_a_training() -> None:
    known = {name for name in dotted_names(Experiment) if name.startswith("train.")}
    sections = {name.rpartition(".")[0] for name in known}
    assert set().union(*(leaves(values, "train") for values in OTHER)) == known - sections


@pytest.mark.parametrize("number", range(len(OTHER)))
def test_every_setting_comes_back(place: Path, number: int) -> None:
    (place / "start.pt").write_bytes(b"0")
    wanted = Tiny.model_validate({"name": "tiny", "train": OTHER[number]})
    plan = plan_of(write(place, {"name": "tiny", "train": OTHER[number]}, search_space=DECAY))
    for value in (1e-7, 0.02):
        found = optimized(plan, place, **{"train.optimizer.weight_decay": value})
        assert found.train.optimizer.weight_decay == value
        optimizer = found.train.optimizer.model_copy(update={"weight_decay": wanted.train.optimizer.weight_decay})
        same = {"optimizer": optimizer, "select": wanted.train.select, "max_time": wanted.train.max_time}
        assert found.train.model_copy(update=same) == wanted.train


DECAY = {"train.optimizer.weight_decay": {"type": "float", "low": 1e-8, "high": 0.1, "log": True}}


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: type(leaf).__name__)
def test_every_transform_comes_back(place: Path, leaf: Any) -> None:
    import torch

    (entry,) = plain([leaf]) or []
    path = write(place, search_space={"train.augment.transforms": {"type": "categorical", "choices": [[entry], None]}})
    plan = plan_of(path)
    found = optimized(plan, place, **{"train.augment.transforms": [entry]}).train.augment.transforms
    assert found == [entry]
    ours, theirs = (build_pipeline(plain([item]) or [], "train.augment.transforms") for item in (found[0], leaf))
    for seed in (0, 5):
        assert torch.equal(ours(images(), seed), theirs(images(), seed))


def test_a_search_over_lists_of_transforms(place: Path) -> None:
    marked, label = marked_images(60, 3, 12)
    store_of_images(place, marked, label)
    lists = [["RandomHorizontalFlip"], [{"RandomCrop": {"size": 12, "padding": 2}}, {"RandomRotation": 10}], None]
    space = {"train.augment.transforms": {"type": "categorical", "choices": lists}}
    plan = search(write(place, search_space=space, study={"n_trials": 3}, sampler="Grid", pruner="none"))
    rows = read_json(plan.folder / "trials_history.json")["trials"]
    assert {row["state"] for row in rows} == {"COMPLETE"}
    assert sorted(map(str, (row["params"]["train.augment.transforms"] for row in rows))) == sorted(map(str, lists))
    trained_again(plan, place)


def store_of_images(place: Path, pictures: Any, label: Any, series: Any = None) -> None:
    import shutil

    shutil.rmtree(place / "store")
    write_images(place / "store", pictures, label, series)


def trained_again(plan: Plan, place: Path) -> None:
    """Train the optimized config and check that it comes to the best value of the search."""
    best = read_json(plan.folder / "best_params.json")
    config = load(plan.folder / "optimized_config.yaml", Tiny).config
    run = config.run()
    run.begin("")
    progress = train(config.train, config.store_folder(), run, Interrupt(), place)
    assert progress.best == best["best_value"]


def searched(path: Path, place: Path, *typed: str) -> Plan:
    typed = ("study.n_trials=2", "pictures=false", *typed)
    plan = make_plan(load(path, TuneConfig, typed).config, ground(place), str(path), typed)
    tune(plan, Interrupt(), lambda number: [])
    assert {row["state"] for row in read_json(plan.folder / "trials_history.json")["trials"]} == {"COMPLETE"}
    return plan


def test_pochitrains_example_is_searched_as_it_is(place: Path) -> None:
    """Its ``optuna = {…}`` section, its transforms as objects, its layer rates."""
    pictures, label = marked_images(40, 4, 40)
    store_of_images(place, pictures, label)
    path = EXAMPLES / "pochi_train_config.py"
    base = "overrides=[epochs=1, train.threads=1, enable_layer_wise_lr=false, train.model.backbone=simple]"
    plan = searched(path, place, base, "study.epochs=1", "search_space.batch_size.choices=[8, 16]")
    assert plan.config.study.name == "pochitrain_optimization"
    assert plan.config.storage.kind == "memory"
    names = [next(iter(entry)) for entry in plan.base.train.augment.transforms]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "ToTensor", "Normalize"]
    trained_again(plan, place)


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_the_image_classifiers_examples_are_searched(place: Path, mode: str) -> None:
    pictures, label = marked_images(40, 3, 32)
    noise = np.random.default_rng(0).normal(size=(40, 40, 6)).astype(np.float32)
    store_of_images(place, pictures, label, noise if mode == "multi" else None)
    tuning = {
        "base": str(EXAMPLES / f"image_classifier_{mode}.yaml"),
        "overrides": ["max_epochs=1", "train.threads=1", "train.model.backbone=simple", "train.agc.enabled=true",
                      "train.unfreeze.enabled=false"],
        "study": {"study_name": "lr", "metric": "val_f1", "direction": "maximize", "tuning_max_epochs": 1,
                  "timeout": 3600},
        "storage": {"path": "sqlite:///studies.db"},
        "parallel": {"n_jobs": 1},
        "visualization": {"create_plots": False, "save_dir": "./visualization", "plot_types": ["slice_plot"]},
        "output": {"log_dir": "logs"},
        "parameter_ranges": {
            "lr_head": {"type": "float", "low": 1e-4, "high": 5e-3, "log": True},
            "lr_backbone": {"type": "float", "low": 1e-5, "high": 5e-4, "log": True},
            "lr_decay_rate": {"type": "float", "low": 0.1, "high": 0.5},
            "agc_clip_factor": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
            "aux_loss_weight": {"type": "float", "low": 0.1, "high": 0.4},
        },
    }  # fmt: skip
    path = place / "tuning.yaml"
    path.write_text(yaml.safe_dump(tuning))
    plan = searched(path, place)
    assert plan.config.study.timeout == 60, "seconds there, minutes here"
    assert (place / "studies.db").exists()
    trained_again(plan, place)


def test_the_tuning_guide_names_no_base(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("parameter_ranges:\n  lr: {type: float, low: 1e-4, high: 1e-2}\n")
    assert load(path, TuneConfig).config.base == "configs/config.yaml"
