"""Where a command's output goes, its last lines, and showing a log on the terminal while it grows."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pipeline.notify.message import KNOWN_LINES

OURS = "notify-run: "
"""Begins what this package itself says on standard error."""
_LOOK_BACK = 1 << 15
_POLL_SECONDS = 0.2
_LONGEST_LINE = 1000
"""More than is shown of a line, so that a secret at the edge of what is shown is still whole when it is looked for."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,40}[ -/]{0,9}[@-~]|\x1b\][^\x07]{0,200}\x07|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Output:
    """A file that a command's output goes to, from ``start`` on."""

    path: str
    start: int

    def last_lines(self) -> tuple[str, ...]:
        """Return the last lines for a message: no colours, of progress bars the last state only."""
        try:
            with open(self.path, "rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                begin = max(min(self.start, end), end - _LOOK_BACK)
                stream.seek(begin)
                text = stream.read(end - begin).decode("utf-8", errors="replace")
        except OSError:
            return ()
        lines = text.split("\n")
        # Of a line that was cut, a secret might be cut as well and not be known as one.
        return last_lines(lines[1:] if begin > self.start else lines)


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines that say something."""
    shown = (_ESCAPES.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]).rstrip() for line in lines)
    return tuple(line[:_LONGEST_LINE] for line in shown if line and not line.startswith(OURS))[-KNOWN_LINES:]


def output_of(command: Sequence[str]) -> Output | None:
    """Return the file that the command's output goes to, if it is one: ``> file``, or what ``nohup`` makes.

    Standard error first, where jobs of the suite write their log. Nothing is put between the command and its file, so
    that nothing in here can hold it up.
    """
    for descriptor in (2, 1):
        try:
            about = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode):
            return Output(f"/proc/self/fd/{descriptor}", about.st_size)
    if command and PurePath(command[0]).name == "nohup" and os.isatty(1):
        path = Path("nohup.out").absolute()
        return Output(str(path), path.stat().st_size if path.exists() else 0)
    return None


class Follower:
    """Copies what a log file gains to standard output, as ``tee`` would, without the command waiting for a reader."""

    def __init__(self, path: Path, start: int) -> None:
        """Begin at byte ``start`` of the file."""
        self._path, self._start = path, start
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self, wait: float) -> None:
        """Show the rest, for at most ``wait`` seconds: a reader that stopped reading is not waited for."""
        self._end.set()
        self._thread.join(wait)

    def _follow(self) -> None:
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._start)
                while True:
                    last = self._end.wait(_POLL_SECONDS)
                    while block := stream.read(1 << 16):
                        _write(block)
                    if last:
                        return
        except OSError:
            return  # the terminal is gone; the log has it all


def _write(block: bytes) -> None:
    while block:
        block = block[os.write(1, block) :]
