"""Signals set a flag and nothing else; loops look at the flag where stopping is safe."""

from __future__ import annotations

import signal
import time
from types import FrameType

from pipeline.core.errors import Interrupted

CAUGHT = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGXCPU")
"""By name."""


class Interrupt:
    """The request to stop: from a signal, or because a time limit would be passed."""

    def __init__(self) -> None:
        """Start with no request and no time limit."""
        self.reason: str | None = None
        self._deadline: float | None = None

    def install(self) -> None:
        """Catch the signals by which schedulers and people stop jobs; a second Ctrl-C ends the program at once."""
        for name in CAUGHT:
            signal.signal(getattr(signal, name), self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.reason is not None:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name

    def limit(self, seconds: float | None) -> None:
        """Ask for a stop ``seconds`` from now (``None``: never)."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def requested(self) -> bool:
        """Tell whether the job should stop at its next safe point."""
        if self.reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "max_time"
        return self.reason is not None

    def check(self, what_is_saved: str) -> None:
        """Raise :class:`Interrupted` if a stop was asked for; call it where everything done so far is on disk."""
        if self.requested():
            raise Interrupted(f"stopped by {self.reason}: {what_is_saved}; run the same command again to go on")
