"""One piece on its way: brought by a source, checked, renamed, noted; what goes wrong is tried again within bounds."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.core.artifact import flush, sha256
from pipeline.core.errors import EnvironmentFault
from pipeline.core.logs import log
from pipeline.download.apart import check_safely
from pipeline.download.check import Expected, Rejected
from pipeline.download.config import DownloadConfig
from pipeline.download.manifest import Manifest, Piece
from pipeline.download.outcome import Busy, Hiccup, Stopped
from pipeline.download.pace import Board, Outage, Pace, Slots
from pipeline.download.unpack import settle


class GaveUp(Exception):
    """A piece that cannot be had; ``hopeless``: not by trying again later either."""

    def __init__(self, why: str, hopeless: bool = False) -> None:
        """Keep why."""
        super().__init__(why)
        self.hopeless = hopeless


@dataclass
class Shared:
    """What all errands of one job share."""

    manifest: Manifest
    config: DownloadConfig
    stop: threading.Event = field(default_factory=threading.Event)
    board: Board = field(default_factory=Board)
    checking: threading.Lock = field(default_factory=threading.Lock)
    """HDF5 does one thing at a time; checks take turns, so that they do not hold each other's memory."""

    def __post_init__(self) -> None:
        """Derive what follows from the settings."""
        self.pace = Pace(self.config.poll_seconds)
        self.slots = Slots(self.config.in_flight, self.stop)
        self.outage = Outage(self.config.outage_hours)


