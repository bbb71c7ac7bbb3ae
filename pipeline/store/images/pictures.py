"""An image file and what is known of it before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file and what is known of it before it is opened."""

    path: Path
    id: str
    """The path below the folder that holds all roots, with ``/``; unique."""
    label: str
    split: str
    """``train``, ``val``, ``test``, or empty where nothing says."""
    group: str = ""
    """The data set (its series goes with it), or the group of a list."""
    time: datetime | None = None
    """UTC, without a zone."""
    local: datetime | None = None
    """As written."""
    number: int = -1
    """The label number of the file name; -1: none."""
    timeframe: str = ""


@dataclass(frozen=True)
class Listing:
    """All images of a store in order of time (of their paths where they have none)."""

    pictures: list[Picture]
    folders: dict[str, set[str]]
    """The class folders of each split, empty ones too."""
    bars: int
    """Bars that an image shows."""

    @property
    def timed(self) -> bool:
        """Whether each image has a time."""
        return self.pictures[0].time is not None
