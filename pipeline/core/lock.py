"""One writer a folder (or one a part of it): advisory locks that the kernel frees when their holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.artifact import make_folder
from pipeline.core.errors import EnvironmentFault, disk_fault
from pipeline.core.logs import log
from pipeline.core.parts import Part

_PATIENCE, _PAUSE = 10.0, 0.01
"""Seconds to wait for a record before the wait is told, and between two tries."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process.

    Raises:
        EnvironmentFault: another process holds it (its host and process id are named), or it cannot be written.
    """
    with _held(folder, ".lock", fcntl.LOCK_EX):
        yield


@contextmanager
def holding(folder: Path, part: Part) -> Iterator[None]:
    """Hold ``folder`` for this process, or one ``part`` of its work while other processes do the other parts.

    Raises:
        EnvironmentFault: another process holds the whole or this part, or the folder cannot be written.
    """
    if part.whole:
        with exclusive(folder):
            yield
        return
    with (
        _held(folder, ".lock", fcntl.LOCK_SH),
        _held(folder, f".lock-{part.number}-of-{part.of}", fcntl.LOCK_EX),
    ):
        yield


@contextmanager
def updating(folder: Path) -> Iterator[None]:
    """Wait until nobody else reads and writes the shared record of ``folder``, and hold it for that moment.

    Who waits long says for whom: the holder may have been stopped, or its machine be out of reach.
    """
    handle = _open(folder, ".lock-record")
    try:
        if not _comes_free(handle, folder, _PATIENCE):
            log.warning("%s: waiting for %s, which holds it; if that hangs, stop it", folder, _holder(handle))
            _lock(handle, folder, fcntl.LOCK_EX)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def _comes_free(handle: int, folder: Path, seconds: float) -> bool:
    """Take the lock if it can be had within some seconds; tell whether."""
    end = time.monotonic() + seconds
    while True:
        with suppress(BlockingIOError):
            _lock(handle, folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)


def is_held(path: Path) -> bool:
    """Tell whether a process holds the lock of a file; the kernel frees it when its holder dies."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def _held(folder: Path, name: str, kind: int) -> Iterator[None]:
    handle = _open(folder, name)
    try:
        try:
            _lock(handle, folder, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentFault(f"{folder}: in use by {_holder(handle)}; wait for it, or stop it") from None
        if kind == fcntl.LOCK_EX:
            _sign(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, kind: int) -> None:
    try:
        fcntl.flock(handle, kind)
    except OSError as error:
        raise disk_fault(error, folder) or error from error


def _sign(handle: int) -> None:
    """Note who holds a lock, for those who find it held; a full disk, where that cannot be noted, takes no lock."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)


def _open(folder: Path, name: str) -> int:
    make_folder(folder)
    try:
        return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_fault(error, folder) or error from error


def _holder(handle: int) -> str:
    try:
        who = json.loads(os.pread(handle, 4096, 0))
        return f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError):
        return "another process"
