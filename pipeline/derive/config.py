"""Settings of the derive stage: raw files → monthly files of derived fields with labels."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from pipeline.core.checks import utc_hours
from pipeline.core.choose import near
from pipeline.core.config import Section, runtime
from pipeline.core.parts import PATTERN, Part

FORMAT = 2
"""Raised when the meaning of a derived value changes, so that old files are made anew."""


class LabelFile(Section):
    """Where the label of each local day comes from."""

    files: list[str] = Field(default_factory=list)
    """CSV files with a header; empty: no labels (for prediction only)."""
    date_column: str = "date"
    label_column: str = "label"


class DeriveConfig(Section):
    """Which raw files become which fields."""

    raw: list[str] = Field(default_factory=list)
    """Raw files, globs or the manifest.json of a download, relative to the project folder."""
    fields: list[str] = Field(default=["msl"], min_length=1)
    """Fields to derive, in channel order; names in docs/data.md."""
    scalars: list[str] = Field(default=["f1_season", "f1_season_sin", "f2_season", "f2_season_sin"])
    """One value a day, fed to the head of the model."""
    timezone: str = "Asia/Tokyo"
    """IANA zone whose calendar day a time belongs to."""
    hours: list[int] = Field(default_factory=list)
    """UTC hours to keep; empty: all, and then each local day must hold exactly one time."""
    labels: LabelFile = LabelFile()
    keep_bits: int = Field(23, ge=8, le=23)
    """Bits of mantissa that computed fields keep; 23: all. 16 makes files a seventh smaller for an error of 7.6e-6."""
    allow_gaps: bool = runtime(False)
    """Whether whole months may be missing between the first and the last one."""
    compression: str = runtime("lz4", pattern="^(lz4|zlib|none)$")
    workers: int = runtime(0, ge=0)
    """Processes at work; 1: this one alone, 0: as many as cores and files allow. Each takes up to ``memory_gb``."""
    memory_gb: float = runtime(0.7, gt=0)
    """Raw values that a process holds at most; less makes it inflate compressed files several times."""
    parts: str = runtime("", pattern=PATTERN)
    """``i/n``: do only the i-th of n parts, for job arrays."""
    one_file: bool = runtime(False)
    """Also write all months as one file, ``era5_all_data_pp.nc``."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            hint = near(name, available_timezones())
            raise ValueError(f"unknown IANA time zone {name!r}{hint} For example Asia/Tokyo or UTC") from None
        return name

    @field_validator("hours")
    @classmethod
    def _real_hours(cls, hours: list[int]) -> list[int]:
        return utc_hours(hours)

    @field_validator("parts")
    @classmethod
    def _real_part(cls, text: str) -> str:
        Part.parse(text)
        return text

    @field_validator("fields", "scalars")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}; keep one of each")
        return names

    @property
    def sources(self) -> tuple[str, ...]:
        """Raw and label files as they are written in the config."""
        return (*self.raw, *self.labels.files)
