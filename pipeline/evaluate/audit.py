"""The mode ``audit``: labels that the model, cross-validated, contradicts most, as a list that an expert goes through.

Only predictions of days that a run neither learned from nor was chosen by are used: the test splits of the fold runs
of one config. Their calibrated probabilities say how likely the given label is, and how likely their own answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from pipeline.contract.predictions import is_fresh, predictions_path
from pipeline.contract.scores import Floats
from pipeline.contract.store import DEFAULT_FOLD
from pipeline.core.artifact import read_json, sha256, write_json
from pipeline.core.errors import InputError, shorten
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.core.run import RunFolder
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.doubt import Doubts, doubts
from pipeline.evaluate.neighbours import Space
from pipeline.evaluate.shown import beside, described, neighbour_text, stamp, write_table
from pipeline.evaluate.subject import TUNED, Flags, Subject, open_subject

FOLDER, TABLE, LIST = "label_audit", "suspects.csv", "suspects.json"
_COLUMNS = (
    "rank", "date", "id", "label_given", "class_contradicted", "given", "calibrated_probability", "model_says",
    "times_likelier", "fold", "neighbours_with_class",
)  # fmt: skip
_EMPTY = ("verdict", "remark")
"""Columns for the expert."""


class Experiment(Protocol):
    """What is needed of an experiment to find the runs of its folds."""

    @property
    def train(self) -> Any:
        """Settings of the training."""

    def run(self, new: bool = False) -> RunFolder:
        """Return the run folder of this training."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values."""


class HeldOut:
    """What the runs of all folds said of the samples that each held out; M samples of the store in its order."""

    def __init__(self, samples: int, classes: int) -> None:
        """Begin with nothing said."""
        self._sum, self._times = np.zeros((samples, classes)), np.zeros(samples, np.int64)
        self.fold_of = [""] * samples
        self.folds: list[str] = []

    def add(self, subject: Subject) -> None:
        """Take up the test split of one fold's run."""
        said = subject.forecast("test")
        self._sum[said.rows] += said.probability
        self._times[said.rows] += 1
        for row in said.rows.tolist():
            self.fold_of[row] = "+".join(filter(None, [self.fold_of[row], subject.fold.name]))
        self.folds.append(subject.fold.name)

    @property
    def covered(self) -> Flags:
        """Which rows of the store were held out by a run."""
        return self._times > 0

    @property
    def probability(self) -> Floats:
        """Calibrated probabilities of the covered rows, the mean where several runs held one out."""
        return np.asarray(self._sum[self.covered] / self._times[self.covered][:, None])


def audit_labels(config: EvaluateConfig, subject: Subject, experiment: Experiment) -> Path:
    """Write ``label_audit/suspects.csv`` and ``.json`` into the run folder, unless they are there.

    Args:
        config: the settings.
        subject: the run whose folder takes the list.
        experiment: its config, by which the runs of other folds are found.

    Raises:
        InputError: no run of any fold has held out a labelled day.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    folder = subject.run / FOLDER
    with exclusive(subject.run):
        runs = finished_folds(subject, experiment)
        _tell_gaps(subject, runs)
        made = stamp(subject, config.audit, config, []) | {"folds": _checksums(runs)}
        if not (is_fresh(folder / LIST, made) and (folder / TABLE).exists()):
            found = _audit(config, subject, runs)
            near = [f"neighbour_{n}" for n in range(1, config.audit.neighbours + 1)]
            write_table(folder / TABLE, [*_COLUMNS, *near, *_EMPTY], (_cells(one) for one in found["shown"]))
            write_json(folder / LIST, {**found, "made_from": made})
    return folder / LIST


def finished_folds(subject: Subject, experiment: Experiment) -> dict[str, Path]:
    """Return the runs of the same config, fold by fold, that have predicted a test split and have thresholds."""
    runs = {}
    for fold in [name for name in subject.store.spec.folds if len(subject.store.fold(name).test)]:
        train = experiment.train.model_copy(update={"fold": fold})
        run = experiment.model_copy(update={"train": train}).run().path
        run = subject.run if fold == subject.fold.name else run
        if predictions_path(run, "test").exists() and all((run / name).exists() for name in TUNED):
            runs[fold] = run
    return runs


def _tell_gaps(subject: Subject, runs: Mapping[str, Path]) -> None:
    """Warn of folds whose days are not audited.

    Raises:
        InputError: there is no run at all.
    """
    if not runs:
        raise InputError(f"{subject.run}: no run of any fold has predicted days that it did not learn from; {_how()}")
    store = subject.store
    covered = np.concatenate([store.fold(fold).test for fold in runs])
    others = [fold for fold in store.spec.folds if fold not in runs]
    lacking = [fold for fold in others if not np.isin(store.fold(fold).test, covered).all()]
    if lacking:
        log.warning(
            "label audit: no finished run of fold %s, so their samples are not audited; %s", shorten(lacking), _how()
        )
    elif set(runs) == {DEFAULT_FOLD}:
        log.warning("label audit: only the test split is audited; to audit every year %s", _how())


def _how() -> str:
    return (
        "run jobs/run_backbones.py --folds all with a config that makes folds "
        "(maps: store.split.leave_one_year_out=true, images: store.split.by=kfold)"
    )


def _checksums(runs: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return what the list is made from, run by run."""
    return {fold: [sha256(path / name) for name in ("predictions_test.npz", *TUNED)] for fold, path in runs.items()}


