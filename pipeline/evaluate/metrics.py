"""Scores of yes-or-no decisions: counts a class first, then every ratio of them.

A class without positive targets is not measured: its scores are NaN and it is left out of macro and weighted means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, average_precision, f_score, macro

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """K counts each: hits, false alarms, misses."""

    hit: Floats
    alarm: Floats
    miss: Floats

    @property
    def support(self) -> Floats:
        """Days on which each class occurs."""
        return self.hit + self.miss


def count(target: Flags, chosen: Flags, axis: int = 0) -> Counts:
    """Count over days (``axis=0``, K values) or over classes (``axis=1``, N values)."""
    pairs = (target & chosen, ~target & chosen, target & ~chosen)
    return Counts(*(pair.sum(axis=axis).astype(np.float64) for pair in pairs))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return ``part / whole``, 0 where ``whole`` is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _triple(counts: Counts) -> tuple[Floats, Floats, Floats]:
    precision, recall = ratio(counts.hit, counts.hit + counts.alarm), ratio(counts.hit, counts.support)
    return precision, recall, ratio(2 * counts.hit, 2 * counts.hit + counts.alarm + counts.miss)


def _row(scores: Iterable[float], support: float) -> dict[str, Any]:
    precision, recall, f1 = (float(score) for score in scores)
    return {"precision": precision, "recall": recall, "f1-score": f1, "support": int(support)}


def classification_report(target: Flags, chosen: Flags, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return precision, recall, F1 and support of each class and their four means.

    The layout and, where every class occurs, the numbers of scikit-learn's ``classification_report(output_dict=True,
    zero_division=0)``. A class that does not occur has no scores (``None``) and is left out of all but ``micro avg``
    and ``samples avg``, where its false alarms count.

    Args:
        target: N × K.
        chosen: N × K.
        classes: K names.
    """
    counts = count(target, chosen)
    support, occurs = counts.support, counts.support > 0
    table = np.stack(_triple(counts))
    table[:, ~occurs] = np.nan
    rows = {name: _row(table[:, k], support[k]) for k, name in enumerate(classes)}
    total = float(support.sum())
    weighted = np.nansum(table * support, axis=1) / total if total else np.full(3, np.nan)
    micro = _triple(Counts(*(np.atleast_1d(part.sum()) for part in (counts.hit, counts.alarm, counts.miss))))
    samples = _triple(count(target, chosen, axis=1))
    rows["micro avg"] = _row((values[0] for values in micro), total)
    rows["macro avg"] = _row((macro(values) for values in table), total)
    rows["weighted avg"] = _row(weighted, total)
    rows["samples avg"] = _row((values.mean() for values in samples), total)
    return rows


def micro_f1(target: Flags, chosen: Flags) -> float:
    """Return F1 of all classes and days taken together; NaN if nothing occurs."""
    counts = count(target, chosen)
    whole = float((2 * counts.hit + counts.alarm + counts.miss).sum())
    return float(2 * counts.hit.sum()) / whole if target.any() else float("nan")


def day_scores(target: Flags, chosen: Flags) -> dict[str, float]:
    """Return the share of days with every class right, and the share of wrong day–class pairs."""
    wrong = target != chosen
    return {"subset_accuracy": float((~wrong.any(axis=1)).mean()), "hamming_loss": float(wrong.mean())}


def by_kind(target: Flags, chosen: Flags, score: Floats, kinds: NDArray[np.str_]) -> dict[str, dict[str, Any]]:
    """Score the days of each kind of label (single, composite, transition) by themselves."""
    scores: dict[str, dict[str, Any]] = {}
    for kind in sorted(set(kinds.tolist())):
        rows = kinds == kind
        inside, said = target[rows], chosen[rows]
        scores[kind] = {
            "days": int(rows.sum()),
            "map": macro(average_precision(inside, score[rows])),
            "macro_f1": macro(f_score(inside, said)),
            "micro_f1": micro_f1(inside, said),
            **day_scores(inside, said),
        }
    return scores
