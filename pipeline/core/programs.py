"""Run other programs of the suite one after the other, passing on signals and exit codes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pipeline.core.errors import DONE, FAILED, INTERRUPTED, Interrupted, IsobarError
from pipeline.core.interrupt import Interrupt

_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1
SERIES = "ISOBAR_SERIES"
"""Set for programs of a series: they need not tell what comes next."""


class ProgramFailed(IsobarError):
    """A program ended with another exit code than 0; it has said why itself."""

    def __init__(self, command: str, exit_code: int) -> None:
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        super().__init__(f"stopped: {command} {how}")
        self.exit_code = exit_code if exit_code > 0 else FAILED


def run_in_turn(commands: Sequence[Sequence[str]], interrupt: Interrupt) -> None:
    """Run each command (a Python file and its arguments); the first that fails ends the series.

    Raises:
        ProgramFailed: with the exit code of the program that failed.
        Interrupted: a stop was asked for; the program at work was told and has saved its state.
    """
    for command in commands:
        interrupt.check("the stages before are done")
        code = _run(command, interrupt)
        if code == INTERRUPTED:
            raise Interrupted(f"{command[0]} was interrupted; run the same command again to go on")
        if code != DONE:
            raise ProgramFailed(command[0], code)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that a killed series leaves nobody at work (prctl(2)).

    A stage may be killed at any moment, so nothing is lost by it, and the same command finds no lock held.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound_to(parent: int) -> Callable[[], None]:
    """Return what a child of ``parent`` does first, to die with it also where that died before the kernel was asked."""

    def bind() -> None:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(INTERRUPTED)

    return bind


def start_program(
    command: Sequence[str], variables: Mapping[str, str] = MappingProxyType({}), **streams: Any
) -> subprocess.Popen[bytes]:
    """Start a program of the suite (a Python file and its arguments) that dies with this process.

    It has a session of its own: Ctrl-C reaches it once, through us, and not a second time from the terminal.

    Args:
        command: the file and what is typed.
        variables: of its environment, beside ours.
        streams: ``stdin``, ``stdout``, ``stderr`` as :class:`subprocess.Popen` takes them.
    """
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **variables, SERIES: "1"},
        start_new_session=True,
        preexec_fn=bound_to(os.getpid()),
        **streams,
    )


def _run(command: Sequence[str], interrupt: Interrupt) -> int:
    process = start_program(command)
    told = False
    while (code := process.poll()) is None:
        if interrupt.requested() and not told:
            process.terminate()
            told = True
        time.sleep(_POLL_SECONDS)
    return code
