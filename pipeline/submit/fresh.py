"""Which stages of a chain need not be submitted, because what they would make is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from pipeline.contract.derived import load_derived
from pipeline.core.artifact import MANIFEST
from pipeline.core.errors import InputError
from pipeline.core.run import RunFolder


class _Section(Protocol):
    @property
    def sources(self) -> tuple[str, ...]: ...


class Stages(Protocol):
    """What is asked of an experiment: where its stages keep their files."""

    @property
    def of_images(self) -> bool:
        """Whether it is one of images."""

    def folds(self) -> list[str]:
        """Return the folds that its division makes beside the default one."""

    def not_needed(self) -> tuple[str, ...]:
        """Return the stages that it does without."""

    def derive_section(self) -> Any:
        """Return the derive section, whose ``sources`` are patterns of raw and label files."""

    def derived_folder(self) -> Path:
        """Return where derive writes."""

    def store_folder(self) -> Path:
        """Return where store writes; InputError before there are derived files."""

    def run(self, new: bool = False) -> RunFolder:
        """Return the run; InputError before there is a store."""


def skipped(experiments: list[Stages], home: Path) -> dict[str, str]:
    """Return the stages that may be left out, with the reason.

    Stages after training look themselves, in a second, whether there is anything to do, so they are never left out;
    nor is a stage after one that is not left out.

    Args:
        experiments: one for each task of the training; they differ in training settings only.
        home: where relative paths start.
    """
    first = experiments[0]
    found = {name: "this experiment does without" for name in first.not_needed()}
    if not first.of_images and not _derived(first, home):
        return found
    if not first.of_images:
        found |= {
            "download": "derive has read all that is there",
            "derive": f"{first.derived_folder().name} is complete",
        }
    try:
        store = first.store_folder()
        if not (store / "store.json").exists():
            return found
        found["store"] = f"{store.name} is there"
        runs = [one.run() for one in experiments]
    except InputError:
        return found
    if all(run.status == "done" for run in runs):
        found["train"] = f"{runs[0].path.name} is finished" if len(runs) == 1 else f"all {len(runs)} runs are finished"
    return found


def _derived(experiment: Stages, home: Path) -> bool:
    """Tell whether derived files are complete, and no raw or label file (or list of them) has changed since."""
    folder = experiment.derived_folder()
    try:
        load_derived(folder)
    except InputError:
        return False
    made = (folder / MANIFEST).stat().st_mtime_ns
    # The time of the inode's change: a copied file may carry an old time of modification, and folders tell of removals.
    return all(path.stat().st_ctime_ns < made for path in _read(experiment.derive_section().sources, home))


def _read(patterns: Iterable[str], home: Path) -> Iterator[Path]:
    for pattern in patterns:
        path = home / pattern
        files = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        yield from files
        yield from {file.parent for file in files}
