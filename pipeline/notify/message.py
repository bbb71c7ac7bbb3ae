"""What is told: events, titles and texts, short enough for the services that carry them."""

from __future__ import annotations

import itertools
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from pipeline.core.errors import InputError

MOST_BYTES = 3800
"""ntfy turns a message above 4096 bytes into an attachment; the title and the late note need some of it."""
LAST_LINES = 20
"""Shown in a message."""
KNOWN_LINES = 60
"""Looked through for the line that says most."""
_TITLE_CHARACTERS = 120
_LINE_CHARACTERS = 300
_STARTERS = ("nohup", "env", "exec", "srun", "stdbuf", "nice", "time")


@dataclass(frozen=True)
class Event:
    """How one kind of event is told: the word in the title, the ntfy priority (1 to 5) and the ntfy tag (an emoji)."""

    word: str
    priority: int
    tag: str


EVENTS = {
    "start": Event("started", 2, "arrow_forward"),
    "done": Event("done", 3, "white_check_mark"),
    "failed": Event("FAILED", 5, "rotating_light"),
    "interrupted": Event("interrupted", 3, "pause_button"),
    "requeued": Event("requeued", 2, "repeat"),
    "array": Event("array done", 3, "bar_chart"),
    "info": Event("", 3, "information_source"),
}


@dataclass(frozen=True)
class Message:
    """One message, free of secrets: it may lie in the outbox until a machine with internet sends it."""

    session: str
    """Names what the message is about; of the messages of one session only the last is worth sending late."""
    event: str
    title: str
    body: str
    priority: int
    tags: tuple[str, ...]
    created: float
    """Seconds since 1970."""

    def as_json(self) -> dict[str, Any]:
        """Return what the outbox keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Message:
        """Read what :meth:`as_json` wrote.

        Raises:
            InputError: a field is missing or of another type.
        """
        try:
            texts = {name: str(value[name]) for name in ("session", "event", "title", "body")}
            numbers = {"priority": int(value["priority"]), "created": float(value["created"])}
            return cls(**texts, **numbers, tags=tuple(str(tag) for tag in value["tags"]))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a message ({error!r})") from None

    def late(self) -> Message:
        """Return the message as it is told when it could not be told in time."""
        at = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(self.created))
        return Message.from_json({**self.as_json(), "body": f"(of {at}, sent late)\n{self.body}"})


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``2 h 13 min``."""
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (next_name, next_size) in itertools.pairwise(units):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {name} {rest} {next_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def short_command(command: Sequence[str]) -> str:
    """Return a command for a title: from its script on, or without what only starts it (``nohup``, ``srun``)."""
    words = [word for word in command if word != "--notify"]
    scripts = (place for place, word in enumerate(words) if word.endswith((".py", ".sh", ".sbatch", ".R", ".jl")))
    words = words[next(scripts, 0) :]
    while len(words) > 1 and (_name(words[0]) in _STARTERS or re.match(r"\w+=|-", words[0])):
        words.pop(0)
    return shlex.join([_name(words[0]), *words[1:]]) if words else ""


def _name(word: str) -> str:
    return word if "=" in word else PurePath(word).name or word


def title(label: str, event: str, what: str) -> str:
    """Return ``label: word · what`` in one line."""
    told = " · ".join(part for part in (EVENTS[event].word, what) if part)
    line = " ".join(f"{label}: {told}".split()) if label else " ".join(told.split())
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1] + "…"


_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:(?P<level>[A-Z]+) )?\s*(?P<text>.*)$")
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Fault)\b")


def headline(lines: Sequence[str], failed: bool) -> str:
    """Return the line of a log that says most: what was written and how good it is, or what went wrong.

    Jobs of the suite end with ``wrote <run> (<score>)``, or say that it is ``fresh already``; of other programs only an
    error is recognised.
    """
    found = [match for line in lines if (match := _STAMP.match(line))]
    if failed:
        errors = [match["text"] for match in found if match["level"] in ("ERROR", "CRITICAL")]
        return (errors or [line for line in lines if _RAISED.match(line)] or [""])[-1]
    wrote = [match["text"] for match in found if re.match(r"(?:wrote|fresh|all)\b", match["text"])]
    scored = [text for text in wrote if re.search(r"\(.*\d\.\d", text)]
    return (scored or wrote or [""])[-1]


def body(facts: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Return the facts, then as many of the last log lines as fit into a message."""
    head = "\n".join(_cut(fact) for fact in facts if fact)
    kept: list[str] = []
    room = MOST_BYTES - len(head.encode()) - len("\n\n…\n")
    for line in reversed([_cut(line) for line in lines][-LAST_LINES:]):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.insert(0, line)
    text = "\n".join([head, "", *kept]) if kept else head
    return text.encode()[:MOST_BYTES].decode(errors="ignore")


def _cut(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else line[: _LINE_CHARACTERS - 1] + "…"
