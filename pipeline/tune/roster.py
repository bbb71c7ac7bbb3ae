"""Who is at work: a file of each worker, locked as long as it lives, and touched now and then."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from pathlib import Path

from pipeline.core.artifact import make_folder
from pipeline.core.errors import disk_fault
from pipeline.core.lock import is_held

_BEAT_SECONDS = 10.0
_SILENT_SECONDS = 90.0
"""A worker of another host counts as dead when its lock is free and it was silent for so long: there are file systems
whose locks are known on one host only."""


WORKERS = "workers"
"""Folder inside the study's."""


def at_work(study: Path) -> int:
    """Return how many workers of a study live, for somebody who is none."""
    return sum(is_held(path) or _heard(path) for path in (study / WORKERS).glob("*.lock"))


def _heard(path: Path) -> bool:
    if path.stem.rsplit("-", 2)[0] == socket.gethostname() or not path.exists():
        return False
    return time.time() - path.stat().st_mtime < _SILENT_SECONDS


class Roster:
    """The workers of a study; this process is one of them."""

    def __init__(self, study: Path) -> None:
        """Enter this process."""
        folder = study / WORKERS
        make_folder(folder)
        self._folder = folder
        self.me = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        try:
            self._handle = os.open(self._file(self.me), os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except OSError as error:
            raise disk_fault(error, folder) or error from error
        self._leave = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._beats.start()

    def close(self) -> None:
        """Leave."""
        self._leave.set()
        self._beats.join()
        self._file(self.me).unlink(missing_ok=True)
        os.close(self._handle)

    def alive(self, worker: str | None) -> bool:
        """Tell whether a worker of the study lives."""
        if worker is None:
            return False
        if worker == self.me:
            return True
        if not self._file(worker).exists():
            return False
        return is_held(self._file(worker)) or (not self._is_here(worker) and self._silence(worker) < _SILENT_SECONDS)

    def forget(self, worker: str | None) -> None:
        """Remove the file of a dead worker."""
        if worker is not None and worker != self.me:
            self._file(worker).unlink(missing_ok=True)

    def _silence(self, worker: str) -> float:
        """Return the seconds since a worker's last heartbeat, both by the clock of the file system."""
        os.utime(self._handle)
        try:
            return os.fstat(self._handle).st_mtime - self._file(worker).stat().st_mtime
        except FileNotFoundError:
            return _SILENT_SECONDS

    def _is_here(self, worker: str) -> bool:
        return worker.rsplit("-", 2)[0] == socket.gethostname()

    def _file(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"

    def _beat(self) -> None:
        while not self._leave.wait(_BEAT_SECONDS):
            os.utime(self._handle)
