"""The code as it is at the moment of submission: what is edited afterwards does not reach a job that waits."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import make_folder
from pipeline.core.errors import disk_fault, shorten
from pipeline.submit.ticket import jobs_folder

_ROOTS = ("pipeline", "jobs", "configs", "pyproject.toml")


@dataclass(frozen=True)
class Code:
    """Where a job's program lies, and what is known about it."""

    root: Path
    facts: dict[str, Any]
    names: frozenset[str] = frozenset()
    """Files in it, if it is a copy."""

    @property
    def frozen(self) -> bool:
        """Whether it is a copy that nobody edits."""
        return self.facts["snapshot"] is not None

    def holds(self, project: Path, path: Path) -> bool:
        """Tell whether a file of the project is in it as well."""
        return path.is_relative_to(project) and (not self.frozen or str(path.relative_to(project)) in self.names)


def freeze(project: Path, home: Path, wanted: bool = True, write: bool = True) -> Code:
    """Copy the project's files that git tracks (as they are now), and its new ones that git does not ignore.

    Equal code is copied once, whatever the number of submissions. Where there is no git checkout, or no copy is wanted,
    the job runs the working tree, and its ticket says so.

    Args:
        project: the source tree.
        home: where ``results/.jobs`` is.
        wanted: whether a copy is wanted.
        write: False only names the folder that it would have.

    Raises:
        EnvironmentFault: the copy cannot be written.
    """
    if not wanted:
        return Code(project, {"snapshot": None, "why": "--no-snapshot: the job runs the working tree"})
    try:
        tracked = _git(project, "ls-files", "-z", "--", *_ROOTS)
        new = _git(project, "ls-files", "-z", "--others", "--exclude-standard", "--", *_ROOTS)
        sha = "".join(_git(project, "rev-parse", "HEAD"))
        dirty = bool(_git(project, "status", "--porcelain", "-z", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return Code(project, {"snapshot": None, "why": "not a git checkout: the job runs the working tree"})
    names = sorted(name for name in {*tracked, *new} if (project / name).is_file())
    digest = _digest(project, names)
    folder = jobs_folder(home) / "code" / digest
    if write and not folder.exists():
        _copy(project, names, folder)
    elif write:
        os.utime(folder)  # so that nobody takes it for forgotten before the ticket names it
    facts = {"snapshot": str(folder), "git": {"sha": sha.strip(), "dirty": dirty}, "new_files": shorten(sorted(new))}
    return Code(folder, facts, frozenset(names))


def _git(project: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(project), *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [word for word in text.split("\0") if word]


def _digest(project: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = project / name
        digest.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _copy(project: Path, names: list[str], folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for name in names:
            make_folder((part / name).parent)
            shutil.copy2(project / name, part / name)
        os.utime(part)
        if not folder.exists():  # somebody else may have made the same copy meanwhile
            os.rename(part, folder)
    except OSError as error:
        if not folder.exists():
            raise disk_fault(error, folder) or error from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
