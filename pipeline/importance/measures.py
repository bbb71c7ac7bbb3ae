"""Importance of columns on held-out blocks: gain, permutation and SHAP, one number a fold and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from pipeline.importance.boosting import Machine, Params, fold_models, log_loss, macro_f1, probabilities
from pipeline.importance.folds import Fold
from pipeline.importance.parallel import each
from pipeline.importance.samples import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SHAP_ROWS = 1000


@dataclass(frozen=True)
class Measured:
    """Importance of C columns on F folds, F × C, and the scores of the folds' models, F."""

    gain: Floats
    """Reduction of the training loss by the splits on a column's inputs."""
    permutation: Floats
    """Loss of macro-F1 on the judged block when the rows of all inputs of a column are shuffled together."""
    permutation_log_loss: Floats
    """Rise of the log loss by the same, in nats."""
    macro_f1: Floats
    log_loss: Floats
    input_gain: Floats
    """F × M, by input."""
    shap: Floats | None = None

    @property
    def gain_share(self) -> Floats:
        """Return the gain of columns as a share of all gain of the fold, F × C."""
        return np.asarray(self.gain / np.maximum(self.gain.sum(axis=1, keepdims=True), 1e-300))


def measure(
    samples: Samples,
    folds: tuple[Fold, ...],
    machine: Machine,
    y: Ints,
    params: Sequence[Params],
    repeats: int,
    shap: bool = False,
) -> Measured:
    """Train one model a fold, with its own parameters and classes ``y``, and measure every column on its judged block.

    Permutation importance after Breiman (2001), for a column with all its window statistics at once: one of them can
    stand in for another, so that shuffling them one by one would find neither important.
    """
    models = fold_models(samples, folds, machine, y, params)
    count = len(samples.columns)
    input_gain = np.array([model.feature_importance("gain") for model in models], np.float64)
    gain = np.array([np.bincount(samples.owner, row, count) for row in input_gain])
    numbered = list(enumerate(zip(models, folds, strict=True)))
    results = each(
        lambda one: _permuted(one[1][0], samples, one[1][1], y, machine, repeats, one[0]), numbered, machine.threads
    )
    shaps = [_shap(model, samples, fold, machine) for model, fold in zip(models, folds, strict=True)] if shap else []
    return Measured(
        gain,
        np.array([result[0] for result in results]),
        np.array([result[1] for result in results]),
        np.array([result[2] for result in results]),
        np.array([result[3] for result in results]),
        input_gain,
        np.array(shaps) if shap else None,
    )


def _permuted(
    model: lightgbm.Booster, samples: Samples, fold: Fold, y: Ints, machine: Machine, repeats: int, number: int
) -> tuple[Floats, Floats, float, float]:
    """Return losses of macro-F1 and rises of log loss by column, then the model's own macro-F1 and log loss."""
    x, truth = samples.x[fold.judged], y[fold.judged]
    plain = probabilities(model, x, machine)
    score, loss = macro_f1(truth, plain), log_loss(truth, plain)
    drops, rises = np.zeros(len(samples.columns)), np.zeros(len(samples.columns))
    used = np.bincount(samples.owner, model.feature_importance("split"), len(samples.columns)) > 0
    for column in np.flatnonzero(used).tolist():
        random = np.random.default_rng([machine.seed, number, column])
        orders = np.concatenate([random.permutation(len(x)) for _ in range(repeats)])
        mixed = np.tile(x, (repeats, 1))
        inputs = np.flatnonzero(samples.owner == column)
        mixed[:, inputs] = x[orders][:, inputs]
        found = probabilities(model, mixed, machine).reshape(repeats, len(x), machine.classes)
        drops[column] = np.mean([score - macro_f1(truth, one) for one in found])
        rises[column] = np.mean([log_loss(truth, one) - loss for one in found])
    return drops, rises, score, loss


def _shap(model: lightgbm.Booster, samples: Samples, fold: Fold, machine: Machine) -> Floats:
    """Return the mean of |Σ over a column's inputs of its SHAP values|, summed over classes (log-odds).

    TreeSHAP of LightGBM (Lundberg et al. 2020), on at most 1000 judged samples, evenly spread. SHAP values add up, so
    those of a column are the sum over its inputs.
    """
    places = fold.judged[np.linspace(0, len(fold.judged) - 1, min(_SHAP_ROWS, len(fold.judged))).astype(np.int64)]
    values = np.asarray(model.predict(samples.x[places], pred_contrib=True, num_threads=1), np.float64)
    values = values.reshape(len(places), machine.classes, len(samples.inputs) + 1)[:, :, :-1]
    of_column = np.zeros((len(places), machine.classes, len(samples.columns)))
    for place, column in enumerate(samples.owner.tolist()):
        of_column[:, :, column] += values[:, :, place]
    return np.asarray(np.abs(of_column).mean(axis=0).sum(axis=0))
