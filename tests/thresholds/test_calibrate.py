"""Calibration recovers what was done to probabilities, never worsens the fit, and stays finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.contract.scores import log_loss, sigmoid
from pipeline.thresholds.calibrate import SLOPES, calibrate


def made(rng: np.random.Generator, days: int, slope: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits z and outcomes of probability sigmoid(slope z + offset)."""
    z = rng.normal(size=(days, 1)) * 2
    return z, rng.random((days, 1)) < sigmoid(slope * z + offset)


def test_platt_recovers_slope_and_offset():
    z, target = made(np.random.default_rng(0), 20_000, 0.6, -1.2)
    a, b = calibrate(z, target, "platt", 5.0)
    # Standard errors at 20 000 days are about 0.014 and 0.02; three of them.
    assert a[0] == pytest.approx(0.6, abs=0.045)
    assert b[0] == pytest.approx(-1.2, abs=0.06)


def test_temperature_recovers_the_slope_and_has_no_offset():
    z, target = made(np.random.default_rng(1), 20_000, 0.5, 0.0)
    a, b = calibrate(z, target, "temperature", 5.0)
    assert a[0] == pytest.approx(0.5, abs=0.045)
    assert b[0] == 0.0


def test_none_is_the_identity():
    a, b = calibrate(np.ones((3, 2)), np.ones((3, 2)), "none", 5.0)
    assert a.tolist() == [1.0, 1.0]
    assert b.tolist() == [0.0, 0.0]


def test_the_optimum_is_the_one_a_general_minimiser_finds():
    rng = np.random.default_rng(2)
    z, target = made(rng, 300, 1.7, 0.8)
    prior = 20.0
    weight = prior / max(target.sum(), sigmoid(z).sum(), 1)

    def objective(line: np.ndarray) -> float:
        x = line[0] * z + line[1]
        data = np.logaddexp(0, x) - target * x
        pull = np.logaddexp(0, x) - sigmoid(z) * x
        return float((data + weight * pull).sum())

    found = minimize(objective, [1.0, 0.0], method="BFGS", tol=1e-10).x
    a, b = calibrate(z, target, "platt", prior)
    assert [a[0], b[0]] == pytest.approx(found, abs=1e-5)  # BFGS stops at this precision


@settings(max_examples=60, deadline=None)
@example(2, 10, 0.0, "platt", 1.0, 3)  # at the steepest slope no logit is near the offset to begin with
@given(
    st.integers(0, 3),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.1, 5.0, 100.0]),
    st.sampled_from(["platt", "temperature"]),
    st.sampled_from([0.01, 1.0, 30.0]),
    st.integers(0, 2**31),
)
def test_few_positives_are_fitted_no_worse_than_before_and_stay_finite(positives, days, prior, kind, scale, seed):
    rng = np.random.default_rng(seed)
    target = np.zeros((days, 1), bool)
    target[: min(positives, days)] = True
    # Separable in half of the cases, where an unbounded fit would run away.
    z = scale * (rng.normal(size=(days, 1)) + (6.0 * target if seed % 2 else 0.0))
    a, b = calibrate(z, target, kind, prior)
    assert np.isfinite([a, b]).all()
    assert SLOPES[0] <= a[0] <= SLOPES[1]
    assert log_loss(target, a * z + b)[0] <= log_loss(target, z)[0] + 1e-9


def test_a_model_that_ranks_backwards_keeps_a_positive_slope():
    z, target = made(np.random.default_rng(3), 2000, -1.0, 0.0)
    a, b = calibrate(z, target, "platt", 5.0)
    assert a[0] == SLOPES[0]
    assert log_loss(target, a * z + b)[0] < log_loss(target, z)[0]
    # With the slope at its bound, the offset alone must reproduce the frequency (up to the pull of 5 pseudo-positives).
    assert sigmoid(a * z + b).mean() == pytest.approx(target.mean(), abs=0.01)


def test_inflated_probabilities_come_down_to_the_frequency():
    """Positives weighted by w add log w to the logits; calibration takes it away again."""
    rng = np.random.default_rng(4)
    z, target = made(rng, 10_000, 1.0, -3.0)
    inflated = z - 3.0 + np.log(12.0)
    a, b = calibrate(inflated, target, "platt", 5.0)
    assert sigmoid(inflated).mean() > 2 * target.mean()
    assert sigmoid(a * inflated + b).mean() == pytest.approx(target.mean(), rel=0.03)


def test_a_strong_prior_leaves_logits_alone():
    z, target = made(np.random.default_rng(5), 200, 0.3, 2.0)
    a, b = calibrate(z, target, "platt", 1e9)
    assert a[0] == pytest.approx(1.0, abs=1e-3)
    assert b[0] == pytest.approx(0.0, abs=1e-3)


def test_classes_do_not_disturb_each_other():
    rng = np.random.default_rng(6)
    parts = [made(rng, 400, slope, offset) for slope, offset in ((0.5, 0.0), (2.0, -3.0), (1.0, 1.0))]
    z, target = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    together = np.array(calibrate(z, target, "platt", 5.0))
    alone = np.array([np.concatenate(calibrate(*part, "platt", 5.0)) for part in parts]).T
    assert together == pytest.approx(alone, abs=1e-6)
