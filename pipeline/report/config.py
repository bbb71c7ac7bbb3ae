"""Settings of the report stage: pictures and tables of one run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.core.config import Section

FORMAT = 3
"""Raised when the same inputs would be drawn otherwise, so that old pictures are drawn anew."""


class ConfusionConfig(Section):
    """The confusion matrix of classes that exclude each other; texts may be in any language."""

    title: str = "Confusion Matrix"
    xlabel: str = "Predicted Label"
    ylabel: str = "True Label"
    fontsize: float = Field(14.0, gt=0)
    """Of the numbers in the cells; smaller where they would not fit."""
    title_fontsize: float = Field(16.0, gt=0)
    label_fontsize: float = Field(12.0, gt=0)
    figsize: tuple[Annotated[float, Field(gt=0, le=50)], Annotated[float, Field(gt=0, le=50)]] = (8.0, 6.0)
    """Width and height in inches."""
    cmap: str = "Blues"
    """A colour map of matplotlib."""


class ReportConfig(Section):
    """How pictures look."""

    dpi: int = Field(150, ge=50, le=600)
    columns: int = Field(5, ge=1, le=10)
    """Most panels a row in pictures with one panel a class; rows are filled evenly."""
    confusion_matrix: ConfusionConfig = ConfusionConfig()
