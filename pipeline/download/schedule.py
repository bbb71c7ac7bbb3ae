"""The plan as the manifest keeps it: brought in line with the table and with the files that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import shorten
from pipeline.core.logs import log
from pipeline.core.parts import Part
from pipeline.download.config import DownloadConfig
from pipeline.download.manifest import Piece, Record
from pipeline.download.plan import Cover, Need, asks_for, covered, needs, requests_of
from pipeline.download.request import Frame

CostOf = Callable[[str, Mapping[str, Any]], tuple[float, float] | None]
"""Data set and request → its cost and the most that is allowed, if that is known."""
_CHUNKS = (12, 6, 4, 3, 2, 1)  # months


def reconcile(record: Record, folder: Path, cells: Cover, part: Part, refresh: bool) -> None:
    """Bring what was planned before in line with ``cells``, and this part's pieces with the files that are there.

    Requests that were never sent and bring what is no longer asked for are forgotten; sent ones and files stay, so
    that going back to an earlier table costs nothing.
    """
    lost: list[str] = []
    for name, piece in list(record.pieces.items()):
        some, all_of_it = asks_for(cells, piece.request)
        if piece.state in ("planned", "failed") and not all_of_it and name not in record.files:
            del record.pieces[name]
            continue
        piece = record.change(name, wanted=some)
        if not (some and is_mine(piece, part)):
            continue
        entry = record.files.get(name)
        if entry and piece.state == "done" and not _whole(folder / name, entry):
            lost.append(name)
            del record.files[name]
            entry = None
        record.pieces[name] = _fresh_start(piece, entry, refresh)
    if lost:
        log.warning("%d files are missing or have changed and are fetched again: %s", len(lost), shorten(lost))


def _fresh_start(piece: Piece, entry: Mapping[str, Any] | None, refresh: bool) -> Piece:
    """Return the piece as a new run of the job takes it up."""
    again = piece.state == "failed" or (piece.state == "done" and (entry is None or (refresh and entry["preliminary"])))
    if again:
        return replace(piece, state="planned", request_id=None, submitted_at=None, attempts=0, checked=None)
    return replace(piece, attempts=0)


def _whole(path: Path, entry: Mapping[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == entry["bytes"]


def extend(record: Record, frame: Frame, config: DownloadConfig, cells: Cover, cost: CostOf) -> None:
    """Add pieces for what ``cells`` ask for and no piece brings; with the same input it is the same plan."""
    have = covered(piece.request for piece in record.pieces.values())
    order = max((piece.order for piece in record.pieces.values()), default=-1)
    known: dict[object, int] = {}
    for need in needs(cells, have):
        kind = (need.variables, need.levels, need.hours)
        if need.whole_year and kind not in known:
            known[kind] = _most_months(need, frame, config, cost)
        for request in requests_of(need, lambda need: known[need.variables, need.levels, need.hours]):
            order += 1
            record.add(request, frame, tuple(sorted(config.hours)), order)


def _most_months(need: Need, frame: Frame, config: DownloadConfig, cost: CostOf) -> int:
    """Return the longest part of a year that the data centre allows in one request."""
    if config.chunk == "month" or config.source == "arco":
        return 1
    if config.chunk == "year":
        return 12
    for months in _CHUNKS:
        request = need.request(range(1, months + 1))
        told = cost(request.dataset, request.as_sent(frame))
        if told is None:
            # Not known: what is too large will be refused, and is split then.
            return months
        if told[0] <= told[1]:
            return months
    return 1


def is_mine(piece: Piece, part: Part) -> bool:
    """Tell whether a part of a job array does this piece; its place in the plan decides, which never changes."""
    return piece.order % part.of == part.number - 1


def to_do(record: Record, part: Part) -> list[str]:
    """Return this part's unfinished pieces: those on the server first, then in the order of the plan."""
    mine = [(name, piece) for name, piece in record.pieces.items() if piece.wanted and is_mine(piece, part)]
    started = ("passed", "queued", "submitting")
    open_ones = [(piece.state not in started, piece.order, name) for name, piece in mine if piece.state != "done"]
    return [name for *_, name in sorted(open_ones)]
