"""The messages of one job: what is told when, and by which of many processes."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.artifact import digest8
from pipeline.core.errors import DONE, INTERRUPTED, InputError, IsobarError, shorten
from pipeline.notify import message as texts
from pipeline.notify.message import EVENTS, Message
from pipeline.notify.outbox import Outbox
from pipeline.notify.place import Place
from pipeline.notify.redact import Redactor
from pipeline.notify.settings import Settings, Warn

VANISHED = -1000
"""The code of a job that ended without a word; its exit code is known to whoever started it only."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    """Exit code; negative: the number of the signal that killed it, or ``VANISHED``."""
    seconds: float
    lines: tuple[str, ...] = ()
    """The last lines of its log."""

    @property
    def event(self) -> str:
        """``done``, ``interrupted`` or ``failed``."""
        return {0: "done", INTERRUPTED: "interrupted"}.get(self.code, "failed")

    @property
    def how(self) -> str:
        """Say it in words."""
        if self.code == VANISHED:
            return "vanished: killed (kill -9, out of memory) or crashed"
        if self.code < 0:
            return f"killed by {_signal_name(-self.code)}"
        if self.code == INTERRUPTED:
            return f"exit {INTERRUPTED}: stopped at a safe point, the same command goes on"
        return f"exit {self.code}"


class Story:
    """Composes the messages of one job, without secrets; ``None`` where there is nothing to tell."""

    def __init__(self, settings: Settings, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Take what was configured and the command that is told of."""
        self._settings = settings
        self._place = Place.here(environment)
        self._outbox = Outbox(settings.outbox)
        self._redact = Redactor(settings.secrets(), environment)
        self._what = (settings.title or texts.short_command(command))[:1000]
        alone = f"{settings.host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._session = f"{self._place.job}-{digest8(list(command))}" if self._place.job else alone

    @property
    def silent(self) -> bool:
        """Tell whether another process of the same job does the telling."""
        return self._place.rank > 0

    def start(self) -> Message | None:
        """Tell that the job began, or that it was queued again and is back; once an array."""
        place = self._place
        if place.array:
            first = self._outbox.once(f"{place.array}-start", otherwise=False)
            return self._message("start", [f"array of {place.tasks} tasks", self._where()]) if first else None
        if place.restarts:
            return self._message("requeued", [self._where(), f"start number {place.restarts + 1}"])
        return self._message("start", [self._where()])

    def end(self, ended: Ended) -> Message | None:
        """Tell how the job ended; for an array the first failure, and how all went when the last task ends."""
        if self._place.array:
            return self._end_of_task(ended)
        return self._message(ended.event, self._facts(ended), ended.lines)

    def note(self, event: str, text: str) -> Message | None:
        """Return a message of any event."""
        return self._message(event, [self._where()], text.splitlines())

    def _end_of_task(self, ended: Ended) -> Message | None:
        place = self._place
        # Who attends a task starts it again when it was killed, so that it has not ended yet.
        code = INTERRUPTED if place.attended and ended.code == VANISHED else ended.code
        failed = code not in (DONE, INTERRUPTED)
        record = {"code": code, "seconds": round(ended.seconds, 1), "host": self._settings.host}
        told = self._redact(texts.headline(ended.lines, ended.event != "done"))
        try:
            self._outbox.note_task(place.array, place.task, {**record, "headline": told})
            tasks = self._outbox.tasks(place.array)
        except IsobarError:
            return self._message("failed", self._facts(ended), ended.lines) if failed else None
        settled = [task for task in tasks.values() if task["code"] != INTERRUPTED]
        if len(settled) >= place.tasks and self._outbox.once(f"{place.array}-digest", otherwise=False):
            return self.digest(place.array, tasks)
        if failed and self._outbox.once(f"{place.array}-failed", otherwise=False):
            return self._message("failed", ["the first failure of the array", *self._facts(ended)], ended.lines)
        return None

    def digest(self, array: str, tasks: Mapping[str, Mapping[str, Any]]) -> Message | None:
        """Tell how all tasks of an array went, as far as they are known."""
        ordered = sorted(tasks, key=lambda name: (len(name), name))
        by_event: dict[str, list[str]] = {}
        for task in ordered:
            by_event.setdefault(Ended(int(tasks[task]["code"]), 0.0).event, []).append(task)
        counts = ", ".join(f"{len(names)} {event}" for event, names in by_event.items())
        failed = by_event.get("failed", [])
        seconds = sorted(float(task["seconds"]) for task in tasks.values())
        facts = [
            f"{_array_name(array)}: {counts}" + (f" of {self._place.tasks}" if self._place.tasks else ""),
            f"a task took {texts.duration(seconds[0])} to {texts.duration(seconds[-1])}",
            f"failed: {shorten(failed)}" if failed else "",
        ]
        told = [f"{task}: {tasks[task]['headline']}" for task in ordered if tasks[task].get("headline")]
        return self._message("array", facts, told, loud=bool(failed))

    def _facts(self, ended: Ended) -> list[str]:
        took = f"{texts.duration(ended.seconds)} · {ended.how}"
        return [f"{self._where()} · {took}", texts.headline(ended.lines, ended.event != "done")]

    def _where(self) -> str:
        return " · ".join(part for part in (self._settings.host, self._place.words) if part)

    def _message(
        self, event: str, facts: Sequence[str], lines: Sequence[str] = (), loud: bool = False
    ) -> Message | None:
        if event not in self._settings.events:
            return None
        loud = loud or event == "failed"
        label = self._settings.label or self._settings.host
        # Secrets go before anything is cut: half a secret would not be known as one.
        return Message(
            session=f"array-{self._place.array}" if event == "array" else self._session,
            event=event,
            title=texts.title(self._redact(label), event, self._redact(self._what)),
            body=texts.body([self._redact(fact) for fact in facts], [self._redact(line) for line in lines]),
            # A failure stays loud whatever priority was chosen for the rest.
            priority=EVENTS["failed"].priority if loud else self._settings.priority or EVENTS[event].priority,
            tags=(EVENTS[event].tag, *self._settings.tags),
            created=time.time(),
        )


def _array_name(array: str) -> str:
    return f"Slurm array {array}" if array.isdigit() else f"array {array.partition('-')[0]}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def array_digest(settings: Settings, array: str, environment: Mapping[str, str], warn: Warn) -> Message | None:
    """Return what is known of an array, for a job that runs after it (``--dependency=afterany``).

    Raises:
        InputError: no task of the array told how it ended.
    """
    outbox = Outbox(settings.outbox)
    array = outbox.array_of(array)
    tasks = outbox.tasks(array)
    if not tasks:
        raise InputError(f"--digest {array}: no task of this array is known in {outbox.folder}")
    if not outbox.once(f"{array}-digest", otherwise=True):
        warn(f"the digest of array {array} was sent already")
        return None
    return Story(settings, _array_name(array).split()[-2:], environment).digest(array, tasks)
