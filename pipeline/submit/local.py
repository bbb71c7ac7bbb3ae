"""A ticket on this machine: a detached process of its own session that does its tasks, some at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.core import logs
from pipeline.core.errors import DONE, FAILED, INTERRUPTED, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.programs import die_with_parent
from pipeline.submit.ticket import Task, Ticket, state

_POLL_SECONDS = 0.5


def detach(ticket: Ticket) -> int:
    """Start the process that looks after a ticket, in a session of its own: it outlives the terminal; return its id."""
    command = [str(ticket.facts["python"]), "-P", "-m", "pipeline.submit.local", str(ticket.folder)]
    with (ticket.folder / "keeper.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=str(ticket.facts["place"]),
            env={**os.environ, **ticket.facts["variables"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    ticket.is_kept_by(process.pid)
    return process.pid


def keep(ticket: Ticket, interrupt: Interrupt) -> int:
    """Do the tasks that are not done, each when those that it waits for are; return the worst exit code."""
    tasks = ticket.tasks
    waiting = [task for task in tasks if state(ticket, task) not in ("done", "cancelled", "failed")]
    at_work: list[tuple[Task, subprocess.Popen[bytes]]] = []
    codes: list[int] = []
    told = False
    while (waiting or at_work) and not (interrupt.requested() and not at_work):
        if interrupt.requested() and not told:
            told = True
            waiting.clear()
            _tell(at_work, interrupt)
        waiting += [task for task in tasks if task.asked_again and task not in waiting]
        for task in _ready(ticket, waiting, int(ticket.facts["parallel"]) - len(at_work)):
            waiting.remove(task)
            task.take()
            at_work.append((task, _start(ticket, task)))
        for task, process in tuple(at_work):
            code = process.poll()
            if code is not None:
                at_work.remove((task, process))
                codes.append(code)
        time.sleep(_POLL_SECONDS)
    return next((code for code in (FAILED, INTERRUPTED) if code in codes), max(codes, default=DONE))


def _ready(ticket: Ticket, waiting: list[Task], room: int) -> list[Task]:
    """Return tasks that may start now; those that never can are cancelled."""
    ready: list[Task] = []
    for task in tuple(waiting):
        if task.cancelled:
            waiting.remove(task)
            continue
        word = _hindrance(ticket, task)
        if word in ("failed", "cancelled"):
            task.cancel(f"what it waits for {'has failed' if word == 'failed' else 'is cancelled'}")
            waiting.remove(task)
        elif not word and len(ready) < room:
            ready.append(task)
    return ready


def _hindrance(ticket: Ticket, task: Task) -> str:
    """Return the state of what a task waits for, empty when all of it is done."""
    for one in ticket.facts["after"]:
        other = Ticket.read(ticket.folder.with_name(one["id"]))
        tasks = [other.tasks[task.number]] if one["how"] == "aftercorr" else other.tasks
        words = {state(other, each) for each in tasks} - {"done"}
        if words:
            return next((word for word in ("failed", "cancelled") if word in words), "waiting")
    return ""


def _start(ticket: Ticket, task: Task) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "pipeline.submit.attend", str(ticket.folder), str(task.number)]
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)


def _tell(at_work: list[tuple[Task, subprocess.Popen[bytes]]], interrupt: Interrupt) -> None:
    number = int(getattr(signal, interrupt.reason or "", signal.SIGTERM))
    for _, process in at_work:
        process.send_signal(number)


def main(folder: Path) -> int:
    """Look after the ticket in ``folder``."""
    logs.start()
    interrupt = Interrupt()
    interrupt.install()
    ticket = Ticket.read(folder)
    return keep(ticket, interrupt)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except IsobarError as error:
        logs.log.error("%s", error)
        sys.exit(error.exit_code)
