"""``--notify``: a program beside the job tells people how it goes; core starts it and knows nothing else of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

_PROGRAM = ("-P", "-m", "pipeline.notify", "watch")
_PATIENCE_SECONDS = 8.0


class Teller(logging.Handler):
    """Hands each line of the log, and in the end the exit code, to the program; never waits for it to read them."""

    def __init__(self, words: Sequence[str]) -> None:
        """Start the program; ``words`` are the command by which people know the job."""
        super().__init__(logging.INFO)
        ours, self._pipe = os.pipe()
        # A program that hangs must not hold up the job: what does not fit into the pipe is left out.
        os.set_blocking(self._pipe, False)
        command = [sys.executable, *_PROGRAM, str(os.getpid()), *words]
        # A session of its own: neither Ctrl-C nor a cancelled process group ends it before it has told of that.
        self._program = subprocess.Popen(command, stdin=ours, stdout=subprocess.DEVNULL, start_new_session=True)
        os.close(ours)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a line."""
        self._write(self.format(record).encode(errors="replace") + b"\n")

    def end(self, exit_code: int) -> None:
        """Hand over the exit code, and wait a moment until it is told: a scheduler kills what a job leaves behind."""
        self._write(b"\0%d\n" % exit_code)
        os.close(self._pipe)
        with suppress(subprocess.TimeoutExpired):
            self._program.wait(_PATIENCE_SECONDS)

    def _write(self, text: bytes) -> None:
        with suppress(OSError):
            os.write(self._pipe, text)
