"""Highs and lows are where they are, once each; none on slopes, in noise, on edges or beside gaps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.contract.pressure import PressureMap

LATITUDE, LONGITUDE = np.linspace(55, 15, 41), np.linspace(115, 155, 41)


def field(*bumps: tuple[float, float, float], noise: float = 0.0, step: float = 1.0) -> PressureMap:
    """Return 1012 hPa with a bump of (latitude, longitude, hPa) and 6 degrees radius each."""
    count = round(40 / step) + 1
    latitude, longitude = np.linspace(55, 15, count), np.linspace(115, 155, count)
    y, x = np.meshgrid(latitude, longitude, indexing="ij")
    values = np.full(y.shape, 1012.0)
    for north, east, size in bumps:
        values += size * np.exp(-((y - north) ** 2 + ((x - east) * 0.82) ** 2) / 36)
    values += noise * np.random.default_rng(0).standard_normal(y.shape)
    return PressureMap(latitude, longitude, values)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_highs_and_lows_are_found_where_they_are(noise: float) -> None:
    found = field((45, 125, 20), (30, 145, -30), noise=noise).centres()
    assert [centre["kind"] for centre in found] == ["H", "L"]
    for centre, (latitude, longitude, hpa) in zip(found, [(45, 125, 1032), (30, 145, 982)], strict=True):
        # Noise of half a hectopascal moves the top of a bump of 6 degrees by a grid point or two.
        assert abs(centre["latitude"] - latitude) <= 2 * (noise > 0)
        assert abs(centre["longitude"] - longitude) <= 2 * (noise > 0)
        assert abs(centre["hpa"] - hpa) < 0.6 + 3 * noise


@pytest.mark.parametrize("step", [0.25, 0.4, 2.5, 5.0])
def test_the_spacing_of_points_makes_no_difference(step: float) -> None:
    found = field((45, 125, 20), (30, 145, -30), step=step).centres()
    assert found == [
        {"kind": "H", "latitude": pytest.approx(45, abs=step / 2), "longitude": pytest.approx(125, abs=step / 2),
         "hpa": pytest.approx(1032, abs=0.2)},
        {"kind": "L", "latitude": pytest.approx(30, abs=step / 2), "longitude": pytest.approx(145, abs=step / 2),
         "hpa": pytest.approx(982, abs=0.2)},
    ]  # fmt: skip


def test_coarse_maps_are_not_smoothed_away() -> None:
    values = field((45, 125, 20), step=2.5).values
    values[10, 10] -= 12.0  # a low of one point, and a deep one beside it
    values[10, 14] -= 40.0
    found = PressureMap(LATITUDE[0] - 2.5 * np.arange(17), LONGITUDE[0] + 2.5 * np.arange(17), values).centres()
    assert [(centre["kind"], centre["latitude"], centre["longitude"]) for centre in found] == [
        ("H", 45.0, 125.0), ("L", 30.0, 150.0), ("L", 30.0, 140.0),
    ]  # fmt: skip


def test_a_centre_is_what_a_record_holds() -> None:
    (found,) = json.loads(json.dumps(field((45, 125, 20)).centres()))
    assert found == {"kind": "H", "latitude": 45.0, "longitude": 125.0, "hpa": 1032.0}


def test_slopes_shallow_bumps_and_edges_are_no_centres() -> None:
    assert field().centres() == []
    assert field((35, 135, 0.5)).centres() == []
    slope = np.broadcast_to(LONGITUDE - 115 + 1000, (41, 41))
    assert PressureMap(LATITUDE, LONGITUDE, slope).centres() == []
    assert PressureMap(LATITUDE, LONGITUDE, slope.T).centres() == []
    # The tops of these lie outside, and on the edge.
    assert field((35, 160, 20)).centres() == []
    assert field((55, 135, 30)).centres() == []


@pytest.mark.parametrize("sign", [1, -1])
def test_two_of_a_kind_within_five_degrees_are_one(sign: int) -> None:
    y, x = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")

    def peaks(apart: float, second: float) -> PressureMap:
        bumps = sum(
            size * np.exp(-((y - 35) ** 2 + (x - east) ** 2) / 2) for size, east in ((10, 130), (second, 130 + apart))
        )
        return PressureMap(LATITUDE, LONGITUDE, 1012 + sign * bumps)

    # Five degrees of latitude are six of longitude here.
    for second in (8.0, 10.0):
        assert [centre["longitude"] for centre in peaks(5, second).centres()] == [130.0]
        assert [centre["longitude"] for centre in peaks(12, second).centres()] == [130.0, 142.0]


def test_highs_on_a_plateau_keep_their_distance() -> None:
    values = np.full((41, 41), 1012.0)
    values[18:23, 12:28] = 1020.0
    found = [one for one in PressureMap(LATITUDE, LONGITUDE, values).centres() if one["kind"] == "H"]
    assert found
    east = np.sort([centre["longitude"] for centre in found])
    assert (np.diff(east) > 6).all(), "five degrees of latitude are six of longitude here"


def test_rows_from_the_south_are_the_same_map() -> None:
    one = field((45, 125, 20), (30, 145, -30), (22, 122, 9), noise=0.5)
    other = PressureMap(one.latitude[::-1], one.longitude, one.values[::-1])
    assert len(one.centres()) >= 3
    assert other.centres() == one.centres()


def test_of_two_equal_points_the_northern_one_is_the_centre() -> None:
    values = np.full((17, 17), 1012.0)
    values[[7, 8], 8] = 1020.0
    latitude, longitude = np.linspace(60, 20, 17), np.linspace(115, 155, 17)
    for turn in (slice(None), slice(None, None, -1)):
        (found,) = PressureMap(latitude[turn], longitude, values[turn]).centres()
        assert found["latitude"] == 42.5


def test_gaps_far_away_change_nothing_and_nothing_beside_one_is_a_centre() -> None:
    whole = field((45, 125, 20), (30, 145, -30))
    values = whole.values.copy()
    values[30:, :12] = np.nan
    assert PressureMap(LATITUDE, LONGITUDE, values).centres() == whole.centres()
    values[9:12, 9:12] = np.nan  # the top of the high
    assert [centre["kind"] for centre in PressureMap(LATITUDE, LONGITUDE, values).centres()] == ["L"]
    values = whole.values.copy()
    values[5, 10] = np.nan  # five degrees north of it
    assert PressureMap(LATITUDE, LONGITUDE, values).centres() == whole.centres()


@pytest.mark.filterwarnings("error")
def test_maps_of_gaps_and_of_few_points_have_none() -> None:
    assert PressureMap(LATITUDE, LONGITUDE, np.full((41, 41), np.nan)).centres() == []
    for shape in ((1, 1), (2, 41), (41, 2)):
        assert PressureMap(LATITUDE[: shape[0]], LONGITUDE[: shape[1]], np.zeros(shape)).centres() == []
    for size in (1, 3):  # islands in a gap: too small for a centre, and with nothing to compare it with
        island = np.full((41, 41), np.nan)
        island[20 - size : 21 + size, 20 - size : 21 + size] = 1012.0
        island[20, 20] = 1030.0
        assert PressureMap(LATITUDE, LONGITUDE, island).centres() == []


def test_a_map_up_to_the_pole_has_centres() -> None:
    latitude, longitude = np.linspace(90, 70, 21), np.linspace(0, 355, 72)
    y, x = np.meshgrid(latitude, longitude, indexing="ij")
    values = 1012 - 20 * np.exp(-((y - 80) ** 2 / 18 + (x - 180) ** 2 / 800))
    (found,) = PressureMap(latitude, longitude, values).centres()
    assert found == {"kind": "L", "latitude": 80.0, "longitude": 180.0, "hpa": 992.0}


def test_around_a_pole_degrees_of_longitude_do_not_shrink_to_nothing() -> None:
    latitude, longitude = np.linspace(90, 85, 11), np.linspace(0, 355, 72)
    y, x = np.meshgrid(latitude, longitude, indexing="ij")
    values = 1012 - 20 * np.exp(-((y - 87.5) ** 2 / 2 + (x - 20) ** 2 / 200))
    (found,) = PressureMap(latitude, longitude, values).centres()
    assert (found["latitude"], found["longitude"]) == (87.5, 20.0)
