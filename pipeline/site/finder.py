"""Which folders of ``results/`` are shown, and whether their files changed since they were read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SITE = ".site"
"""Folder of ``results/`` with everything of the site but its first page; no experiment may have such a name."""
RUN, SWEEP, DAILY = "run", "sweep", "daily"
_WATCHED = (
    "run.json", "config.yaml", "env.txt", "history.json", "norm.json", "thresholds.json", "val_report.json",
    "test_report.json", "provenance.json", "study_statistics.json", "best_params.json", "trials_history.json",
    "confirm.json", "importance.json", "summary.json",
)  # fmt: skip
"""Files whose size and time tell whether a folder has to be read again."""
_NOT_WATCHED = {"checkpoints", "tensorboard", "logs", "workers", "confirm"}
"""Folders in a run's that change while it is at work and hold nothing that is shown."""
_LIKE_A_RUN = re.compile(r"-[0-9a-f]{8}(\.\d+)?$")
_DAY, _MOST_DAYS = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9].json", 1500
_OTHERS = {"sweeps", "daily", "latest"}
"""Folders that are no runs: ``latest`` is a link, but a copy may have made a folder of it."""


@dataclass(frozen=True)
class Found:
    """A folder to show, or the file of a day."""

    kind: str
    path: Path
    experiment: str

    @property
    def id(self) -> str:
        """Its path below ``results/``."""
        inside = self.path.name if self.kind == RUN else f"{self.path.parent.name}/{self.path.name}"
        return f"{self.experiment}/{inside}"

    def stamp(self) -> list[list[str | int]]:
        """Return names, sizes and times of what is read; it changes when a file, or what a folder holds, does."""
        found: list[list[str | int]] = []
        if self.kind == DAILY:
            both = (self.path, self.path.with_suffix(".png"))
            return [[one.name, status.st_size, status.st_mtime_ns] for one in both if (status := _status(one))]
        inside = [one for folder in subfolders(self.path) for one in (folder, *_folders(folder))]
        for name in (*_WATCHED, *(str(folder.relative_to(self.path)) for folder in inside)):
            status = _status(self.path / name)
            if status is None:
                continue
            is_file = stat.S_ISREG(status.st_mode)
            found.append([name, status.st_size if is_file else 0, status.st_mtime_ns])
        return found


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def subfolders(path: Path) -> list[Path]:
    """Return the folders in a run's that may hold something to show: ``figures``, ``against`` and so on."""
    return [one for one in _folders(path) if one.name not in _NOT_WATCHED and not _LIKE_A_RUN.search(one.name)]


def find(results: Path) -> Iterator[Found]:
    """Return the runs, searches, analyses and sweeps below ``results``, in order of their names."""
    for experiment in _folders(results):
        for folder in _folders(experiment):
            if folder.name not in _OTHERS and _is_run(folder):
                yield Found(RUN, folder, experiment.name)
        for folder in _folders(experiment / "sweeps"):
            yield Found(SWEEP, folder, experiment.name)
        days = sorted((experiment / "daily").glob(_DAY))
        yield from (Found(DAILY, path, experiment.name) for path in days[-_MOST_DAYS:])


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder, but not hidden ones and links (``latest``); none where it cannot be read."""
    try:
        with os.scandir(path) as entries:
            names = [one.name for one in entries if one.name[0] != "." and one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path / name for name in sorted(names)]


def _is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run, if only the beginning of one."""
    names = ("run.json", "config.yaml")
    return any((folder / name).exists() for name in names) or bool(_LIKE_A_RUN.search(folder.name))
