"""The files of a submitted job: what was asked for, and one record an attempt; every file has one writer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import make_folder, read_json, write_json, write_text
from pipeline.core.errors import DONE, INTERRUPTED, InputError, disk_fault
from pipeline.submit.process import alive, here, identity, machine

JOBS = Path("results", ".jobs")
BEAT_SECONDS = 15.0
LOST_SECONDS = 90.0
"""A heartbeat older than this, and nobody who knows better: the machine is taken for dead."""
_NUMBER = re.compile(r"^j(\d+)$")


def jobs_folder(home: Path) -> Path:
    """Return the folder of all tickets."""
    return home / JOBS


def stamp(seconds: float | None = None) -> str:
    """Return a moment (now) as text, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def seconds_of(text: str) -> float:
    """Return a moment of :func:`stamp` as seconds since 1970."""
    import calendar

    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))


@dataclass(frozen=True)
class Task:
    """One task of a ticket: what follows the program on its command line, and the folder of its attempts."""

    folder: Path
    number: int
    words: tuple[str, ...]

    def attempts(self) -> list[dict[str, Any]]:
        """Return the records of all attempts, in order."""
        paths = sorted(self.folder.glob("attempt-*.json"), key=_attempt_number)
        return [read_json(path) for path in paths if path.stat().st_size]

    def last(self) -> dict[str, Any]:
        """Return the record of the last attempt; empty when there is none."""
        attempts = self.attempts()
        return attempts[-1] if attempts else {}

    @property
    def slurm_id(self) -> str:
        """The id by which Slurm knows the task (``12`` or ``12_3``); empty if it does not."""
        path = self.folder / "slurm.json"
        return str(read_json(path)["id"]) if path.exists() else ""

    def is_of_slurm(self, slurm_id: str) -> None:
        """Note the id by which Slurm knows the task from now on."""
        write_json(self.folder / "slurm.json", {"id": slurm_id})

    @property
    def cancelled(self) -> str:
        """Why the task is not to be started (again); empty if it is."""
        path = self.folder / "cancelled"
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def cancel(self, why: str) -> None:
        """Note that the task is not to be started again."""
        write_text(self.folder / "cancelled", why + "\n")

    def allow(self) -> None:
        """Take back :meth:`cancel`."""
        (self.folder / "cancelled").unlink(missing_ok=True)

    @property
    def asked_again(self) -> bool:
        """Whether a person wants an ended task of this machine started again, and nobody has done so yet."""
        return (self.folder / "again").exists()

    def ask_again(self) -> None:
        """Ask for another attempt."""
        write_text(self.folder / "again", stamp() + "\n")

    def take(self) -> None:
        """Take back :meth:`ask_again`, because it is being done."""
        (self.folder / "again").unlink(missing_ok=True)

    def claim(self) -> int:
        """Take the number of the next attempt; no other process can have it."""
        make_folder(self.folder)
        number = max((_attempt_number(path) for path in self.folder.glob("attempt-*.json")), default=0)
        while True:
            number += 1
            try:
                os.close(os.open(self.attempt(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            except OSError as error:
                raise disk_fault(error, self.folder) or error from error
            return number

    def attempt(self, number: int) -> Path:
        """Return the record of an attempt, which only the process that claimed it writes."""
        return self.folder / f"attempt-{number}.json"


@dataclass(frozen=True)
class Ticket:
    """One submission."""

    folder: Path
    facts: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Ticket:
        """Read the ticket in ``folder``.

        Raises:
            InputError: there is none.
        """
        return cls(folder, read_json(folder / "job.json"))

    @property
    def id(self) -> str:
        """Its name among tickets, ``j12``."""
        return self.folder.name

    @property
    def name(self) -> str:
        """The name that people gave it, or that of its job and experiment."""
        return str(self.facts["name"])

    @property
    def on_slurm(self) -> bool:
        """Whether Slurm runs it."""
        return bool(self.facts["cluster"] == "slurm")

    @property
    def tasks(self) -> list[Task]:
        """Its tasks."""
        return [Task(self.folder / str(k), k, tuple(more)) for k, more in enumerate(self.facts["tasks"])]

    def label(self, task: Task) -> str:
        """Return the id of one of its tasks: ``j12``, or ``j12.3`` of an array."""
        return f"{self.id}.{task.number}" if len(self.facts["tasks"]) > 1 else self.id

    @property
    def keeper(self) -> dict[str, Any]:
        """The process that looks after a local ticket; empty on Slurm."""
        path = self.folder / "keeper.json"
        return read_json(path) if path.exists() else {}

    def is_kept_by(self, pid: int) -> None:
        """Note which process looks after the ticket."""
        write_json(self.folder / "keeper.json", {**identity(pid), "since": stamp()})


def new_ticket(home: Path, facts: dict[str, Any]) -> Ticket:
    """Write a new ticket under the next free number."""
    root = jobs_folder(home)
    make_folder(root)
    while True:
        folder = root / next_id(home)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise disk_fault(error, folder) or error from error
        write_json(folder / "job.json", {"submitted": stamp(), "machine": machine(), **facts})
        return Ticket.read(folder)


def next_id(home: Path) -> str:
    """Return the id that the next ticket will have."""
    numbers = [int(found[1]) for path in jobs_folder(home).glob("j*") if (found := _NUMBER.match(path.name))]
    return f"j{max(numbers, default=0) + 1}"


def all_tickets(home: Path) -> list[Ticket]:
    """Return all tickets, oldest first."""
    root = jobs_folder(home)
    paths = [path for path in root.glob("*/job.json")] if root.is_dir() else []
    return sorted((Ticket.read(path.parent) for path in paths), key=lambda one: (one.facts["submitted"], _order(one)))


def _order(ticket: Ticket) -> int:
    found = _NUMBER.match(ticket.id)
    return int(found[1]) if found else 0


def find(home: Path, word: str) -> Iterator[tuple[Ticket, Task]]:
    """Yield the tasks that a person means by a ticket's id or name (the newest), a task's id, or Slurm's id.

    Raises:
        InputError: nothing has this id or name.
    """
    tickets = all_tickets(home)[::-1]
    exact = [(ticket, task) for ticket in tickets for task in ticket.tasks if word in _names(ticket, task)]
    newest = exact[0][0].id if exact else ""
    chosen = [pair for pair in exact if pair[0].id == newest]
    if not chosen:
        known = ", ".join(dict.fromkeys(name for one in tickets[:5] for name in (one.id, one.name))) or "none yet"
        raise InputError(f"command line: {word!r}: no job of this id or name in {jobs_folder(home)}; newest: {known}")
    yield from chosen


def _names(ticket: Ticket, task: Task) -> set[str]:
    return {ticket.id, ticket.name, f"{ticket.id}.{task.number}", task.slurm_id, task.slurm_id.partition("_")[0]} - {""}


def state(ticket: Ticket, task: Task) -> str:
    """Return what the files say: waiting, running, interrupted, done, failed, cancelled or lost.

    ``interrupted`` waits for somebody (Slurm, or ``requeue``) to start it again. ``lost``: it was at work, and is not.
    """
    last = task.last()
    if task.asked_again:
        return "waiting"
    if last and "ended" in last:
        return _ended(task, int(last["exit_code"]))
    if last:
        return "running" if at_work(last) else "cancelled" if task.cancelled else "lost"
    if task.cancelled:
        return "cancelled"
    if ticket.on_slurm:
        return "waiting"
    keeper = ticket.keeper
    return "waiting" if not keeper or not here(keeper) or alive(keeper) else "lost"


def at_work(attempt: dict[str, Any]) -> bool:
    """Tell whether an attempt that has not ended is still at work: by its process here, by its heartbeat elsewhere."""
    if here(attempt["process"]):
        return alive(attempt["process"])
    return time.time() - seconds_of(attempt["heartbeat"]) < LOST_SECONDS


def _ended(task: Task, code: int) -> str:
    if code == DONE:
        return "done"
    if task.cancelled:
        return "cancelled"
    return "interrupted" if code == INTERRUPTED else "failed"


def _attempt_number(path: Path) -> int:
    return int(path.stem.partition("-")[2])
