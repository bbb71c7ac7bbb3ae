"""What was read, kept between builds: a folder whose files did not change is not read again."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from pipeline.core.artifact import plain, writing

FORMAT = 5
"""Raised when the same files would be read otherwise, so that all are read anew."""
_NAME = "memory.json.gz"


class Memory:
    """Entries by folder, each with the stamp of the files that it was read from."""

    def __init__(self, folder: Path) -> None:
        """Read the memory kept in ``folder``; a broken one, or one of another format, is built anew."""
        self._path = folder / _NAME
        self.read = 0
        """How many entries were not known."""
        self._fresh: dict[str, Any] = {}
        try:
            value = json.loads(gzip.decompress(self._path.read_bytes()))
            self._known: dict[str, Any] = value["entries"] if value["format"] == FORMAT else {}
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
            self._known = {}

    def recall(self, name: str, stamp: Any) -> dict[str, Any] | None:
        """Return the entry of a folder if it was read from files with this stamp."""
        known = self._known.get(name)
        if not isinstance(known, dict) or known.get("stamp") != stamp:
            return None
        self._fresh[name] = known
        return dict(known["entry"])

    def keep(self, name: str, stamp: Any, entry: dict[str, Any]) -> dict[str, Any]:
        """Keep an entry, and return it as it will be recalled."""
        self.read += 1
        self._fresh[name] = {"stamp": stamp, "entry": json.loads(json.dumps(plain(entry)))}
        return dict(self._fresh[name]["entry"])

    def save(self) -> None:
        """Write the entries of folders that are still there; nothing if all is as before.

        Raises:
            EnvironmentFault: the folder cannot be written.
        """
        if self.read == 0 and self._fresh.keys() == self._known.keys():
            return
        text = json.dumps({"format": FORMAT, "entries": self._fresh}, ensure_ascii=False, separators=(",", ":"))
        with writing(self._path) as part:
            part.write_bytes(gzip.compress(text.encode(), 6, mtime=0))
