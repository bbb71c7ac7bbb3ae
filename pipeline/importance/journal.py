"""A file of finished steps, one JSON object a line: what a killed search has done is not done again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline.core.artifact import plain
from pipeline.core.errors import InputError, disk_fault


class Journal:
    """Steps 0, 1, 2 … of some work; the holder of the run folder is its only writer."""

    def __init__(self, path: Path) -> None:
        """Read the steps that are whole, and cut off a last line that a killed process left unfinished.

        Raises:
            InputError: a line before the last is broken.
        """
        self._path = path
        self.steps: list[dict[str, Any]] = []
        raw = path.read_bytes() if path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self.steps.append(json.loads(line))
            except ValueError:
                raise InputError(
                    f"{path}:{number}: not a JSON line; delete this file, its steps are done again"
                ) from None
        if len(whole) < len(raw):
            os.truncate(path, len(whole))

    def add(self, step: dict[str, Any]) -> dict[str, Any]:
        """Append a step and flush it to the disk; return it as it will be read again.

        Raises:
            EnvironmentFault: the disk is full or closed to the user.
        """
        line = json.dumps(plain(step), allow_nan=False) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise disk_fault(error, self._path) or error from error
        self.steps.append(json.loads(line))
        return self.steps[-1]
