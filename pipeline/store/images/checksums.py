"""SHA-256 of all image files: computed side by side, remembered by size and time of change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.artifact import writing
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.store.images.pictures import Picture
from pipeline.store.images.pixels import digest

_AT_A_TIME = 4096
Digests = NDArray[np.uint8]
"""N × 32."""


def checksums(pictures: Sequence[Picture], memory: Path, workers: int, interrupt: Interrupt) -> Digests:
    """Return the SHA-256 of each file, N × 32; those that ``memory`` (a file, made when needed) knows are not read.

    Raises:
        InputError: a file cannot be read.
        Interrupted: a stop was asked for.
    """
    stats = _stats(pictures)
    known = _remembered(memory)
    found = np.zeros((len(pictures), 32), np.uint8)
    todo = []
    for place, (picture, stamp) in enumerate(zip(pictures, stats, strict=True)):
        value = known.get((picture.id, *stamp))
        if value is None:
            todo.append(place)
        else:
            found[place] = np.frombuffer(value, np.uint8)
    with ThreadPoolExecutor(workers) as pool:
        for start in logs.progress(range(0, len(todo), _AT_A_TIME), "store: checksums", -(-len(todo) // _AT_A_TIME)):
            places = todo[start : start + _AT_A_TIME]
            values = pool.map(_checksum, (pictures[place].path for place in places))
            found[places] = np.stack([np.frombuffer(value, np.uint8) for value in values])
            interrupt.check("nothing is written yet")
    if todo:
        _remember(memory, pictures, stats, found)
    return found


def _checksum(path: Path) -> bytes:
    try:
        return digest(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _stats(pictures: Iterable[Picture]) -> list[tuple[int, int]]:
    stats = []
    for picture in pictures:
        try:
            stat = picture.path.stat()
        except OSError as error:
            raise InputError(f"{picture.path}: cannot be read ({error.strerror})") from None
        stats.append((stat.st_size, stat.st_mtime_ns))
    return stats


def _remembered(memory: Path) -> dict[tuple[str, int, int], bytes]:
    """Read what :func:`_remember` wrote; a file that is broken or of something else is forgotten."""
    known = {}
    try:
        lines = memory.read_text(encoding="utf-8").split("\n")
        for line in lines[:-1]:
            value, size, time, name = line.split(" ", 3)
            known[name, int(size), int(time)] = bytes.fromhex(value)
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in known.items() if len(value) == 32}


def _remember(memory: Path, pictures: Sequence[Picture], stats: Sequence[tuple[int, int]], values: Digests) -> None:
    with writing(memory) as part, part.open("w", encoding="utf-8") as stream:
        for picture, (size, time), value in zip(pictures, stats, values, strict=True):
            stream.write(f"{value.tobytes().hex()} {size} {time} {picture.id}\n")