class Errand:
    """The way of one piece from its plan to its name."""

    def __init__(self, shared: Shared, name: str, piece: Piece) -> None:
        """Take up ``piece`` where it stands."""
        self.shared, self.name, self.piece = shared, name, piece
        self.folder = shared.manifest.folder
        self._hiccups = self._waits = self._bad = 0

    @property
    def target(self) -> Path:
        """Where the file will be."""
        return self.folder / self.name

    @property
    def part(self) -> Path:
        """Where it arrives; its name holds the request's id, so that no other result is ever built on it."""
        return self.folder / f".{self.name}.{self.piece.request_id or 'new'}.part"

    def change(self, **changes: Any) -> None:
        """Change the piece, on disk first."""
        self.piece = self.shared.manifest.change(self.name, **changes)

    def doing(self, what: str) -> None:
        """Tell the board."""
        self.shared.board.note(self.name, what)

    def wait(self, seconds: float) -> None:
        """Wait, or end.

        Raises:
            Stopped: the job is to end.
        """
        if self.shared.stop.wait(seconds):
            raise Stopped

    def answered(self) -> None:
        """Note that the service has answered sensibly."""
        self._hiccups = self._waits = 0
        self.shared.outage.over()

    def stumbled(self, error: Hiccup) -> None:
        """Wait after a hiccup.

        Raises:
            GaveUp: there were too many in a row.
            EnvironmentFault: the service has been away for too long.
        """
        self._hiccups += 1
        bearable = error.outage and self.shared.outage.bearable()
        if self._hiccups >= self.shared.config.attempts and not bearable:
            if error.outage:
                raise EnvironmentFault(
                    f"the data centre cannot be reached ({error}); what was requested stays there, run the same "
                    "command again later"
                )
            raise GaveUp(f"{error}, {self._hiccups} times in a row")
        self._wait_after(str(error), self._hiccups, error.seconds)

    def busy(self, error: Busy) -> None:
        """Wait because the service asks for it; that is no failure and counts as none."""
        self._waits += 1
        if error.crowded and self.shared.slots.crowded():
            log.info("the data centre takes no more for now (%s); %d at a time", error, self.shared.slots.allowed)
        self._wait_after(str(error), self._waits, error.seconds)

    def anew(self, why: str, most: int = 0) -> None:
        """Have the piece requested anew, ``most`` times if that is not 0: the request or its result is lost or no good.

        Raises:
            GaveUp: that was the last attempt.
        """
        with suppress(FileNotFoundError):
            self.part.unlink()
        self.failed(why, most, state="planned", request_id=None)

    def failed(self, why: str, most: int = 0, **changes: Any) -> None:
        """Count a failed attempt and wait.

        Raises:
            GaveUp: that was the last attempt.
        """
        self.change(attempts=self.piece.attempts + 1, reason=why, **changes)
        if self.piece.attempts >= min(self.shared.config.attempts, most or self.shared.config.attempts):
            raise GaveUp(f"{why}, after {self.piece.attempts} attempts")
        self._wait_after(why, self.piece.attempts)

    def _wait_after(self, why: str, tries: int, asked: float = 0.0) -> None:
        seconds = self.shared.pace.after(tries, asked)
        log.warning("%s: %s; again in %.0f s", self.name, why, seconds)
        self.doing("waiting")
        self.wait(seconds)

    def run(self, source: Source) -> None:
        """Bring the piece to its name, from wherever it stands.

        Raises:
            GaveUp, Denied, Invalid, Refused: it cannot be had, or not in one piece.
            Stopped: the job is to end; the same command goes on from here.
        """
        if self._is_there():
            return
        while True:
            source.bring(self)
            self.doing("checking")
            try:
                with self.shared.checking:
                    settle(self.part)
                    entry = asdict(check_safely(self.part, self._expected()))
            except Rejected as error:
                self._rejected(str(error).replace(f"{self.part}: ", ""))
                continue
            self._name({**entry, "request_id": self.piece.request_id})
            return

    def _expected(self) -> Expected:
        request, frame = self.piece.request, self.shared.manifest.frame
        return Expected(request.keys, request.seconds, frame.area, frame.spacing)

    def _rejected(self, why: str) -> None:
        """Fetch the same result once more; if that is no good either, request anew."""
        self._bad += 1
        with suppress(FileNotFoundError):
            self.part.unlink()
        if self._bad % 2:
            self.failed(why)
        else:
            self.anew(why)

    def _is_there(self) -> bool:
        """Finish what a killed process left behind: a checked file not yet renamed, or renamed and not yet noted."""
        if self.piece.state == "passed" and self.piece.checked:
            entry = self.piece.checked
            for path in (self.part, self.target):
                if path.is_file() and path.stat().st_size == entry["bytes"] and sha256(path) == entry["sha256"]:
                    self._name(entry)
                    return True
            self.change(state="queued" if self.piece.request_id else "planned", checked=None)
        if self.piece.state == "planned" and self.target.is_file():
            return self._adopted()
        return False

    def _adopted(self) -> bool:
        """Take a file that is there without an entry, if it is good: the manifest was lost."""
        if self.name in self.shared.manifest.read().files:
            return False
        try:
            with self.shared.checking:
                entry = asdict(check_safely(self.target, self._expected()))
        except Rejected:
            return False
        self.shared.manifest.finish(self.name, {**entry, "request_id": None})
        return True

    def _name(self, entry: dict[str, Any]) -> None:
        """Give a checked file its name; the entry is on disk first, so that a kill in between loses nothing."""
        before = self.shared.manifest.read().files.get(self.name)
        if self.piece.state != "passed":
            self.change(state="passed", checked=entry)
        same = before and before["sha256"] == entry["sha256"] and self.target.is_file()
        if self.part.is_file() and not same:
            flush(self.part)
            os.replace(self.part, self.target)
            flush(self.folder)
        self.shared.manifest.finish(self.name, entry)
        for left in self.folder.glob(f".{self.name}.*part*"):
            if left.is_file():
                left.unlink()


class Source(Protocol):
    """Where files come from."""

    def bring(self, errand: Errand) -> None:
        """Put the file of the errand's piece under its part name.

        Raises:
            GaveUp, Denied, Invalid, Refused, Stopped: it did not come.
        """