def _audit(config: EvaluateConfig, subject: Subject, runs: Mapping[str, Path]) -> dict[str, Any]:
    store = subject.store
    held = HeldOut(len(store.target), len(subject.classes))
    for fold, run in runs.items():
        held.add(open_subject(run, store.folder, fold, list(subject.inputs)))
    rows = np.flatnonzero(held.covered)
    found = doubts(store.target[rows] > 0, held.probability, subject.decisions.single)
    order = found.order(config.audit.count)
    space = Space.of(store, subject.fold.name, subject.inputs)
    apart = subject.labels.days if subject.labels.history.dated else None
    every = np.arange(len(store.target))
    near = space.nearest(rows[order], every, config.audit.neighbours, apart, config.audit.apart_days)
    return {
        "run": subject.run.name,
        "kind": store.spec.target.kind,
        "split": "held out",
        "dated": subject.labels.history.dated,
        "classes": subject.classes,
        "thresholds": np.full(len(subject.classes), np.nan if subject.decisions.single else 0.5),
        "inputs": subject.inputs,
        "folds": held.folds,
        "runs": {fold: path.name for fold, path in runs.items()},
        "samples": len(rows),
        "of": len(store.target),
        "rule": f"{len(order)} most contradicted of {len(rows)} labels, by runs that had held them out",
        "order": "by times_likelier: how many times likelier the model's answer is than the label, classes together",
        "distance": space.how,
        "shown": [
            {"rank": rank, **_entry(subject, held, found, rows, place), "neighbours": beside(subject, near, rank - 1)}
            for rank, place in enumerate(order.tolist(), 1)
        ],
    }


def _entry(subject: Subject, held: HeldOut, found: Doubts, rows: Any, place: int) -> dict[str, Any]:
    row, k = int(rows[place]), int(found.contradicted[place])
    given = subject.store.target[row] > 0
    return {
        **described(subject, row, given, found.answer[place], found.probability[place]),
        "class_contradicted": subject.classes[k],
        "given": bool(given[k]),
        "calibrated_probability": float(found.probability[place, k]),
        "log_odds": float(found.evidence[place]),
        "fold": held.fold_of[row],
    }


def _cells(sample: Mapping[str, Any]) -> dict[str, Any]:
    near, k = sample["neighbours"], sample["class_contradicted"]
    return {
        **sample,
        "label_given": sample["label"],
        "given": "yes" if sample["given"] else "no",
        "calibrated_probability": f"{sample['calibrated_probability']:.4f}",
        "model_says": "+".join(sample["said"]) or "nothing above 0.5",
        "times_likelier": f"{np.exp(min(sample['log_odds'], 300.0)):.3g}",
        "neighbours_with_class": f"{sum(k in other['truth'] for other in near)} of {len(near)}",
        **{f"neighbour_{n}": neighbour_text(other) for n, other in enumerate(near, 1)},
    }


def told(path: Path) -> str:
    """Return what the list says of itself."""
    value = read_json(path)
    return f"{value['rule']} (folds {shorten(value['folds'])}; {value['samples']} of {value['of']} samples covered)"
