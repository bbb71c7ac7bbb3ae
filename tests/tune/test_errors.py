"""Whatever is wrong with a search is said before the first trial, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import InputError
from tests.tune.small import BASE, SPACE, plan_of, write

LR = {"type": "float", "low": 1e-4, "high": 1e-1}


def refused(place: Path, tuning: dict[str, Any], base: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        plan_of(write(place, base, **tuning))
    assert not list(place.glob("results/*/*/*-*/run.json")), "nothing was trained"
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameter", "said"),
    [
        ("train.optimizer.lr", LR | {"low": -1}, "low: should be greater than 0"),
        ("train.optimizer.momentum", LR | {"high": 0.9}, "does nothing with train.optimizer.name=adamw"),
        ("train.model.dropout", LR | {"high": 1.5}, "high: should be less than 1"),
        ("train.loss.kind", {"type": "categorical", "choices": ["bce", "focl"]}, "choices.1: unknown name 'focl'"),
        ("train.optimizr.lr", LR, "no setting of that name; did you mean 'train.optimizer.lr'?"),
        ("learning_rat", LR, "no setting of that name; did you mean 'learning_rate'?"),
        ("train.seed", {"type": "int", "low": 1, "high": 9}, "a seed is luck"),
        ("train.device", {"type": "categorical", "choices": ["cpu", "auto"]}, "changes no outcome"),
        ("report.dpi", {"type": "int", "low": 50, "high": 90}, "changes no training"),
        ("train.schedule.gamma", LR, "does nothing with train.schedule.name=plateau"),
        ("train.rates.head", LR, "does nothing with train.rates.by=one"),
        ("train.batch_size", {"type": "float", "low": 1.5, "high": 8}, "low: should be a valid integer"),
        ("train.select", {"type": "categorical", "choices": ["val_map", "val_f1"]}, "study.metric"),
    ],
)
def test_wrong_parameters(place: Path, name: str, parameter: dict[str, Any], said: str) -> None:
    text = refused(place, {"search_space": {name: parameter}})
    assert said in text
    line = next(n for n, row in enumerate((place / "tune.yaml").read_text().splitlines(), 1) if f"{name}:" in row)
    number = int(text.split("tune.yaml:")[1].split(":")[0])
    assert line <= number <= line + 5
    assert f"search_space.{name}" in text


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"sampler": "TPEE"}, "did you mean 'TPE'"),
        ({"sampler": {"name": "Random", "n_startup_trials": 3}}, "no option of Random"),
        ({"sampler": {"name": "TPE", "n_startup_trials": -3}}, "greater than or equal to 0"),
        ({"pruner": {"name": "Median", "percentile": 3}}, "no option of Median"),
        ({"pruner": "Mediann"}, "did you mean 'Median'"),
        ({"sampler": "Grid", "search_space": {"learning_rate": LR}}, "Grid needs its step"),
        (
            {
                "sampler": "Grid",
                "study": {"enqueue": [{"batch_size": 4}]},
                "search_space": {
                    "batch_size": {"type": "categorical", "choices": [4, 8]},
                    "learning_rate": LR | {"step": LR["high"]},
                },
            },
            "name all parameters",
        ),
        ({"storage": "memory", "workers": 2}, "memory is of one process"),
        ({"storage": "postgres"}, "unknown name 'postgres'"),
        ({"search_space": {"learning_rate": {"type": "float", "low": 1}}}, "high: float needs low and high"),
        ({"search_space": {"learning_rate": LR | {"low": 0, "log": True}}}, "has no logarithm"),
        ({"search_space": {"learning_rate": LR | {"low": 1}}}, "low not above high"),
        ({"search_space": {"batch_size": {"type": "int", "low": 1.5, "high": 8}}}, "not a whole number"),
        ({"search_space": {"batch_size": {"type": "categorical"}}}, "needs at least one"),
        ({"search_space": {"batch_size": {"type": "weird", "low": 1}}}, "unknown name 'weird'"),
        ({"search_space": {"learning_rate": LR | {"hihg": 1}}}, "did you mean 'high'"),
        ({"search_space": {"learning_rate": LR | {"when": {"x": 1}}}}, "'x' is not in search_space"),
        ({"search_space": {"learning_rate": LR, "train.optimizer.lr": LR}}, "keep one"),
        ({"search_space": {}}, "at least 1"),
        ({"study": {"direction": "minimize", "metric": "val_map"}}, "would search for the worst model"),
        ({"study": {"direction": "smaller"}}, "unknown name 'smaller'"),
        ({"study": {"enqueue": [{"x": 1}]}}, "'x' is not in search_space"),
        ({"study": {"enqueue": [{"batch_size": 12}]}}, "12 is not in search_space.batch_size"),
        ({"study": {"enqueue": [{"train.optimizer.lr": 1.0}]}}, "1.0 is not in search_space.train.optimizer.lr"),
        ({"is_post_training": True}, "checkpoint_path is missing"),
        ({"is_post_training": True, "checkpoint_path": "nowhere"}, "does not exist"),
        ({"base": "nothing.yaml"}, "does not exist"),
        ({"overrides": ["train.epochz=3"]}, "did you mean 'epochs'"),
        ({"overrides": ["train.epochs"]}, "expected key.sub=value"),
    ],
)
def test_wrong_searches(place: Path, tuning: dict[str, Any], said: str) -> None:
    text = refused(place, tuning)
    assert said in text
    assert "tune.yaml" in text


def test_choices_written_with_an_exponent_are_numbers(place: Path) -> None:
    """YAML 1.1 takes 1e-4 for a word."""
    text = "base: base.yaml\nsearch_space:\n  learning_rate: {type: categorical, choices: [1e-4, 1e-3]}\n"
    path = write(place)
    path.write_text(text)
    assert plan_of(path).space[0].config.choices == [1e-4, 1e-3]


def test_objects_of_python_cannot_be_searched_around(place: Path) -> None:
    write(place)
    text = "from torch import nn\nname = 'odd'\ntrain = {'augment': {'transforms': [nn.Identity()]}}\n"
    (place / "base.py").write_text(text)
    path = place / "tune.yaml"
    path.write_text(path.read_text().replace("base.yaml", "base.py"))
    with pytest.raises(InputError, match="objects of Python among its transforms"):
        plan_of(path)


def test_the_loss_is_no_measure_where_it_is_searched(place: Path) -> None:
    space = {"train.loss.kind": {"type": "categorical", "choices": ["bce", "focal"]}}
    text = refused(place, {"search_space": space, "study": {"metric": "val_loss"}})
    assert "changes what val_loss means" in text


def test_all_errors_at_once(place: Path) -> None:
    space = {"train.optimizer.lr": LR | {"low": -1}, "train.model.dropout": LR | {"high": 7}}
    assert len(refused(place, {"search_space": space}).splitlines()) == 2


def test_values_that_do_not_go_together_are_found_at_the_corners(place: Path) -> None:
    base = BASE | {"train": BASE["train"] | {"accumulate": 2}}
    space = {"batch_size": {"type": "int", "low": 7, "high": 15}}
    assert "not divisible" in refused(place, {"search_space": space}, base)


def test_a_metric_of_the_other_direction_is_not_taken_for_granted(place: Path) -> None:
    for direction, metric in (("minimize", "val_loss"), ("maximize", "val_map"), (None, "val_map")):
        plan = plan_of(write(place, study={"direction": direction}, search_space=SPACE))
        assert (plan.metric, plan.direction) == (metric, direction or "maximize")
