"""Two passes over the derived months: moments of every sample, then the standardised array.

Each pass notes every finished month in a small file, so that a killed build goes on with the next month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.artifact import writing
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.store.arrays import ArrayWriter
from pipeline.store.channels import Channel, Fields, opened
from pipeline.store.days import Month
from pipeline.store.moments import Floats, Moments, moments_of
from pipeline.store.window import Window

BLOCK_BYTES = 1 << 25
"""Memory for one block of days of all channels; a month of small maps fits, a day of large ones always does."""


@dataclass(frozen=True)
class Plan:
    """What both passes go over; the moments of the months are kept in ``progress``."""

    months: Sequence[Month]
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
        """Days that are held at a time."""
        return max(1, BLOCK_BYTES // (4 * int(np.prod(self.shape[1:]))))


def measure(plan: Plan) -> Moments:
    """Return the moments of each sample and channel in physical units, N × C.

    Raises:
        InputError: a file is broken, or a value is infinite, or missing where it must not be.
        Interrupted: a stop was asked for; finished months are kept.
    """

    def month_moments(fields: Fields, month: Month) -> Floats:
        return np.concatenate([_measure_block(plan, fields, block) for block in month.blocks(plan.block_days)], axis=1)

    return _over_months(plan, "moments", month_moments)


def write(plan: Plan, path: Path, dtype: str, scale: Moments) -> tuple[Moments, dict[str, Any]]:
    """Write ``(x − mean) / std`` to ``path``; return the moments of what was written, N × C, and size and checksum.

    NaN stays NaN. Arithmetic is float64; only the result is rounded to ``dtype``.

    Raises:
        InputError: a value does not fit into ``dtype``, or as for :func:`measure`.
        Interrupted: a stop was asked for; finished months are kept.
        OSError: the disk is full, for instance.
    """
    done = sum(len(month.places) for month in _finished(plan, path.stem))
    writer = ArrayWriter(path, dtype, plan.shape, done)

    def month_written(fields: Fields, month: Month) -> Floats:
        parts = []
        for block in month.blocks(plan.block_days):
            rows, moments = _standardise_block(plan, fields, block, dtype, scale)
            writer.append(rows)
            parts.append(moments)
        writer.flush()
        return np.concatenate(parts, axis=1)

    try:
        return _over_months(plan, path.stem, month_written), writer.describe()
    finally:
        writer.close()


def _measure_block(plan: Plan, fields: Fields, block: Month) -> Floats:
    result = np.empty((3, len(block.places), len(plan.channels)))
    for place, channel in enumerate(plan.channels):
        values = fields.read(channel, block)
        result[:, :, place] = moments_of(values.reshape(len(values), -1)).stacked()
    return result


def _standardise_block(
    plan: Plan, fields: Fields, block: Month, dtype: str, scale: Moments
) -> tuple[NDArray[Any], Floats]:
    rows = np.empty((len(block.places), *plan.shape[1:]), dtype)
    moments = np.empty((3, len(block.places), len(plan.channels)))
    for place, (channel, mean, std) in enumerate(zip(plan.channels, scale.mean, scale.std, strict=True)):
        values = fields.read(channel, block)
        values -= mean
        values /= std
        with np.errstate(over="ignore"):
            rows[:, place] = values
        values[...] = rows[:, place]
        if np.isinf(values).any():
            raise InputError(f"{channel.name}: values beyond the range of {dtype}; set store.dtype: float32")
        moments[:, :, place] = moments_of(values.reshape(len(values), -1)).stacked()
    return rows, moments


def _over_months(plan: Plan, label: str, work: Callable[[Fields, Month], Floats]) -> Moments:
    """Run ``work`` on each month that is not finished; return the moments of all months, N × C."""
    for month in logs.progress(plan.months, f"store: {label}", len(plan.months)):
        note = _note(plan, label, month)
        if not note.exists():
            with opened(month, plan.window) as fields:
                result = work(fields, month)
            with writing(note) as part, part.open("wb") as stream:
                np.save(stream, result)
        plan.interrupt.check(f"{label} up to {month.name} is on disk")
    parts = [np.load(_note(plan, label, month)) for month in plan.months]
    return Moments(*np.concatenate(parts, axis=1))


def _finished(plan: Plan, label: str) -> Iterator[Month]:
    for month in plan.months:
        if not _note(plan, label, month).exists():
            return
        yield month


def _note(plan: Plan, label: str, month: Month) -> Path:
    return plan.progress / f"{label}-{month.name}.npy"
