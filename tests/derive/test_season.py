"""The season: solstices of the almanac, and a circle on which no two days of a year fall together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.derive.season import SCALARS, december_solstice, fraction_of_year
from tests.derive.raw_files import DAY, days

# Moments in UTC as the U.S. Naval Observatory publishes them.
ALMANAC = (
    "1999-12-22T07:44", "2000-12-21T13:37", "2003-12-22T07:04", "2007-12-22T06:08", "2010-12-21T23:38",
    "2015-12-22T04:48", "2020-12-21T10:02", "2023-12-22T03:27",
)  # fmt: skip


def at(*moments: str) -> NDArray[np.int64]:
    return np.array(moments, "datetime64[s]").astype(np.int64)


def scalar(name: str, seconds: NDArray[np.int64]) -> NDArray[np.float32]:
    return SCALARS[name][1](seconds)


@pytest.mark.parametrize("moment", ALMANAC)
def test_solstices_of_the_almanac(moment: str) -> None:
    """Three minutes: one of the formula, one of dynamical time against UTC, half a one of the almanac's rounding."""
    assert abs(december_solstice(int(moment[:4])) - at(moment)[0]) < 180


def test_a_solstice_year_is_the_tropical_one() -> None:
    lengths = np.diff([december_solstice(year) for year in range(1940, 2101)]) / DAY
    # Seasons wander by some minutes a year because of the planets.
    assert np.abs(lengths - 365.2427).max() < 20 / 1440


def test_values_at_solstices_and_equinoxes() -> None:
    """Equinoxes and the June solstice are not at exact quarters: the Earth's way round the Sun is an ellipse."""
    times = at("1999-12-22T07:44", "2000-03-20T07:35", "2000-06-21T01:48", "2000-09-22T17:28")
    np.testing.assert_allclose(scalar("f1_season", times), [1, 0, -1, 0], atol=0.05)
    np.testing.assert_allclose(scalar("f1_season_sin", times), [0, 1, 0, -1], atol=0.05)
    np.testing.assert_allclose(scalar("f2_season", times), [1, -1, 1, -1], atol=0.05)


def test_sine_separates_spring_from_autumn() -> None:
    """The cosines of these two days are equal; a cosine alone takes one for the other."""
    spring, autumn = at("1996-03-20", "1996-09-23")[:, None]
    for name in ("f1_season", "f2_season"):
        assert abs(scalar(name, spring) - scalar(name, autumn)) < 0.03
    assert scalar("f1_season_sin", spring) > 0.99
    assert scalar("f1_season_sin", autumn) < -0.99


def test_every_day_has_its_own_place_on_the_unit_circle() -> None:
    times = days("1995-01-01", 365)
    for turns in ("f1_season", "f2_season"):
        radius = scalar(turns, times) ** 2 + scalar(f"{turns}_sin", times) ** 2
        np.testing.assert_allclose(radius, 1, atol=1e-6)  # float32
    points = np.stack([scalar("f1_season", times), scalar("f1_season_sin", times)])
    distance = np.hypot(*(points[:, :, None] - points[:, None, :])) + 10 * np.eye(len(times))
    assert distance.min() > 0.9 * 2 * np.pi / 365


def test_twice_a_year_is_the_double_angle() -> None:
    times = days("2001-01-01", 365)
    cosine, sine = scalar("f1_season", times), scalar("f1_season_sin", times)
    np.testing.assert_allclose(scalar("f2_season", times), 2 * cosine**2 - 1, atol=1e-6)
    np.testing.assert_allclose(scalar("f2_season_sin", times), 2 * sine * cosine, atol=1e-6)


@pytest.mark.parametrize("year", [1991, 2000, 2011])
def test_continuous_over_a_solstice(year: int) -> None:
    node = int(december_solstice(year))
    times = node + np.arange(-36, 37) * 3600
    fraction = fraction_of_year(times)
    assert fraction.min() >= 0
    assert fraction.max() < 1
    assert (np.diff(np.where(fraction > 0.5, fraction - 1, fraction)) > 0).all()
    for name in SCALARS:
        # An hour is 4π / 8766 = 0.0014 of the faster wave at most.
        assert np.abs(np.diff(scalar(name, times))).max() < 0.0015


def test_does_not_depend_on_the_other_times() -> None:
    """A month that is derived alone gets the values that it has in the whole series."""
    times = days("1994-11-20", 400)
    for name in SCALARS:
        alone = np.concatenate([scalar(name, part) for part in np.split(times, [10, 42, 43, 300])])
        np.testing.assert_array_equal(alone, scalar(name, times))
