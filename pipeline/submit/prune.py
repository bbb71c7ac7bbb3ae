"""What of ``results/.jobs`` nobody needs any more: copies of the code by themselves, tickets when somebody asks."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.submit.overview import OVER, rows
from pipeline.submit.ticket import Ticket, all_tickets, jobs_folder, seconds_of, state

_YOUNG_SECONDS = 3600.0
"""Somebody may be about to submit with a copy that no ticket names yet."""


def prune(home: Path) -> list[Path]:
    """Remove copies of the code and of configs that only finished tickets name; return what was removed.

    What failed, was cancelled or interrupted can be started again, with its own code; what is done cannot.
    """
    tickets = all_tickets(home)
    wanted = {place for ticket in tickets if not _done(ticket) for place in _places(ticket)}
    folder = jobs_folder(home)
    copies = [*folder.glob("code/*"), *folder.glob("configs/*")]
    before = time.time() - _YOUNG_SECONDS
    removed = [path for path in copies if str(path) not in wanted and path.stat().st_mtime < before]
    for path in removed:
        shutil.rmtree(path, ignore_errors=True)
    return removed


def _done(ticket: Ticket) -> bool:
    return all(state(ticket, task) == "done" for task in ticket.tasks)


def _places(ticket: Ticket) -> Iterator[str]:
    """Yield the copies that a ticket's command lines need."""
    yield str(ticket.facts["place"])
    yield from (str(Path(task.words[0]).parent) for task in ticket.tasks if task.words)


def clean(home: Path, seconds: float, dry_run: bool) -> Iterator[str]:
    """Remove the tickets that are over and older than ``seconds``, then what only they needed; tell of each.

    A ticket stays as long as a task of it could go on, or another ticket waits for it. Runs are elsewhere and stay.
    """
    tickets = all_tickets(home)
    listed = rows(home, [(ticket, task) for ticket in tickets for task in ticket.tasks])
    open_ones = {row.id.partition(".")[0] for row in listed if row.state not in OVER}
    needed = {str(one["id"]) for ticket in tickets if ticket.id in open_ones for one in ticket.facts.get("after", [])}
    before = time.time() - seconds
    for ticket in tickets:
        if ticket.id in open_ones | needed or _last_moment(ticket) > before:
            continue
        if not dry_run:
            shutil.rmtree(ticket.folder)
        yield f"{ticket.id} {ticket.name}: {'would be removed' if dry_run else 'removed'}"
    if not dry_run:
        copies = prune(home)
        yield f"{len(copies)} copies of code and configs removed"


def _last_moment(ticket: Ticket) -> float:
    moments = [ticket.facts["submitted"], *_ends(ticket)]
    return max(seconds_of(text) for text in moments)


def _ends(ticket: Ticket) -> Iterable[str]:
    return [str(one.get("ended") or one["heartbeat"]) for task in ticket.tasks for one in task.attempts()]
