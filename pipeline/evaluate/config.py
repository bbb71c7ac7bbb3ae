"""Settings of the evaluate stage: predictions and thresholds → reports, and what is shown of a run on request."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pipeline.core.config import Section, runtime

FORMAT = 3
"""Raised when the same inputs would be judged otherwise, so that old reports are made anew."""

Mode = Literal["evaluate", "visualize", "reasoning", "misclassified", "feature", "audit", "all"]
EACH: tuple[Mode, ...] = ("evaluate", "visualize", "reasoning", "misclassified", "feature", "audit")
Explained = Literal["reasoning", "feature"]
"""Modes that run the network, so that they need torch."""

Split = Literal["auto", "val", "test"]


def _day_text(value: Any) -> Any:
    """Return a day that YAML read as a date as text."""
    days = value if isinstance(value, list) else [value]
    return [day.isoformat() if isinstance(day, date | datetime) else day for day in days]


Days = Annotated[list[str], BeforeValidator(_day_text)]


class VisualizeConfig(Section):
    """Which samples are shown; nothing here looks at how well they were predicted."""

    count: int = runtime(12, ge=1, le=60)
    """Most samples of a picture; drawn by lot with ``evaluate.seed`` where there are more."""
    split: Split = runtime("auto")
    """``auto``: test where there is one, else val."""
    classes: list[str] = runtime([])
    """Only samples that have one of these classes; empty: all."""
    dates: Days = runtime([])
    """Days (YYYY-MM-DD), or ids of samples without one; empty: all."""


class MisclassifiedConfig(Section):
    """How many of the worst samples are listed and drawn."""

    count: int = runtime(50, ge=1)
    """Most rows of the list."""
    pictures: int = runtime(12, ge=0, le=60)
    """How many of them are drawn."""
    neighbours: int = runtime(3, ge=0, le=20)
    """Nearest training samples named beside each."""
    split: Split = runtime("auto")


class AuditConfig(Section):
    """The list of labels that the model, cross-validated, contradicts."""

    count: int = runtime(200, ge=1)
    """Most rows of the list."""
    pictures: int = runtime(12, ge=0, le=60)
    neighbours: int = runtime(5, ge=0, le=20)
    """Most similar samples named beside each, those of the days around it left out."""
    apart_days: int = runtime(5, ge=0)
    """Days around a sample that are not its neighbours: their likeness says nothing."""


class EvaluateConfig(Section):
    """How results are judged, and what is shown of them."""

    bootstrap: int = Field(1000, ge=0)
    """Resamples for the intervals; 0: none."""
    block_days: int = Field(7, ge=1)
    """Days that are drawn together, because neighbouring days are alike."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(42, ge=0)
    exclude: list[str] = Field(default_factory=list)
    """Classes left out of the extra score ``macro_f1_excluding`` (such as an 'unclassified' type)."""
    mode: Mode = runtime("evaluate")
    """What is done: evaluate, visualize, misclassified, audit, reasoning, feature, or all."""
    against: str = runtime("")
    """A run folder to compare with, sample by sample."""
    visualize: VisualizeConfig = runtime(VisualizeConfig())
    misclassified: MisclassifiedConfig = runtime(MisclassifiedConfig())
    audit: AuditConfig = runtime(AuditConfig())

    @property
    def explained(self) -> tuple[Explained, ...]:
        """What is asked for that runs the network."""
        both: tuple[Explained, ...] = ("reasoning", "feature")
        return tuple(mode for mode in both if mode in self.modes)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What is done, in order."""
        return EACH if self.mode == "all" else (self.mode,)
