"""What importance looks like where there is nothing to learn: labels shuffled in blocks, everything else the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.importance.boosting import Machine, Params
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.folds import Folds
from pipeline.importance.journal import Journal
from pipeline.importance.measures import Measured, measure
from pipeline.importance.parallel import batches, each
from pipeline.importance.samples import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_LEAST_SHARE = 0.02
_LEAST_BLOCKS = 5


@dataclass(frozen=True)
class Null:
    """Means over folds for S shuffles: of C columns (S × C), and the macro-F1 (S)."""

    permutation: Floats
    gain: Floats
    """Shares: their sum grows with how hard the labels are to fit, so that gains themselves cannot be compared."""
    macro_f1: Floats
    block: int


def block_length(config: ImportanceConfig, samples: Samples, folds: Folds) -> int:
    """Return how many samples stay together in a shuffle.

    Raises:
        InputError: fewer than five blocks would be left.
    """
    natural = max(samples.span + config.labels.horizon, round(_LEAST_SHARE * folds.development))
    length = config.null.block or natural
    if folds.development < _LEAST_BLOCKS * length:
        raise InputError(
            f"null.block: blocks of {length} samples in {folds.development} are fewer than {_LEAST_BLOCKS}; set a "
            "smaller null.block, or null.shuffles: 0"
        )
    return length


def shuffled(y: Ints, series: Ints, length: int, random: np.random.Generator) -> Ints:
    """Return ``y`` with blocks of ``length`` exchanged within each series.

    Each series is turned by a random number of places first, so that blocks begin anywhere. Labels stay beside their
    neighbours, so a model finds in them the same runs of one class as in the true ones, but no relation to the inputs.
    """
    result = y.copy()
    for number in np.unique(series).tolist():
        places = np.flatnonzero(series == number)
        turned = np.roll(y[places], int(random.integers(len(places))))
        blocks = [turned[start : start + length] for start in range(0, len(turned), length)]
        result[places] = np.concatenate([blocks[place] for place in random.permutation(len(blocks))])
    return result


def null_distribution(
    config: ImportanceConfig,
    samples: Samples,
    folds: Folds,
    machine: Machine,
    params: Sequence[Params],
    journal: Journal,
    interrupt: Interrupt,
) -> Null | None:
    """Measure importance with shuffled labels, ``null.shuffles`` times; ``None`` if that is 0.

    Labels of the test block are neither used nor moved. The parameters are those of each fold, found with the true
    labels of what it is trained on; they are not searched again.

    Raises:
        Interrupted: a stop was asked for; finished shuffles are on disk.
    """
    if config.null.shuffles == 0:
        return None
    length = block_length(config, samples, folds)
    alone = replace(machine, threads=1)

    def shuffle(number: int) -> dict[str, Any]:
        y = _shuffled_development(samples, folds, length, np.random.default_rng([config.seed, 7, number]))
        found = measure(samples, folds.walk, alone, y, params, config.null.repeats)
        return {
            "permutation": found.permutation.mean(axis=0),
            "gain": found.gain_share.mean(axis=0),
            "macro_f1": float(found.macro_f1.mean()),
        }

    total, done = config.null.shuffles, len(journal.steps)
    with logs.tally("shuffles", total, done) as advance:
        for batch in batches(range(done, total), machine.threads):
            interrupt.check(f"all trials and {len(journal.steps)} shuffles are done")
            for step in each(shuffle, batch, machine.threads):
                journal.add(step)
            advance(len(batch), "")
    steps = journal.steps
    permutation, gain, score = (
        np.array([step[name] for step in steps], np.float64) for name in ("permutation", "gain", "macro_f1")
    )
    return Null(permutation, gain, score, length)


def _shuffled_development(samples: Samples, folds: Folds, length: int, random: np.random.Generator) -> Ints:
    y, end = samples.y.copy(), folds.development
    y[:end] = shuffled(y[:end], samples.series[:end], length, random)
    return y


@dataclass(frozen=True)
class Compared:
    """p-values of C columns and of the score: ``(1 + shuffles that reach it) / (1 + shuffles)``."""

    permutation: Floats
    gain: Floats
    family: Floats
    """Permutation, against the largest of all columns of each shuffle (Westfall & Young 1993)."""
    macro_f1: float


def compare(found: Measured, null: Null) -> Compared:
    """Compare importance with the null (Altmann et al. 2010, with empirical p-values)."""

    def p_value(real: Floats, reached: Floats) -> Floats:
        return np.asarray((1 + (reached >= real).sum(axis=0)) / (1 + len(reached)))

    permutation = found.permutation.mean(axis=0)
    return Compared(
        p_value(permutation, null.permutation),
        p_value(found.gain_share.mean(axis=0), null.gain),
        p_value(permutation, null.permutation.max(axis=1, keepdims=True)),
        float(p_value(found.macro_f1.mean(), null.macro_f1)),
    )
