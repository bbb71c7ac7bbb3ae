"""Thresholds, calibration and intervals against the plain ways: a grid of thresholds, scikit-learn in a loop of draws.

Ten years of days and 15 classes, one process, one thread; both sides run in turn in the same process.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, f1_score

from benchmarks.table import Figure
from pipeline.contract.scores import Floats, best_cut, sigmoid
from pipeline.evaluate.bootstrap import Draws, Flags, ap_resamples, draw, f1_resamples
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.fit import fit

COMMAND = "python -m benchmarks decide"
DAYS, CLASSES, RESAMPLES, NAIVE = 3653, 15, 1000, 20
GRID = np.linspace(0.01, 0.99, 99)


def measure() -> list[Figure]:
    """Return the times of thresholds and intervals, and how good a grid's thresholds are."""
    generator = np.random.default_rng(0)
    target = generator.random((DAYS, CLASSES)) < np.geomspace(0.02, 0.3, CLASSES)
    logits = generator.normal(size=(DAYS, CLASSES)) + 2.5 * target - 2
    return [*_thresholds(target, sigmoid(logits), logits), *_intervals(target, sigmoid(logits))]


def _thresholds(target: Flags, probability: Floats, logits: Floats) -> list[Figure]:
    exact = _seconds(lambda: best_cut(target, probability), 31)
    plain = _seconds(lambda: _on_a_grid(target, probability), 1)
    whole = _seconds(lambda: fit(logits, target.astype(np.uint8), ThresholdsConfig()), 5)
    ours = np.mean(_f1(target, probability, best_cut(target, probability).threshold))
    theirs = np.mean(_f1(target, probability, _on_a_grid(target, probability)))
    size = f"{CLASSES} classes × {DAYS} days"
    return [
        Figure(f"exact thresholds, {size}", f"{1e3 * exact:.1f} ms",
               f"99 thresholds a class through scikit-learn: {1e3 * plain:.0f} ms", f"{exact / plain:.4f}", COMMAND),
        Figure("macro-F1 at those thresholds", f"{ours:.4f}", f"at the best of the 99: {theirs:.4f}",
               f"{ours / theirs:.4f}", COMMAND),
        Figure(f"calibration and thresholds, {size}", f"{1e3 * whole:.0f} ms", "thresholds alone: "
               f"{1e3 * exact:.1f} ms", f"{whole / exact:.0f}", COMMAND),
    ]  # fmt: skip


def _on_a_grid(target: Flags, probability: Floats) -> Floats:
    scores = np.array(
        [[f1_score(target[:, k], probability[:, k] >= cut, zero_division=0) for cut in GRID] for k in range(CLASSES)]
    )
    return np.asarray(GRID[scores.argmax(axis=1)])


def _f1(target: Flags, probability: Floats, thresholds: Floats) -> Floats:
    return np.asarray(f1_score(target, probability >= thresholds, average=None, zero_division=0))


def _intervals(target: Flags, probability: Floats) -> list[Figure]:
    days = np.datetime64("1991-01-01") + np.arange(DAYS)
    draws = draw(days, 7, RESAMPLES, 0)
    assert draws is not None
    chosen = probability >= 0.5
    ours = _seconds(lambda: (f1_resamples(draws, target, chosen), ap_resamples(draws, target, probability)), 3)
    few = Draws(draws.times[:NAIVE], draws.block)
    plain = _seconds(lambda: _draw_by_draw(few, target, chosen, probability), 1) / NAIVE * RESAMPLES
    same = np.abs(ap_resamples(few, target, probability) - _draw_by_draw(few, target, chosen, probability)).max()
    return [
        Figure(f"{RESAMPLES} resamples of F1 and average precision, {CLASSES} classes × {DAYS} days",
               f"{ours:.2f} s", f"scikit-learn draw by draw: {plain:.0f} s (from {NAIVE} draws); largest difference of "
               f"average precision {same:.0e}", f"{ours / plain:.4f}", COMMAND),
    ]  # fmt: skip


def _draw_by_draw(draws: Draws, target: Flags, chosen: Flags, probability: Floats) -> Floats:
    found = []
    for times in draws.times:
        rows = np.repeat(np.arange(len(target)), times[draws.block].astype(int))
        f1_score(target[rows], chosen[rows], average=None, zero_division=0)
        found.append([average_precision_score(target[rows, k], probability[rows, k]) for k in range(target.shape[1])])
    return np.array(found)


def _seconds(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)
