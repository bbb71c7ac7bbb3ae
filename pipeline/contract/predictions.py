"""train → thresholds, evaluate: ``predictions_<split>.npz`` with the logits of the chosen weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import writing
from pipeline.core.errors import InputError


@dataclass(frozen=True)
class Predictions:
    """Logits of N samples for K classes, with what is needed to score them without the store."""

    logits: NDArray[np.float32]
    """N × K, before the sigmoid (multi-label) or softmax (single-label)."""
    target: NDArray[np.uint8]
    """N × K, 0 or 1."""
    ids: NDArray[np.str_]
    dates: NDArray[np.str_]
    """N local days, ``YYYY-MM-DD``, ascending."""
    kinds: NDArray[np.str_]
    """N of ``single``, ``composite`` (+), ``transition`` (-)."""
    classes: NDArray[np.str_]
    target_kind: str
    """``multi_label`` or ``single_label``."""
    split: str

    def check(self, source: object) -> None:
        """Raise ``InputError`` if shapes disagree or a logit is not finite."""
        n, k = self.logits.shape if self.logits.ndim == 2 else (-1, -1)
        same = self.target.shape == (n, k) and len(self.classes) == k
        if not same or any(len(column) != n for column in (self.ids, self.dates, self.kinds)):
            raise InputError(f"{source}: arrays of different lengths; run the train job again")
        if not np.isfinite(self.logits).all():
            count = int((~np.isfinite(self.logits)).sum())
            raise InputError(f"{source}: {count} logits are NaN or infinite; the training diverged, lower train.lr")

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        with writing(path) as part, part.open("wb") as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_predictions(path: Path) -> Predictions:
    """Read and check a predictions file.

    Raises:
        InputError: missing, broken or inconsistent.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {field.name: arrays[field.name] for field in fields(Predictions)}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the train job first") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable predictions file ({error}); run the train job again") from None
    values |= {name: str(values[name]) for name in ("target_kind", "split")}
    predictions = Predictions(**values)
    predictions.check(path)
    return predictions
