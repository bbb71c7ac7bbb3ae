"""Making monthly files in this process, or in several at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any

from pipeline.contract.derived import Piece
from pipeline.core.errors import FAILED, EnvironmentFault, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.programs import die_with_parent
from pipeline.derive.piece import Writer
from pipeline.derive.plan import Task
from pipeline.derive.record import Record
from pipeline.raw.reader import keeping_open

Unit = Sequence[Task]
"""Months that one process makes in turn, because they share compressed stretches of raw files."""
_GROUPS = 4
"""Groups of units a worker, so that none waits long for the last."""
_POLL_SECONDS = 0.2


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def make(writer: Writer, record: Record, units: Sequence[Unit], workers: int, interrupt: Interrupt) -> Iterator[Piece]:
    """Make the files of ``units`` and note each in ``record``; yield them as they are done.

    Raises:
        InputError: a raw file is broken or a value is missing, infinite or impossible.
        EnvironmentFault: a file cannot be written, or a worker was killed.
        Interrupted: a stop was asked for; all that was yielded is saved.
    """
    count = min(workers, len(units))
    if count <= 1:
        yield from _make_here(writer, record, [task for unit in units for task in unit], interrupt)
    else:
        yield from _make_there(writer, record, _grouped(units, count * _GROUPS), count, interrupt)


def _make_here(writer: Writer, record: Record, tasks: Unit, interrupt: Interrupt) -> Iterator[Piece]:
    if not tasks:
        return
    inputs = writer.inputs(tasks)
    for done, task in enumerate(tasks):
        interrupt.check(f"{done} of {len(tasks)} months are saved")
        piece = writer.write(task, inputs)
        record.add(piece)
        yield piece


def _grouped(units: Sequence[Unit], most: int) -> list[Unit]:
    """Join neighbours into at most ``most`` groups: what one needs of the day before is read once."""
    size = -(-len(units) // most)
    return [[task for unit in units[start : start + size] for task in unit] for start in range(0, len(units), size)]


# --- several processes -----------------------------------------------------------------------------------------------


def _make_there(
    writer: Writer, record: Record, units: Sequence[Unit], count: int, interrupt: Interrupt
) -> Iterator[Piece]:
    # Started afresh and not forked: HDF5 and its threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop, made = context.Event(), context.SimpleQueue()
    total, done = sum(map(len, units)), 0
    with ProcessPoolExecutor(count, context, _enlist, (os.getpid(), writer, record, stop, made)) as pool:
        futures = [pool.submit(_work, unit) for unit in units]
        try:
            waiting: set[Future[None]] = set(futures)
            while waiting:
                ended, waiting = wait(waiting, _POLL_SECONDS, FIRST_EXCEPTION)
                while not made.empty():
                    done += 1
                    yield made.get()
                _raise_first(ended, interrupt)
                if interrupt.requested():
                    break
        finally:
            stop.set()
            for future in futures:
                future.cancel()
    while not made.empty():
        done += 1
        yield made.get()
    if done < total:
        interrupt.check(f"{done} of {total} months are saved")


def _raise_first(ended: set[Future[None]], interrupt: Interrupt) -> None:
    for future in ended:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            if interrupt.requested():
                raise Interrupted(f"stopped by {interrupt.reason}: run the same command again to go on")
            raise EnvironmentFault(
                "derive.workers: a worker process was killed, perhaps because memory ran out; run the same command "
                "again with fewer workers or a smaller derive.memory_gb"
            )
        if error is not None:
            raise error


_station: tuple[Writer, Record, Event, Any] | None = None
"""What this worker process works with."""


def _enlist(parent: int, writer: Writer, record: Record, stop: Event, made: Any) -> None:
    """Prepare a worker: it dies with its parent, who alone listens to polite signals."""
    global _station
    die_with_parent()
    if os.getppid() != parent:  # killed while this process started
        raise SystemExit(FAILED)
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _station = (writer, record, stop, made)


def _work(tasks: Unit) -> None:
    if _station is None:
        raise RuntimeError("this process is not a worker")
    writer, record, stop, made = _station
    with keeping_open():
        inputs = writer.inputs(tasks)
        for task in tasks:
            if stop.is_set():
                return
            piece = writer.write(task, inputs)
            record.add(piece)
            made.put(piece)
