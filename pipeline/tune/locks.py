"""Locks that the dead do not hold, on this machine and between machines.

Two guard a block. The first is the kernel's (``flock``), freed when its holder dies; on some shared file systems it is
known to one machine only. The second is a file that one process alone can create, as Optuna's own programs do (the
dashboard writes notes); ours holds host and process, so that one left by a killed process is known and removed at once.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.logs import log

GRACE_SECONDS = 30.0
"""A lock of another program or host that does not move for so long is taken for left behind."""


@contextmanager
def locked(path: Path, grace: float = GRACE_SECONDS) -> Iterator[None]:
    """Hold ``<path>.flock`` and ``<path>.lock`` while the block runs; wait for whoever holds them."""
    handle = os.open(path.with_name(f"{path.name}.flock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        lock = path.with_name(f"{path.name}.lock")
        _create(lock, grace)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _create(lock: Path, grace: float) -> None:
    """Create the file; to be called with the kernel's lock held."""
    seen, since, wait = "", time.monotonic(), 0.001
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            found = _holder(lock)
            if found != seen:
                seen, since = found, time.monotonic()
            if _left_behind(found) or time.monotonic() - since > grace:
                log.warning("%s: left behind by a killed process, removed", lock)
                lock.unlink(missing_ok=True)
                continue
            time.sleep(wait)
            wait = min(2 * wait, 0.2)
        else:
            os.write(handle, f"isobar {socket.gethostname()} {os.getpid()} {time.time_ns()}".encode())
            os.close(handle)
            return


def _holder(lock: Path) -> str:
    """Return what tells one lock from the next: our text, or the age of another program's."""
    with suppress(OSError):
        if not lock.is_symlink():
            text = lock.read_text(encoding="utf-8")
            if text:
                return text
        return str(lock.lstat().st_mtime_ns)
    return ""


def _left_behind(text: str) -> bool:
    """Tell whether a lock is one of this host's processes of ours: we hold the kernel's lock, so it cannot live."""
    return text.startswith(f"isobar {socket.gethostname()} ")
