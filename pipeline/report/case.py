"""What the pictures of one split are drawn from: its predictions, the decisions, and the report of evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import (
    Decisions,
    check_made_from,
    load_decisions,
    load_split,
)
from pipeline.contract.scores import Floats
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError


@dataclass(frozen=True)
class Case:
    """One split of a run; N days, K classes."""

    split: str
    labels: tuple[str, ...]
    target: NDArray[np.bool_]
    raw: Floats
    """N × K probabilities as the network gives them."""
    probability: Floats
    """N × K calibrated probabilities."""
    chosen: NDArray[np.bool_]
    decisions: Decisions
    report: dict[str, Any]

    def row(self, label: str) -> dict[str, Any]:
        """Return precision, recall, F1 and support of a class or a mean; ``None`` where not measured."""
        found: dict[str, Any] = self.report["classification_report"][label]
        return found

    @property
    def period(self) -> str:
        """The first and last day, and how many there are."""
        count = f"{self.report['days']} {self.unit}"
        return f"{self.report['first']} to {self.report['last']}, {count}" if self.report["dated"] else count

    @property
    def unit(self) -> str:
        """What is counted: days, or samples where a day may have several."""
        return "samples" if self.decisions.single or not self.report["dated"] else "days"

    @property
    def how(self) -> str:
        """How classes are decided on."""
        return "of the likeliest class" if self.decisions.single else "at the tuned thresholds"


def report_path(run: Path, split: str) -> Path:
    """Return where evaluate keeps its report of a split."""
    return run / f"{split}_report.json"


def load_case(run: Path, split: str) -> Case:
    """Read a split of a run folder.

    Raises:
        InputError: something is missing, or older than what it was made from.
    """
    predictions = load_split(run, split)
    decisions = load_decisions(run, predictions.labels)
    path = report_path(run, split)
    if not path.exists():
        raise InputError(f"{path}: no such file; run the evaluate job first")
    report = read_json(path)
    check_made_from(path, report, "evaluate")
    probability = decisions.probabilities(predictions.logits)
    return Case(
        split=split,
        labels=predictions.labels,
        target=predictions.target > 0,
        raw=decisions.raw(predictions.logits),
        probability=probability,
        chosen=decisions.choose(probability),
        decisions=decisions,
        report=report,
    )


def figure_of(value: float | None, digits: int = 2) -> str:
    """Return a score as text, a dash where it was not measured."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"
