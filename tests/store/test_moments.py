import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.store.moments import Moments, merge, moments_of, refuse_constant, refuse_unscaled

ALL = np.arange


def stacked(parts: list[Moments]) -> Moments:
    """Samples × 1 channel."""
    return Moments(*np.concatenate([part.stacked() for part in parts], axis=1)[:, :, None])


def test_moments_of_more_values_than_float32_can_count() -> None:
    """700 × 161 × 161 = 18.1 million values > 2^24: a float32 sum stops growing, float64 moments do not."""
    generator = np.random.default_rng(3)
    days = [1013 + 9 * generator.standard_normal((50, 161 * 161)) for _ in range(14)]
    values = np.concatenate(days).astype(np.float32)
    assert values.size > 2**24
    parts = [moments_of(values[start : start + 50].astype(np.float64)) for start in range(0, 700, 50)]
    found = merge(stacked(parts), ALL(700))
    exact = values.astype(np.float64)
    # Both are float64 sums in another order: they agree to about sqrt(n) × 2^-53 ≈ 5e-13.
    assert found.count[0] == values.size
    assert found.mean[0] == pytest.approx(exact.mean(), rel=1e-12)
    assert found.std[0] == pytest.approx(exact.std(), rel=1e-9)
    # What the test is about: adding in float32 along the long axis, as a mean over (N·H·W, C) does.
    naive = np.repeat(values.reshape(-1, 1), 2, axis=1).mean(axis=0)[0]
    assert abs(naive - exact.mean()) > 10


@given(st.integers(1, 6), st.floats(-1e5, 1e5), st.floats(1e-9, 1e4), st.integers(0, 2**32 - 1))
def test_merged_moments_equal_those_of_all_values_with_gaps_left_out(
    days: int, mean: float, std: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    values = mean + std * generator.standard_normal((days, 40))
    values[generator.random(values.shape) < 0.3] = np.nan
    if days > 1:
        values[0] = np.nan
    rows = np.flatnonzero(generator.random(days) < 0.7)
    found = merge(stacked([moments_of(values.copy())]), rows)
    valid = values[rows][~np.isnan(values[rows])]
    assert found.count[0] == valid.size
    if valid.size:
        # Rounding of the values themselves (2^-52 of the mean) bounds what any order of summing can keep.
        slack = 1e-14 * abs(mean)
        assert found.mean[0] == pytest.approx(valid.mean(), rel=1e-12, abs=slack)
        assert found.std[0] == pytest.approx(valid.std(), rel=1e-9, abs=slack)
    else:
        assert np.isnan(found.std[0])


def scale(values: np.ndarray) -> Moments:
    return merge(stacked([moments_of(values.astype(np.float64))]), ALL(len(values)))


def test_a_spread_of_5e_9_around_zero_is_alive() -> None:
    laplacian = (5e-9 * np.random.default_rng(0).standard_normal((20, 100))).astype(np.float32)
    refuse_constant(scale(laplacian), ["lap_msl"], "the store")


@pytest.mark.parametrize("value", [0.0, 1013.25, -4e-9, 281.0])
def test_a_constant_is_an_error_with_and_without_rounding_noise(value: float) -> None:
    exact = np.full((20, 100), value, np.float32)
    noisy = np.nextafter(exact, np.float32(np.inf))
    mixed = np.where(np.random.default_rng(0).random(exact.shape) < 0.5, exact, noisy if value else exact)
    for values in (exact, mixed):
        with pytest.raises(InputError, match=r"msl: constant in the training days of the store \(mean"):
            refuse_constant(scale(values), ["msl"], "the store")


def test_a_channel_without_valid_values_is_an_error() -> None:
    with pytest.raises(InputError, match="sst: no valid value in the training days of fold 2003"):
        refuse_constant(scale(np.full((2, 5), np.nan)), ["sst"], "fold 2003")


@pytest.mark.parametrize(("mean", "std"), [(0.011, 1.0), (0.0, 1.011), (0.0, 0.98), (np.nan, 1.0), (0.0, np.nan)])
def test_values_that_are_not_standardised_are_an_error(mean: float, std: float) -> None:
    count = np.array([100.0])
    with pytest.raises(InputError, match="gh500: after standardising"):
        refuse_unscaled(Moments(count, np.array([mean]), count * std**2), ["gh500"])
    refuse_unscaled(Moments(count, np.array([0.009]), count * 1.009**2), ["gh500"])
