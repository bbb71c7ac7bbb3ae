"""Two passes over the derived months: moments of every sample, then the standardised array.

Each pass keeps a journal of finished months, so that a killed build goes on with the next month.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec
from pipeline.core import logs
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.store.arrays import going_on
from pipeline.store.channels import Channel, Fields
from pipeline.store.days import Month, derived_file
from pipeline.store.journal import Journal
from pipeline.store.moments import Floats, Moments, moments_of
from pipeline.store.window import Window

BLOCK_BYTES = 1 << 25
"""Memory for one block of days of all channels; a month of small maps fits, a day of large ones always does."""


@dataclass(frozen=True)
class Plan:
    """What both passes go over; their journals are in the folder ``progress``."""

    months: Sequence[Month]
    derived: DerivedSpec
    channels: Sequence[Channel]
    window: Window
    progress: Path
    interrupt: Interrupt

    @property
    def samples(self) -> int:
        """Rows of the array."""
        return sum(len(month.places) for month in self.months)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N × C × H × W."""
        return (self.samples, len(self.channels), *self.window.shape)

    @property
    def block_days(self) -> int:
        """Days that are held at a time, 31 at most."""
        whole = len(self.derived.latitude) * len(self.derived.longitude)
        day = 4 * max(int(np.prod(self.shape[1:])), 3 * whole)
        return min(31, max(1, BLOCK_BYTES // day))


def measure(plan: Plan) -> Moments:
    """Return the moments of each sample and channel in physical units, N × C.

    Raises:
        InputError: a file is broken, or a value is infinite, or missing where it must not be.
        Interrupted: a stop was asked for; finished months are kept.
    """

    def month_moments(fields: Fields, month: Month) -> Floats:
        return np.concatenate([_measure_block(plan, fields, block) for block in month.blocks(plan.block_days)], axis=1)

    return _over_months(plan, _journal(plan, "moments"), month_moments)


def write(plan: Plan, path: Path, dtype: str, scale: Moments) -> tuple[Moments, dict[str, Any]]:
    """Write ``(x − mean) / std`` to ``path``; return the moments of what was written, N × C, and size and checksum.

    NaN stays NaN. Arithmetic is float64; only the result is rounded to ``dtype``.

    Raises:
        InputError: a value does not fit into ``dtype``, or as for :func:`measure`.
        Interrupted: a stop was asked for; finished months are kept.
        OSError: the disk is full, for instance.
    """
    journal = _journal(plan, path.stem)
    writer = going_on(path, dtype, plan.shape, journal, journal.samples)

    # One block is written while the next is computed.
    buffers = itertools.cycle([np.empty((plan.block_days, *plan.shape[1:]), dtype) for _ in range(2)])

    def month_written(fields: Fields, month: Month) -> Floats:
        parts = []
        for block in month.blocks(plan.block_days):
            rows = next(buffers)[: len(block.places)]
            parts.append(_standardise_block(plan, fields, block, scale, rows))
            writer.append(rows)
        writer.flush()
        return np.concatenate(parts, axis=1)

    try:
        return _over_months(plan, journal, month_written, lambda: writer.mark), writer.describe()
    finally:
        writer.close()


def _journal(plan: Plan, label: str) -> Journal:
    shapes = [(3, len(month.places), len(plan.channels)) for month in plan.months]
    return Journal(plan.progress, label, shapes)


def _measure_block(plan: Plan, fields: Fields, block: Month) -> Floats:
    result = np.empty((3, len(block.places), len(plan.channels)))
    for place, channel in enumerate(plan.channels):
        values = fields.read(channel, block)
        result[:, :, place] = moments_of(values.reshape(len(values), -1)).stacked()
    return result


def _standardise_block(plan: Plan, fields: Fields, block: Month, scale: Moments, rows: NDArray[Any]) -> Floats:
    """Fill ``rows`` (D × C × H × W) and return the moments of what it then holds."""
    moments = np.empty((3, len(rows), len(plan.channels)))
    for place, (channel, mean, std) in enumerate(zip(plan.channels, scale.mean, scale.std, strict=True)):
        values = fields.read(channel, block)
        values -= mean
        values /= std
        with np.errstate(over="ignore"):
            rows[:, place] = values
        values[...] = rows[:, place]
        if np.isinf(values).any():
            raise InputError(f"{channel.name}: values beyond the range of {rows.dtype}; set store.dtype: float32")
        moments[:, :, place] = moments_of(values.reshape(len(values), -1)).stacked()
    return moments


def _over_months(
    plan: Plan, journal: Journal, work: Callable[[Fields, Month], Floats], mark: Callable[[], float] = float
) -> Moments:
    """Run ``work`` on each month that the journal lacks; return the moments of all months, N × C."""
    todo = plan.months[len(journal.parts) :]
    for month in logs.progress(todo, f"store: {journal.label}", len(todo)):
        with derived_file(month.path) as data:
            result = work(Fields(data, plan.derived, plan.window, plan.block_days), month)
        journal.add(result, mark())
        plan.interrupt.check(f"{journal.label} up to {month.name} is on disk")
    return Moments(*np.concatenate(journal.parts, axis=1))
