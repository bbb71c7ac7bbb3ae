"""Several workers on this machine: processes that share cores and memory, replaced when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.core.errors import DONE, INTERRUPTED, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log
from pipeline.core.programs import ProgramFailed, start_program
from pipeline.tune.plan import Plan

_POLL_SECONDS = 0.05
_MOST_KILLS = 25
"""Replacements of killed workers, beyond which something on the machine kills them all."""


@dataclass
class _Crew:
    command: Callable[[int], list[str]]
    threads: int
    at_work: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: int = 0
    told: bool = False
    failed: int = 0
    """Exit code of the first that failed."""

    def start(self, number: int) -> None:
        self.at_work[number] = start_program(self.command(number), {"OMP_NUM_THREADS": str(self.threads)})

    def replace(self, number: int) -> None:
        self.kills += 1
        self.start(number)

    def may_replace(self) -> bool:
        return not self.told and not self.failed and self.kills < _MOST_KILLS

    def tell(self, number: int) -> None:
        """Send a signal to all; from then on none is replaced."""
        self.told = True
        for process in self.at_work.values():
            if process.poll() is None:
                process.send_signal(number)

    def look(self) -> None:
        """Note who ended; replace whom a signal killed."""
        found = [(number, code) for number, process in self.at_work.items() if (code := process.poll()) is not None]
        for number, code in found:
            del self.at_work[number]
            if code < 0 and self.may_replace():
                log.warning("worker %d was killed by signal %d; another takes its place", number, -code)
                self.replace(number)
            elif code != DONE and not self.told:
                self.failed = self.failed or code


def run_crew(
    plan: Plan, interrupt: Interrupt, command: Callable[[int], list[str]], complete: Callable[[], bool]
) -> None:
    """Have workers try until all is done; one that is killed is replaced, and its trial goes on elsewhere.

    Raises:
        Interrupted: a stop was asked for, and all workers have saved their state.
        ProgramFailed: a worker failed, which has said why.
    """
    workers = plan.config.workers
    crew = _Crew(command, max(1, cores() // workers))
    for number in range(workers):
        crew.start(number)
    while crew.at_work:
        if (interrupt.requested() or crew.failed) and not crew.told:
            crew.tell(signal.SIGTERM)
        crew.look()
        if not crew.at_work and crew.may_replace() and crew.kills and not complete():
            crew.replace(0)  # the last one was killed after all others had found nothing to do
        time.sleep(_POLL_SECONDS)
    if interrupt.requested():
        raise Interrupted(f"stopped by {interrupt.reason}: all trials are saved; run the same command again to go on")
    if crew.failed == INTERRUPTED:
        raise Interrupted("a worker was interrupted; run the same command again to go on")
    if crew.failed:
        raise ProgramFailed("a worker", crew.failed)


def cores() -> int:
    """Return the cores that this job may use."""
    free = len(os.sched_getaffinity(0))
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(free, int(told)) if told.isdigit() and int(told) > 0 else free
