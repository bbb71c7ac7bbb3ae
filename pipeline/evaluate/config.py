"""Settings of the evaluate stage: predictions and thresholds → reports."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.config import Section

FORMAT = 2
"""Raised when the same inputs would be judged otherwise, so that old reports are made anew."""


class EvaluateConfig(Section):
    """How results are judged."""

    bootstrap: int = Field(1000, ge=0)
    """Resamples for the intervals; 0: none."""
    block_days: int = Field(7, ge=1)
    """Days that are drawn together, because neighbouring days are alike."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(42, ge=0)
    exclude: list[str] = Field(default_factory=list)
    """Classes left out of the extra score ``macro_f1_excluding`` (such as an 'unclassified' type)."""
