"""What is measured after each epoch on both splits, and what counts as better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract.scores import average_precision, f_score, macro
from pipeline.core.errors import InputError
from pipeline.train.ranks import Ranks

LARGER_IS_BETTER = {"val_map": True, "val_f1": True, "val_accuracy": True, "val_loss": False, "last": True}
SINGLE, MULTI = "single_label", "multi_label"
_IN_PERCENT = ("val_accuracy",)
_ROUNDING = 1e-9
_PENDING = 64
"""Steps whose outputs wait until they are counted together."""


def selection_value(select: str, entry: Mapping[str, float]) -> float:
    """Return what an epoch is chosen by: its metric, or with ``last`` its number, so that later is better."""
    return entry["epoch" if select == "last" else select]


def watched_metric(select: str) -> str:
    """Return the metric that plateau schedule and early stopping follow; with ``last`` the validation loss."""
    return "val_loss" if select == "last" else select


def check_measured(metric: str, setting: str, kind: str) -> None:
    """Raise ``InputError`` for a metric that targets of this ``kind`` do not have."""
    if metric == "val_accuracy" and kind != SINGLE:
        raise InputError(
            f"{setting}: val_accuracy needs one class a sample; of these targets: val_map, val_f1, val_loss"
        )


def validation_scores(logits: NDArray[np.float32], target: NDArray[np.uint8], kind: str = MULTI) -> dict[str, float]:
    """Return ``val_map`` (macro average precision), ``val_f1`` (macro F1) and of single labels ``val_accuracy``.

    F1 is that of classes with a probability of at least 0.5, of single labels that of the likeliest class. Both means
    are over the classes that occur in validation. Accuracy is a fraction. Without samples every score is NaN.

    Args:
        logits: N × K.
        target: N × K, 0 or 1; of single labels one 1 a row.
        kind: ``multi_label`` or ``single_label``.
    """
    if len(target) == 0:
        return {"val_map": math.nan, "val_f1": math.nan, **({"val_accuracy": math.nan} if kind == SINGLE else {})}
    if kind != SINGLE:
        return {"val_map": macro(average_precision(target, logits)), "val_f1": macro(f_score(target, logits > 0))}
    chosen = np.eye(target.shape[1], dtype=np.uint8)[logits.argmax(axis=1)]
    likely = torch.softmax(torch.from_numpy(np.asarray(logits, np.float64)), dim=1).numpy()
    return {
        "val_map": macro(average_precision(target, likely)),
        "val_f1": macro(f_score(target, chosen)),
        "val_accuracy": float((chosen & target).sum() / len(target)),
    }


class TrainScores:
    """Scores of the outputs that training made anyway, over an epoch; dropout and augmentation are in them."""

    def __init__(self, kind: str, classes: int, device: torch.device, ranks: Ranks | None = None) -> None:
        """Start with nothing counted; rows of the counts: hits, chosen, present, each of K classes.

        Of several ranks each counts its own samples, until :meth:`collect`.
        """
        self._kind, self._waiting, self._ranks = kind, list[tuple[Tensor, Tensor]](), ranks or Ranks()
        self._counts = torch.zeros(3, classes, dtype=torch.float64, device=device)

    def begin(self, step: int) -> None:
        """Forget an epoch before; ``step``: where the running one is."""
        if step == 0:
            self._waiting.clear()
            self._counts.zero_()

    def add(self, output: Any, target: Tensor) -> None:
        """Note the output of a batch, with its logits B × K or B × members × K, for ``target`` B × K."""
        logits: Tensor = getattr(output, "logits", output)
        self._waiting.append((logits.detach(), target))
        if len(self._waiting) >= _PENDING:
            self._count()

    def collect(self) -> None:
        """Bring the counts of all ranks to the leading one; all have to come."""
        self._count()
        total = self._ranks.total(self._counts)
        self._counts = total if self._ranks.leads else torch.zeros_like(total)

    def result(self) -> dict[str, float]:
        """Return ``train_f1`` (macro) and of single labels ``train_accuracy``; of several ranks the leading one's."""
        self.collect()
        hits, chosen, present = self._counts.cpu().numpy()
        total = chosen + present
        score = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
        found = {"train_f1": macro(np.where(present > 0, score, np.nan))}
        if self._kind == SINGLE:
            found["train_accuracy"] = float(hits.sum() / max(present.sum(), 1))
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts of the running epoch."""
        self._count()
        return {"counts": self._counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over the counts of a running epoch."""
        if state and self._ranks.leads:
            self._counts.copy_(state["counts"])

    @torch.no_grad()
    def _count(self) -> None:
        for logits, target in self._waiting:
            mean = logits.mean(dim=1) if logits.ndim == 3 else logits
            chosen, present = self._decide(mean, 0.0), self._decide(target, 0.5)
            self._counts += torch.stack([(chosen & present).sum(0), chosen.sum(0), present.sum(0)])
        self._waiting.clear()

    def _decide(self, values: Tensor, threshold: float) -> Tensor:
        """Return B × K: the largest of each row, or whatever is above the threshold."""
        if self._kind != SINGLE:
            return values > threshold
        return torch.zeros_like(values, dtype=torch.bool).scatter_(1, values.argmax(dim=1, keepdim=True), True)


def is_better(metric: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Tell whether ``value`` beats ``best`` by more than nothing (or by at least ``min_delta`` if that is set).

    NaN beats only ``None`` and is beaten by any number, so that an epoch that could not be measured blocks nothing.
    ``min_delta`` of an accuracy is in percent points.
    """
    if best is None:
        return True
    if math.isnan(value) or math.isnan(best):
        return not math.isnan(value)
    gain = (value - best if LARGER_IS_BETTER[metric] else best - value) * (100 if metric in _IN_PERCENT else 1)
    return gain >= min_delta - _ROUNDING if min_delta > 0 else gain > 0
