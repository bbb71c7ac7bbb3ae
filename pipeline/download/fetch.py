"""The threads of a download: each takes one piece after the other, and what concerns all of them ends the job."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import EnvironmentFault, InputError, IsobarError, disk_fault, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log, tally
from pipeline.download.errand import Errand, GaveUp, Shared, Source
from pipeline.download.outcome import Denied, Invalid, Refused, Stopped

_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Loss:
    """A piece that was given up."""

    name: str
    why: str
    hopeless: bool


class FilesLost(IsobarError):
    """Files of this table could not be had; others may be. Not a fault of the key, the disk or the service."""


class LostForGood(InputError, FilesLost):
    """The data centre can never give them."""


class LostForNow(EnvironmentFault, FilesLost):
    """It could not give them now."""


class Crew:
    """Threads that each take one piece after the other."""

    def __init__(self, shared: Shared, source: Source, split: Callable[[str], list[str]]) -> None:
        """``split`` replaces a piece that the source refuses as too large and returns the names of its parts."""
        self._shared, self._source, self._split = shared, source, split
        self._todo: deque[str] = deque()
        self._busy = self._ended = 0
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self.losses: list[Loss] = []
        self.fetched = 0
        """Files that have come."""

    def work(self, names: Sequence[str], total: int, interrupt: Interrupt) -> None:
        """Do all pieces of ``names``, the last ``len(names)`` of ``total``.

        Raises:
            Interrupted: a stop was asked for; requests stay on the server.
            InputError, EnvironmentFault: something that concerns all pieces.
        """
        self._todo.extend(names)
        count = min(self._shared.config.in_flight, max(len(names), 1))
        threads = [threading.Thread(target=self._thread, daemon=True, name=f"fetch-{n}") for n in range(count)]
        told = 0
        with tally("download", total, total - len(names)) as advance:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) and not interrupt.requested() and self._fatal is None:
                ended = self._ended
                advance(ended - told, self._shared.board.line())
                told = ended
                time.sleep(_LOOK_SECONDS)
        self._shared.stop.set()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in threads:
            # A thread that hangs in the network holds nothing that is not on disk; it ends with the process.
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._fatal is not None:
            raise self._fatal
        if interrupt.requested() and (self._todo or self._busy):
            interrupt.check("checked files are kept, requests stay on the server")

    def _thread(self) -> None:
        while not self._shared.stop.is_set():
            with self._lock:
                name = self._todo.popleft() if self._todo else None
                self._busy += name is not None
                over = name is None and not self._busy
            if name is None:
                if over:
                    return
                # Another thread may have to split its piece, and then there is work again.
                self._shared.stop.wait(_LOOK_SECONDS)
                continue
            self._one(name)

    def _one(self, name: str) -> None:
        finished = False
        try:
            finished = self._attempt(name)
        except Stopped:
            return
        except BaseException as error:
            # Nothing is swallowed: the main thread raises it.
            self._fatal = self._fatal or _fault(error, self._shared.manifest.folder)
            self._shared.stop.set()
            return
        finally:
            self._shared.board.leave(name)
            with self._lock:
                # An unfinished piece stays counted, so that nobody takes the work for done.
                self._busy -= finished
                self._ended += finished

    def _attempt(self, name: str) -> bool:
        piece = self._shared.manifest.read().pieces[name]
        errand = Errand(self._shared, name, piece)
        try:
            errand.run(self._source)
            with self._lock:
                self.fetched += 1
        except Denied as error:
            raise InputError(f"{piece.request.dataset}: {error}") from None
        except Refused as error:
            halves = self._split(name)
            if not halves:
                self._lose(errand, GaveUp(f"a single field is too large for the data centre ({error})", True))
            with self._lock:
                self._todo.extendleft(reversed(halves))
        except Invalid as error:
            self._lose(errand, GaveUp(str(error), True))
        except GaveUp as error:
            self._lose(errand, error)
        return True

    def _lose(self, errand: Errand, error: GaveUp) -> None:
        errand.change(state="failed", request_id=None, reason=str(error))
        log.error("%s: given up: %s", errand.name, error)
        self.losses.append(Loss(errand.name, str(error), error.hopeless))


def _fault(error: BaseException, folder: Path) -> BaseException:
    """Return a full disk and the like as what it is."""
    return (disk_fault(error, error.filename or folder) or error) if isinstance(error, OSError) else error


def report_losses(losses: Sequence[Loss]) -> None:
    """End the job as failed if pieces were given up.

    Raises:
        LostForGood: the data centre can never give them.
        LostForNow: it could not give them now.
    """
    if not losses:
        return
    reasons = dict.fromkeys(loss.why for loss in losses)
    count = f"{len(losses)} file{'s' * (len(losses) > 1)} could not be had"
    text = f"{count}: {shorten(loss.name for loss in losses)}; {shorten(reasons, 3)}"
    if all(loss.hopeless for loss in losses):
        raise LostForGood(f"{text}; change the table download.requests, its period or its area")
    raise LostForNow(f"{text}; all others are kept, the same command tries these again")
