"""Means, spreads and paired tests against hand-made cases and against scipy's exact distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.sweep.compare import by_unit, paired, sign_test, signed_rank_test, spread, statement


def test_spread_leaves_out_what_was_not_measured() -> None:
    found = spread([1.0, None, 3.0, float("nan")])
    assert found == {"mean": 2.0, "sd": pytest.approx(math.sqrt(2)), "min": 1.0, "max": 3.0, "n": 2}
    assert spread([0.5])["sd"] is None
    assert spread([]) == {"mean": None, "sd": None, "min": None, "max": None, "n": 0}


@pytest.mark.parametrize("seed", range(20))
def test_signed_ranks_as_scipy(seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = chance.normal(0.3, 1.0, int(chance.integers(3, 14)))
    expected = stats.wilcoxon(values, method="exact").pvalue
    # Both count the same whole numbers of sign patterns; only the division rounds.
    assert signed_rank_test(values) == pytest.approx(expected, rel=1e-12)


def test_signed_ranks_with_ties_and_zeros_by_enumeration() -> None:
    values = np.array([0.0, 0.5, 0.5, -0.5, 1.0, 2.0, -2.0])
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(kept))).reshape(len(kept), -1)
    sums = ranks @ signs
    observed = ranks[kept > 0].sum()
    extreme = min(observed, ranks.sum() - observed)
    assert signed_rank_test(values) == pytest.approx(min(1.0, 2 * float((sums <= extreme).mean())), rel=1e-12)
    assert signed_rank_test([0.0, 0.0]) is None


@pytest.mark.parametrize(("better", "worse"), [(0, 5), (1, 7), (4, 4), (9, 3), (6, 0)])
def test_signs_as_the_binomial_test(better: int, worse: int) -> None:
    expected = stats.binomtest(better, better + worse).pvalue
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-12)


def test_seeds_of_a_fold_are_one_observation() -> None:
    unit, values = by_unit({("1995", 1): 0.2, ("1995", 2): 0.4, ("1996", 1): 0.5})
    assert unit == "fold"
    assert values == {"1995": pytest.approx(0.3), "1996": 0.5}
    assert by_unit({("default", 1): 0.2, ("default", 2): 0.4}) == ("seed", {"1": 0.2, "2": 0.4})


def test_only_runs_that_both_have_are_compared() -> None:
    ours = {("a", 1): 0.5, ("b", 1): 0.6, ("c", 1): float("nan"), ("d", 1): 0.9}
    best = {("a", 1): 0.6, ("b", 1): 0.6, ("c", 1): 0.7}
    found = paired(ours, best)
    assert found["pairs"] == 2
    assert (found["better"], found["equal"], found["worse"]) == (0, 1, 1)
    assert found["mean"] == pytest.approx(-0.05)
    assert "too few pairs" in statement(found, "macro_f1", "x")


def test_a_smaller_loss_is_better_and_the_statement_gives_p() -> None:
    ours = {(str(fold), 1): 0.5 + 0.01 * fold for fold in range(8)}
    best = {(str(fold), 1): 0.4 for fold in range(8)}
    found = paired(ours, best, lower_is_better=True)
    assert (found["better"], found["worse"]) == (0, 8)
    assert found["p_sign"] == pytest.approx(2 / 2**8)
    assert found["p_wilcoxon"] == pytest.approx(2 / 2**8)
    assert "p = 0.008 (signs), 0.008 (signed ranks)" in statement(found, "val_loss", "x")


def test_no_pairs_in_common() -> None:
    found = paired({("a", 1): 0.5}, {("b", 1): 0.5})
    assert found["pairs"] == 0
    assert statement(found, "map", "x").endswith("in common with x")
