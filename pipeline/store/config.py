"""Settings of the store stage: derived files → arrays, targets, splits and their scale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.artifact import digest8
from pipeline.core.config import Section, signature

FORMAT = 1
"""Raised when the meaning of a stored value changes, so that old stores are made anew."""

Years = list[int]
ALL = "ALL"


def _names_once(names: list[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} written twice; keep one")
    if ALL in names and len(names) > 1:
        raise ValueError(f"{ALL!r} stands alone or not at all; write [{ALL}] or a list of names")
    return names


class SplitConfig(Section):
    """Which days train, choose and judge. Neighbouring days are nearly equal, so blocks of years are the default."""

    by: Literal["years", "random_days"] = "years"
    """``random_days`` leaks neighbouring days between splits: it is there for comparison and is warned about."""
    train: Years = Field(default_factory=list)
    val: Years = Field(default_factory=list)
    test: Years = Field(default_factory=list)
    gap_days: int = Field(3, ge=0)
    """Days dropped on each side of a border between splits."""
    seed: int = 42
    """Only for ``random_days``."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Only for ``random_days``."""
    leave_one_year_out: bool = False
    """Add one fold for each year of train and val: it tests, the year before it (the last, for the first) validates."""

    @field_validator("fractions")
    @classmethod
    def _whole(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError(f"expected three shares ≥ 0 that add up to 1, found {list(fractions)}")
        return fractions

    @model_validator(mode="after")
    def _only_what_is_used(self) -> SplitConfig:
        if self.by == "random_days" and (self.train or self.val or self.test or self.leave_one_year_out):
            raise ValueError(
                "random_days takes no years and no leave_one_year_out; drop them, or set store.split.by: years"
            )
        return self

    @model_validator(mode="after")
    def _years_once(self) -> SplitConfig:
        seen: dict[int, str] = {}
        for split in ("train", "val", "test"):
            for year in getattr(self, split):
                if year in seen:
                    raise ValueError(f"year {year} is in {seen[year]} and in {split}; a year belongs to one split")
                seen[year] = split
        return self


class TargetConfig(Section):
    """How a label text becomes a target."""

    kind: Literal["multi_label"] = "multi_label"
    classes: list[Annotated[str, Field(coerce_numbers_to_str=True)]] = Field(default_factory=list)
    """Base types in order; empty: all that occur, sorted. A token outside the list is an error."""
    composite: str = "+|"
    """Characters that join simultaneous types."""
    transition: str = "-"
    """Characters that join a type and the one that follows; empty where ``-`` is part of a name."""

    _once = field_validator("classes")(_names_once)

    @model_validator(mode="after")
    def _joiners_join(self) -> TargetConfig:
        shared = set(self.composite) & set(self.transition)
        if shared:
            raise ValueError(
                f"{''.join(sorted(shared))!r} is in composite and in transition; a character joins one way"
            )
        joined = [name for name in self.classes if set(name) & set(self.composite + self.transition)]
        if joined:
            raise ValueError(
                f"class {joined[0]!r} holds a character that joins types (composite {self.composite!r}, "
                f"transition {self.transition!r}); set the joiner to another character or to ''"
            )
        return self


class Region(Section):
    """A latitude–longitude box in degrees, inclusive."""

    south: float = Field(ge=-90, le=90)
    north: float = Field(ge=-90, le=90)
    west: float = Field(ge=-180, le=360)
    east: float = Field(ge=-180, le=360)
    """Less than ``west``: the box goes on eastward across the end of the longitudes."""

    @model_validator(mode="after")
    def _has_height(self) -> Region:
        if self.north <= self.south:
            raise ValueError(f"north ({self.north:g}) must be greater than south ({self.south:g})")
        return self


class StoreConfig(Section):
    """What is kept of the derived fields and how it is divided."""

    channels: list[str] = Field(default=["ALL"], min_length=1)
    """``["ALL"]`` or names of derived fields."""
    scalars: list[str] = Field(default=["ALL"])
    region: Region | None = None
    coarsen: int = Field(1, ge=1)
    """Block mean over this many cells each way; rows and columns that do not fill a block are dropped."""
    slp_to_hpa: bool = True
    """Convert mean sea level pressure (and its differences) from Pa to hPa."""
    dtype: Literal["float32", "float16"] = "float32"
    """Of the standardised values; float16 halves the disk and costs 5e-4 relative."""
    mask_missing: bool = False
    """Give each channel with missing cells a 0/1 validity channel."""
    unlabelled: Literal["drop", "error"] = "drop"
    """Days without a label."""
    target: TargetConfig = TargetConfig()
    split: SplitConfig = SplitConfig()

    _once = field_validator("channels", "scalars")(_names_once)


def store_version(config: StoreConfig, upstream: str) -> str:
    """Return the name of a store: its settings, its format and the version of the derived data under it."""
    return digest8([FORMAT, signature(config), upstream])
