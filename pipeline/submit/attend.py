"""Attend one task: run its command line, note how it fares, and see that it starts again after an interruption.

The same program looks after a job on Slurm, in a plain sbatch template, and behind ``--cluster local``. It computes
nothing: a task is the command line that one would type, and whatever is started again goes on from what is on disk.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core import logs
from pipeline.core.artifact import read_json, write_json
from pipeline.core.errors import FAILED, INTERRUPTED, EnvironmentFault, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.programs import bound_to
from pipeline.submit import slurm
from pipeline.submit.process import alive, here, identity, machine
from pipeline.submit.ranks import PARALLEL, TOLD_BY, layout_of_template, on_ranks, verdict
from pipeline.submit.ticket import BEAT_SECONDS, Task, Ticket, jobs_folder, stamp

_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0
"""Between looks at files that others write: the disk is shared by all jobs."""
_KILLS = 2
"""Kills in a row after which the next one is a failure."""
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""What Slurm sends before the time limit."""
_PATIENCE = 0.6
"""The part of the time between warning and limit in which the command should have stopped."""
_STOPPED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGXCPU)


def attend(ticket: Ticket, task: Task, interrupt: Interrupt) -> int:
    """Run a task until it is done, has failed, or is to be started by somebody else; return its exit code."""
    while True:
        attempt = _Attempt(ticket, task, interrupt)
        code = attempt.run()
        if code != INTERRUPTED or not attempt.starts_again_here():
            return code


