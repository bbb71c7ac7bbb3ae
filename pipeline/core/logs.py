"""One log for people (text) and one for machines (JSON lines); progress bars only where somebody watches."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.artifact import plain

T = TypeVar("T")
log = logging.getLogger("isobar")
_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"}


class _Text(logging.Formatter):
    def __init__(self, colours: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S" if colours else "%Y-%m-%d %H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace(" INFO ", "  ", 1)
        colour = _COLOURS.get(record.levelname) if self._colours else None
        return f"{colour}{text}\033[0m" if colour else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        value = {"time": round(record.created, 3), "level": record.levelname, "event": record.getMessage(), **fields}
        return json.dumps(plain(value), ensure_ascii=False)


def start(verbose: bool = False) -> None:
    """Send the log to standard error, coloured when that is a terminal and ``NO_COLOR`` is not set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text(sys.stderr.isatty() and "NO_COLOR" not in os.environ))
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = [handler]


def write_to(folder: Path, name: str) -> None:
    """Append the log to ``<folder>/<name>.log`` (text) and ``<folder>/events.jsonl`` (machines) as well."""
    for path, formatter in ((folder / f"{name}.log", _Text(False)), (folder / "events.jsonl", _Json())):
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(formatter)
        log.addHandler(handler)


def also_to(handler: logging.Handler) -> None:
    """Send the log, as text, to one more place."""
    handler.setFormatter(_Text(False))
    log.addHandler(handler)


def event(message: str, **fields: Any) -> None:
    """Log ``message`` for people, with ``fields`` beside it for machines."""
    log.info(message, extra={"fields": fields})


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar on a terminal; elsewhere with a line in the log at most once a minute."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > 60:
            last = time.monotonic()
            log.info("%s: %d of %s", label, count, total if total is not None else "?")


@contextmanager
def tally(label: str, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
    """Yield ``advance(by, note)`` for work that ends in any order: a bar on a terminal, else a line a minute.

    ``advance(0, note)`` only tells how things stand; it may be called from any thread.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total, completed=done)
            yield lambda by, note: bar.update(task, advance=by, description=f"{label} {note}")
        return
    state = {"done": done, "last": time.monotonic()}

    def advance(by: int, note: str) -> None:
        state["done"] += by
        if time.monotonic() - state["last"] > 60:
            state["last"] = time.monotonic()
            log.info("%s: %d of %d %s", label, state["done"], total, note)

    yield advance
