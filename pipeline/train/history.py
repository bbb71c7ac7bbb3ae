"""What is written of every epoch as tables: ``metrics.csv`` and ``gradient_trace.csv``.

Both are written whole from what the checkpoint holds, so that a resumed run has each epoch once.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.core.artifact import write_text

METRICS, TRACE = "metrics.csv", "gradient_trace.csv"
_FIRST = ("epoch", "learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_f1")
_LEFT_OUT = ("lr", "seconds")


def write_metrics(folder: Path, history: Sequence[Mapping[str, float]], fixed_rate: float | None) -> None:
    """Write the scores and rates of every epoch.

    Args:
        folder: of the run.
        history: an entry an epoch; ``lr`` is the rate used in it (at its last step).
        fixed_rate: what the column ``learning_rate`` says throughout, where groups have rates of their own, which
            are in ``lr_<group>``.
    """
    table = rows(history, fixed_rate)
    names = list(dict.fromkeys(name for row in table for name in row))
    rates = [name for name in names if name.startswith("lr_")]
    scores = [name for name in names if name not in _FIRST and name not in rates]
    first = [name for name in _FIRST if name in names]
    write_text(folder / METRICS, _table([*first, *scores, *rates], table))


def rows(history: Sequence[Mapping[str, float]], fixed_rate: float | None) -> list[dict[str, float]]:
    """Return the scores and rates of every epoch by column; arguments as for :func:`write_metrics`."""
    return [
        {"epoch": entry["epoch"], "learning_rate": entry["lr"] if fixed_rate is None else fixed_rate}
        | {name: value for name, value in entry.items() if name not in _LEFT_OUT}
        for entry in history
    ]


def write_trace(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the gradient norms of every recorded epoch, a column a block."""
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        write_text(folder / TRACE, _table(names, rows))


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(name, row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(name: str, value: float | None) -> str:
    """Return a number so that it is read back exactly; nothing where nothing was measured."""
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if name == "epoch" else repr(float(value))
