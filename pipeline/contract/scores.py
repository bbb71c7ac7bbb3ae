"""Scores of multi-label predictions from their definitions: sums first, ratios last. numpy only, no torch.

Classes that do not occur among the targets are *not measured*: their score is NaN and they stay out of macro means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def average_precision(target: NDArray[Any], score: NDArray[Any]) -> Floats:
    """Return the average precision of each class, K values.

    ``AP = Σ (R_i − R_{i−1}) P_i`` over distinct scores, as scikit-learn's ``average_precision_score``.

    Args:
        target: N × K, 0 or 1.
        score: N × K, larger means more likely; any monotone function of the probability gives the same value.
    """
    return np.array([_average_precision(target[:, k] > 0, score[:, k]) for k in range(target.shape[1])])


def _average_precision(positive: NDArray[np.bool_], score: NDArray[Any]) -> float:
    total = int(positive.sum())
    if total == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(positive[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits_at = hits[last_of_tie]
    precision = hits_at / (last_of_tie + 1)
    return float(np.sum(np.diff(hits_at, prepend=0) / total * precision))


def f_score(target: NDArray[Any], predicted: NDArray[Any], beta: float = 1.0) -> Floats:
    """Return Fβ of each class, K values; NaN for a class without positive targets.

    Args:
        target: N × K, 0 or 1.
        predicted: N × K, 0 or 1.
        beta: weight of recall against precision.
    """
    positive, chosen = target > 0, predicted > 0
    hit = (positive & chosen).sum(axis=0).astype(np.float64)
    weight = beta * beta
    denominator = weight * positive.sum(axis=0) + chosen.sum(axis=0)
    score = np.divide((1 + weight) * hit, denominator, out=np.zeros_like(hit), where=denominator > 0)
    return np.where(positive.any(axis=0), score, np.nan)


def macro(values: Floats) -> float:
    """Return the mean over classes that were measured; NaN if there is none."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else float("nan")


def sigmoid(logits: NDArray[Any]) -> Floats:
    """Return ``1 / (1 + exp(−x))`` in float64 without overflow."""
    x = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)
