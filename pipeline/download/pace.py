"""How long to wait, how many at a time, how long an outage is borne: shared by all threads of one job."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.download.outcome import Stopped

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Pace:
    """Pauses between tries (exponential, with jitter so that parts of an array do not march in step) and questions."""

    poll_seconds: float

    def after(self, tries: int, asked: float = 0.0) -> float:
        """Return the pause in seconds after ``tries`` failures in a row; at least what the server ``asked`` for."""
        first, longest = min(5.0, self.poll_seconds), 10 * self.poll_seconds
        return max(asked, min(longest, first * 2.0 ** min(tries - 1, 20)) * random.uniform(0.5, 1.0))  # noqa: S311

    def between_questions(self, asked_before: int) -> float:
        """Return the pause before the next question about a request: 1 s, growing by half to ``poll_seconds``."""
        longest = self.poll_seconds
        return min(longest, min(1.0, longest) * 1.5 ** min(asked_before, 40)) * random.uniform(0.9, 1.1)  # noqa: S311


class Slots:
    """Requests that may wait at the data centre at one time: fewer after a refusal for crowding, more after successes.

    The data centre's limit is not published, changes, and is shared with whatever else the user runs there.
    """

    def __init__(self, most: int, stop: threading.Event) -> None:
        """Start with ``most``."""
        self._most = self._allowed = most
        self._taken = 0
        self._stop = stop
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may wait at present."""
        return self._allowed

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a free slot and hold it.

        Raises:
            Stopped: the job is to end.
        """
        with self._changed:
            while self._taken >= self._allowed:
                if self._stop.is_set():
                    raise Stopped
                self._changed.wait(_LOOK_SECONDS)
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()

    def crowded(self) -> bool:
        """Allow as many as the others hold, whose requests passed; tell whether that is a change."""
        with self._changed:
            before, self._allowed = self._allowed, max(1, min(self._allowed - 1, self._taken))
            return self._allowed < before

    def passed(self) -> None:
        """Allow one more, up to the number at the start."""
        with self._changed:
            self._allowed = min(self._most, self._allowed + 1)
            self._changed.notify_all()


class Outage:
    """Whether the service answers anybody at all, and since when it does not."""

    def __init__(self, hours: float) -> None:
        """Bear an outage of ``hours``, once the service has answered at all."""
        self._longest = hours * 3600
        self._answered = False
        self._began: float | None = None

    def over(self) -> None:
        """Note that the service answers."""
        self._answered, self._began = True, None

    def bearable(self) -> bool:
        """Note that it does not answer; tell whether to wait on."""
        self._began = self._began or time.monotonic()
        return self._answered and time.monotonic() - self._began < self._longest


class Board:
    """What every piece at work is doing, for the line of progress."""

    def __init__(self) -> None:
        """Start with nothing at work."""
        self._doing: dict[str, tuple[str, float]] = {}

    def note(self, name: str, doing: str) -> None:
        """Note what a piece is doing from now on."""
        began = self._doing.get(name, ("", 0.0))
        self._doing[name] = (doing, began[1] if began[0] == doing else time.monotonic())

    def leave(self, name: str) -> None:
        """Note that a piece is no longer at work."""
        self._doing.pop(name, None)

    def line(self) -> str:
        """Return how many do what, and how long the oldest request has waited in the queue."""
        doing = list(self._doing.values())
        kinds = ("queued", "running", "downloading", "checking", "waiting")
        counts = [(kind, sum(what == kind for what, _ in doing)) for kind in kinds]
        text = ", ".join(f"{count} {kind}" for kind, count in counts if count)
        waits = [time.monotonic() - began for what, began in doing if what == "queued"]
        return f"({text}{f'; the oldest waits {_span(max(waits))}' if waits else ''})" if text else ""


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
