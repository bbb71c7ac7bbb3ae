"""Nearest samples are those of a brute force search, the fold's scale counts, and pressure comes from raw files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.evaluate import neighbours
from pipeline.evaluate.neighbours import Space, coarse
from pipeline.evaluate.pressure import pressure_path, write_pressure
from pipeline.report.inputs import physical
from pipeline.testing import World, write_world
from tests.evaluate.made_up_run import SCALE, make


def store(home: Path, monkeypatch: pytest.MonkeyPatch, *inputs: str, **more) -> Store:
    monkeypatch.setenv("ISOBAR_HOME", str(home))
    return Store(make(home, ("A", "B", "C"), days_a_year=40, inputs=inputs, **more).store)


def test_a_coarse_map_has_the_means_of_its_blocks():
    values = np.arange(24.0, dtype=np.float32).reshape(1, 1, 4, 6)
    assert coarse(values, 2)[0, 0].tolist() == [[4.0, 7.0], [16.0, 19.0]]
    assert np.array_equal(coarse(values, 16), values)
    assert coarse(np.ones((2, 3, 17, 33), np.float32), 16).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("inputs", [("grid",), ("image", "series"), ("series",)])
def test_nearest_are_those_of_a_search_through_all(inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    space = Space.of(store(tmp_path, monkeypatch, *inputs), "default", inputs)
    asked, among = np.array([150, 7, 160]), np.arange(120)
    monkeypatch.setattr(neighbours, "_MOST_ROWS", 11)  # several blocks
    found = space.nearest(asked, among, 4)
    vectors = space.features(np.arange(200)).astype(np.float64)
    for n, row in enumerate(asked):
        distance = np.linalg.norm(vectors[among] - vectors[row], axis=1)
        distance[among == row] = np.inf
        order = np.argsort(distance)[:4]
        assert found.rows[n].tolist() == among[order].tolist()
        assert found.distance[n] == pytest.approx(distance[order], rel=1e-3)  # float32


def test_distance_is_in_standard_deviations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Values are standardised, so two samples that differ by 2 everywhere are 2 apart, whatever the inputs' sizes."""
    opened = store(tmp_path, monkeypatch, "grid", "series")
    for name in ("grid", "series"):
        path = opened.folder / f"{name}.npy"
        values = np.load(path)
        values[1] = values[0] + 2.0
        np.save(path, values)
    for inputs in (("grid",), ("grid", "series")):
        found = Space.of(opened, "default", inputs).nearest(np.array([0]), np.array([1]), 1)
        assert found.distance[0, 0] == pytest.approx(2.0, rel=1e-4)


def test_fewer_than_asked_for_and_days_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = store(tmp_path, monkeypatch, "grid")
    days = opened.column("date").astype("datetime64[D]")
    found = Space.of(opened, "default", ("grid",)).nearest(np.array([5]), np.arange(9), 8, days, 2)
    assert sorted(found.rows[0].tolist()) == [-1, -1, -1, -1, 0, 1, 2, 8]
    with pytest.raises(InputError, match="holds no input"):
        Space.of(opened, "default", ("image",))


def test_physical_values_undo_the_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = store(tmp_path, monkeypatch, "grid", "series")
    grid, series = (physical(opened, name, np.array([3, 1])) for name in ("grid", "series"))
    stored = np.load(opened.folder / "grid.npy")[[3, 1]]
    assert grid[:, 0] == pytest.approx(stored[:, 0] * 8.0 + 1010.0)
    assert grid[:, 1] == pytest.approx(stored[:, 1] * 1e-5)
    assert series[..., 4] == pytest.approx(
        np.load(opened.folder / "series.npy")[[3, 1]][..., 4] * 0.2 + SCALE["mean"][4]
    )


def test_pressure_comes_from_raw_files_where_the_store_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.evaluate.made_up_run.CHANNELS", {"grid": ("u10", "vo850")})
    opened = store(tmp_path / "home", monkeypatch, "grid", years=([2001], [2002], [2003]))
    raw = tmp_path / "raw"
    world = World(start=date(2001, 1, 1), days=20, groups=("msl",), lat_points=41, lon_points=41, types=("1", "2A"))
    write_world(world, raw)
    listed = tmp_path / "visualize" / "test.json"
    index = np.char.replace(opened.column("time"), "T00:00", "T00:00:00Z")
    monkeypatch.setattr(opened, "column", lambda name: index)
    write_pressure(listed, opened, [3, 5, 60], ["raw/*.nc"], tmp_path)
    with np.load(pressure_path(listed)) as found:
        assert found["row"].tolist() == [3, 5, 60]
        assert np.isnan(found["values"][2]).all(), "2002 is not among the raw files"
        assert 960 < found["values"][:2].min() < found["values"][:2].max() < 1060
        assert found["latitude"].max() <= 50
        assert found["longitude"].min() >= 120
        assert found["values"].shape[1:] == (len(found["latitude"]), len(found["longitude"]))
    write_pressure(tmp_path / "other.json", opened, [3], ["nowhere/*.nc"], tmp_path)
    assert not pressure_path(tmp_path / "other.json").exists()
