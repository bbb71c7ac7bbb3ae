"""The study as a journal: a file that many processes append to, whole lines only, whoever is killed when."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from pipeline.core.errors import EnvironmentFault, disk_fault
from pipeline.core.logs import log
from pipeline.tune.locks import locked

_BLOCK = 1 << 16
_CREATES_OR_ENDS = frozenset({0, 4, 6})
"""Operations of Optuna's journal that create a study or a trial, or change a trial's state."""


class Journal(JournalFileBackend):
    """Optuna's journal file with locks that the dead do not hold, and a torn last line cut off before appending."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal; a line that a killed writer left unfinished is removed."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            super().__init__(str(path))
            with self.held():
                pass
        except OSError as error:
            raise disk_fault(error, path) or error from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations as whole lines; those that create or end a trial are on disk when this returns.

        Raises:
            EnvironmentFault: the disk is full or closed to the user.
        """
        text = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in logs).encode()
        try:
            with self.held(), self._path.open("ab", buffering=0) as stream:
                rest = memoryview(text)
                while rest:
                    rest = rest[stream.write(rest) :]
                if any(entry.get("op_code") in _CREATES_OR_ENDS for entry in logs):
                    os.fsync(stream.fileno())
        except OSError as error:
            raise disk_fault(error, self._path) or error from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the journal, with the tail of the file whole."""
        with locked(self._path):
            mend_tail(self._path)
            yield


def mend_tail(path: Path) -> int:
    """Cut what follows the last newline, the beginning of a line whose writer was killed; return the bytes cut.

    To be called under the lock.
    """
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            log.warning("%s: %d bytes of an unfinished line at the end were cut off", path, size - end)
            stream.truncate(end)
            os.fsync(stream.fileno())
    return size - end


def check_readable(path: Path) -> None:
    """Check that every line of a journal is one of JSON.

    Raises:
        EnvironmentFault: a line in the middle is broken, so the study cannot be read.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                json.loads(line)
            except ValueError:
                raise EnvironmentFault(
                    f"{path}:{number}: not a line of a journal; restore the file from a copy, or move the study's "
                    "folder away and search anew"
                ) from None
