"""Settings of the thresholds stage: validation logits → decision thresholds and calibration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.core.config import Section

FORMAT = 2
"""Raised when the same settings would give other thresholds, so that old ones are made anew."""


class ThresholdsConfig(Section):
    """How probabilities become decisions. Only validation data is looked at."""

    beta: float = Field(1.0, gt=0)
    """Maximise Fβ: above 1 favours recall, below 1 precision."""
    fallback: float = Field(0.7, gt=0, lt=1)
    """Threshold of a class without positives in validation."""
    calibration: Literal["none", "temperature", "platt"] = "platt"
    """Per class, drawn toward identity by ``calibration_prior``; thresholds apply to calibrated probabilities.

    Of single-label targets one temperature for all classes, with ``platt`` also an offset a class.
    """
    calibration_prior: float = Field(5.0, ge=0)
    """Strength of the pull toward identity, in pseudo-positives."""
    shrinkage: float = Field(0.0, ge=0)
    """Pull of each class's threshold (on the logit scale) toward the pooled one, in pseudo-positives; 0: none."""
    minimum_precision: float = Field(0.0, ge=0, le=1)
    """Thresholds below this precision on validation are not considered, where any reaches it."""
    cross_fit_blocks: int = Field(5, ge=2)
    """Contiguous blocks of validation days for the estimate of how much tuning flatters."""
