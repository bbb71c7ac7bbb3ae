"""LightGBM as it is used here: the same numbers for the same data, parameters and seed, however many cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import f_score, macro
from pipeline.importance.config import LightgbmConfig
from pipeline.importance.folds import Fold
from pipeline.importance.parallel import each
from pipeline.importance.samples import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Params = Mapping[str, float]
"""Those of :class:`LightgbmConfig`, by name."""


@dataclass(frozen=True)
class Machine:
    """What is the same for every model of an analysis."""

    classes: int
    seed: int
    threads: int
    """Models trained at a time; each has one thread (see :mod:`pipeline.importance.parallel`)."""
    max_bin: int

    def fixed(self) -> dict[str, object]:
        """Return the parameters that are not searched."""
        return {
            "objective": "multiclass",
            "num_class": self.classes,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "max_bin": self.max_bin,
            "verbosity": -1,
        }


def defaults(config: LightgbmConfig) -> dict[str, float]:
    """Return the parameters of the config as the search knows them."""
    return {name: value for name, value in config.model_dump().items() if name != "max_bin"}


def sample_weights(y: Ints, classes: int, balance: float) -> Floats:
    """Return ``(N / (K n_k)) ** balance`` of each sample; K counts the classes that occur."""
    count = np.bincount(y, minlength=classes).astype(np.float64)
    weight = (len(y) / ((count > 0).sum() * np.maximum(count, 1))) ** balance
    return np.asarray(weight[y])


class Trainer:
    """Trains on one fold; the bins of its inputs are made once and serve all models of the fold."""

    def __init__(self, samples: Samples, train: Ints, machine: Machine) -> None:
        """Bin the inputs of the training samples."""
        self._machine = machine
        self._data = lightgbm.Dataset(
            samples.x[train],
            samples.y[train],
            params=machine.fixed(),
            feature_name=_names(samples),
        ).construct()

    def train(self, y: Ints, params: Params) -> lightgbm.Booster:
        """Return a model of the training samples with classes ``y``."""
        chosen = dict(params)
        rounds, balance = int(chosen.pop("rounds")), chosen.pop("balance")
        settings = self._machine.fixed() | chosen | {"bagging_freq": 1}
        for name in ("num_leaves", "min_data_in_leaf"):
            settings[name] = int(chosen[name])
        self._data.set_label(y.astype(np.float64))
        self._data.set_weight(sample_weights(y, self._machine.classes, balance))
        return lightgbm.train(settings, self._data, num_boost_round=rounds)


def _names(samples: Samples) -> list[str]:
    # LightGBM takes no special characters in names; ours are known by their place.
    return [f"f{number}" for number in range(len(samples.inputs))]


def probabilities(model: lightgbm.Booster, x: Floats, machine: Machine) -> Floats:
    """Return the probability of each class, N × K."""
    return np.asarray(model.predict(x, num_threads=1), np.float64).reshape(len(x), machine.classes)


def macro_f1(y: Ints, probability: Floats) -> float:
    """Return the mean F1 over the classes that occur in ``y``, each sample said to be of its likeliest class."""
    numbers = np.arange(probability.shape[1])
    return macro(f_score(y[:, None] == numbers, probability.argmax(axis=1)[:, None] == numbers))


def log_loss(y: Ints, probability: Floats) -> float:
    """Return the mean ``−ln p`` of the class that was, in nats; p counts as at least 1e-12."""
    return float(-np.log(np.maximum(probability[np.arange(len(y)), y], 1e-12)).mean())


def fold_models(
    samples: Samples, folds: Sequence[Fold], machine: Machine, y: Ints, params: Sequence[Params]
) -> list[lightgbm.Booster]:
    """Return one model a fold, trained with the fold's parameters and classes ``y`` of all samples."""

    def one(pair: tuple[Fold, Params]) -> lightgbm.Booster:
        fold, chosen = pair
        return Trainer(samples, fold.train, machine).train(y[fold.train], chosen)

    return each(one, zip(folds, params, strict=True), machine.threads)
