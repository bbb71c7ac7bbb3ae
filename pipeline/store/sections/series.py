"""Settings of the windows of numeric series that go with images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from pipeline.core.checks import once
from pipeline.core.config import Section

Duration = Annotated[str, Field(pattern=r"^\d+ ?(min|m|h|d|w)$")]


class SeriesConfig(Section):
    """CSV files with a time column and features; each image gets the last rows that end at or before its time."""

    files: list[str] = Field(min_length=1)
    """Paths or patterns. Rows go with the images of their ``dataset_id``, else of the file's name."""
    feature_columns: list[str] = Field(default_factory=list)
    """Columns in this order; empty: all columns but the time and ``dataset_id``."""
    window_size: int = Field(40, ge=1, le=100_000)
    """Rows of a window."""
    offset: int = 0
    """0: the window ends with the last row at or before the image's time; −1: with the row before that."""
    look_ahead: bool = False
    """Allow ``offset`` > 0, rows after the image's time: only to show what a leak does."""
    shared: bool = False
    """One series without ``dataset_id`` serves the images of all datasets."""
    time_column: str = ""
    """Empty: ``timestamp``, ``datetime``, ``date`` or ``time``, the first that is there."""
    timezone: str = "UTC"
    """Time zone of times that carry none themselves."""
    max_age: Duration | None = None
    """A window whose last row is older than this at the image's time counts as missing, for example ``3d``."""
    max_gap: Duration | None = None
    """Rows before a step longer than this count as missing, for example ``4h``."""

    @field_validator("files", "feature_columns")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        return once(names)

    @model_validator(mode="after")
    def _no_future(self) -> SeriesConfig:
        if self.offset > 0 and not self.look_ahead:
            raise ValueError(
                f"offset {self.offset} reads rows after the image's time; use 0 or less (look_ahead: true allows it, "
                "to show a leak)"
            )
        return self
