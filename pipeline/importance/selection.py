"""Which columns are selected, and whether other folds would select the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.importance.config import ImportanceConfig
from pipeline.importance.measures import Measured
from pipeline.importance.null import Compared

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """C columns in order of importance, those selected, and how stable that is over folds."""

    order: tuple[int, ...]
    selected: tuple[int, ...]
    of_fold: tuple[tuple[int, ...], ...]
    """What each fold alone would select."""
    frequency: Floats
    """C, share of folds that select a column."""
    jaccard: float
    """Mean over pairs of folds of |A ∩ B| / |A ∪ B|; NaN where no fold selects anything."""
    by_chance: float
    """What sets of these sizes, drawn at random from the columns, would have on average (by expected overlap)."""


def select(config: ImportanceConfig, found: Measured, compared: Compared | None) -> Selection:
    """Select at most ``top`` columns by mean permutation importance; those that do not help are never selected."""
    mean = found.permutation.mean(axis=0)
    # Of columns that are equally important (0, mostly), the one with more gain.
    order = tuple(np.lexsort((-found.gain.mean(axis=0), -mean)).tolist())
    able = mean > 0
    if config.require == "exceeds_null" and compared is not None:
        able &= compared.permutation <= config.null.level
    selected = tuple(column for column in order if able[column])[: config.top]
    of_fold = tuple(_best(row, config.top) for row in found.permutation)
    frequency = np.zeros(len(mean))
    for chosen in of_fold:
        frequency[list(chosen)] += 1 / len(of_fold)
    return Selection(order, selected, of_fold, frequency, *_overlap(of_fold, len(mean)))


def _best(importance: Floats, top: int) -> tuple[int, ...]:
    order = np.argsort(-importance, kind="stable")
    return tuple(column for column in order.tolist() if importance[column] > 0)[:top]


def _overlap(sets: tuple[tuple[int, ...], ...], columns: int) -> tuple[float, float]:
    found, chance = [], []
    for one, other in combinations(sets, 2):
        if not one and not other:
            continue
        common, expected = len(set(one) & set(other)), len(one) * len(other) / columns
        found.append(common / (len(one) + len(other) - common))
        chance.append(expected / (len(one) + len(other) - expected))
    return (float(np.mean(found)), float(np.mean(chance))) if found else (float("nan"), float("nan"))
