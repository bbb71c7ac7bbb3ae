"""Files that are whole or absent: written beside, flushed, renamed; checksums and manifests."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError, disk_fault, folder_fault

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
_BLOCK = 1 << 22


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        EnvironmentFault: it cannot be made (a file is in the way, no permission, a full disk).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_fault(error, path) or folder_fault(error, path) from error


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well it is flushed and renamed to ``path``.

    The temporary name is fixed (``.<name>.part``), so a killed writer leaves at most one stray file, and
    the next writer replaces it.

    Raises:
        EnvironmentFault: the disk is full, read-only or closed to the user.
    """
    part = path.with_name(f".{path.name}.part")
    make_folder(path.parent)
    try:
        part.unlink(missing_ok=True)  # also a link that somebody put there: it is not written through
        yield part
        flush(part)
        os.replace(part, path)
        flush(path.parent)  # a rename is durable only when its folder is flushed as well
    except OSError as error:
        _discard(part)
        fault = disk_fault(error, path)
        if fault is None:
            raise
        raise fault from error
    except BaseException:
        _discard(part)
        raise


def flush(path: Path) -> None:
    """Make a file's contents, or the renames in a folder, durable (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The folder that could not be written cannot be cleaned either; the fixed name is replaced next time.
        return


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically; a file that holds it already is left alone."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """Turn numpy values, paths and tuples into JSON ones; numbers that JSON lacks (NaN, inf) become ``None``."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return value


def json_text(value: Any) -> str:
    """Return ``value`` as indented JSON with a final newline."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object atomically, with ``schema_version`` first."""
    write_text(path, json_text({"schema_version": SCHEMA_VERSION, **value}))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that :func:`write_json` wrote.

    Raises:
        InputError: the file is missing, broken, or of another schema version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it first") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}); delete it and run its stage again") from None
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
        found = value.get("schema_version") if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: schema version {found!r}, this program reads {SCHEMA_VERSION}; run its stage again")
    return value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks of 4 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest8(value: Any) -> str:
    """Return 8 hex digits that identify a JSON-like value (SHA-256 of its canonical text)."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Checksums:
    """SHA-256 of big files, remembered by (path, size, modification time) so that a second look costs nothing."""

    _SAVE_SECONDS = 2.0

    def __init__(self, cache: Path) -> None:
        """Use ``cache`` (a JSON file, made when needed) as the memory; a broken one is simply built anew."""
        self._cache = cache
        self._saved = time.monotonic()
        self._unsaved = False
        try:
            self._known: dict[str, Any] = read_json(cache)["files"] if cache.exists() else {}
        except (InputError, KeyError):
            self._known = {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of ``path``; new ones are saved every few seconds, the last ones by :meth:`save`."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = self._known.get(str(path.resolve()))
        if entry and entry["stamp"] == stamp:
            return str(entry["sha256"])
        value = sha256(path)
        self._known[str(path.resolve())] = {"stamp": stamp, "sha256": value}
        self._unsaved = True
        if time.monotonic() - self._saved > self._SAVE_SECONDS:
            self.save()
        return value

    def save(self) -> None:
        """Write what is new to the memory."""
        if self._unsaved:
            write_json(self._cache, {"files": self._known})
        self._saved, self._unsaved = time.monotonic(), False


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return ``{name: {bytes, sha256}}`` of files in ``folder``, for a manifest."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}


def check_files(folder: Path, files: dict[str, dict[str, Any]], contents: bool = False, small: int = 0) -> None:
    """Check that the files of a manifest are there with the recorded size (and checksum if ``contents``).

    Args:
        folder: where they are.
        files: name → bytes and, for checksums, sha256.
        contents: whether all are read to compare their checksums.
        small: bytes up to which a file is read in any case, because it costs next to nothing.

    Raises:
        InputError: a file is missing or differs, or a name leads out of the folder.
    """
    for name, entry in files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{folder}: its list of files names {name!r}, which is not in it; run its stage again")
        size = path.stat().st_size if path.exists() else -1
        if size != entry["bytes"]:
            found = "missing" if size < 0 else f"{size} bytes"
            raise InputError(
                f"{path}: {found}, expected {entry['bytes']} bytes; delete {folder} and run its stage again"
            )
        if (contents or size <= small) and sha256(path) != entry["sha256"]:
            raise InputError(
                f"{path}: its checksum differs from the manifest's; delete {folder} and run its stage again"
            )
