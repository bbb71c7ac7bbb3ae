"""The mode ``misclassified``: the samples that the run got most wrong, with the training samples most like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.predictions import is_fresh
from pipeline.contract.scores import Floats
from pipeline.core.artifact import read_json, write_json
from pipeline.core.lock import exclusive
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.neighbours import Space
from pipeline.evaluate.shown import beside, entry, flat, head, stamp, write_table
from pipeline.evaluate.subject import Said, Subject

FOLDER = "misclassified"
_FIRST = ("rank", "id", "date", "label", "truth", "said", "missed", "false_alarms", "surprise", "probability_of_label")


def list_worst(config: EvaluateConfig, subject: Subject) -> Path:
    """Write ``misclassified/<split>.json`` and ``.csv``, unless they are there; return the path of the first.

    The samples with a wrong decision, those first whose label the calibrated probabilities held least likely:
    ``surprise`` is −ln of that probability, of all classes together.

    Raises:
        InputError: something of the run is missing or belongs to another store.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    said = subject.forecast(config.misclassified.split)
    split = said.predictions.split
    path = subject.run / FOLDER / f"{split}.json"
    table = path.with_suffix(".csv")
    with exclusive(subject.run):
        made = stamp(subject, config.misclassified, config, [split])
        if not (is_fresh(path, made) and table.exists()):
            found = _worst(config, subject, said)
            near = [f"neighbour_{n}" for n in range(1, config.misclassified.neighbours + 1)]
            columns = [*_FIRST, *(f"p_{name}" for name in subject.classes), *near]
            write_table(table, columns, (_cells(sample) for sample in found["shown"]))
            write_json(path, {**found, "made_from": made})
    return path


def _worst(config: EvaluateConfig, subject: Subject, said: Said) -> dict[str, Any]:
    wrong, surprise = (said.target != said.chosen).any(axis=1), said.surprise()
    order = np.argsort(np.where(wrong, -surprise, np.inf), kind="stable")
    places = order[: min(config.misclassified.count, int(wrong.sum()))]
    space = Space.of(subject.store, subject.fold.name, subject.inputs)
    near = space.nearest(said.rows[places], subject.fold.train, config.misclassified.neighbours)
    samples = [
        {
            "rank": rank,
            **entry(subject, said, place),
            **_how_wrong(surprise, place),
            "neighbours": beside(subject, near, n),
        }
        for n, (rank, place) in enumerate(enumerate(places.tolist(), 1))
    ]
    return {
        **head(subject, said),
        "wrong": int(wrong.sum()),
        "rule": _rule(len(samples), int(wrong.sum()), len(wrong)),
        "order": "by the calibrated probability of the label, all classes together; the least likely first",
        "distance": space.how,
        "confusions": _confusions(subject, said),
        "shown": samples,
    }


def _rule(listed: int, wrong: int, samples: int) -> str:
    if not wrong:
        return f"no wrong decision in {samples} samples"
    first = f"{listed} worst of {wrong}" if listed < wrong else f"all {wrong} samples"
    return f"{first} with a wrong decision, of {samples} samples"


def _how_wrong(surprise: Floats, place: int) -> dict[str, float]:
    return {"surprise": float(surprise[place]), "probability_of_label": float(np.exp(-surprise[place]))}


def _confusions(subject: Subject, said: Said, most: int = 20) -> list[dict[str, Any]]:
    """Return how often one class was missed where another was said without being so, most frequent first."""
    missed, alarm = (
        (one & ~other).astype(np.int64) for one, other in ((said.target, said.chosen), (said.chosen, said.target))
    )
    counts = missed.T @ alarm
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = (np.unravel_index(place, counts.shape) for place in order if counts.flat[place])
    return [
        {"missed": subject.classes[row], "said": subject.classes[column], "samples": int(counts[row, column])}
        for row, column in pairs
    ]


def _cells(sample: dict[str, Any]) -> dict[str, Any]:
    odds = {"surprise": f"{sample['surprise']:.3f}", "probability_of_label": f"{sample['probability_of_label']:.3g}"}
    return {**flat(sample), **odds}


def told(path: Path) -> str:
    """Return what a list says of itself."""
    value = read_json(path)
    return f"{value['split']}: {value['rule']}"
