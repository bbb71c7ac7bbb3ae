"""What a search needs to know of an experiment; the job hands it in, so that tune imports no other stage's settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from pipeline.core.config import Section, dump
from pipeline.core.run import RunFolder


class Base(Protocol):
    """An experiment: settings of its training, its store and the folder of its run."""

    @property
    def name(self) -> str:
        """Folder under results/."""

    @property
    def results(self) -> str:
        """Folder of all results, relative to the project."""

    @property
    def train(self) -> Any:
        """Settings of the training."""

    def run(self, new: bool = False) -> RunFolder:
        """Return the folder of its run."""

    def store_folder(self) -> Path:
        """Return where its store is."""


LoadBase = Callable[[Path, Sequence[str]], Base]
"""(config, overrides) → the checked experiment."""


@dataclass(frozen=True)
class Ground:
    """What the job hands in."""

    load: LoadBase
    model: type[Section]
    """Of experiments."""
    home: Path
    """Where relative paths start."""
    draw: Callable[[Path], Sequence[str]]
    """Draws the PNG files of a study's folder."""

    def dump(self, experiment: Base) -> str:
        """Return the resolved config of an experiment as YAML text."""
        return dump(cast(Section, experiment))
