"""Pressure at given times comes in hectopascals from the first file that has it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.raw.pressure import pressure_at
from pipeline.raw.reader import read, scan
from pipeline.testing import World, write_world


def world(month: int, **more: int) -> World:
    return World(start=date(2001, month, 1), days=4, groups=("msl", "t_850"), types=("1", "2A"), **more)


def second(month: int, day: int) -> int:
    return int(datetime(2001, month, day, tzinfo=UTC).timestamp())


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return sorted(path for month in (1, 2) for path in write_world(world(month), tmp_path / str(month)).files)


def test_several_times_from_several_files(files: list[Path]) -> None:
    wanted = [second(2, 2), second(1, 3), second(1, 1), second(5, 1)]
    found = pressure_at(files, np.array(wanted))
    assert sorted(found) == sorted(wanted[:3]), "May is in no file"
    january = next(path for path in files if "msl" in path.name)
    member = scan(january, ["msl"])[0]
    assert member is not None
    grid, place = member.layout.grid, np.flatnonzero(member.layout.seconds == second(1, 3))
    one = found[second(1, 3)]
    # float32 pascals, divided in float64.
    assert np.array_equal(one.values, read(member, "msl", None, place)[0].astype(np.float64) / 100)
    assert 900 < one.values.min() < one.values.max() < 1100
    assert np.array_equal(one.latitude, grid.latitude)
    assert np.array_equal(one.longitude, grid.longitude)
    assert one.values.shape == grid.shape
    assert isinstance(one.centres(), list)


def test_files_without_pressure_have_none(files: list[Path]) -> None:
    assert pressure_at([path for path in files if "t_850" in path.name], [second(1, 1)]) == {}
    assert pressure_at([], [second(1, 1)]) == {}


def test_the_first_file_counts_and_no_more_is_read_than_needed(files: list[Path], tmp_path: Path) -> None:
    january = [path for path in files if "msl" in path.name][:1]
    finer = [path for path in write_world(world(1, lat_points=17, lon_points=17), tmp_path / "fine").files]
    shape = pressure_at(january, [second(1, 2)])[second(1, 2)].values.shape
    assert shape != (17, 17)
    assert pressure_at([*january, *finer], [second(1, 2)])[second(1, 2)].values.shape == shape
    broken = tmp_path / "broken.nc"
    broken.write_bytes(january[0].read_bytes()[:1000])
    assert set(pressure_at([*january, broken], [second(1, 2)])) == {second(1, 2)}
    with pytest.raises(InputError, match=r"broken\.nc"):
        pressure_at([broken, *january], [second(1, 2)])
