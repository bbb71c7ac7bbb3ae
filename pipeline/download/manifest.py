"""``manifest.json`` of a raw folder: what was asked for, where each request stands, which files passed every check.

It is read and written whole under a lock, so that the parts of a job array share it, and each change is on disk before
the step that it announces. It holds no key and no path of this machine (but where ``source: local`` names files).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.contract.raw import FORMAT
from pipeline.core.artifact import MANIFEST, SCHEMA_VERSION, read_json, write_text
from pipeline.core.errors import InputError
from pipeline.core.lock import updating
from pipeline.download.request import Frame, Request, dataset_of

State = Literal["planned", "submitting", "queued", "passed", "done", "failed"]
"""``submitting``: the request was about to be sent. ``queued``: the server has given it an id. ``passed``: the file
beside it is whole and about to be renamed."""


@dataclass(frozen=True)
class Piece:
    """One file to be, and where its request stands."""

    sent: dict[str, Any]
    """The request in the data centre's words."""
    order: int
    """Place in the plan; it decides which part of a job array does the piece and never changes."""
    wanted: bool = True
    """Whether the present table asks for anything in it."""
    state: State = "planned"
    request_id: str | None = None
    submitted_at: str | None = None
    attempts: int = 0
    reason: str | None = None
    """The last trouble."""
    checked: dict[str, Any] | None = None
    """What the check found, from then until the file has its name."""

    @property
    def request(self) -> Request:
        """The request as this program understands it."""
        return Request.of(self.sent)


@dataclass
class Record:
    """The manifest in memory."""

    pieces: dict[str, Piece] = field(default_factory=dict)
    """By file name."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Files that passed every check, whether the present table asks for them or not."""

    @property
    def complete(self) -> bool:
        """Whether every wanted file is there."""
        return all(name in self.files for name, piece in self.pieces.items() if piece.wanted)

    def change(self, name: str, **changes: Any) -> Piece:
        """Replace fields of a piece and return it."""
        self.pieces[name] = replace(self.pieces[name], **changes)
        return self.pieces[name]

    def add(self, request: Request, frame: Frame, hours: tuple[int, ...], order: int) -> str:
        """Add a piece under a readable name of its own and return the name."""
        stem = request.stem(hours)
        name = f"{stem}{frame.suffix}"
        if name in self.pieces:
            name = f"{stem}_{request.digest}{frame.suffix}"
        self.pieces[name] = Piece(request.as_sent(frame), order)
        return name

    def split(self, name: str, frame: Frame, hours: tuple[int, ...]) -> list[str]:
        """Replace a piece by two halves and return their names; nothing happens to a single field."""
        parent = self.pieces[name]
        children = [self.add(half, frame, hours, parent.order) for half in parent.request.halves()]
        if children:
            del self.pieces[name]
            # Of a refresh that is refused: the whole would stand beside its parts.
            self.files.pop(name, None)
        return children


@dataclass(frozen=True)
class Manifest:
    """The manifest of one folder."""

    folder: Path
    dataset: str
    source: str
    frame: Frame

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / MANIFEST

    def read(self) -> Record:
        """Return how things stand; empty before the first plan.

        Raises:
            InputError: the folder holds data of another source, area, grid or format, or the file is broken.
        """
        if not self.path.exists():
            return Record()
        raw = read_json(self.path)
        if raw.get("format") != FORMAT:
            raise InputError(f"{self.path}: of format {raw.get('format')!r}, this program writes {FORMAT}; delete it")
        for name, own in self._identity().items():
            if raw.get(name) != own:
                raise InputError(
                    f"{self.path}: holds data of {name} {raw.get(name)!r}, the config asks for {own!r}; "
                    "choose another `dataset` name for it"
                )
        known = {item.name for item in fields(Piece)} - {"sent"}
        pieces = {
            name: Piece(sent=piece["request"], **{key: piece[key] for key in known & piece.keys()})
            for name, piece in raw["pieces"].items()
        }
        return Record(pieces, {**raw["files"], **raw["unused"]})

    @contextmanager
    def changing(self) -> Iterator[Record]:
        """Hold the manifest, yield it to be changed, and write it when the block ends well."""
        with updating(self.folder):
            record = self.read()
            yield record
            self._write(record)

    def change(self, name: str, **changes: Any) -> Piece:
        """Change one piece on disk and return it."""
        with self.changing() as record:
            return record.change(name, **changes)

    def finish(self, name: str, entry: Mapping[str, Any]) -> None:
        """Note a file that has passed and lies under its name."""
        with self.changing() as record:
            record.files[name] = dict(entry)
            if name in record.pieces:
                record.change(name, state="done", checked=None, reason=None)

    def _write(self, record: Record) -> None:
        dropped = {name for name, piece in record.pieces.items() if not piece.wanted}
        listed = dict(sorted(record.files.items()))
        head = {"schema_version": SCHEMA_VERSION, "format": FORMAT, **self._identity(), "complete": record.complete}
        groups = {
            "files": {name: entry for name, entry in listed.items() if name not in dropped},
            "unused": {name: entry for name, entry in listed.items() if name in dropped},
            "pieces": {name: _as_json(piece) for name, piece in sorted(record.pieces.items())},
        }
        # A line for each file: it is written several times a piece, and indenting everything takes ten times as long.
        lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        lines += [f" {json.dumps(name)}: {_lines(group)}" for name, group in groups.items()]
        write_text(self.path, "{\n" + ",\n".join(lines) + "\n}\n")

    def _identity(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "source": self.source,
            "area": list(self.frame.area),
            "grid": list(self.frame.grid),
            "data_format": self.frame.format,
        }


def _lines(group: Mapping[str, Mapping[str, Any]]) -> str:
    items = [f"\n  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in group.items()]
    return "{" + ",".join(items) + ("\n }" if items else "}")


def _as_json(piece: Piece) -> dict[str, Any]:
    values = {name: value for name, value in vars(piece).items() if name != "sent"}
    return {"dataset": dataset_of(piece.sent), "request": piece.sent, **values}
