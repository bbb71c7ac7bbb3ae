"""What is measured on the validation split after each epoch, and what counts as better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import average_precision, f_score, macro

LARGER_IS_BETTER = {"val_map": True, "val_f1": True, "val_loss": False, "last": True}


def selection_value(select: str, entry: dict[str, float]) -> float:
    """Return what an epoch is chosen by: its metric, or with ``last`` its number, so that later is better."""
    return entry["epoch" if select == "last" else select]


def watched_metric(select: str) -> str:
    """Return the metric that plateau schedule and early stopping follow; with ``last`` the validation loss."""
    return "val_loss" if select == "last" else select


def validation_scores(logits: NDArray[np.float32], target: NDArray[np.uint8]) -> dict[str, float]:
    """Return ``val_map`` (macro average precision) and ``val_f1`` (macro F1 at probability 0.5).

    Both are means over the classes that occur in validation.

    Args:
        logits: N × K.
        target: N × K, 0 or 1.
    """
    return {
        "val_map": macro(average_precision(target, logits)),
        "val_f1": macro(f_score(target, logits > 0)),
    }


def is_better(select: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Tell whether ``value`` beats ``best`` by more than nothing (or by at least ``min_delta`` if that is set)."""
    if best is None:
        return True
    gain = value - best if LARGER_IS_BETTER[select] else best - value
    return gain >= min_delta if min_delta > 0 else gain > 0
