"""The new files that were named: raw files, images, lists of images, and series, told apart by their contents."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.artifact import MANIFEST, digest8
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.store.images.pictures import SUFFIXES
from pipeline.store.images.table import csv_rows

_RAW = (b"\x89HDF", b"CDF", b"GRIB", b"PK\x03\x04")
"""First bytes of NetCDF, GRIB and archives of them."""


@dataclass
class Given:
    """New files by kind, in the order of their names."""

    raw: list[Path] = field(default_factory=list)
    """Raw files, and manifests of downloads, which stand for theirs."""
    images: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    """CSV files with a column ``file``."""
    series: list[Path] = field(default_factory=list)
    """Other CSV files."""
    roots: list[Path] = field(default_factory=list)
    """Folders that were named, and those of files that were."""

    @property
    def base(self) -> Path:
        """The folder that names of images start from."""
        return Path(os.path.commonpath(self.roots))

    def stamp(self) -> str:
        """Return eight digits that change when a file is changed, added or removed."""
        files = [*self.raw, *self.images, *self.lists, *self.series]
        facts = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        return digest8(facts)

    def told(self) -> dict[str, object]:
        """Return what a report says of the files."""
        kinds = {"raw": self.raw, "images": self.images, "lists": self.lists, "series": self.series}
        return {name: {"files": len(files), "first": files[0]} for name, files in kinds.items() if files}


def sort_out(inputs: Sequence[str]) -> Given:
    """Find the files that ``inputs`` (paths of files and folders, or patterns) name.

    Raises:
        InputError: nothing is named, a path leads nowhere, a file is of no kind that is read, or a folder has none.
    """
    if not inputs:
        raise InputError("command line: no new files; give raw files, images or a folder of them after the run")
    given = Given()
    for text in inputs:
        for path in _paths(text):
            if path.is_dir():
                _add_folder(given, path)
            elif not _add_file(given, path):
                raise InputError(
                    f"{path}: neither NetCDF or GRIB, nor an image ({', '.join(SUFFIXES)}), nor a .csv file"
                )
    return given


def _paths(text: str) -> list[Path]:
    path = Path(os.path.abspath(Path(text).expanduser()))
    if path.exists():
        return [path]
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))] if glob.has_magic(text) else []
    if not found:
        raise InputError(f"{path}: no such file or folder")
    return found


def _add_folder(given: Given, folder: Path) -> None:
    if (folder / MANIFEST).exists():
        given.raw.append(folder / MANIFEST)
        given.roots.append(folder)
        return
    before, other = len(given.raw) + len(given.images), list[Path]()
    for path in _files(folder):
        # Tables in a folder may be labels, notes or anything; lists and series are named one by one.
        if path.suffix.lower() == ".csv" or not _add_file(given, path, folder):
            other.append(path)
    if len(given.raw) + len(given.images) == before:
        raise InputError(f"{folder}: no NetCDF, GRIB or image file in it; {len(other)} other files")
    if other:
        many = "1 other file is" if len(other) == 1 else f"{len(other)} other files are"
        log.info("%s: %s left out: %s", folder, many, shorten(path.name for path in other))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _add_file(given: Given, path: Path, root: Path | None = None) -> bool:
    """Put a file where it belongs; tell whether it belongs anywhere."""
    kind = _kind(path)
    if kind is None:
        return False
    files: list[Path] = getattr(given, kind)
    if path not in files:
        files.append(path)
        given.roots.append(root or path.parent)
    return True


def _kind(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return "images"
    if suffix == ".csv":
        header = next(csv_rows(path, "new files"))[1]
        return "lists" if "file" in header else "series"
    if path.name == MANIFEST:
        return "raw"
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return "raw" if first.startswith(_RAW) else None
