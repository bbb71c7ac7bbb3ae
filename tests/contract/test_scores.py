"""Scores against scikit-learn, against brute force, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipeline.contract import scores as s

# Few distinct values, so that ties are the rule and not the exception.
TIED = st.integers(0, 5)
PAIRS = st.lists(st.tuples(st.booleans(), TIED), min_size=1, max_size=40)


def columns(pairs: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    target, score = zip(*pairs, strict=True)
    return np.array(target)[:, None], np.array(score)[:, None]


@given(PAIRS.filter(lambda pairs: any(positive for positive, _ in pairs)))
def test_average_precision_equals_sklearn_with_ties(pairs):
    target, score = columns(pairs)
    # 1e-12: both are sums of fewer than 40 ratios in float64.
    assert s.average_precision(target, score)[0] == pytest.approx(
        sk.average_precision_score(target[:, 0], score[:, 0]), abs=1e-12
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32, np.float64, np.bool_])
def test_average_precision_of_any_type_of_score(dtype):
    target = np.array([[0], [1], [1], [0]])
    score = np.array([[0], [1], [0], [0]]).astype(dtype)
    assert s.average_precision(target, score)[0] == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)


def test_average_precision_of_known_rankings():
    target = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    best, worst = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
    score = np.stack([best, worst, np.zeros(4), best], axis=1)
    perfect, reversed_, constant, absent = s.average_precision(target, score)
    assert perfect == 1.0
    assert reversed_ == pytest.approx(0.5 * (1 / 3) + 0.5 * (2 / 4))
    assert constant == 0.25  # the share of positives
    assert np.isnan(absent)


def test_average_precision_is_unchanged_by_a_monotone_map():
    rng = np.random.default_rng(0)
    target, logits = rng.random((200, 4)) < 0.2, rng.normal(size=(200, 4))
    assert np.array_equal(s.average_precision(target, logits), s.average_precision(target, s.sigmoid(logits)))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.sampled_from([0.5, 1.0, 2.0]))
def test_f_score_equals_sklearn(pairs, beta):
    target, chosen = columns(pairs)
    ours = s.f_score(target, chosen, beta)[0]
    if target.any():
        theirs = sk.fbeta_score(target[:, 0], chosen[:, 0] > 0, beta=beta, zero_division=0)
        assert ours == pytest.approx(theirs, abs=1e-12)
    else:
        assert np.isnan(ours)


def test_macro_leaves_out_what_was_not_measured():
    assert s.macro(np.array([0.2, np.nan, 0.4])) == pytest.approx(0.3)
    assert np.isnan(s.macro(np.array([np.nan])))


def test_sigmoid_and_logit_at_the_ends_and_back():
    assert s.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert s.logit(np.array([0.0, 0.5, 1.0])).tolist() == [-np.inf, 0.0, np.inf]
    x = np.linspace(-30, 15, 91)  # above 15 the distance of p to 1 loses digits in float64
    assert s.logit(s.sigmoid(x)) == pytest.approx(x, abs=1e-9)


# --- the best cut --------------------------------------------------------------------------------------------


def brute_force(target: np.ndarray, p: np.ndarray, beta: float, minimum: float) -> float:
    """Return the largest Fβ over every distinct probability as threshold, by counting each one anew."""
    found = []
    for threshold in np.unique(p):
        chosen = p >= threshold
        hit = float((chosen & target).sum())
        precision = hit / chosen.sum()
        f = (1 + beta**2) * hit / (beta**2 * target.sum() + chosen.sum())
        found.append((precision, f))
    precise = [f for precision, f in found if precision >= minimum]
    return max(precise or [f for _, f in found])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=25),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.0, 0.4, 0.9]),
)
def test_best_cut_equals_brute_force(pairs, beta, minimum):
    target, steps = columns(pairs)
    p = steps / 8.0  # 0 and 1 included, whose log odds are infinite
    cut = s.best_cut(target, p, beta, minimum)
    if not target.any():
        assert np.isnan(cut.threshold[0])
        assert np.isnan(cut.f_beta[0])
        return
    best = brute_force(target[:, 0], p[:, 0], beta, minimum)
    assert cut.f_beta[0] == pytest.approx(best, abs=1e-12)
    # What the threshold does is what was promised of it.
    chosen = p >= cut.threshold
    assert s.f_score(target, chosen, beta)[0] == pytest.approx(best, abs=1e-12)
    assert cut.precision[0] == pytest.approx(sk.precision_score(target[:, 0], chosen[:, 0], zero_division=0))
    assert cut.recall[0] == pytest.approx(sk.recall_score(target[:, 0], chosen[:, 0]))


def test_best_cut_lies_midway_in_log_odds():
    target = np.array([[1], [1], [0], [0]])
    logits = np.array([[3.0], [2.0], [-1.0], [-2.0]])
    assert s.logit(s.best_cut(target, s.sigmoid(logits)).threshold)[0] == pytest.approx(0.5, abs=1e-12)


def test_best_cut_of_neighbouring_numbers_still_divides_them():
    low = 0.5
    high = np.nextafter(low, 1)
    cut = s.best_cut(np.array([[1], [0]]), np.array([[high], [low]]))
    assert low < cut.threshold[0] <= high


def test_best_cut_prefers_fewer_choices_among_equals():
    # Choosing 1 of 2 positives with no alarm, or both with two alarms: F1 = 2/3 either way.
    target, p = np.array([[1], [0], [0], [1]]), np.array([[0.9], [0.5], [0.4], [0.3]])
    assert s.best_cut(target, p).f_beta[0] == pytest.approx(2 / 3)
    assert (p >= s.best_cut(target, p).threshold).sum() == 1


def test_best_cut_treats_classes_apart():
    rng = np.random.default_rng(1)
    target, p = rng.random((300, 6)) < 0.3, rng.random((300, 6))
    together = s.best_cut(target, p).threshold
    alone = [s.best_cut(target[:, [k]], p[:, [k]]).threshold[0] for k in range(6)]
    assert together.tolist() == alone


# --- probabilities -------------------------------------------------------------------------------------------


def test_brier_and_log_loss_equal_sklearn():
    rng = np.random.default_rng(2)
    target, logits = rng.random((100, 3)) < 0.4, rng.normal(size=(100, 3)) * 3
    p = s.sigmoid(logits)
    for k in range(3):
        assert s.brier(target, p)[k] == pytest.approx(sk.brier_score_loss(target[:, k], p[:, k]), abs=1e-12)
        assert s.log_loss(target, logits)[k] == pytest.approx(sk.log_loss(target[:, k], p[:, k]), abs=1e-12)


def test_log_loss_does_not_overflow():
    assert s.log_loss(np.array([[1], [0]]), np.array([[-1e5], [-1e5]]))[0] == pytest.approx(5e4)


def test_calibration_error_by_hand():
    # Two bins of width 1/2: {0.1, 0.3} of which none happened, {0.7, 0.9, 1.0} of which one did.
    target, p = np.array([[0], [0], [1], [0], [0]]), np.array([[0.1], [0.3], [0.7], [0.9], [1.0]])
    expected = 2 / 5 * abs(0.2 - 0.0) + 3 / 5 * abs(2.6 / 3 - 1 / 3)
    assert s.calibration_error(target, p, bins=2)[0] == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_true_probabilities_is_small():
    rng = np.random.default_rng(3)
    p = rng.random((100_000, 2))
    error = s.calibration_error(rng.random(p.shape) < p, p)
    # Sampling error of a bin of 6700 days is below 0.006; the mean of absolute values stays below that.
    assert error.max() < 0.006


def test_reliability_bins_lose_nothing():
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.random((98, 3)), np.zeros((1, 3)), np.ones((1, 3))])
    target = rng.random(p.shape) < p
    bins = s.reliability_bins(target, p)
    assert bins.count.sum(axis=0).tolist() == [100.0] * 3
    assert bins.happened.sum(axis=0).tolist() == target.sum(axis=0).tolist()
    assert bins.probability.sum(axis=0) == pytest.approx(p.sum(axis=0))
