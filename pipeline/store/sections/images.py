"""Settings of a store of images: where the files lie and how they are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.checks import once
from pipeline.core.config import Section, one_of, runtime

Side = Annotated[int, Field(ge=8, le=8192)]
Size = Annotated[
    Side | tuple[Side, Side] | None, one_of("a side of 8 … 8192 pixels, [height, width], or null for that of the files")
]
Level = Annotated[int, Field(ge=0, le=255)]


class ImagesConfig(Section):
    """Folders or a list of images, the stored size, and what to do with files that cannot be read.

    Give ``datasets``, or ``train`` (with ``val`` and ``test``), or ``table``.
    """

    datasets: list[str] = Field(default_factory=list)
    """Folders that hold ``{train,val,test}/<class>/{dataset}_{timeframe}_{YYYYMMDD}_{HHMM}_label_{k}.png``."""
    train: str = ""
    """A folder of plain class folders with any file names."""
    val: str = ""
    """As ``train``; empty: ``store.split`` takes the validation images from the training images."""
    test: str = ""
    """As ``train``; may be left out."""
    table: str = ""
    """A CSV file with the columns ``file,label`` and, where known, ``time``, ``group`` and ``split``."""
    names: Literal["auto", "convention", "any"] = "auto"
    """``convention``: a file name that does not parse is an error; ``any``: names mean nothing, there are no times.

    ``auto``: ``convention`` for ``datasets``; for class folders it is used where all names parse.
    """
    timezone: str = "UTC"
    """Time zone of the times in file names and lists that carry none themselves, for example ``Asia/Tokyo``."""
    bars: int | None = Field(None, ge=1)
    """Bars (rows of the series) that one image shows; empty: from ``winsize{N}`` of the folder names, else 1."""
    size: Size = None
    """Stored height and width; empty: as the files are, which must all have one size then."""
    fit: Literal["resize", "crop", "pad"] = "resize"
    """``resize`` stretches, ``crop`` cuts the middle, ``pad`` adds margins of ``background``."""
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    """Filter of the resizing; all but ``nearest`` average over the source pixels when they make smaller."""
    background: tuple[Level, Level, Level] = (255, 255, 255)
    """Red, green, blue under transparent pixels and in margins."""
    max_pixels: int = Field(50_000_000, ge=1)
    """A file whose header announces more is refused before it is decoded."""
    skip_broken: float = Field(0.0, ge=0, lt=1)
    """Share of the files that may be unreadable: they are left out and listed. 0: the first one is an error."""
    workers: int = runtime(0, ge=0)
    """Threads that decode; 0: one a core of this process."""

    @field_validator("datasets")
    @classmethod
    def _once(cls, folders: list[str]) -> list[str]:
        return once(folders)

    @model_validator(mode="after")
    def _one_source(self) -> ImagesConfig:
        given = [name for name in ("datasets", "train", "table") if getattr(self, name)]
        if len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "found none"
            raise ValueError(f"give one of datasets, train (with val, test) and table; {found}")
        if (self.val or self.test) and not self.train:
            raise ValueError(f"val and test go with train, not with {given[0]}")
        roots = [root for root in (self.train, self.val, self.test) if root]
        if len(set(roots)) < len(roots):
            raise ValueError("train, val and test are folders of their own; one is written twice")
        return self
