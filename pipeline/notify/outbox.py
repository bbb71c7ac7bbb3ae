"""Messages that wait on disk: written before they are sent, deleted once they were taken."""

from __future__ import annotations

import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import make_folder, read_json, write_json
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.notify.message import Message

_KEEP_MARKS_SECONDS = 60 * 86400.0


@dataclass(frozen=True)
class Outbox:
    """``results/.outbox``: one file a message and target, marks of what was told, records of the tasks of arrays."""

    folder: Path

    def put(self, message: Message, target: str) -> Path:
        """Keep a message for a target.

        Raises:
            EnvironmentFault: the folder cannot be written.
        """
        name = f"{message.created:017.6f}-{uuid.uuid4().hex[:8]}.json"
        write_json(self.folder / name, {"target": target, "message": message.as_json()})
        return self.folder / name

    def waiting(self) -> list[Path]:
        """Return what is kept, oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def read(self, path: Path) -> tuple[str, Message] | None:
        """Return target and message, whoever holds them at the moment; ``None`` when they were sent meanwhile.

        Raises:
            InputError: the file is broken.
        """
        try:
            return _read(path)
        except InputError:
            if path.exists():
                raise
            return None

    @contextmanager
    def claim(self, path: Path) -> Iterator[tuple[str, Message] | None]:
        """Yield target and message for this process alone; ``None`` when another process sends or has sent it.

        Raises:
            InputError: the file is broken.
        """
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield None
            return
        try:
            # Whoever held it before may have sent and deleted it meanwhile.
            yield _read(path) if _lock(handle) and path.exists() else None
        finally:
            os.close(handle)

    def once(self, mark: str, otherwise: bool) -> bool:
        """Tell whether this is the first call with ``mark``, of all processes; ``otherwise`` if nothing can be kept."""
        try:
            make_folder(self.folder / "told")
            os.close(os.open(self.folder / "told" / _file_name(mark), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return False
        except (OSError, EnvironmentFault):
            return otherwise
        return True

    def note_task(self, array: str, task: str, record: dict[str, Any]) -> None:
        """Keep how a task of an array ended; a later end of the same task replaces it."""
        write_json(self.folder / "arrays" / _file_name(array) / f"{_file_name(task)}.json", record)

    def array_of(self, name: str) -> str:
        """Return the key of the newest array of a submitted job (``j12``); any other name is a key itself."""
        found = (self.folder / "arrays").glob(f"{_file_name(name)}-*")
        return max((path.name for path in found), default=name)

    def tasks(self, array: str) -> dict[str, dict[str, Any]]:
        """Return how the tasks of an array ended, by task."""
        found = sorted((self.folder / "arrays" / _file_name(array)).glob("[!.]*.json"))
        return {path.stem: read_json(path) for path in found}

    def forget_old_marks(self) -> None:
        """Delete marks and records of arrays that are older than two months."""
        before = time.time() - _KEEP_MARKS_SECONDS
        for path in [*self.folder.glob("told/*"), *self.folder.glob("arrays/*/*.json")]:
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> tuple[str, Message]:
    try:
        value = read_json(path)
        return str(value["target"]), Message.from_json(value["message"])
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: not a kept message ({error}); delete it") from None


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text).lstrip(".") or "_"
