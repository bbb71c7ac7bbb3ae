"""What a run is judged by: its decisions, and the labels, days and splits of the store that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import (
    CALIBRATION,
    SINGLE_LABEL,
    THRESHOLDS,
    Decisions,
    Predictions,
    load_decisions,
    load_split,
    predictions_path,
)
from pipeline.contract.scores import Floats
from pipeline.contract.store import DEFAULT_FOLD, SPLITS, Fold, Store
from pipeline.core.errors import InputError
from pipeline.evaluate.baselines import LabelHistory
from pipeline.evaluate.climate import year_of

TUNED = (THRESHOLDS, CALIBRATION)
Flags = NDArray[np.bool_]


class Labels:
    """What evaluation needs of the store: labels of all days, and which day is in which split."""

    def __init__(self, store: Store, fold: Fold) -> None:
        """Read the index.

        Raises:
            InputError: the fold has no training days.
        """
        dates = store.column("date")
        dated = bool((dates != "").all())
        days = dates.astype("datetime64[D]") if dated else np.arange(len(dates)).astype("datetime64[D]")
        train = np.zeros(len(days), np.bool_)
        train[fold.train] = True
        if not train.any():
            raise InputError(f"{store.folder}: fold {fold.name!r} has no training days, so there are no baselines")
        order = np.argsort(days, kind="stable")
        single = store.spec.target.kind == SINGLE_LABEL
        self.history = LabelHistory(days[order], store.target[order], train[order], single, dated)
        self.days = days
        """Of each row of the store; those without a day count as one a day from 1970-01-01 on."""
        self.splits = {name: days[getattr(fold, name)] for name in SPLITS}
        self._ids = {name: store.column("id")[getattr(fold, name)] for name in SPLITS}
        self._classes, self._store = store.spec.target.classes, store.spec.version

    def check(self, predictions: Predictions) -> None:
        """Raise ``InputError`` unless the predictions are of this store's split."""
        same_days = np.array_equal(predictions.ids, self._ids[predictions.split])
        if predictions.store != self._store or predictions.labels != self._classes or not same_days:
            raise InputError(
                f"{predictions.split}: this run was trained on store {predictions.store}, its config now leads to "
                f"store {self._store}; run train again, or give the config and data that it was trained with"
            )

    def used_for(self) -> dict[str, Any]:
        """Return which years train, choose and judge, and on how many days."""
        return {
            name: {
                "years": np.unique(year_of(days)) if self.history.dated else [],
                "days": len(days),
                "used_for": _PURPOSE[name],
            }
            for name, days in self.splits.items()
        }


_PURPOSE = {
    "train": "weights, scale, climatology and transition baselines",
    "val": "best epoch, calibration, thresholds of model and baselines",
    "test": "judging only",
}


@dataclass(frozen=True)
class Subject:
    """A run with the store that it was trained on, opened."""

    run: Path
    store: Store
    fold: Fold
    labels: Labels
    decisions: Decisions
    inputs: tuple[str, ...]
    """Names of the arrays that the model sees."""

    def forecast(self, split: str) -> Said:
        """Return what the run said of ``val`` or ``test``; ``auto`` is test where there is one.

        Raises:
            InputError: there are no such predictions, or they are of another store.
        """
        if split == "auto":
            split = "test" if predictions_path(self.run, "test").exists() else "val"
        predictions = load_split(self.run, split)
        self.labels.check(predictions)
        return Said.by(predictions, self.decisions, getattr(self.fold, split))

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self.decisions.classes

    def names(self, flags: Flags) -> list[str]:
        """Return the classes of K flags."""
        return [name for name, flag in zip(self.classes, flags, strict=True) if flag]

    def label_of(self, row: int) -> str:
        """Return the label of a row of the store as it was given, else its classes joined by ``+``."""
        return str(self.store.column("label")[row]) or "+".join(self.names(self.store.target[row] > 0))


@dataclass(frozen=True)
class Said:
    """What a run said of the N samples of a split."""

    predictions: Predictions
    target: Flags
    probability: Floats
    """N × K, calibrated."""
    chosen: Flags
    rows: NDArray[np.int64]
    """N rows of the store."""

    @classmethod
    def by(cls, predictions: Predictions, decisions: Decisions, rows: NDArray[np.int64]) -> Said:
        """Apply calibration and thresholds."""
        probability = decisions.probabilities(predictions.logits)
        return cls(predictions, predictions.target > 0, probability, decisions.choose(probability), rows)

    def surprise(self) -> Floats:
        """Return ``−ln p`` of each sample's label, all its classes together, in nats; each p at least 1e-12."""
        truth = np.where(self.target, self.probability, 1.0 if self.predictions.single else 1.0 - self.probability)
        return np.asarray(-np.log(np.clip(truth, 1e-12, 1.0)).sum(axis=1))


def open_subject(run: Path, store_folder: Path, fold: str = DEFAULT_FOLD, inputs: list[str] | None = None) -> Subject:
    """Open a run and its store.

    Args:
        run: the run folder, with predictions and thresholds.
        store_folder: the store that it was trained on.
        fold: the division of the store that it was trained on.
        inputs: names of the arrays that the model sees; ``None`` or ``["ALL"]``: all.

    Raises:
        InputError: something is missing or does not belong together.
    """
    store = Store(store_folder)
    divided = store.fold(fold)
    seen = tuple(store.spec.inputs) if inputs in (None, ["ALL"]) else tuple(inputs or ())
    decisions = load_decisions(run, load_split(run, "val").labels)
    return Subject(run, store, divided, Labels(store, divided), decisions, seen)
