"""Calibration and thresholds of all classes from logits and targets, and how much their tuning flatters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import decided, probabilities_of
from pipeline.contract.scores import (
    Cut,
    Floats,
    best_cut,
    calibrated,
    f_score,
    log_loss,
    log_loss_of,
    logit,
    macro,
    sigmoid,
)
from pipeline.core.errors import InputError
from pipeline.thresholds.calibrate import calibrate
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.multiclass import calibrate_softmax


@dataclass(frozen=True)
class Fitted:
    """K slopes, offsets and thresholds (calibrated probabilities), and which thresholds are the fallback."""

    a: Floats
    b: Floats
    thresholds: Floats
    fallback: NDArray[np.bool_]
    single: bool = False
    """Whether exactly one class is said of each sample; thresholds are NaN then."""

    def probabilities(self, logits: NDArray[Any]) -> Floats:
        """Return calibrated probabilities, N × K."""
        return probabilities_of(logits, self.a, self.b, self.single)

    def decide(self, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which classes are said to occur, N × K."""
        return decided(self.probabilities(logits), self.thresholds, self.single)

    def log_loss(self, logits: NDArray[Any], target: NDArray[Any]) -> Floats:
        """Return the log loss of each class's calibrated probabilities, K values."""
        if self.single:
            return log_loss_of(target, self.probabilities(logits))
        return log_loss(target, np.asarray(logits, np.float64) * self.a + self.b)


def fit(logits: NDArray[Any], target: NDArray[Any], config: ThresholdsConfig, single: bool = False) -> Fitted:
    """Calibrate each class, then put its threshold where Fβ is largest.

    Args:
        logits: N × K.
        target: N × K, 0 or 1.
        config: the settings.
        single: exactly one class is true: all are calibrated together, and the likeliest is chosen.
    """
    if single:
        a, b = calibrate_softmax(logits, target, config.calibration, config.calibration_prior)
        return Fitted(a, b, np.full(len(a), np.nan), np.zeros(len(a), np.bool_), single=True)
    a, b = calibrate(logits, target, config.calibration, config.calibration_prior)
    probability = calibrated(logits, a, b)
    cut = best_cut(target, probability, config.beta, config.minimum_precision)
    thresholds = _shrink(cut, target, probability, config)
    fallback = np.asarray(~(target > 0).any(axis=0))
    return Fitted(a, b, np.where(fallback, config.fallback, thresholds), fallback)


def _shrink(cut: Cut, target: NDArray[Any], probability: Floats, config: ThresholdsConfig) -> Floats:
    """Draw each threshold toward the one that is best for all classes together, on the logit scale.

    A class with n positives keeps n / (n + shrinkage) of its own.
    """
    if config.shrinkage == 0:
        return cut.threshold
    pooled = best_cut(target.reshape(-1, 1), probability.reshape(-1, 1), config.beta, config.minimum_precision)
    positives = (target > 0).sum(axis=0)
    own = positives / (positives + config.shrinkage)
    lowest, highest = 1e-12, 1 - 1e-12
    mixed = own * logit(np.clip(cut.threshold, lowest, highest))
    return sigmoid(mixed + (1 - own) * logit(np.clip(pooled.threshold, lowest, highest)))


Dates = NDArray[np.datetime64]
_GAP = np.timedelta64(3, "D")
_LEAST_SPAN = np.timedelta64(30, "D")
"""Validation that is shorter cannot be divided into blocks of days with gaps between them."""


@dataclass(frozen=True)
class CrossFit:
    """What the same tuning reaches on days it has not seen."""

    blocks: int
    decisions: NDArray[np.bool_]
    """N × K: each block of days decided by what was fitted on the other blocks."""
    log_loss: Floats
    """K: of the probabilities calibrated on the other blocks."""


def cross_fit(
    logits: NDArray[Any],
    target: NDArray[Any],
    config: ThresholdsConfig,
    dates: Dates | None = None,
    single: bool = False,
    ordered: bool = True,
) -> CrossFit:
    """Fit on all blocks of days but one and decide that one, for each block in turn.

    A block is a year where validation has several, else one of ``cross_fit_blocks`` contiguous parts. Days within
    three of a block are left out of its fit: neighbouring days are alike, and would give the block away. Where all of
    validation is but a few days (charts of minutes), samples count as days. Samples without an order are dealt out to
    the blocks in turn: their files may well be sorted by class.

    Args:
        logits: N × K, days ascending.
        target: N × K, 0 or 1.
        config: the settings.
        dates: N days; consecutive ones if not given.
        single: exactly one class is true.
        ordered: whether neighbours in the arrays are neighbours in time.

    Raises:
        InputError: too few days to leave a block out.
    """
    positions = np.arange(len(logits)).astype("datetime64[D]")
    few = dates is not None and dates[-1] - dates[0] < _LEAST_SPAN
    days = positions if dates is None or few else dates
    count = config.cross_fit_blocks
    blocks = _blocks(days, count) if ordered else [np.arange(first, len(days), count) for first in range(count)]
    decisions = np.zeros(target.shape, np.bool_)
    loss = np.zeros(target.shape[1])
    for block in blocks:
        if ordered:
            others = np.flatnonzero((days < days[block[0]] - _GAP) | (days > days[block[-1]] + _GAP))
        else:
            others = np.setdiff1d(np.arange(len(days)), block)
        if len(others) == 0:
            raise InputError(
                f"validation has {len(days)} labelled samples, too few to hold some out of the tuning of thresholds; "
                "give store.split.val more"
            )
        fitted = fit(logits[others], target[others], config, single)
        decisions[block] = fitted.decide(logits[block])
        loss += fitted.log_loss(logits[block], target[block]) * len(block) / len(days)
    return CrossFit(len(blocks), decisions, loss)


def _blocks(days: Dates, count: int) -> list[NDArray[np.intp]]:
    """Return the positions of each block."""
    years = days.astype("datetime64[Y]")
    if len(np.unique(years)) > 1:
        return [np.flatnonzero(years == year) for year in np.unique(years)]
    return list(np.array_split(np.arange(len(days)), min(count, len(days))))


def flattery(
    target: NDArray[Any], fitted_decisions: NDArray[np.bool_], crossed: CrossFit, beta: float
) -> dict[str, Any]:
    """Compare the scores on the days that were tuned on with those on held-out blocks, as JSON values."""
    inside, outside = (macro(f_score(target, decisions)) for decisions in (fitted_decisions, crossed.decisions))
    return {
        "blocks": crossed.blocks,
        "macro_f1_in_sample": inside,
        "macro_f1_cross_fit": outside,
        "flatters_by": inside - outside,
        "f_beta_in_sample": f_score(target, fitted_decisions, beta),
        "f_beta_cross_fit": f_score(target, crossed.decisions, beta),
    }
