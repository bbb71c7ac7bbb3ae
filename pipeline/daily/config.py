"""Settings of the scheduled job: which run classifies, which days, and where the raw files come from."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from pipeline.core.checks import utc_hours
from pipeline.core.config import Section
from pipeline.download.config import ARCO

FORMAT = 1
"""Of a day's JSON file (``docs/daily.md``)."""


class DailyConfig(Section):
    """Which run classifies which days."""

    run: str
    """Folder of a finished run, ``results/<experiment>/<run>`` or ``results/<experiment>/latest``."""
    start: date | None = None
    """First local day that is wanted; empty: the newest on the first call, and from then on every day."""
    catch_up_days: int = Field(30, ge=1)
    """How many days back from the newest are looked through for days that are missing."""
    delay_days: int = Field(5, ge=0)
    """Days behind today (UTC) that the newest is at least, even where the data centre says that it has later ones."""
    hours: list[int] = Field(default_factory=list)
    """UTC hours of a day's maps; empty: those that the run was derived or downloaded with."""
    refresh_after_days: int = Field(75, ge=1)
    """Age of a preliminary day (ERA5T) from which the final one is asked for; it comes two to three months later."""
    refresh_every_days: int = Field(7, ge=0)
    """Days until it is asked for again where it was not there yet."""
    dataset: str = Field("", pattern=r"^$|^[^/\\.][^/\\]*$")
    """Folder of the raw files under data/raw; empty: ``<experiment>-daily``."""
    table_days: int = Field(30, ge=0)
    """Days on the picture ``recent.png``; 0: no such picture."""
    dpi: int = Field(150, ge=50, le=600)
    """Of the pictures."""
    notify: bool = False
    """Send one message with the types of the new days, or with what went wrong; none when there is nothing to do."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0)
    """CPU threads of the model; 0: all cores of this job."""
    workers: int = Field(1, ge=0)
    """Processes that derive; a day is little work for one."""

    @field_validator("hours")
    @classmethod
    def _real_hours(cls, hours: list[int]) -> list[int]:
        return utc_hours(hours)


class Fetch(Section):
    """Where raw files come from. What is fetched follows from the run: only what its model reads, and msl."""

    source: Literal["cds", "arco", "local"] = "cds"
    """As ``download.source``; ``local``: files that somebody else puts there."""
    files: list[str] = Field(default_factory=list)
    """``local``: files or globs, relative to the project folder."""
    area: list[float] = Field(default_factory=list)
    """North, west, south, east in degrees; empty: as the run was downloaded, or the grid it was trained on."""
    grid: list[float] = Field(default_factory=list)
    """Spacing in degrees, latitude and longitude; empty: as ``area``."""
    store: str = ARCO
    """``arco``: address or folder of the Zarr store."""
    in_flight: int = 4
    """Requests that wait at the data centre at one time."""
    attempts: int = 4
    """Tries of one request before the day is given up until the next call."""
    poll_seconds: float = 60.0
    """Longest pause between two questions about a request."""
    timeout_seconds: float = 120.0
    """How long a silent connection is waited for."""
    outage_hours: float = 1.0
    """How long a data centre that does not answer anything is waited for."""


class DailySettings(Section):
    """The whole of ``configs/daily.yaml``."""

    daily: DailyConfig
    download: Fetch = Fetch()
    data: str = "data"
    """Folder of raw files, relative to the project folder."""
