"""Where a training takes its first weights from: files of other runs, told apart by their contents."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.core.errors import InputError, shorten

CHECKPOINTS, LAST = "checkpoints", "last.ckpt"
_WEIGHTS = (".pt", ".pth", ".ckpt")


def start_file(named: str, home: Path) -> Path:
    """Return the file that ``train.start_from`` means: a weight file or checkpoint, or a finished run's ``model.pt``.

    Args:
        named: path of a run folder, of a ``.pt`` or of a ``.ckpt`` file, relative to ``home``.
        home: where relative paths start.

    Raises:
        InputError: there is no such file, or the run is not finished.
    """
    path = home / named
    if path.is_dir():
        weights = path / "model.pt"
        if not weights.is_file():
            raise InputError(
                f"train.start_from: {path} holds no model.pt, so its training is not finished; finish it, or name one "
                f"of its checkpoints ({shorten(_names(path / CHECKPOINTS)) or 'there are none'})"
            )
        return weights
    if not path.is_file():
        raise InputError(f"train.start_from: {path} does not exist; {_beside(path)}")
    if path.suffix not in _WEIGHTS:
        raise InputError(f"train.start_from: {path} is neither a run folder nor one of {', '.join(_WEIGHTS)}")
    return path


def resume_file(named: str, run: Path | None, home: Path) -> Path:
    """Return the checkpoint that ``train.resume`` means: of ``run`` by its name, of another run by its path.

    Raises:
        InputError: there is none of that name.
    """
    own = "/" not in named
    if own and run is None:
        raise InputError(f"train.resume: {named!r} names a checkpoint of this run, which has none yet")
    path = run / CHECKPOINTS / named if own and run is not None else home / named
    if path.is_dir():
        path = path / CHECKPOINTS / LAST
    if not path.is_file():
        raise InputError(f"train.resume: {path} does not exist; {_beside(path)}")
    return path


def versions(start_from: str | None, resume: str, home: Path) -> dict[str, str]:
    """Return the digests of the files of other runs that a training begins with, for its signature.

    Raises:
        InputError: one of them does not exist.
    """
    found = {}
    if start_from is not None:
        found["start_from"] = _digest(start_file(start_from, home))
    if "/" in resume:
        found["resume"] = _digest(resume_file(resume, None, home))
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in _WEIGHTS) if folder.is_dir() else []


def _beside(path: Path) -> str:
    names = _names(path.parent)
    return f"{path.parent} holds {shorten(names)}" if names else f"{path.parent} holds no checkpoint or weights"
