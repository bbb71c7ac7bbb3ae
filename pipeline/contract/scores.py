"""Scores of predictions, class by class, from their definitions: sums first, ratios last. numpy only, no torch.

Classes that do not occur among the targets are *not measured*: their score is NaN and they stay out of macro means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 15


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
    order = np.argsort(score, kind="stable")[::-1]
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


def logit(probability: Floats) -> Floats:
    """Return ``ln(p / (1 − p))``; −inf at 0 and inf at 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probability) - np.log1p(-probability))


def calibrated(logits: NDArray[Any], a: Floats, b: Floats) -> Floats:
    """Return the probabilities ``sigmoid(a z + b)`` of logits z (N × K) with a slope and an offset a class."""
    return sigmoid(np.asarray(logits, np.float64) * a + b)


def softmax(logits: NDArray[Any]) -> Floats:
    """Return ``exp(z_k) / Σ exp(z_j)`` of each row (N × K) in float64 without overflow."""
    z = np.asarray(logits, np.float64)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def one_hot(score: NDArray[Any]) -> NDArray[np.bool_]:
    """Return N × K flags of the largest score of each row (the first of several)."""
    chosen = np.zeros(score.shape, np.bool_)
    chosen[np.arange(len(score)), np.argmax(score, axis=1)] = True
    return chosen


@dataclass(frozen=True)
class Cut:
    """The best place to cut a ranking in two, K values each; NaN for a class without positive targets."""

    threshold: Floats
    """A sample is chosen where its score is at least this."""
    f_beta: Floats
    precision: Floats
    recall: Floats


def best_cut(target: NDArray[Any], probability: Floats, beta: float = 1.0, minimum_precision: float = 0.0) -> Cut:
    """Return, for each class, the threshold with the largest Fβ over all cuts between distinct probabilities.

    Exact: the scores are sorted once and every cut is judged from cumulative sums, O(K N log N). Of cuts that are
    equally good, the one that chooses the fewest samples. The threshold lies midway between the two probabilities
    around the cut on the logit scale; where that is not a number between them, it is the upper one.

    Args:
        target: N × K, 0 or 1.
        probability: N × K, in 0…1.
        beta: weight of recall against precision.
        minimum_precision: cuts below this precision are passed over, in a class where any cut reaches it.
    """
    score = np.ascontiguousarray(np.asarray(probability, np.float64).T)
    order = np.argsort(-score, axis=1)
    score = np.take_along_axis(score, order, axis=1)
    hits = np.cumsum(np.take_along_axis(np.ascontiguousarray(target.T) > 0, order, axis=1), axis=1, dtype=np.float64)
    positives = hits[:, -1:]
    chosen = np.arange(1, score.shape[1] + 1)
    f_beta = (1 + beta * beta) * hits / (beta * beta * positives + chosen)
    best = np.argmax(np.where(_allowed(score, hits / chosen, minimum_precision), f_beta, -1.0), axis=1)
    row = np.arange(len(best))
    occurs = positives[:, 0] > 0
    found = hits[row, best]
    return Cut(
        threshold=np.where(occurs, _midway(score, best), np.nan),
        f_beta=np.where(occurs, f_beta[row, best], np.nan),
        precision=np.where(occurs, found / (best + 1), np.nan),
        recall=np.divide(found, positives[:, 0], out=np.full(len(best), np.nan), where=occurs),
    )


def _allowed(score: Floats, precision: Floats, minimum: float) -> NDArray[np.bool_]:
    """Tell which cuts may be made: not inside a tie, and precise enough where any is (K × N, scores descending)."""
    between = np.ones(score.shape, np.bool_)
    between[:, :-1] = score[:, 1:] < score[:, :-1]
    precise = between & (precision >= minimum)
    return np.where(precise.any(axis=1, keepdims=True), precise, between)


def _midway(score: Floats, last: NDArray[np.int64]) -> Floats:
    row = np.arange(len(last))
    upper = score[row, last]
    lower = np.where(last + 1 < score.shape[1], score[row, np.minimum(last + 1, score.shape[1] - 1)], upper)
    with np.errstate(invalid="ignore"):  # inf − inf, where the two lie at opposite ends of the scale
        middle = sigmoid((logit(upper) + logit(lower)) / 2)
    return np.where((middle > lower) & (middle <= upper), middle, upper)


def brier(target: NDArray[Any], probability: Floats) -> Floats:
    """Return the mean squared error of the probabilities of each class, K values (Brier 1950)."""
    return np.asarray(np.mean((probability - (target > 0)) ** 2, axis=0))


def log_loss(target: NDArray[Any], logits: NDArray[Any]) -> Floats:
    """Return the mean ``−ln p`` of what happened, of each class, in nats, from logits (N × K), without overflow."""
    signed = np.where(target > 0, -1.0, 1.0) * np.asarray(logits, np.float64)
    return np.asarray(np.logaddexp(0.0, signed).mean(axis=0))


def log_loss_of(target: NDArray[Any], probability: Floats) -> Floats:
    """Return the same as :func:`log_loss` from probabilities, which count as at least 1e-12 from 0 and 1."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(-np.where(target > 0, np.log(p), np.log1p(-p)).mean(axis=0))


@dataclass(frozen=True)
class Bins:
    """Predicted probabilities in bins of equal width, bins × K: how many, their sum, and how often it happened."""

    count: Floats
    probability: Floats
    happened: Floats


def reliability_bins(target: NDArray[Any], probability: Floats, bins: int = BINS) -> Bins:
    """Return the sums that reliability diagrams and the calibration error are made of."""
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    classes = probability.shape[1]
    flat = (place * classes + np.arange(classes)).ravel()
    weights = (None, probability.ravel(), (target > 0).ravel().astype(np.float64))
    sums = (np.bincount(flat, weight, bins * classes).reshape(bins, classes).astype(np.float64) for weight in weights)
    return Bins(*sums)


def calibration_error(target: NDArray[Any], probability: Floats, bins: int = BINS) -> Floats:
    """Return the expected calibration error of each class, K values.

    ``ECE = Σ n_b/N |mean probability − frequency|`` over bins of equal width (Guo et al. 2017, eq. 3, for the
    probability of one class instead of the confidence of the chosen one).
    """
    sums = reliability_bins(target, probability, bins)
    return np.asarray(np.abs(sums.probability - sums.happened).sum(axis=0) / max(len(target), 1))
