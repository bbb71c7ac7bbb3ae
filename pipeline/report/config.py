"""Settings of the report stage: pictures and tables of one run."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.config import Section

FORMAT = 1
"""Raised when the same inputs would be drawn otherwise, so that old pictures are drawn anew."""


class ReportConfig(Section):
    """How pictures look."""

    dpi: int = Field(150, ge=50, le=600)
    columns: int = Field(5, ge=1, le=10)
    """Most panels a row in pictures with one panel a class; rows are filled evenly."""
