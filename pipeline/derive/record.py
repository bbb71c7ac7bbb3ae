"""The manifest of a derivation, kept by one process or by several that do parts of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.contract.derived import DerivedSpec, Piece, read_derived
from pipeline.core.artifact import MANIFEST
from pipeline.core.errors import InputError, shorten
from pipeline.core.lock import updating
from pipeline.core.logs import log


@dataclass(frozen=True)
class Record:
    """Which monthly files of a plan are there: read, changed and written while nobody else does."""

    folder: Path
    spec: DerivedSpec
    """What the manifest says besides the pieces."""
    made_from: Mapping[str, str]
    """The plan: every monthly file and its signature."""

    def start(self) -> dict[str, Piece]:
        """Return the monthly files that are fresh, and note that the others are to be made."""
        with updating(self.folder):
            before = self._previous()
            _report_uncovered(before.pieces if before else (), self.made_from)
            fresh = {piece.file: piece for piece in self._planned(before) if self._whole(piece)}
            self._save(fresh.values(), before)
            return fresh

    def add(self, piece: Piece) -> None:
        """Note a monthly file that was made."""
        with updating(self.folder):
            before = self._previous()
            others = (other for other in self._planned(before) if other.file != piece.file)
            self._save([*others, piece], before)

    def result(self) -> DerivedSpec:
        """Return the manifest as it is now; complete when every monthly file of the plan is there."""
        with updating(self.folder):
            return read_derived(self.folder)

    def _planned(self, before: DerivedSpec | None) -> list[Piece]:
        pieces = before.pieces if before else ()
        return [piece for piece in pieces if self.made_from.get(piece.file) == piece.made_from]

    def _whole(self, piece: Piece) -> bool:
        path = self.folder / piece.file
        return path.exists() and path.stat().st_size == piece.bytes

    def _save(self, pieces: Iterable[Piece], before: DerivedSpec | None) -> None:
        ordered = tuple(sorted(pieces, key=lambda piece: piece.file))
        spec = replace(self.spec, pieces=ordered, complete=len(ordered) == len(self.made_from))
        if spec != before:
            spec.save(self.folder)

    def _previous(self) -> DerivedSpec | None:
        if not (self.folder / MANIFEST).exists():
            return None
        try:
            return read_derived(self.folder)
        except (InputError, KeyError, TypeError) as error:
            log.warning("%s: the manifest cannot be used (%s); every month is made anew", self.folder, error)
            return None


def _report_uncovered(kept: Sequence[Piece], planned: Mapping[str, str]) -> None:
    gone = sorted(piece.file for piece in kept if piece.file not in planned)
    if gone:
        log.warning(
            "%d months are not in the raw files any more and leave the data set; their files stay: %s",
            len(gone),
            shorten(gone),
        )
