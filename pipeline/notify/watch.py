"""The program beside a job that was started with ``--notify``: it tells of the job even when that is killed.

The job writes its log lines to a pipe, which is this program's standard input, and in the end a line with NUL and the
exit code. When the pipe closes or the job's process ends without one, the job was killed.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import deque

from pipeline.notify.courier import Courier
from pipeline.notify.message import KNOWN_LINES
from pipeline.notify.output import Output, last_lines
from pipeline.notify.story import VANISHED, Ended, Story

_GRACE_SECONDS = 1.0
_LONGEST_LINE = 1 << 16


def watch(story: Story, courier: Courier, job: int, log: Output | None, wait: float) -> None:
    """Tell that the job with process id ``job`` began, follow it, and tell how it ended."""
    # Schedulers signal every process of a job; this one has to outlast the others.
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    began = time.monotonic()
    courier.tell(story.start)
    lines = _Lines()
    code = _follow(job, lines)
    # The file of standard error holds more than the job's own log: programs that it ran, the last words of a crash.
    told = (log.last_lines() if log else ()) or last_lines(list(lines.kept))
    ended = Ended(VANISHED if code is None else code, time.monotonic() - began, told)
    courier.tell(lambda: story.end(ended))
    courier.close(wait)


class _Lines:
    """The last lines of a stream of bytes, and the exit code once it was in it."""

    def __init__(self) -> None:
        self.kept: deque[str] = deque(maxlen=KNOWN_LINES)
        self.code: int | None = None
        self._rest = b""

    def feed(self, block: bytes) -> None:
        *whole, self._rest = (self._rest + block).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in whole:
            if line.startswith(b"\0") and line[1:].isdigit():
                self.code = int(line[1:])
            else:
                self.kept.append(line.decode(errors="replace"))


def _follow(job: int, lines: _Lines) -> int | None:
    """Read until the exit code comes, the pipe closes or the job's process is gone; return the code, if any."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(0, selectors.EVENT_READ)
        process = _process(job)
        if process is not None:
            waiting.register(process, selectors.EVENT_READ)
        gone = False
        while lines.code is None:
            ready = [key.fd for key, _ in waiting.select(_GRACE_SECONDS if gone else None)]
            if 0 in ready:
                block = os.read(0, 1 << 16)
                if not block:
                    break
                lines.feed(block)
            elif gone:
                break
            elif process in ready:
                # Workers of the job may hold the pipe open for ever; what is in it is still read.
                gone = True
                waiting.unregister(process)
    return lines.code


def _process(job: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; ``None`` where there is none to be had."""
    try:
        return os.pidfd_open(job)
    except (AttributeError, OSError):
        return None
