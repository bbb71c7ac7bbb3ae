"""ZIP archives, whatever they are called: their files on temporary disk space that is freed by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import InputError, shorten

_BLOCK = 1 << 22


def unpacked(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and an open file descriptor of each file in an archive, in the order of their names.

    The files lie in the folder for temporary files without a name, so they go when they are closed, even by a kill,
    and nothing is written beside the archive. Each descriptor is the caller's to close.

    Raises:
        InputError: the archive is broken, or holds no file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
            _check(path, members)
            for member in members:
                with tempfile.TemporaryFile() as target, archive.open(member) as source:
                    shutil.copyfileobj(source, target, _BLOCK)
                    target.flush()
                    yield member.filename, os.dup(target.fileno())
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"{path}: a ZIP archive that is truncated or corrupt ({error}); download it again") from None


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if not members:
        raise InputError(f"{path}: a ZIP archive without a file in it; download it again")
    size, free = sum(member.file_size for member in members), shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise InputError(
            f"{path}: a ZIP archive that unpacks to {size} bytes, {free} are free in {tempfile.gettempdir()}; unpack "
            "it where there is room, or set TMPDIR, if it comes from where you trust"
        )
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path}: a ZIP archive with a password ({shorten(names)}); unpack it")
