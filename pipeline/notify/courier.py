"""Messages go out in the background: kept on disk first, tried a few times, waited for no longer than was allowed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import InputError, IsobarError
from pipeline.notify.message import Message
from pipeline.notify.outbox import Outbox
from pipeline.notify.settings import Warn

_PAUSES = (1.0, 5.0, 20.0)
"""Seconds between attempts while the job runs; at its end there is one attempt and no pause."""
_WAIT_FOR_DEAD_SECONDS = 2.0


class Undelivered(Exception):
    """A message was not taken; the text says why, without secrets."""


class Target(Protocol):
    """One place where messages go."""

    @property
    def name(self) -> str:
        """What the outbox and messages to the user call it; free of secrets."""

    def send(self, message: Message, timeout: float) -> None:
        """Deliver, or raise :class:`Undelivered`."""


@dataclass(frozen=True)
class Manner:
    """How messages are sent: where they are kept, seconds for one attempt, or only kept (``spool``)."""

    outbox: Outbox
    timeout: float
    spool: bool
    warn: Warn


class Courier:
    """Sends to all targets at once, each at its own pace; no call of it waits but :meth:`close`."""

    def __init__(self, targets: Sequence[Target], manner: Manner) -> None:
        """Start the threads."""
        self._manner = manner
        self._closing = threading.Event()
        self._lines = [_Line(target, manner, self._closing) for target in targets]
        self._desk: queue.SimpleQueue[Callable[[], Message | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tell(self, compose: Callable[[], Message | None]) -> None:
        """Compose a message and send it; both in the background, because composing may look at slow disks."""
        self._desk.put(compose)

    def close(self, wait: float) -> None:
        """Wait until everything is sent or kept, at most ``wait`` seconds; 2 s for a target that did not answer yet."""
        began = time.monotonic()
        self._closing.set()
        self._desk.put(None)
        self._thread.join(wait)
        for line in self._lines:
            allowed = min(wait, _WAIT_FOR_DEAD_SECONDS) if line.dead else wait
            line.thread.join(max(0.0, began + allowed - time.monotonic()))

    def _serve(self) -> None:
        while (compose := self._desk.get()) is not None:
            try:
                message = compose()
            except Exception as error:  # whatever it is, the messages that follow and the job must not suffer from it
                self._manner.warn(f"cannot tell: {error!r}")
                continue
            # Kept for every target before one is tried: the time at the end may not suffice for all.
            if message is not None:
                for line in self._lines:
                    line.take(message)
        for line in self._lines:
            line.queue.put(None)


class _Line:
    """One target, its queue and its thread."""

    def __init__(self, target: Target, manner: Manner, closing: threading.Event) -> None:
        self._target, self._manner, self._closing = target, manner, closing
        self._unsent: list[Path] = []
        self.dead = False
        self.queue: queue.SimpleQueue[Path | Message | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def take(self, message: Message) -> None:
        """Keep a message and hand it to the thread that sends."""
        try:
            path = self._manner.outbox.put(message, self._target.name)
        except (IsobarError, OSError) as error:
            self._manner.warn(f"{error}; {self._target.name} is tried without keeping the message")
            self.queue.put(message)
        else:
            if not self._manner.spool:
                self.queue.put(path)

    def _serve(self) -> None:
        while (item := self.queue.get()) is not None:
            try:
                if isinstance(item, Message):
                    self._deliver(item, "lost")
                else:
                    self._send_kept(item)
            except Exception as error:  # as above
                self._manner.warn(f"{self._target.name}: {error!r}")

    def _send_kept(self, path: Path) -> None:
        with self._manner.outbox.claim(path) as found:
            if found is None:
                return
            sent = self._deliver(found[1], f"kept in {self._manner.outbox.folder}, send it with: notify-run --flush")
            # A later message of the same job says all that an earlier one would.
            for done in [path, *self._unsent] if sent else []:
                done.unlink(missing_ok=True)
            self._unsent = [] if sent else [*self._unsent, path]

    def _deliver(self, message: Message, else_it_is: str) -> bool:
        for pause in (*_PAUSES, 0.0):
            try:
                self._target.send(message, self._manner.timeout)
            except Undelivered as error:
                self.dead = True
                if not pause or self._closing.wait(pause):
                    self._manner.warn(f"{self._target.name}: {error}; {else_it_is}")
                    return False
            else:
                self.dead = False
                return True
        return False


def flush(targets: Sequence[Target], manner: Manner) -> tuple[int, int]:
    """Send what is kept, oldest first, and return how many messages were sent and how many are left.

    Of the messages of one job only the last is sent. A target that fails once is left alone until the next time.
    """
    by_name = {target.name: target for target in targets}
    outbox, last = manner.outbox, _last_of_sessions(manner)
    sent, dead, left_alone = 0, set[str](), set[str]()
    for path in outbox.waiting():
        with outbox.claim(path) if path in last else nullcontext() as found:
            if found is None:
                continue
            name, message = found
            if last[path] and name not in by_name:
                left_alone.add(name)
            if last[path] and (name in dead or name in left_alone):
                continue
            try:
                if last[path]:
                    by_name[name].send(message.late(), manner.timeout)
                    sent += 1
                path.unlink(missing_ok=True)
            except Undelivered as error:
                manner.warn(f"{name}: {error}")
                dead.add(name)
    for name in sorted(left_alone):
        manner.warn(f"{name}: not configured here; its messages are left")
    outbox.forget_old_marks()
    return sent, len(outbox.waiting())


def _last_of_sessions(manner: Manner) -> dict[Path, bool]:
    """Return every message that can be read, and whether it is the last of its session for its target.

    None is claimed for that: to another process that flushes at the same moment the last one would seem to be gone,
    and it would send the one before it as well.
    """
    found: dict[Path, tuple[str, str]] = {}
    for path in manner.outbox.waiting():
        try:
            if (kept := manner.outbox.read(path)) is not None:
                found[path] = (kept[0], kept[1].session)
        except InputError as error:
            manner.warn(str(error))
    last = {about: path for path, about in found.items()}
    return {path: last[about] == path for path, about in found.items()}
