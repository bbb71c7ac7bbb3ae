"""Samples as rows of a report: what was so, what was said, how probable, and which samples are most alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import made_from, predictions_path
from pipeline.core.artifact import write_text
from pipeline.core.config import Section
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.neighbours import Neighbours
from pipeline.evaluate.subject import TUNED, Said, Subject

SHOWN = 1
"""Raised when the same samples would be described otherwise."""


def entry(subject: Subject, said: Said, place: int) -> dict[str, Any]:
    """Return one sample of a split as JSON values."""
    return described(subject, int(said.rows[place]), said.target[place], said.chosen[place], said.probability[place])


def described(
    subject: Subject, row: int, given: NDArray[np.bool_], answer: NDArray[np.bool_], probability: NDArray[Any]
) -> dict[str, Any]:
    """Return one sample of the store as JSON values: ``given`` and ``answer`` are K flags."""
    return {
        "row": row,
        "id": str(subject.store.column("id")[row]),
        "date": str(subject.store.column("date")[row]),
        "label": subject.label_of(row),
        "truth": subject.names(given),
        "said": subject.names(answer),
        "missed": subject.names(given & ~answer),
        "false_alarms": subject.names(answer & ~given),
        "probability": dict(zip(subject.classes, probability, strict=True)),
    }


def beside(subject: Subject, neighbours: Neighbours, place: int) -> list[dict[str, Any]]:
    """Return the neighbours of one sample as JSON values, nearest first."""
    index = subject.store.column("id"), subject.store.column("date")
    pairs = zip(neighbours.rows[place].tolist(), neighbours.distance[place].tolist(), strict=True)
    return [
        {
            "row": row,
            "id": str(index[0][row]),
            "date": str(index[1][row]),
            "label": subject.label_of(row),
            "truth": subject.names(subject.store.target[row] > 0),
            "distance": distance,
        }
        for row, distance in pairs
        if row >= 0
    ]


def head(subject: Subject, said: Said) -> dict[str, Any]:
    """Return what is common to all samples of a list."""
    predictions = said.predictions
    return {
        "run": subject.run.name,
        "split": predictions.split,
        "kind": predictions.target_kind,
        "dated": predictions.dated,
        "classes": subject.classes,
        "thresholds": subject.decisions.thresholds,
        "inputs": subject.inputs,
        "samples": len(predictions.ids),
    }


def stamp(subject: Subject, settings: Section, config: EvaluateConfig, splits: Iterable[str]) -> dict[str, Any]:
    """Return what a list of samples is made from."""
    decided = [SHOWN, settings.model_dump(mode="json"), config.seed, subject.store.spec.version, subject.fold.name]
    names = [*(predictions_path(subject.run, split).name for split in splits), *TUNED]
    return made_from([*decided, subject.inputs], subject.run, names)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file with these columns, atomically; what a row lacks is empty."""
    stream = io.StringIO()
    table = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, stream.getvalue())


def flat(sample: Mapping[str, Any], digits: int = 4) -> dict[str, Any]:
    """Return a sample as cells of a table: classes joined by ``+``, a probability and a neighbour a column."""
    joined = {key: "+".join(sample[key]) for key in ("truth", "said", "missed", "false_alarms")}
    probability = {f"p_{name}": f"{value:.{digits}f}" for name, value in sample["probability"].items()}
    near = {f"neighbour_{n}": neighbour_text(other) for n, other in enumerate(sample.get("neighbours", []), 1)}
    return {**sample, **joined, **probability, **near}


def neighbour_text(other: Mapping[str, Any]) -> str:
    """Return a neighbour in one cell."""
    return f"{other['date'] or other['id']}: {other['label']} ({other['distance']:.2f})"


def drawn_by_lot(places: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return at most ``count`` of ``places``, each equally likely, in their order."""
    if len(places) <= count:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, count, replace=False))
