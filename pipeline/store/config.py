"""Settings of the store stage: derived files or images and series → arrays, targets, splits and their scale."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.artifact import digest8
from pipeline.core.config import Section, runtime, signature
from pipeline.store.sections.images import ImagesConfig
from pipeline.store.sections.series import SeriesConfig

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


By = Literal["auto", "years", "random_days", "folders", "blocks", "kfold", "walk_forward", "random"]


class SplitConfig(Section):
    """Which samples train, choose and judge. Neighbours in time are nearly equal, so splits are blocks of time."""

    by: By = "auto"
    """``auto``: years for maps; for images their train, val and test folders, else ``blocks``.

    For images: ``folders``, ``blocks`` (``fractions`` in order of time), ``kfold``, ``walk_forward``, ``years``.
    ``random_days`` (maps) and ``random`` (images) leak neighbours between splits: for comparison, or for photos that
    have no order; they are warned about. A test folder stays the test split, except with ``years``.
    """
    train: Years = Field(default_factory=list)
    val: Years = Field(default_factory=list)
    test: Years = Field(default_factory=list)
    gap_days: int = Field(3, ge=0)
    """Days dropped on each side of a border between splits."""
    seed: int = 42
    """Only for ``random_days`` and ``random``."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Only for ``random_days``, ``random`` and ``blocks``; the first two where a test folder is given."""
    leave_one_year_out: bool = False
    """Add one fold for each year of train and val: it tests, the year before it (the last, for the first) validates."""
    num_folds: int = Field(5, ge=2, le=100)
    """Only for ``kfold`` and ``walk_forward``: folds ``fold0``, ``fold1`` …, chosen by ``train.fold``."""
    unit: Literal["time", "group"] = "time"
    """Only for ``kfold``: folds are blocks of time, or whole groups (data sets, or the groups of a list)."""
    val_share: float = Field(0.15, ge=0, lt=1)
    """Only for ``folders`` without val: the last share of the training images by time validates; 0: nothing does."""
    embargo: int | None = Field(None, ge=0)
    """Only for images: bars left free between samples of two splits of a data set; training images give way.

    Empty: as many as an image and its window of the series span, less one, so that no bar is seen on both sides.
    """

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

    kind: Literal["auto", "multi_label", "single_label"] = "auto"
    """``single_label``: exactly one type each, taken as it is written. ``auto``: that for images, else multi_label."""
    classes: list[Annotated[str, Field(coerce_numbers_to_str=True)]] = Field(default_factory=list)
    """Base types in order; empty: all that occur, sorted. A token outside the list is an error."""
    num_classes: int | None = runtime(None, ge=1)
    """A check only: another number of classes is an error."""
    composite: str = "+|"
    """Characters that join simultaneous types."""
    transition: str = "-"
    """Characters that join a type and the one that follows; empty where ``-`` is part of a name."""

    _once = field_validator("classes")(_names_once)

    @model_validator(mode="after")
    def _as_many_as_said(self) -> TargetConfig:
        if self.classes and self.num_classes not in (None, len(self.classes)):
            raise ValueError(f"num_classes is {self.num_classes}, but classes lists {len(self.classes)}")
        return self

    @model_validator(mode="after")
    def _joiners_join(self) -> TargetConfig:
        if self.kind == "single_label":
            return self
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


_GRID_ONLY = {"channels", "scalars", "region", "coarsen", "slp_to_hpa", "dtype", "mask_missing", "unlabelled"}
_IMAGE_SPLIT = ("num_folds", "unit", "val_share", "embargo")


class StoreConfig(Section):
    """What is kept of the derived fields, or of images and series, and how it is divided."""

    images: ImagesConfig | None = None
    """Images instead of derived fields: ``channels`` … ``unlabelled`` are not for them."""
    series: SeriesConfig | None = None
    """Windows of numeric series that go with the images."""
    check: bool = runtime(False)
    """Show what would be stored (counts, sizes, ranges, alignment, a contact sheet) and stop."""
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

    @model_validator(mode="after")
    def _one_source(self) -> StoreConfig:
        if self.images is None:
            if self.series is not None:
                raise ValueError("store.series goes with store.images; give image folders too")
            if self.split.by not in ("auto", "years", "random_days"):
                raise ValueError(f"store.split.by: {self.split.by} is for images; maps are divided by years")
        else:
            fields = type(self).model_fields
            unused = [name for name in sorted(_GRID_ONLY) if getattr(self, name) != fields[name].default]
            if unused:
                raise ValueError(f"{', '.join(unused)} is for derived maps and does nothing for images; drop it")
            if self.split.by == "random_days":
                raise ValueError("store.split.by: random_days is for maps; for images it is called random")
        return self


def store_version(config: StoreConfig, upstream: str) -> str:
    """Return the name of a store of maps: its settings, its format and the version of the derived data under it."""
    return digest8([FORMAT, grid_settings(config), upstream])


def grid_settings(config: StoreConfig) -> dict[str, Any]:
    """Return the settings that decide a store of maps; those for images are left out, so that they rename none."""
    settings = {name: value for name, value in signature(config).items() if name not in ("images", "series")}
    split = {name: value for name, value in settings["split"].items() if name not in _IMAGE_SPLIT}
    by = "years" if config.split.by == "auto" else config.split.by
    return settings | {"split": split | {"by": by}, "target": settings["target"] | {"kind": target_of(config).kind}}


def target_of(config: StoreConfig) -> TargetConfig:
    """Return the settings of the target with ``kind: auto`` decided."""
    if config.target.kind != "auto":
        return config.target
    return config.target.model_copy(update={"kind": "multi_label" if config.images is None else "single_label"})


def image_settings(config: StoreConfig) -> dict[str, Any]:
    """Return the settings that decide a store of images; files are known by their contents, not by where they lie."""
    settings = {name: value for name, value in signature(config).items() if name not in _GRID_ONLY}
    places = {name: None for name in ("datasets", "train", "val", "test", "table")}
    settings["images"] = settings["images"] | places
    if settings["series"] is not None:
        settings["series"] = settings["series"] | {"files": None}
    return settings


def image_pointer(config: StoreConfig) -> str:
    """Return the name of the file, beside the stores of a data set, that says which store these settings made."""
    return f"{digest8([FORMAT, signature(config)])}.json"
