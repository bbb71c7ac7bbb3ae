"""Prepared arrays that processes of one machine share: files in its memory, each filled by the first that needs it.

The folder lies in ``/dev/shm`` and is locked by everybody who uses it; the last one removes it, and what killed
processes left behind is removed by the next one to come.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from pipeline.core.artifact import digest8

MEMORY = Path("/dev/shm")  # noqa: S108 (memory that processes share, by its name on Linux)
_IN_USE = ".in-use"
Make = Callable[[tuple[int, ...], torch.dtype], Tensor]
"""Allocates."""


class Shelf:
    """Arrays by name, each in memory once for all processes that share the shelf."""

    def __init__(self, name: str, sharers: int, memory: Path = MEMORY) -> None:
        """Enter the shelf of this name.

        Args:
            name: the same for all that share.
            sharers: how many processes there are.
            memory: a folder that is kept in memory.

        Raises:
            OSError: this machine has no such folder, or it is closed to this user.
        """
        self.sharers = sharers
        prefix = f"isobar-{os.getuid()}-"
        _remove_abandoned(memory, prefix)
        self._folder, handle = _enter(memory / f"{prefix}{digest8(name)}")
        self._leave = finalize(self, _leave, self._folder, handle)

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes may lie here, with those that do."""
        stat, here = os.statvfs(self._folder), sum(path.stat().st_size for path in self._folder.iterdir())
        return size < 0.9 * stat.f_bavail * stat.f_frsize + here

    def array(self, key: object, fill: Callable[[Make], Tensor]) -> Tensor:
        """Return the array of a key, made by ``fill`` if nobody has it yet; it must not be written to.

        Where the memory is full after all, the array is this process's own.
        """
        path = self._folder / digest8(key)
        with _alone(path.with_suffix(".lock")):
            if not path.with_suffix(".json").exists():
                made: list[Path] = []
                tensor = fill(lambda shape, dtype: _allocated(path, shape, dtype, made))
                if not made:
                    return tensor
                about = {"shape": list(tensor.shape), "dtype": str(tensor.numpy().dtype)}
                path.with_suffix(".part").write_text(json.dumps(about))
                os.replace(path.with_suffix(".part"), path.with_suffix(".json"))
                return tensor
        about = json.loads(path.with_suffix(".json").read_text())
        # Copy on write: whoever breaks the rule spoils nobody else's data.
        return torch.from_numpy(np.memmap(path, np.dtype(about["dtype"]), "c", shape=tuple(about["shape"])))


def _allocated(path: Path, shape: tuple[int, ...], dtype: torch.dtype, made: list[Path]) -> Tensor:
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    try:
        # Memory that is only promised would end the program where it runs out (SIGBUS).
        with path.open("w+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, int(np.prod(shape)) * kind.itemsize))
    except OSError:
        path.unlink(missing_ok=True)
        return torch.empty(shape, dtype=dtype)
    made.append(path)
    return torch.from_numpy(np.memmap(path, kind, "r+", shape=shape))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _enter(folder: Path) -> tuple[Path, int]:
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = os.open(folder / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # the last user left between the two lines
        fcntl.flock(handle, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == (folder / _IN_USE).stat().st_ino:
                return folder, handle
        os.close(handle)


def _leave(folder: Path, handle: int) -> None:
    _remove_if_alone(folder, handle)
    os.close(handle)


def _remove_if_alone(folder: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(memory: Path, prefix: str) -> None:
    for path in memory.glob(f"{prefix}*/{_IN_USE}"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            _remove_if_alone(path.parent, handle)
            os.close(handle)
