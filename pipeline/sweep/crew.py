"""Programs of several runs at work side by side: told when to stop, and gone when their parent is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.core.artifact import make_folder
from pipeline.core.errors import DONE, INTERRUPTED, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.core.programs import start_program

_POLL_SECONDS = 0.05
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:[A-Z]+ | )")
_TAIL_BYTES = 1 << 16
T = TypeVar("T")


@dataclass(frozen=True)
class Task(Generic[T]):
    """The programs of one run, one after the other."""

    what: T
    commands: Sequence[Sequence[str]]
    """A Python file and its arguments each."""
    log: Path
    """What they print."""


@dataclass(frozen=True)
class Ended:
    """How a task ended: the exit code of its last program, and what that said."""

    code: int
    error: str
    program: str
    seconds: float


class _Work(Generic[T]):
    """A task at work."""

    def __init__(self, task: Task[T], place: int, variables: dict[str, str]) -> None:
        self.task, self.place, self._variables = task, place, variables
        self._next, self._began = 0, time.monotonic()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = self.task.commands[self._next]
        try:
            make_folder(self.task.log.parent)
            with self.task.log.open("ab" if self._next else "wb") as stream:
                return start_program(
                    command, self._variables, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
                )
        except OSError as error:
            raise disk_fault(error, self.task.log) or error from error

    def ended(self, stopping: bool) -> Ended | None:
        """Return how the task ended; start its next program where the one before ended well."""
        code = self.process.poll()
        if code is None:
            return None
        last = self._next + 1 == len(self.task.commands)
        if code == DONE and not last and not stopping:
            self._next += 1
            self.process = self._start()
            return None
        program = Path(self.task.commands[self._next][0]).stem
        seconds = time.monotonic() - self._began
        if code == DONE:
            return Ended(DONE if last else INTERRUPTED, "", program, seconds)
        if code == -signal.SIGTERM:  # told (by us, or by Slurm before us) before it could listen: nothing had begun
            return Ended(INTERRUPTED, "", program, seconds)
        return Ended(code, last_words(self.task.log, code), program, seconds)


def work(
    tasks: Iterable[Task[T]],
    jobs: int,
    variables: Callable[[int], dict[str, str]],
    interrupt: Interrupt,
    on_end: Callable[[T, Ended], None],
    on_begin: Callable[[T], None] = lambda what: None,
) -> None:
    """Do the tasks, ``jobs`` at a time; when a stop is asked for, tell those at work and wait for them.

    Args:
        tasks: what to do, in this order.
        jobs: programs at a time.
        variables: environment of the program at a place, 0 … jobs − 1.
        interrupt: asks for a stop.
        on_end: is told of each task that ended.
        on_begin: is told of each task that is about to begin.
    """
    waiting = list(tasks)[::-1]
    at_work: list[_Work[T]] = []
    told = False
    try:
        while at_work or (waiting and not interrupt.requested()):
            while waiting and len(at_work) < jobs and not interrupt.requested():
                place = min(set(range(jobs)) - {one.place for one in at_work})
                on_begin(waiting[-1].what)
                at_work.append(_Work(waiting.pop(), place, variables(place)))
            if interrupt.requested() and not told:
                told = True
                for one in at_work:
                    one.process.terminate()
            for one in tuple(at_work):
                ended = one.ended(stopping=told)
                if ended is not None:
                    at_work.remove(one)
                    on_end(one.task.what, ended)
            time.sleep(_POLL_SECONDS)
    finally:
        for one in at_work:  # only after an error or a second Ctrl-C
            with suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()


def last_words(log: Path, code: int) -> str:
    """Return the last line that a program printed, without its time, and which signal killed it if one did."""
    with log.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        lines = [line for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    said = _STAMP.sub("", lines[-1]).strip() if lines else ""
    if code >= 0:
        return said or f"ended with exit code {code} and said nothing"
    name = signal.Signals(-code).name
    memory = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"killed by {name}{memory}" + (f"; its last line: {said}" if said else "")
