"""Settings of the download stage: which variables, levels, hours, days and area, and from where."""

from __future__ import annotations

import math
from datetime import date
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.checks import utc_hours
from pipeline.core.config import Section, runtime
from pipeline.core.parts import PATTERN, Part

ARCO = "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
"""The public copy of ERA5 in Zarr (Carver and Merose, 2023), read without a key."""


FIRST_DAY = date(1940, 1, 1)
"""Of ERA5."""


class Row(Section):
    """One row of the table of requests."""

    variables: list[str] = Field(min_length=1)
    """Names in docs/data.md (``msl``, ``z`` …) or the data centre's own (``mean_sea_level_pressure`` …)."""
    levels: list[int] = Field(default_factory=list)
    """Pressure levels in hPa; empty: variables without levels."""
    hours: list[int] = Field(default_factory=list)
    """UTC hours of these variables; empty: ``download.hours``."""

    @field_validator("hours")
    @classmethod
    def _real_hours(cls, hours: list[int]) -> list[int]:
        return utc_hours(hours)

    @field_validator("levels")
    @classmethod
    def _real_levels(cls, levels: list[int]) -> list[int]:
        if any(not 1 <= level <= 1100 for level in levels) or len(set(levels)) < len(levels):
            raise ValueError(f"pressure levels are whole hPa from 1 to 1100, each once; found {levels}")
        return levels


class DownloadConfig(Section):
    """Which raw files are fetched. The table ``requests`` says what, the rest when, where and from whom."""

    source: Literal["none", "cds", "arco", "local"] = "none"
    """``cds``: Copernicus Climate Data Store. ``arco``: ERA5 as public Zarr. ``local``: files that are there."""
    requests: list[Row] = Field(default_factory=list)
    start: date | None = None
    """First day (UTC)."""
    end: date | None = None
    """Last day (UTC); empty: the latest that the source has (``cds``: six days ago)."""
    hours: list[int] = Field(default=[0], min_length=1)
    """UTC hours of the day."""
    area: list[float] = Field(default=[90.0, -180.0, -90.0, 179.75], min_length=4, max_length=4)
    """North, west, south, east in degrees."""
    grid: list[float] = Field(default=[], max_length=2)
    """Spacing in degrees, latitude and longitude; empty: the source's own (ERA5: 0.25)."""
    format: Literal["netcdf", "grib"] = "netcdf"
    chunk: Literal["auto", "year", "month"] = "auto"
    """Longest period of one request; ``auto``: a year, or less where the source's cost limit asks for it."""
    store: str = ARCO
    """``arco``: address or folder of the Zarr store."""
    files: list[str] = Field(default_factory=list)
    """``local``: files or globs to register, relative to the project folder."""
    in_flight: int = runtime(4, ge=1, le=50)
    """Requests that wait or run at the data centre at one time."""
    attempts: int = runtime(10, ge=1)
    """Tries of one request before the job gives up on it and goes on with the others."""
    poll_seconds: float = runtime(60.0, gt=0)
    """Longest pause between two questions about a request; the first pauses are shorter."""
    timeout_seconds: float = runtime(120.0, gt=0)
    """How long a silent connection is waited for."""
    outage_hours: float = runtime(12.0, gt=0)
    """How long a data centre that does not answer anything is waited for."""
    dry_run: bool = runtime(False)
    """Print the plan and stop."""
    refresh: bool = runtime(False)
    """Fetch preliminary data (ERA5T) again where the final data may be there."""
    parts: str = runtime("", pattern=PATTERN)
    """``i/n``: do only the i-th of n parts, for job arrays."""

    @field_validator("hours")
    @classmethod
    def _real_hours(cls, hours: list[int]) -> list[int]:
        return utc_hours(hours)

    @field_validator("start")
    @classmethod
    def _within_era5(cls, day: date | None) -> date | None:
        if day and day < FIRST_DAY:
            raise ValueError(f"ERA5 begins on {FIRST_DAY}; found {day}")
        return day

    @field_validator("area")
    @classmethod
    def _real_area(cls, area: list[float]) -> list[float]:
        north, west, south, east = area
        if not -90 <= south < north <= 90 or not (-180 <= west < 360 and west < east <= west + 360):
            raise ValueError(
                "an area is north, west, south, east in degrees, south < north, west < east ≤ west + 360, "
                f"west from -180 to below 360; found {area}"
            )
        return area

    @field_validator("grid")
    @classmethod
    def _real_grid(cls, grid: list[float]) -> list[float]:
        if grid and (len(grid) != 2 or not all(0 < step < math.inf for step in grid)):
            raise ValueError(f"a grid is the spacing of latitude and longitude, for example [0.25, 0.25]; found {grid}")
        return grid

    @field_validator("parts")
    @classmethod
    def _real_part(cls, text: str) -> str:
        Part.parse(text)
        return text

    @model_validator(mode="after")
    def _complete(self) -> DownloadConfig:
        if self.source in ("cds", "arco") and (not self.requests or self.start is None):
            raise ValueError(f"source {self.source!r} needs the table 'requests' and the day 'start'")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        north, west, south, east = self.area
        if self.source in ("cds", "arco") and self.grid and not self._fits(north - south, east - west):
            raise ValueError(f"grid {self.grid} has fewer than 2 points each way in area {self.area}; make it finer")
        if self.source == "local" and not self.files:
            raise ValueError("source 'local' needs 'files'")
        return self

    def _fits(self, height: float, width: float) -> bool:
        """Tell whether the grid has at least two points along each side of the area."""
        return self.grid[0] <= height and self.grid[1] <= min(width, 180.0)
