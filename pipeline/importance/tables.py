"""The CSV files of an analysis."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from pipeline.importance.samples import Samples, Table
from pipeline.importance.series import DATASET

_FIELDS = (
    "column",
    "derived",
    "selected",
    "permutation",
    "permutation_sd",
    "permutation_log_loss",
    "gain_share",
    "gain_share_sd",
    "shap",
    "shap_sd",
    "frequency",
    "null_q95",
    "p_permutation",
    "p_family",
    "p_gain",
    "exceeds_null",
)


def importance_csv(columns: Sequence[dict[str, Any]]) -> str:
    """Return one line a column, the most important first; numbers with six digits, empty where not measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", *_FIELDS])
    for rank, column in enumerate(columns, 1):
        writer.writerow([rank, *(_cell(column[name]) for name in _FIELDS)])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.6g}"


def features_csv(samples: Samples, tables: Sequence[Table], zoned: bool) -> str:
    """Return the candidate columns of all rows, as ``store.series`` reads them; empty where there is no value.

    Times are UTC, and say so if ``zoned``, for stores that take times without a zone for those of another one. Several
    series are told apart by ``dataset_id``.
    """
    several = len(tables) > 1
    unit: Literal["s", "us"] = "us" if any((table.time % 1_000_000).any() for table in tables) else "s"
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["timestamp", *([DATASET] if several else []), *samples.columns])
    for table in tables:
        stamps = np.datetime_as_string(table.time.astype("datetime64[us]"), unit=unit).tolist()
        zone = "Z" if zoned else ""
        for stamp, row in zip(stamps, table.values.tolist(), strict=True):
            cells = ["" if value != value else repr(value) for value in row]
            writer.writerow([stamp + zone, *([table.name] if several else []), *cells])
    return stream.getvalue()
