"""Where files come from: the Climate Data Store's queue, and the open Zarr of ARCO-ERA5."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from pipeline.core.logs import log
from pipeline.download.arco import ArcoStore
from pipeline.download.cds import Access, Cds
from pipeline.download.check import Rejected
from pipeline.download.errand import Errand, Shared
from pipeline.download.outcome import Busy, Denied, Failed, Forgotten, Hiccup, Invalid, Refused

_YOUNG_SECONDS = 20.0
"""A request whose answer is missing for less than this may not be in the server's list yet."""
_DOUBTFUL_TRIES = 3
"""Of a request that the data centre finds no data for."""
_SAME_RESULT = 3
"""Times that a result may arrive broken without any gain before it is requested anew."""


class ArcoSource:
    """ARCO-ERA5: a piece is read from the Zarr store and written as the Climate Data Store would."""

    def __init__(self, store: ArcoStore) -> None:
        """Use an open store; threads share it."""
        self._store = store

    def bring(self, errand: Errand) -> None:
        """Write the piece under its part name; what the network does is tried again."""
        request, frame = errand.piece.request, errand.shared.manifest.frame
        while True:
            errand.doing("downloading")
            try:
                self._store.write_piece(request.keys, request.seconds, frame.area, frame.grid or None, errand.part)
            except Rejected as error:
                errand.stumbled(Hiccup(str(error)))
            else:
                errand.answered()
                return


class CdsSource:
    """The Climate Data Store: submit or re-attach, wait, download."""

    def __init__(self, shared: Shared, access: Access) -> None:
        """Connect when needed, one client a thread: the client is not made to be shared."""
        self._shared, self._access = shared, access
        self._own = threading.local()

    @property
    def _cds(self) -> Cds:
        if not hasattr(self._own, "cds"):
            self._own.cds = Cds(self._access, self._shared.config.timeout_seconds, self._shared.stop.is_set)
        cds: Cds = self._own.cds
        return cds

    def bring(self, errand: Errand) -> None:
        """Put the result of the piece's request under its part name, whatever it takes."""
        broken, most = 0, 0
        while True:
            arriving = False
            try:
                with self._shared.slots.one():
                    if errand.piece.request_id is None:
                        self._submit(errand)
                    self._await(errand)
                    errand.doing("downloading")
                    arriving = True
                    self._cds.fetch(errand.piece.request_id or "", errand.part)
                self._shared.slots.passed()
                return
            except Busy as error:
                if error.lost:
                    errand.change(state="planned", request_id=None)
                errand.busy(error)
            except Hiccup as error:
                size = errand.part.stat().st_size if errand.part.exists() else 0
                broken = 0 if size > most else broken + (arriving and not error.outage)
                most = max(size, most)
                if broken >= _SAME_RESULT:
                    broken = most = 0
                    errand.anew(str(error))
                else:
                    errand.stumbled(error)
            except Forgotten as error:
                errand.anew(str(error))
            except Failed as error:
                errand.anew(str(error), _DOUBTFUL_TRIES if error.doubtful else 0)

    def _submit(self, errand: Errand) -> None:
        """Send the request; one that was sent before its answer was lost is found and taken up again."""
        dataset, sent = errand.piece.request.dataset, errand.piece.sent
        request_id = self._orphan(errand) if errand.piece.state == "submitting" else None
        if request_id is None:
            errand.change(state="submitting", submitted_at=datetime.now(UTC).isoformat(timespec="seconds"))
            try:
                request_id = self._cds.submit(dataset, sent)
            except (Busy, Denied, Invalid, Refused):
                # The server has answered: nothing is in its queue.
                errand.change(state="planned", submitted_at=None)
                raise
        errand.change(state="queued", request_id=request_id)
        errand.answered()

    def _orphan(self, errand: Errand) -> str | None:
        """Return the id of the request that this piece sent before its process died or its connection broke."""
        record = self._shared.manifest.read()
        known = {piece.request_id for piece in record.pieces.values() if piece.request_id}
        known |= {entry["request_id"] for entry in record.files.values() if entry.get("request_id")}
        since = datetime.fromisoformat(errand.piece.submitted_at or datetime.now(UTC).isoformat())
        found = self._cds.find(errand.piece.request.dataset, errand.piece.sent, known, since)
        if found is None and (datetime.now(UTC) - since).total_seconds() < _YOUNG_SECONDS:
            errand.wait(min(1.0, self._shared.config.poll_seconds))
            found = self._cds.find(errand.piece.request.dataset, errand.piece.sent, known, since)
        if found:
            log.info("%s: its request %s is on the server already; taken up again", errand.name, found)
        return found

    def _await(self, errand: Errand) -> None:
        """Ask until the result is ready."""
        asked = 0
        while (status := self._cds.look(errand.piece.request_id or "")) != "ready":
            errand.answered()
            errand.doing(status)
            errand.wait(self._shared.pace.between_questions(asked))
            asked += 1
        errand.answered()
