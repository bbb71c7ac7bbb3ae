"""Intervals of scores by drawing blocks of consecutive days with replacement (Künsch 1989, blocks side by side).

Neighbouring days are alike, so single days drawn by themselves would make intervals too narrow. All resamples are
done at once: counts a block are summed with the number of times each block was drawn, and ratios are taken last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Draws:
    """How often each of B blocks was drawn in each of R resamples (R × B), and the block of each of N days."""

    times: Floats
    block: NDArray[np.int64]

    def totals(self, values: NDArray[Any]) -> Floats:
        """Return the sum over the drawn days of ``values`` (N × K), R × K."""
        starts = np.flatnonzero(np.diff(self.block, prepend=-1))
        return np.asarray(self.times @ np.add.reduceat(values.astype(np.float64), starts, axis=0))


def draw(days: NDArray[np.datetime64], block_days: int, resamples: int, seed: int) -> Draws | None:
    """Divide ``days`` (ascending) into blocks of ``block_days`` calendar days and draw as many as there are.

    Returns ``None`` where there is nothing to draw from: no resamples are asked for, or fewer than two blocks.
    """
    number = (days - days[0]).astype(np.int64) // block_days
    block = np.cumsum(np.diff(number, prepend=number[0]) != 0)
    blocks = int(block[-1]) + 1
    if resamples == 0 or blocks < 2:
        return None
    times = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)
    return Draws(times.astype(np.float64), block.astype(np.int64))


def f1_resamples(draws: Draws, target: Flags, chosen: Flags) -> tuple[Floats, Floats]:
    """Return F1 of each class (R × K, NaN where it was not drawn) and micro F1 (R)."""
    hit, occurs, said = (draws.totals(values) for values in (target & chosen, target, chosen))
    f1 = np.divide(2 * hit, occurs + said, out=np.full_like(hit, np.nan), where=occurs > 0)
    together = (occurs + said).sum(axis=1)
    micro = np.divide(2 * hit.sum(axis=1), together, out=np.full_like(together, np.nan), where=together > 0)
    return f1, micro


def ap_resamples(draws: Draws, target: Flags, score: Floats) -> Floats:
    """Return the average precision of each class, R × K, NaN where it was not drawn."""
    return np.stack([_ap(draws, target[:, k], score[:, k]) for k in range(target.shape[1])], axis=1)


def _ap(draws: Draws, positive: Flags, score: Floats) -> Floats:
    """Average precision of one class from how many days and hits of each block rank above each cut."""
    order = np.argsort(score, kind="stable")[::-1]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[ends]
    # Recall, and so the sum, changes only at cuts below which a positive was added.
    ends = ends[np.diff(hits, prepend=0) > 0]
    if len(ends) == 0:
        return np.full(len(draws.times), np.nan)
    ranked = np.arange(len(ends)).repeat(np.diff(ends, prepend=-1))
    inside = order[: ends[-1] + 1]
    shape = (draws.times.shape[1], len(ends))
    place = draws.block[inside] * len(ends) + ranked
    chosen = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    found = np.bincount(place, positive[inside], shape[0] * shape[1]).reshape(shape)
    chosen_above, found_above = (np.cumsum(draws.times @ part, axis=1) for part in (chosen, found))
    total = found_above[:, -1:]
    steps = np.diff(found_above, axis=1, prepend=0.0) * found_above
    area = np.divide(steps, chosen_above, out=np.zeros_like(steps), where=chosen_above > 0).sum(axis=1)
    return np.asarray(np.divide(area, total[:, 0], out=np.full(len(area), np.nan), where=total[:, 0] > 0))


def macro_resamples(values: Floats, on_all_days: Floats, classes: Flags | None = None) -> Floats:
    """Return the mean over classes of R × K values, R values.

    A rare class that a resample misses counts with its score on all days: left out, the mean would rise whenever a
    class with a low score is missed.

    Args:
        values: R × K, NaN where a class was not drawn.
        on_all_days: K scores, NaN for classes that do not occur at all; these are left out.
        classes: K flags of the classes that are averaged; all if ``None``.
    """
    counted = ~np.isnan(on_all_days) & (True if classes is None else classes)
    if not counted.any():
        return np.full(len(values), np.nan)
    filled = np.where(np.isnan(values), on_all_days, values)
    return np.asarray(filled[:, counted].mean(axis=1))


def interval(values: Floats, confidence: float) -> list[Any]:
    """Return the percentile interval of R values (R × K gives K intervals); ``None`` where nothing was measured."""
    tail = 50 * (1 - confidence)
    if values.ndim == 2:
        return [interval(column, confidence) for column in values.T]
    measured = values[~np.isnan(values)]
    return list(np.percentile(measured, [tail, 100 - tail])) if measured.size else [None, None]
