"""Thresholds: fallback, shrinkage, least precision, and how much the tuning flatters."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract.scores import best_cut, calibrated, f_score, logit, macro, sigmoid
from pipeline.core.errors import InputError
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.fit import cross_fit, fit, flattery


def world(seed: int = 0, days: int = 600, classes: int = 5, skill: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random((days, classes)) < np.linspace(0.05, 0.4, classes)
    return (rng.normal(size=target.shape) + skill * target - 1).astype(np.float32), target


def test_thresholds_reach_the_best_f1_whatever_the_calibration():
    logits, target = world()
    best = best_cut(target, sigmoid(logits)).f_beta
    for kind in ("none", "temperature", "platt"):
        fitted = fit(logits, target, ThresholdsConfig(calibration=kind))
        assert f_score(target, fitted.decide(logits)) == pytest.approx(best, abs=1e-12)


def test_a_class_without_positives_gets_the_fallback():
    logits, target = world()
    target[:, 2] = False
    fitted = fit(logits, target, ThresholdsConfig(fallback=0.65, shrinkage=10.0))
    assert fitted.fallback.tolist() == [False, False, True, False, False]
    assert fitted.thresholds[2] == 0.65


def test_beta_moves_thresholds_toward_recall():
    logits, target = world()
    low, high = (fit(logits, target, ThresholdsConfig(beta=beta)).thresholds for beta in (0.5, 2.0))
    assert (low > high).all()


def test_minimum_precision_holds_where_it_can_be_reached():
    logits, target = world()
    fitted = fit(logits, target, ThresholdsConfig(minimum_precision=0.8))
    chosen = fitted.decide(logits)
    precision = (chosen & target).sum(axis=0) / chosen.sum(axis=0)
    assert (precision >= 0.8).all()


def test_shrinkage_goes_from_own_to_pooled():
    logits, target = world()
    none = fit(logits, target, ThresholdsConfig())
    p = calibrated(logits, none.a, none.b)
    pooled = best_cut(target.reshape(-1, 1), p.reshape(-1, 1)).threshold[0]
    some, all_ = (fit(logits, target, ThresholdsConfig(shrinkage=n)).thresholds for n in (50.0, 1e9))
    assert all_ == pytest.approx(np.full(5, pooled), abs=1e-6)
    own = target.sum(axis=0) / (target.sum(axis=0) + 50.0)
    assert logit(some) == pytest.approx(own * logit(none.thresholds) + (1 - own) * logit(np.array(pooled)), abs=1e-9)


def test_cross_fit_never_decides_a_day_it_was_fitted_on():
    """With labels of the last block turned round, in-sample fits follow them and the cross-fit cannot."""
    logits, target = world(classes=1, skill=4.0)
    settings = ThresholdsConfig(calibration="none", cross_fit_blocks=3)
    before = cross_fit(logits, target, settings).decisions[400:]
    target[400:] = ~target[400:]
    assert np.array_equal(cross_fit(logits, target, settings).decisions[400:], before)


def test_tuning_on_noise_flatters_and_the_cross_fit_says_how_much():
    """Scores that know nothing: what tuning gains on 200 days is lost on new days; the estimate must foresee it."""
    settings, told, real = ThresholdsConfig(), [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logits, target = rng.normal(size=(4200, 8)), rng.random((4200, 8)) < 0.06
        fitted = fit(logits[:200], target[:200], settings)
        inside = macro(f_score(target[:200], fitted.decide(logits[:200])))
        real.append(inside - macro(f_score(target[200:], fitted.decide(logits[200:]))))
        crossed = cross_fit(logits[:200], target[:200], settings)
        told.append(flattery(target[:200], fitted.decide(logits[:200]), crossed, 1.0)["flatters_by"])
    assert np.mean(real) > 0.05
    # The cross-fit tunes on four fifths of the days, so it may overstate; standard error over 20 seeds is 0.007.
    assert np.mean(told) == pytest.approx(np.mean(real), abs=0.04)


def test_few_days():
    logits, target = world(days=12)
    crossed = cross_fit(logits, target, ThresholdsConfig(cross_fit_blocks=5))
    assert crossed.blocks == 5
    assert np.isfinite(crossed.log_loss).all()
    with pytest.raises(InputError, match="validation has 1 labelled samples, too few"):
        cross_fit(logits[:1], target[:1], ThresholdsConfig())


def test_blocks_are_years_where_there_are_several_and_neighbours_stay_out():
    logits, target = world(days=730, classes=1, skill=4.0)
    dates = np.arange("1999-01-01", "2000-12-31", dtype="datetime64[D]")
    settings = ThresholdsConfig(calibration="none")
    before = cross_fit(logits, target, settings, dates)
    assert before.blocks == 2
    # Three days on each side of the border are in no fit: turning their labels round changes no decision.
    target[362:365] = ~target[362:365]
    assert np.array_equal(cross_fit(logits, target, settings, dates).decisions[365:], before.decisions[365:])


def test_samples_count_as_days_where_all_are_of_few_days():
    rng = np.random.default_rng(5)
    target = np.eye(3)[rng.integers(0, 3, 90)]
    logits = 2 * target + rng.normal(size=target.shape)
    dates = np.repeat(np.array(["2025-03-03", "2025-03-04"], "datetime64[D]"), 45)
    crossed = cross_fit(logits, target, ThresholdsConfig(cross_fit_blocks=3), dates, single=True)
    assert crossed.blocks == 3
    assert (crossed.decisions.sum(axis=1) == 1).all()


def test_samples_without_order_are_dealt_out_so_that_files_sorted_by_class_do_not_mislead():
    rng = np.random.default_rng(6)
    target = np.eye(4)[np.repeat(np.arange(4), 50)]
    logits = 3 * target + rng.normal(size=target.shape)
    sorted_by_class = cross_fit(logits, target, ThresholdsConfig(cross_fit_blocks=4), single=True)
    dealt_out = cross_fit(logits, target, ThresholdsConfig(cross_fit_blocks=4), single=True, ordered=False)
    wrong, right = (macro(f_score(target, found.decisions)) for found in (sorted_by_class, dealt_out))
    assert right > 0.9
    assert wrong < right
