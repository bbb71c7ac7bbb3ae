"""Resamples equal literal repetition of days, and intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract.scores import average_precision, f_score, macro
from pipeline.evaluate.bootstrap import ap_resamples, draw, f1_resamples, interval, macro_resamples
from pipeline.evaluate.metrics import micro_f1


def days(count: int, start: str = "2001-01-01") -> np.ndarray:
    return np.datetime64(start) + np.arange(count)


def world(seed: int, count: int = 120, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random((count, classes)) < np.linspace(0.03, 0.4, classes)
    score = np.round(rng.normal(size=target.shape) + target, 1)  # rounded: many ties
    return target, score > 0.5, score


def test_resamples_are_what_repeating_the_days_gives():
    target, chosen, score = world(0)
    draws = draw(days(120), 7, 25, seed=1)
    f1, micro = f1_resamples(draws, target, chosen)
    precision = ap_resamples(draws, target, score)
    for r in range(25):
        repeated = np.repeat(np.arange(120), draws.times[r, draws.block].astype(int))
        inside, said, ranked = target[repeated], chosen[repeated], score[repeated]
        assert f1[r] == pytest.approx(f_score(inside, said), nan_ok=True, abs=1e-12)
        assert micro[r] == pytest.approx(micro_f1(inside, said), abs=1e-12)
        assert precision[r] == pytest.approx(average_precision(inside, ranked), nan_ok=True, abs=1e-12)


def test_blocks_follow_the_calendar():
    gap = np.concatenate([days(10), days(10, "2001-03-01")])
    draws = draw(gap, 7, 5, seed=0)
    assert draws.block.tolist() == [0] * 7 + [1] * 3 + [2] * 4 + [3] * 6
    assert draws.times.sum(axis=1).tolist() == [4.0] * 5


@pytest.mark.parametrize(("count", "resamples"), [(5, 100), (100, 0)])
def test_nothing_to_draw_from(count: int, resamples: int):
    assert draw(days(count), 7, resamples, seed=0) is None


def test_the_seed_decides():
    same = [draw(days(70), 7, 50, seed).times for seed in (3, 3, 4)]
    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])


def test_an_absent_class_has_no_interval_and_a_missed_one_keeps_its_score():
    values = np.array([[0.5, np.nan, np.nan], [0.7, 0.2, np.nan]])
    assert macro_resamples(values, np.array([0.6, 0.3, np.nan])) == pytest.approx([0.4, 0.45])
    only_first = macro_resamples(values, np.array([0.6, 0.3, np.nan]), np.array([True, False, False]))
    assert only_first == pytest.approx([0.5, 0.7])
    assert interval(values, 0.95)[2] == [None, None]
    assert np.isnan(macro_resamples(values, np.full(3, np.nan))).all()


def test_percentiles():
    assert interval(np.arange(1001.0), 0.9) == pytest.approx([50.0, 950.0])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Days in runs of 7 that are equal: blocks of 7 are right, single days would be √7 too narrow."""

    def sample(rng: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray]:
        target = rng.random((runs, 3)) < 0.35
        chosen = target ^ (rng.random(target.shape) < 0.25)
        return np.repeat(target, 7, axis=0), np.repeat(chosen, 7, axis=0)

    truth = macro(f_score(*sample(np.random.default_rng(99), 400_000)))
    held = {1: 0, 7: 0}
    for seed in range(150):
        target, chosen = sample(np.random.default_rng(seed), 60)
        for block in held:
            f1, _ = f1_resamples(draw(days(420), block, 200, seed), target, chosen)
            low, high = interval(macro_resamples(f1, f_score(target, chosen)), 0.9)
            held[block] += low <= truth <= high
    # 90 % nominal; binomial standard error of 150 trials is 2.5 %, and percentile intervals are a little short.
    assert 0.81 <= held[7] / 150 <= 0.97
    assert held[1] / 150 < 0.65
