"""Run a command as if it had been typed alone: its signals, its output, its exit code."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import EnvironmentFault, InputError, disk_fault
from pipeline.notify.settings import WRAPPED

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes by which shells say that a command could not be started."""
_OWN = ("KILL", "STOP", "SEGV", "BUS", "FPE", "ILL", "SYS", "TRAP", "ABRT", "PIPE",
        "TSTP", "TTIN", "TTOU", "CONT", "WINCH", "URG")  # fmt: skip
"""Signals that nobody can catch, that mean this process itself, or that stop and continue a whole group."""
_AWAITED = signal.valid_signals() - {getattr(signal, f"SIG{name}") for name in _OWN}
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_LOOK_SECONDS = 5.0
_SI_KERNEL = 0x80


class NotStarted(Exception):
    """The command could not be started; the exit code is what a shell would give."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class Running:
    """A command at work. Signals are taken in turn with ``sigtimedwait``; no handler runs at a random moment.

    All threads of this process must be started after it, so that they inherit the blocked signals.
    """

    def __init__(self, command: Sequence[str], log: Path | None) -> None:
        """Start the command; with ``log`` its output is appended to that file.

        Raises:
            NotStarted: there is no such program, or it cannot be executed.
        """
        # A launcher may have left SIGCHLD ignored, and the kernel would then keep the exit code from us.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        environment = {**os.environ, WRAPPED: f"{socket.gethostname()}:{os.getpid()}"}
        try:
            self._pid = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                file_actions=_to_log(log) if log else [],
                setsigmask=before,
                setsigdef=_IGNORED_BY_PYTHON,
            )
        except FileNotFoundError:
            raise NotStarted(f"{command[0]}: command not found", NOT_FOUND) from None
        except (OSError, ValueError) as error:
            raise NotStarted(f"{command[0]}: cannot be started ({error})", NOT_EXECUTABLE) from None

    def wait(self) -> int:
        """Wait for the end, passing on signals; return the exit code, or minus the signal that killed the command."""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            got = signal.sigtimedwait(_AWAITED, _LOOK_SECONDS)
            # What a terminal sends (Ctrl-C) has reached the whole process group: a second one would mean "at once".
            if got is not None and got.si_signo != signal.SIGCHLD and got.si_code != _SI_KERNEL:
                os.kill(self._pid, got.si_signo)


def _to_log(path: Path) -> list[tuple[int, int, str, int, int] | tuple[int, int, int]]:
    opened = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [(os.POSIX_SPAWN_OPEN, 1, str(path), opened, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]


def open_log(path: Path) -> int:
    """Make sure that a log can be written, and return its size.

    Raises:
        InputError: its folder does not exist or it is a folder.
        EnvironmentFault: it cannot be written.
    """
    try:
        with path.open("ab") as stream:
            return stream.tell()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"--log {path}: {error.strerror}; name a file in a folder that exists") from None
    except OSError as error:
        raise disk_fault(error, path) or EnvironmentFault(f"--log {path}: {error.strerror}") from None


def shell_code(code: int) -> int:
    """Return the exit code by which a shell tells of ``code`` (128 + signal)."""
    return 128 - code if code < 0 else code


def leave(code: int) -> None:
    """End this process at once: threads that still wait for a dead server are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
