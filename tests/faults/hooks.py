"""What a forked job is changed by before it begins; see :class:`tests.faults.nursery.Order`."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.faults import nursery


class Forked:
    """A program of the suite that a series starts: forked from it instead of started anew, with the same arrangements.

    Stands for :class:`subprocess.Popen` as the rooms of programs use it.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
        preexec_fn: Callable[[], None] | None = None,
        **streams: Any,
    ) -> None:
        self.args, self.returncode = command, None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(command, env, preexec_fn, streams)

    def _child(self, command: Any, env: Any, preexec_fn: Any, streams: dict[str, Any]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        if preexec_fn is not None:
            preexec_fn()
        for target, name in enumerate(("stdin", "stdout", "stderr")):
            source = streams.get(name)
            if source is subprocess.DEVNULL:
                os.dup2(os.open(os.devnull, os.O_RDWR), target)
            elif source is subprocess.STDOUT:
                os.dup2(1, target)
            elif source is not None:
                os.dup2(source.fileno(), target)
        os.environ.clear()
        os.environ.update(env or {})
        nursery.become({"words": list(command[1:]), "variables": {}})

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def forking() -> None:
    """Have a series fork its programs."""
    start = subprocess.Popen

    def chosen(command: Any, **more: Any) -> Any:
        ours = command[0] == sys.executable and len(command) > 1 and str(command[1]).endswith(".py")
        return Forked(command, **more) if ours else start(command, **more)

    from pipeline.core import programs

    programs.subprocess = _Instead(chosen)  # type: ignore[assignment]


class _Instead:
    """The module subprocess with another Popen, for one module only."""

    def __init__(self, popen: Callable[..., Any]) -> None:
        self.Popen = popen

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


def no_locks() -> None:
    """A file system whose lock daemon is gone: every request for a lock fails (ENOLCK, as on NFS without lockd)."""

    def flock(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock
    forking()
