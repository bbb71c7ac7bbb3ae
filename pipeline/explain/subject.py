"""What is explained: a finished run, its store, and the samples of one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import Decisions, Predictions, load_decisions, load_split, predictions_path
from pipeline.contract.scores import Floats
from pipeline.contract.store import DEFAULT_FOLD, SPLITS, Store
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.train.attribution import Explainer
from pipeline.train.config import TrainConfig
from pipeline.train.inference import MODEL, Network, Scales

Rows = NDArray[np.int64]
_AVERAGED = 512
"""Training samples, evenly spread, that a mean training map is made of."""


@dataclass(frozen=True)
class Subject:
    """A run, opened for explaining."""

    run: Path
    store: Store
    fold: str
    explainer: Explainer
    decisions: Decisions

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self.store.spec.target.classes

    def rows(self, split: str) -> Rows:
        """Return the rows of a split of the run's fold."""
        found: Rows = getattr(self.store.fold(self.fold), split)
        return found

    def arrays(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """Return samples as the store holds them."""
        return {name: self.store.rows(name).read(rows) for name in self.explainer.specs}

    def physical(self, name: str, stored: NDArray[Any]) -> Floats:
        """Return values of input ``name`` in physical units, N × per-sample shape; NaN where missing."""
        scale = self.store.scale[DEFAULT_FOLD][name]
        mean, std = (np.asarray(scale[key], np.float64) for key in ("mean", "std"))
        if self.explainer.specs[name].kind == "grid":
            mean, std = mean[:, None, None], std[:, None, None]
        return np.asarray(stored, np.float64) * std + mean

    def predictions(self, split: str) -> Predictions:
        """Read the run's own predictions of a split.

        Raises:
            InputError: they are missing, or of another store or fold.
        """
        if not predictions_path(self.run, split).exists():
            raise InputError(f"explain: {self.run.name} has no predictions of split {split!r}; choose another split")
        found = load_split(self.run, split)
        if not np.array_equal(found.ids, self.store.column("id")[self.rows(split)]):
            raise InputError(f"{self.run}: its {split} samples are not those of store {self.store.spec.version}")
        return found

    @cached_property
    def mean_seen(self) -> dict[str, Any]:
        """What the network sees on average of training samples, 1 × per-sample shape."""
        rows = spread(self.rows("train"), _AVERAGED)
        sums: dict[str, Any] = {}
        for first in range(0, len(rows), 32):
            seen = self.explainer.see(self.arrays(rows[first : first + 32]))
            for name, values in seen.items():
                sums[name] = values.sum(0, keepdim=True) + sums.get(name, 0)
        return {name: total / len(rows) for name, total in sums.items()}


def open_subject(run: Path, store_folder: Path, train: TrainConfig, batch: int) -> Subject:
    """Open a finished run and its store.

    Raises:
        InputError: the training or the thresholds are not finished, or the store is another one.
    """
    if not (run / MODEL).exists():
        raise InputError(f"{run}: no {MODEL}, so its training is not finished; run the train job again")
    store = Store(store_folder)
    decisions = load_decisions(run, store.spec.target.classes)
    if train.fold not in store.scale:
        raise InputError(f"train.fold: {train.fold!r} is not in the store; it has {shorten(store.spec.folds)}")
    plain = train.model_copy(update={"precision": "32", "channels_last": False})
    network = Network(run, plain, _scales(store, train.fold), _scales(store, DEFAULT_FOLD))
    if network.store != store.spec.version or network.classes != store.spec.target.classes:
        raise InputError(
            f"{run}: was trained on store {network.store}, its config now leads to store {store.spec.version}; "
            "run train again, or give the config and data that it was trained with"
        )
    return Subject(run, store, train.fold, Explainer(network, decisions.single, batch), decisions)


def _scales(store: Store, fold: str) -> Scales:
    return {name: {key: one[key] for key in ("mean", "std")} for name, one in store.scale[fold].items()}


def spread(rows: Rows, most: int) -> Rows:
    """Return at most ``most`` of the rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.int64))]


def chosen_classes(subject: Subject, names: Sequence[str], setting: str) -> list[int]:
    """Return the places of the classes named, all if none is.

    Raises:
        InputError: one is not a class of the run.
    """
    for name in names:
        if name not in subject.classes:
            allowed = shorten(subject.classes, 30)
            raise InputError(f"{setting}: {name!r} is not a class{near(name, subject.classes)} Allowed: {allowed}")
    return [place for place, name in enumerate(subject.classes) if not names or name in names]


def check_splits(splits: Sequence[str], subject: Subject, setting: str) -> None:
    """Check that each split has samples.

    Raises:
        InputError: one has none; says which have.
    """
    filled = [name for name in SPLITS if len(subject.rows(name))]
    for name in splits:
        if name not in filled:
            raise InputError(f"{setting}: split {name!r} has no samples; those that have: {', '.join(filled)}")
