"""download → derive: a folder of raw files whose ``manifest.json`` says which of them are whole and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError, shorten

FORMAT = 1


@dataclass(frozen=True)
class RawEntry:
    """One raw file that passed every check."""

    file: Path
    bytes: int
    sha256: str
    preliminary: bool
    """Whether any value in it is ERA5T's (``expver`` 0005), to be replaced by a later ``--refresh``."""


def load_raw(manifest: Path) -> tuple[RawEntry, ...]:
    """Read the files that a download's ``manifest.json`` lists, in the order of their names.

    The manifest has ``format``, ``complete`` and ``files``: ``{name: {bytes, sha256, preliminary, …}}``, names relative
    to its folder or absolute.

    Raises:
        InputError: the manifest is missing or broken, the download is unfinished, or a file is missing or has another
            size than it had when it was checked.
    """
    raw = read_json(manifest)
    if raw.get("format") != FORMAT:
        raise InputError(
            f"{manifest}: of format {raw.get('format')!r}, this program reads {FORMAT}; run download again"
        )
    if not raw.get("complete"):
        raise InputError(f"{manifest}: the download is unfinished; run download again with the same config")
    entries = [
        RawEntry(manifest.parent / name, entry["bytes"], entry["sha256"], entry["preliminary"])
        for name, entry in sorted(raw["files"].items())
    ]
    changed = [str(e.file) for e in entries if not e.file.is_file() or e.file.stat().st_size != e.bytes]
    if changed:
        raise InputError(
            f"{manifest}: {len(changed)} files are missing or have changed: {shorten(changed)}; "
            "run download again, it fetches them anew"
        )
    return tuple(entries)
