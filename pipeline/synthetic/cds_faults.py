"""What can go wrong at the made-up Climate Data Store: a table of faults, and the rules that say when they strike."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.core.choose import choose

Way = Literal["refuse", "wire", "job", "file", "body"]
"""``refuse``: an error answer. ``wire``: the connection. ``job``: how a job ends. ``file``: what its file holds, for as
long as the job lives. ``body``: one transfer of the file."""

API = ("submit", "status", "results", "costing", "jobs", "process", "constraints", "delete", "profile", "catalogue")
EVERYWHERE = (*API, "download")


@dataclass(frozen=True)
class Behaviour:
    """Where a fault strikes unless its rule says otherwise, and in which way."""

    way: Way
    on: tuple[str, ...]
    about: str


FAULTS: dict[str, Behaviour] = {
    # Refusals.
    "http_500": Behaviour("refuse", EVERYWHERE, "500 internal server error"),
    "http_502": Behaviour("refuse", EVERYWHERE, "502 bad gateway, an HTML page"),
    "http_503": Behaviour("refuse", EVERYWHERE, "503 service unavailable, an HTML page"),
    "http_504": Behaviour("refuse", EVERYWHERE, "504 gateway time-out, an HTML page"),
    "http_429": Behaviour("refuse", API, "429 rate limit exceeded, with Retry-After"),
    "html_answer": Behaviour("refuse", API, "200 with an HTML page where JSON belongs"),
    "bad_key": Behaviour("refuse", ("submit", "status", "results", "profile"), "401 authentication failed"),
    "licence": Behaviour("refuse", ("submit",), "403 required licences not accepted, with the page to visit"),
    "cost": Behaviour("refuse", ("submit",), "403 cost limits exceeded"),
    "invalid": Behaviour("refuse", ("submit",), "400 invalid request"),
    "malformed": Behaviour("refuse", ("submit",), "422 the body is not understood"),
    "gone": Behaviour("refuse", ("download",), "404 the object store has no such file"),
    "expired": Behaviour("refuse", ("results",), "404 results expired"),
    "no_cost": Behaviour("refuse", ("costing",), "500 the cost cannot be told"),
    # The connection.
    "reset": Behaviour("wire", EVERYWHERE, "the connection is reset before the answer"),
    "silent": Behaviour("wire", EVERYWHERE, "no answer for stall_seconds, then the connection closes"),
    "slow": Behaviour("wire", EVERYWHERE, "the answer comes after slow_seconds"),
    "lost_reply": Behaviour("wire", ("submit",), "the job is accepted, but the connection closes before the answer"),
    # Jobs.
    "failed": Behaviour("job", ("submit",), "the job fails: MARS has returned an error"),
    "no_data": Behaviour("job", ("submit",), "the job fails: MultiAdaptorNoDataError"),
    "rejected": Behaviour("job", ("submit",), "the job is rejected: too many queued requests"),
    "stuck": Behaviour("job", ("submit",), "the job stays in the queue for ever"),
    "forgotten": Behaviour("job", ("submit",), "the job was accepted, but its id is unknown afterwards"),
    # Files.
    "zip": Behaviour("file", ("submit",), "a ZIP archive under the name .nc"),
    "missing_day": Behaviour("file", ("submit",), "a day is absent"),
    "wrong_variable": Behaviour("file", ("submit",), "another variable than asked for"),
    "nan": Behaviour("file", ("submit",), "cells without a value"),
    "wrong_grid": Behaviour("file", ("submit",), "every second grid point only"),
    "preliminary": Behaviour("file", ("submit",), "all times are ERA5T (expver 0005)"),
    "empty": Behaviour("file", ("submit",), "no bytes at all"),
    "html_file": Behaviour("file", ("submit",), "an HTML page in place of the data"),
    "corrupt": Behaviour("file", ("submit",), "flipped bytes in the second half; checksum and size fit them"),
    "cut": Behaviour("file", ("submit",), "the file ends early; checksum and size fit the rest"),
    "wrong_size": Behaviour("file", ("submit",), "file:size is 7 bytes more than the file has"),
    # Transfers.
    "reset_body": Behaviour("body", ("download",), "the connection is reset after half of the bytes"),
    "short_body": Behaviour("body", ("download",), "the connection closes after half of the Content-Length"),
    "stall_body": Behaviour("body", ("download",), "half of the bytes, then silence for stall_seconds"),
    "flipped_body": Behaviour("body", ("download",), "bytes are flipped on the way; the checksum tells"),
    "html_page": Behaviour("body", ("download",), "200 with an HTML page in place of the file"),
    "no_range": Behaviour("body", ("download",), "Range is ignored: the file comes from its start"),
}


@dataclass(frozen=True)
class Fault:
    """When a fault of :data:`FAULTS` strikes: ``times`` times (``None``: always), at every ``every``-th occasion.

    ``match``: only where the request's words or the path hold this text. ``share``: only this share of the occasions,
    drawn by a fixed seed. ``on``: other kinds of requests than the table says.

    Raises:
        pipeline.core.errors.InputError: no such fault.
    """

    name: str
    times: int | None = None
    every: int = 1
    match: str = ""
    share: float = 1.0
    on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose(FAULTS, self.name, "fault")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``name`` or ``name:times``."""
        name, _, times = text.partition(":")
        return cls(name, int(times) if times else None)


Faulty = Iterable[Fault | str] | Mapping[str, int]


class Rules:
    """The faults of a server; they can be added and taken away while it runs."""

    def __init__(self, faults: Faulty = (), seed: int = 0) -> None:
        """``faults``: rules, names, texts ``name:times``, or a table name → times."""
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._rules: list[Fault] = []
        self._seen: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self.struck: Counter[str] = Counter()
        """How often each fault has struck."""
        self.add(*(Fault(*pair) for pair in faults.items()) if isinstance(faults, Mapping) else faults)

    def add(self, *faults: Fault | str) -> None:
        """Add rules."""
        with self._lock:
            self._rules += [Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults]

    def clear(self) -> None:
        """Take all rules away."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()
            self._struck.clear()

    def left(self, name: str) -> int:
        """Return how often the rules with a number of times have still to strike."""
        with self._lock:
            rules = [(place, rule) for place, rule in enumerate(self._rules) if rule.name == name]
            return sum(rule.times - self._struck[place] for place, rule in rules if rule.times is not None)

    def strike(self, way: Way, kind: str, text: str) -> str:
        """Return the name of the fault that strikes a request of a kind now, or nothing; it is counted."""
        with self._lock:
            for place, rule in enumerate(self._rules):
                if FAULTS[rule.name].way == way and self._strikes(place, rule, kind, text):
                    self._struck[place] += 1
                    self.struck[rule.name] += 1
                    return rule.name
        return ""

    def _strikes(self, place: int, rule: Fault, kind: str, text: str) -> bool:
        if kind not in (rule.on or FAULTS[rule.name].on) or rule.match not in text:
            return False
        if rule.times is not None and self._struck[place] >= rule.times:
            return False
        self._seen[place] += 1
        return self._seen[place] % rule.every == 0 and (rule.share >= 1 or self._random.random() < rule.share)
