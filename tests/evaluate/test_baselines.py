"""Baselines on label sequences whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract.scores import average_precision, f_score, macro
from pipeline.evaluate.baselines import (
    ALL_POSITIVE,
    BOTH,
    CLIMATOLOGY,
    PERSISTENCE,
    Forecast,
    LabelHistory,
    baselines,
)
from pipeline.evaluate.climate import (
    climatology,
    day_before,
    day_of_year,
    fit_transition,
    seasons_without_own_year,
    year_of,
)


def span(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1)


def run(days: np.ndarray, target: np.ndarray) -> tuple[dict[str, Forecast], np.ndarray]:
    """Train on all years but the last two, tune on the last but one, forecast the last."""
    years = year_of(days)
    last = years.max()
    tune, test = years == last - 1, years == last
    history = LabelHistory(days, target.astype(np.uint8), years < last - 1)
    return baselines(history, days[tune], target[tune], days[test], fallback=0.7), target[test]


def scores(forecast: Forecast, truth: np.ndarray) -> tuple[float, float]:
    return macro(average_precision(truth, forecast.score)), macro(f_score(truth, forecast.chosen))


def test_day_of_year_is_the_same_every_year():
    for year in (2000, 2001):
        found = day_of_year(np.array([f"{year}-{md}" for md in ("01-01", "02-28", "03-01", "12-31")], "datetime64[D]"))
        assert found.tolist() == [0, 58, 60, 365]
    assert day_of_year(np.array(["2000-02-29"], "datetime64[D]")).tolist() == [59]
    assert year_of(np.array(["1969-12-31", "2000-01-01"], "datetime64[D]")).tolist() == [1969, 2000]


def test_climatology_counts_the_days_around_and_across_the_turn_of_the_year():
    days = span("2001-01-01", "2002-12-31")
    target = (day_of_year(days) == 0)[:, None]  # 1 January only: 2 of 730 days
    frequency = climatology(days, target, window=15)
    prior = 2 / 730
    # Around 1 January lie 31 days of each year, 2 of them positive; the prior adds one day.
    assert frequency[0, 0] == pytest.approx((2 + prior) / (62 + 1))
    assert frequency[365 - 14, 0] == pytest.approx((2 + prior) / (62 + 1))  # 1 January is 15 days ahead
    assert frequency[365 - 15, 0] == pytest.approx(prior / (62 + 1))
    # A window over 29 February, which neither year has, holds 30 days of each.
    assert frequency[59, 0] == pytest.approx(prior / (60 + 1))


def test_climatology_of_a_season_without_data_is_the_prior():
    days = span("2001-01-01", "2001-03-31")
    target = (np.arange(90) % 3 == 0)[:, None]
    assert climatology(days, target)[200, 0] == pytest.approx(1 / 3)


def test_own_year_is_left_out():
    days = span("2001-01-01", "2002-12-31")
    target = (year_of(days) == 2001)[:, None]
    season = seasons_without_own_year(days, target)
    assert (season[year_of(days) == 2001] == 0).all()
    assert (season[year_of(days) == 2002] == 1).all()
    one_year = days[:365]
    assert np.array_equal(
        seasons_without_own_year(one_year, target[:365]), climatology(one_year, target[:365])[day_of_year(one_year)]
    )


def test_day_before_is_by_date_and_not_by_row():
    known = np.array(["2001-01-01", "2001-01-02", "2001-01-05"], "datetime64[D]")
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    asked = ["2001-01-01", "2001-01-02", "2001-01-03", "2001-01-05", "2001-01-08"]
    found = day_before(np.array(asked, "datetime64[D]"), known, labels)
    assert np.isnan(found[[0, 3, 4]]).all()
    assert found[1].tolist() == [1, 0]
    assert found[2].tolist() == [0, 1]


def test_all_positive_scores_the_frequency():
    days = span("2001-01-01", "2004-12-31")
    target = np.random.default_rng(0).random((len(days), 3)) < [0.1, 0.3, 0.5]
    found, truth = run(days, target)
    share = truth.mean(axis=0)
    assert scores(found[ALL_POSITIVE], truth) == pytest.approx((share.mean(), (2 * share / (1 + share)).mean()))


def test_pure_season_is_known_to_climatology():
    days = span("2001-01-01", "2005-12-31")
    quarter = np.minimum(day_of_year(days) // 92, 3)
    found, truth = run(days, quarter[:, None] == np.arange(4))
    precision, f1 = scores(found[CLIMATOLOGY], truth)
    assert precision > 0.99
    assert f1 > 0.97  # the borders fall between two days of equal frequency on either side
    assert scores(found[BOTH], truth)[0] > 0.99


def test_long_spells_are_known_to_persistence():
    """Spells of exactly 10 days in random order: yesterday is right on 9 of 10 days, the season knows nothing."""
    days = span("2001-01-01", "2006-12-31")
    spells = np.random.default_rng(1).integers(0, 3, len(days) // 10 + 1)
    found, truth = run(days, np.repeat(spells, 10)[: len(days), None] == np.arange(3))
    assert scores(found[PERSISTENCE], truth)[1] > 0.88
    assert scores(found[CLIMATOLOGY], truth)[1] < 0.6
    assert scores(found[BOTH], truth)[1] == pytest.approx(scores(found[PERSISTENCE], truth)[1], abs=0.02)


def test_a_cycle_is_known_to_transitions_only():
    """A, B, C, A, B, C …: yesterday's label is never today's, and always tells it."""
    days = span("2001-01-01", "2005-12-31")
    found, truth = run(days, (np.arange(len(days)) % 3)[:, None] == np.arange(3))
    assert scores(found[BOTH], truth) == (1.0, 1.0)
    assert scores(found[PERSISTENCE], truth)[0] == pytest.approx(1 / 3, abs=0.01)


def test_decisions_know_train_and_tuning_days_only():
    days = span("2001-01-01", "2005-12-31")
    rng = np.random.default_rng(4)
    share = 0.2 + 0.2 * np.cos(2 * np.pi * day_of_year(days) / 366)
    target = rng.random((len(days), 2)) < share[:, None]
    last, tune = year_of(days) == 2005, year_of(days) == 2004
    before, _ = run(days, target)
    target[last] = rng.random((365, 2)) < 0.9
    after, _ = run(days, target)
    assert np.array_equal(before[CLIMATOLOGY].chosen, after[CLIMATOLOGY].chosen)
    target[tune] = rng.random((366, 2)) < 0.9
    assert not np.array_equal(run(days, target)[0][CLIMATOLOGY].chosen, after[CLIMATOLOGY].chosen)


def test_unknown_yesterday_falls_back():
    days = span("2001-01-01", "2005-12-31")
    target = np.random.default_rng(2).random((len(days), 2)) < 0.4
    keep = np.ones(len(days), bool)
    keep[-200] = False
    found, truth = run(days[keep], target[keep])
    after = len(truth) - 199
    train = target[year_of(days) < 2004]
    assert found[PERSISTENCE].score[after] == pytest.approx(train.mean(axis=0))
    assert found[BOTH].score[after] == pytest.approx(found[CLIMATOLOGY].score[after], abs=1e-12)


def test_transition_weights_satisfy_the_penalised_likelihood():
    rng = np.random.default_rng(3)
    season = rng.uniform(0.1, 0.6, (500, 2))
    yesterday = (rng.random((500, 2)) < 0.3).astype(float)
    target = rng.random((500, 2)) < 1 / (1 + np.exp(-(2 * yesterday[:, ::-1] - 1)))
    fitted = fit_transition(season, yesterday, target, ridge=1.0)
    p = fitted.probability(season, yesterday)
    for k in range(2):
        odds = np.log(season[:, k] / (1 - season[:, k]))
        features = np.column_stack([np.ones(500), odds, yesterday])
        slope = features.T @ (p[:, k] - target[:, k]) + fitted.weights[:, k]
        assert np.abs(slope).max() < 1e-6  # zero at the optimum
