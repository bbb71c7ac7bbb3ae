"""A wrong input: what is wrong, the job that meets it, how it is brought about, and what must be said."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.testing import plant
from tests import conftest


class Place(conftest.Place):
    """A folder with inputs and configs."""

    def one(self, pattern: str) -> Path:
        """Return the only file or folder of this pattern; links do not count."""
        (found,) = [path for path in self.home.glob(pattern) if not path.is_symlink()]
        return found


Spoil = Callable[[Place], list[str] | None]


@dataclass(frozen=True)
class Case:
    """One wrong input; ``spoil`` changes the place, and may return the command's words instead of ``words``."""

    kind: str
    name: str
    job: str
    says: str
    """What the one line must hold, as a regular expression."""
    words: tuple[str, ...] = ("./tiny.yaml",)
    """Arguments; those that start with ``./`` are paths of the place."""
    more: tuple[str, ...] = ()
    """Further arguments."""
    spoil: Spoil | None = None
    code: int = 2
    ground: str = "raw"
    """Place that it begins from: ``raw``, ``trained``, ``charts`` or ``charts_trained``."""
    lines: int = 1
    """Lines of errors: one for each mistake."""
    limits: dict[str, Any] = field(default_factory=dict)
    """Of the job's process: ``memory_mb``."""


def text(name: str, contents: str | bytes) -> Spoil:
    """Write a file."""

    def spoil(place: Place) -> None:
        path = place.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)

    return spoil


def append(name: str, contents: str) -> Spoil:
    def spoil(place: Place) -> None:
        with (place.home / name).open("a", encoding="utf-8") as stream:
            stream.write(contents)

    return spoil


def fault(name: str) -> Spoil:
    """Spoil a raw file as :func:`pipeline.testing.plant` does."""
    return lambda place: plant(name, place.raw) and None


def rewrite(pattern: str, change: Callable[[str], str]) -> Spoil:
    """Change the text of one file."""

    def spoil(place: Place) -> None:
        path = place.one(pattern)
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


def labels(change: Callable[[str], str]) -> Spoil:
    return rewrite("raw/labels.csv", change)


def cell(pattern: str, row: int, column: int, value: str) -> Spoil:
    """Set one cell of a CSV file; row 0 is the header."""

    def spoil(place: Place) -> None:
        path = place.one(pattern)
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        rows[row][column] = value
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)

    return spoil


def cut(pattern: str, share: float = 0.5) -> Spoil:
    """Have a file end early."""

    def spoil(place: Place) -> None:
        path = place.one(pattern)
        os.truncate(path, int(path.stat().st_size * share))

    return spoil


def flip(pattern: str, at: float = 0.5) -> Spoil:
    """Change one byte of a file."""

    def spoil(place: Place) -> None:
        path = place.one(pattern)
        data = bytearray(path.read_bytes())
        data[int(len(data) * at)] ^= 0x55
        path.write_bytes(data)

    return spoil


def gone(pattern: str) -> Spoil:
    return lambda place: place.one(pattern).unlink()


def edit_json(pattern: str, **changes: object) -> Spoil:
    def spoil(place: Place) -> None:
        path = place.one(pattern)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def both(*spoils: Spoil) -> Spoil:
    def spoil(place: Place) -> list[str] | None:
        words = None
        for one in spoils:
            words = one(place) or words
        return words

    return spoil


def without_line(pattern: str) -> Callable[[str], str]:
    """Return a change of text that leaves out the lines that match."""
    return lambda contents: "\n".join(line for line in contents.split("\n") if not re.search(pattern, line))