class _Attempt:
    """One start of a task's command."""

    def __init__(self, ticket: Ticket, task: Task, interrupt: Interrupt) -> None:
        self._ticket, self._task, self._interrupt = ticket, task, interrupt
        self._number = task.claim()
        self._next = task.attempt(self._number + 1)
        self._notes = task.attempt(self._number).with_suffix(".ranks")
        self._ranks: dict[str, int] | None = ticket.facts.get("ranks")
        self._last_beat = self._last_look = 0.0
        self._unwanted = False
        self._warned_at = _warned_at(ticket)
        self._record: dict[str, Any] = {
            "attempt": self._number,
            "process": identity(os.getpid()),
            "node": os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
            # Of a task of an array this is its own number, by which scontrol knows it too.
            "slurm": os.environ.get("SLURM_JOB_ID", "") if ticket.on_slurm else "",
            "log": _own_log(),
            "started": stamp(),
        }
        self._beat(force=True)

    def run(self) -> int:
        """Wait until nobody else works at the task, run the command and note how it ended."""
        if not self._alone():
            return self._end(INTERRUPTED, "told to stop while the attempt before was ending")
        command, place, variables = command_of(self._ticket, self._task, self._number)
        if self._ranks:
            command = on_ranks(command, self._ranks, self._notes, sys.executable)
        try:
            child = subprocess.Popen(
                command,
                cwd=place,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                preexec_fn=bound_to(os.getpid()),
            )
        except OSError as error:
            logs.log.error("%s: cannot be started: %s", command[0], error.strerror)
            return self._end(FAILED, f"{command[0]}: {error.strerror}")
        self._record["child"] = identity(child.pid)
        self._beat(force=True)
        return self._ended(self._watch(child))

    def starts_again_here(self) -> bool:
        """See that the interrupted task goes on: here and now, by Slurm, or not at all; tell whether here and now."""
        task, asked = self._task, self._interrupt.requested()
        if self._record.get("queued_again"):
            return False
        if self._next.exists():
            return self._note("another attempt has taken over")
        if task.cancelled:
            return self._note(f"cancelled: {task.cancelled}")
        if self._record["slurm"]:
            return self._queue_again()
        if asked:
            return self._note(f"told to stop ({self._interrupt.reason}); status.py requeue starts it again")
        if self._spent():
            return False
        self._record["queued_again"] = True
        self._note("started again")
        return True

    def _queue_again(self) -> bool:
        """See that Slurm starts the task again, unless it does so by itself."""
        state = slurm.state_of(str(self._record["slurm"]))
        if state and state != "RUNNING":
            return self._note(f"left to Slurm (job {self._record['slurm']} is {state})")
        if self._spent():
            return False
        # Noted before it is done: Slurm kills a job as soon as it is queued again.
        self._record["queued_again"] = True
        self._beat(force=True)
        self._record["queued_again"], what = _again_by_slurm(
            self._ticket, self._task, str(self._record["slurm"]), state, self._interrupt.reason
        )
        return self._note(what)

    def _spent(self) -> bool:
        # What Slurm itself queues again (preemption, a dead node) it does without asking, so it is not counted.
        before = sum(bool(one.get("queued_again")) for one in self._task.attempts())
        if before < int(self._ticket.facts["requeues"]):
            return False
        self._note(f"queued itself again {before} times, which is all that the profile's requeues allow")
        return True

    def _alone(self) -> bool:
        """Wait for the attempt before, if it has not ended; it gives way when it sees ours. False: told to stop."""
        before = next((one for one in self._task.attempts()[::-1] if one["attempt"] < self._number), None)
        if before is None or _is_over(before):
            return True
        logs.log.info("attempt %d on %s has not ended; waiting for it to give way", before["attempt"], before["node"])
        beat, since = before["heartbeat"], time.monotonic()
        while not self._interrupt.requested():
            before = read_json(self._task.attempt(before["attempt"]))
            if _is_over(before):
                return True
            if before["heartbeat"] != beat:
                beat, since = before["heartbeat"], time.monotonic()
            # Clocks of machines differ, so what counts is that nothing changes by ours.
            if not here(before["process"]) and time.monotonic() - since > 3 * BEAT_SECONDS:
                return True
            self._beat()
            time.sleep(10 * _POLL_SECONDS)
        return False

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        told, since = 0, 0.0
        patience = _PATIENCE * float(self._ticket.facts.get("warning", 0.0))
        while (code := child.poll()) is None:
            number = self._stop_signal()
            if number and not told:
                told, since = number, time.monotonic()
                child.send_signal(TOLD_BY if self._ranks else number)
            late = told in _WARNINGS and time.monotonic() - since > patience
            if late and self._record["slurm"] and "then" not in self._record:
                # At the limit Slurm would end the job for good; queued again in time, it goes on from what is saved.
                logs.log.warning("it has not stopped in %.0f s, and the time limit is near", patience)
                self._queue_again()
            self._beat()
            time.sleep(_POLL_SECONDS)
        return code

    def _stop_signal(self) -> int:
        """Return the signal that the command is to be told, 0 for none."""
        if self._interrupt.requested():
            return int(getattr(signal, self._interrupt.reason or "", signal.SIGTERM))
        if time.time() > self._warned_at:
            return int(signal.SIGUSR2)
        now = time.monotonic()
        if now - self._last_look > _LOOK_SECONDS:
            self._last_look, self._unwanted = now, self._next.exists() or bool(self._task.cancelled)
        return int(signal.SIGTERM) if self._unwanted else 0

    def _ended(self, code: int) -> int:
        if self._ranks:
            code, self._record["ranks"] = verdict(self._notes, code)
        if code >= 0:
            return self._end(code, "")
        name = signal.Signals(-code).name
        if -code in _STOPPED:  # told before it could listen; it had begun nothing
            return self._end(INTERRUPTED, f"stopped by {name}")
        killed = "killed (SIGKILL: a dead node, or no memory left)"
        before = [one.get("why") for one in self._task.attempts()[:-1]]
        if -code == signal.SIGKILL and before[-_KILLS:] != [killed] * _KILLS:
            return self._end(INTERRUPTED, killed)
        return self._end(128 - code, f"ended by {name}")

    def _end(self, code: int, why: str) -> int:
        peak = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6, 1)
        peak = max([peak, *(float(one.get("peak_memory_mb", 0.0)) for one in self._record.get("ranks", []))])
        self._record |= {"ended": stamp(), "exit_code": code, "why": why, "peak_memory_mb": peak}
        self._beat(force=True)
        return code

    def _note(self, what: str) -> bool:
        logs.log.info("attempt %d was interrupted: %s", self._number, what)
        self._record["then"] = what
        self._beat(force=True)
        return False

    def _beat(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._last_beat < BEAT_SECONDS:
            return
        self._last_beat = now
        self._record["heartbeat"] = stamp()
        # The job is worth more than the note about it: a full disk must not end what could go on.
        with suppress(EnvironmentFault):
            write_json(self._task.attempt(self._number), self._record)


def _is_over(attempt: dict[str, Any]) -> bool:
    """Tell whether an attempt has ended, or its process died without a word; elsewhere nobody can see that."""
    return "ended" in attempt or (here(attempt["process"]) and not alive(attempt["process"]))


def command_of(ticket: Ticket, task: Task, attempt: int) -> tuple[list[str], str, dict[str, str]]:
    """Return the command line of a task, the folder that it runs in, and the variables that it gets."""
    facts = ticket.facts
    own = {"ISOBAR_TICKET": ticket.label(task), "ISOBAR_ATTEMPT": str(attempt)}
    if len(facts["tasks"]) > 1:
        # Numbers begin anew when results/.jobs was deleted, so an array is told from another by its time as well.
        own |= {"ISOBAR_ARRAY": f"{ticket.id}-{facts['submitted']}", "ISOBAR_TASKS": str(len(facts["tasks"]))}
    return [*facts["program"], *task.words], str(facts["place"]), {**facts["variables"], **own}


def _again_by_slurm(ticket: Ticket, task: Task, slurm_id: str, state: str, reason: str | None) -> tuple[bool, str]:
    """See that Slurm starts an interrupted task again, once; return whether it will, and what was done.

    Slurm itself starts again what it preempted, what was requeued and what ran on a node that failed; it must not start
    what was cancelled. In all these cases the job is no longer RUNNING when it is asked here. A job that is still
    running stopped before its time limit, or in the grace time of a preemption, and is queued again from here.
    """
    refused = slurm.requeue(slurm_id) if state else "scontrol does not answer"
    if not refused:
        return True, "queued again by scontrol requeue"
    script = ticket.folder / "again.sh"
    if not script.exists() or (not state and reason == "SIGTERM"):
        return False, f"not queued again ({refused}); status.py requeue does it"
    try:
        new = slurm.resubmit(str(script), slurm_id, [str(task.number)])
    except EnvironmentFault as error:
        return False, f"not queued again ({refused}; {error}); status.py requeue does it"
    task.is_of_slurm(new)
    return True, f"submitted again as job {new} ({refused})"


def _warned_at(ticket: Ticket) -> float:
    """Return when Slurm should have warned of the time limit; its signal may come while nobody listens yet."""
    began = os.environ.get("ISOBAR_BEGAN", "")
    if not (ticket.on_slurm and began.isdigit() and "limit" in ticket.facts):
        return float("inf")
    return int(began) + float(ticket.facts["limit"]) - float(ticket.facts["warning"])


def _own_slurm_id() -> str:
    """Return the id of the Slurm job that we are in, ``12`` or ``12_3``; empty outside."""
    array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{number}" if array else os.environ.get("SLURM_JOB_ID", "")


def _own_log() -> str:
    """Return the file that our output goes to; empty if that is none."""
    path = Path("/proc/self/fd/1")
    target = os.readlink(path) if path.exists() else ""
    return target if Path(target).is_file() else ""


def main(arguments: list[str]) -> int:
    """Attend ``FOLDER TASK``, or, in a plain sbatch template, ``--here jobs/train.py CONFIG [key=value …]``."""
    logs.start()
    interrupt = Interrupt()
    interrupt.install()
    if arguments[:1] == ["--here"]:
        ticket = _ticket_of_template(arguments[1:])
        return attend(ticket, ticket.tasks[0], interrupt)
    ticket = Ticket.read(Path(arguments[0]))
    return attend(ticket, ticket.tasks[int(arguments[1])], interrupt)


def _ticket_of_template(words: list[str]) -> Ticket:
    """Return the ticket of the Slurm job that we are in, made at its first start."""
    script = Path(words[0])
    home = Path(os.environ.get("ISOBAR_HOME", Path(__file__).parents[2]))
    slurm_id = _own_slurm_id()
    folder = jobs_folder(home) / f"s{slurm_id or os.getpid()}"
    if not (folder / "job.json").exists():
        facts = {
            "name": os.environ.get("SLURM_JOB_NAME", script.stem),
            "cluster": "slurm" if slurm_id else "local",
            "job": script.stem,
            "tasks": [words[1:]],
            "program": [sys.executable, str(script)],
            "place": str(Path.cwd()),
            "variables": {},
            "requeues": 50,
            "warning": 120,
            "ranks": layout_of_template() if slurm_id and script.stem in PARALLEL else None,
            "code": {"snapshot": None, "why": "a plain template runs the working tree"},
        }
        write_json(folder / "job.json", {"submitted": stamp(), "machine": machine(), **facts})
    ticket = Ticket.read(folder)
    if slurm_id:
        ticket.tasks[0].is_of_slurm(slurm_id)
    return ticket


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except IsobarError as error:
        logs.log.error("%s", error)
        sys.exit(error.exit_code)
