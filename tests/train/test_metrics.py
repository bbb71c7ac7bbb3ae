"""Scores of both kinds of targets against their definitions, and what counts as a gain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from torch import Tensor

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.train.assemble import assemble
from pipeline.train.metrics import MULTI, SINGLE, TrainScores, is_better, validation_scores
from tests.train.training import Watcher, config, half_way, trained, write_small

EXACT = 1e-9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(write_small(tmp_path_factory.mktemp("metrics") / "store", SINGLE))


def sample(classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    truth = generator.integers(0, classes - 1, 50)  # the last class does not occur
    logits = generator.standard_normal((50, classes)).astype(np.float32) + 1.5 * np.eye(classes)[truth]
    return logits.astype(np.float32), np.eye(classes, dtype=np.uint8)[truth]


def test_single_label_against_scikit_learn() -> None:
    logits, target = sample()
    found = validation_scores(logits, target, SINGLE)
    truth, chosen = target.argmax(1), logits.argmax(1)
    likely = torch.softmax(torch.from_numpy(logits).double(), 1).numpy()
    assert found["val_accuracy"] == pytest.approx(accuracy_score(truth, chosen), rel=EXACT)
    assert found["val_f1"] == pytest.approx(f1_score(truth, chosen, labels=[0, 1, 2], average="macro"), rel=EXACT)
    precision = [average_precision_score(target[:, k], likely[:, k]) for k in range(3)]
    assert found["val_map"] == pytest.approx(np.mean(precision), rel=EXACT)


def test_multi_label_has_no_accuracy_and_scores_as_before() -> None:
    logits, target = sample()
    found = validation_scores(logits, target)
    assert list(found) == ["val_map", "val_f1"]
    assert found["val_f1"] == pytest.approx(f1_score(target[:, :3], logits[:, :3] > 0, average="macro"), rel=EXACT)


@pytest.mark.parametrize("kind", [SINGLE, MULTI])
def test_without_samples_nothing_is_measured(kind: str) -> None:
    found = validation_scores(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), kind)
    assert all(math.isnan(value) for value in found.values())


class Wrapped(NamedTuple):
    logits: Tensor
    auxiliary: Tensor


@pytest.mark.parametrize("form", ["plain", "members", "wrapped"])
def test_training_scores_of_every_form_of_output(form: str) -> None:
    logits, target = sample()
    forms: dict[str, Any] = {
        "plain": lambda value: value,
        "members": lambda value: torch.stack([value + 0.5, value - 0.5], dim=1),
        "wrapped": lambda value: Wrapped(value, value * 0),
    }
    scores = TrainScores(SINGLE, 4, torch.device("cpu"))
    for start in range(0, 50, 7):
        scores.add(
            forms[form](torch.from_numpy(logits[start : start + 7])),
            torch.from_numpy(target[start : start + 7]).float(),
        )
    found, expected = scores.result(), validation_scores(logits, target, SINGLE)
    assert found["train_accuracy"] == pytest.approx(expected["val_accuracy"], rel=EXACT)
    assert found["train_f1"] == pytest.approx(expected["val_f1"], rel=EXACT)


def test_training_scores_of_a_whole_epoch_resume_and_start_again() -> None:
    logits, target = sample()
    first, second = (TrainScores(MULTI, 4, torch.device("cpu")) for _ in range(2))
    pieces = [
        (torch.from_numpy(logits[part]), torch.from_numpy(target[part]).float())
        for part in np.array_split(np.arange(50), 200)
    ]
    for piece in pieces[:100]:
        first.add(*piece)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    for piece in pieces[100:]:
        second.add(*piece)
    expected = validation_scores(logits, target)["val_f1"]
    assert second.result() == {"train_f1": pytest.approx(expected, rel=EXACT)}
    second.begin(step=3)
    assert not math.isnan(second.result()["train_f1"])
    second.begin(step=0)
    assert math.isnan(second.result()["train_f1"])


def test_single_label_learns_and_every_score_is_in_the_history(store: Store) -> None:
    _, watcher, progress = trained(store, config(epochs=15, select="val_accuracy", optimizer={"lr": 3e-3}))
    last = watcher.entries[-1]
    # Chance is one third.
    assert last["val_accuracy"] > 0.6
    assert last["train_accuracy"] > 0.6
    assert {"train_f1", "val_f1", "val_map", "val_loss"} <= set(last)
    best = max(entry["val_accuracy"] for entry in watcher.entries)
    assert progress.best == best


def test_training_scores_survive_a_stop_inside_an_epoch(store: Store) -> None:
    """The counts of the steps before the stop are in the checkpoint."""
    settings = config(epochs=1)
    whole = trained(store, settings)[1].entries[0]
    parts = assemble(settings, store)
    progress = half_way(parts, settings, 4)
    fresh = assemble(settings, store)
    fresh.module.load_state_dict(parts.module.state_dict())
    fresh.optimizer.load_state_dict(parts.optimizer.state_dict())
    fresh.scores.load_state_dict(parts.scores.state_dict())
    from pipeline.train.engine import fit

    watcher = Watcher()
    fit(fresh, settings, progress, watcher, watcher.interrupt)
    assert watcher.entries[0]["train_accuracy"] == whole["train_accuracy"]
    assert watcher.entries[0]["train_f1"] == whole["train_f1"]


@pytest.mark.parametrize(
    "more", [{"select": "val_accuracy"}, {"early_stopping": {"monitor": "val_accuracy"}, "select": "val_f1"}]
)
def test_accuracy_of_several_labels_is_refused(tmp_path: Path, more: dict[str, object]) -> None:
    several = Store(write_small(tmp_path / "store"))
    with pytest.raises(InputError, match="val_accuracy needs one class a sample"):
        assemble(config(**more), several)


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "value", "best", "delta", "expected"),
    [
        ("val_accuracy", 0.83, 0.80, 3.0, True),  # a gain of exactly three percent points
        ("val_accuracy", 0.829, 0.80, 3.0, False),
        ("val_accuracy", 0.8001, 0.80, 0.0, True),
        ("val_f1", 0.83, 0.80, 0.03, True),
        ("val_loss", 0.77, 0.80, 0.03, True),
        ("val_loss", 0.78, 0.80, 0.03, False),
        ("val_f1", NAN, None, 0.0, True),
        ("val_f1", NAN, 0.5, 0.0, False),
        ("val_f1", 0.1, NAN, 0.0, True),
        ("val_f1", 0.1, NAN, 0.5, True),
        ("val_f1", NAN, NAN, 0.0, False),
    ],
)
def test_gains(metric: str, value: float, best: float | None, delta: float, expected: bool) -> None:
    assert is_better(metric, value, best, delta) is expected


def test_early_stopping_by_a_metric_of_its_own(store: Store) -> None:
    """With a min_delta of 101 percent points no accuracy gains, whatever else improves."""
    stopping = {"patience": 2, "min_delta": 101.0, "monitor": "val_accuracy"}
    _, watcher, progress = trained(store, config(epochs=20, early_stopping=stopping, select="val_loss"))
    assert len(watcher.entries) == 3
    assert progress.best == min(entry["val_loss"] for entry in watcher.entries)


def test_what_is_monitored_selects_unless_something_else_is_written() -> None:
    assert config(early_stopping={"monitor": "val_loss"}).select == "val_loss"
    assert config(early_stopping={"monitor": "val_loss"}, select="val_f1").select == "val_f1"
    assert config(early_stopping={"patience": 3}).select == "val_map"
