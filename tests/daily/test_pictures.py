"""Highs and lows of a known field, and pictures that are whole with and without what they may lack."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.daily.pressure import Field
from pipeline.report import weather_map
from pipeline.report.weather_map import draw_day, draw_recent

LATITUDE, LONGITUDE = np.linspace(55, 15, 41), np.linspace(115, 155, 41)


def field(*bumps: tuple[float, float, float], noise: float = 0.0) -> Field:
    """Return 1012 hPa with a bump of (latitude, longitude, hPa) and 6 degrees radius each."""
    y, x = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    values = np.full(y.shape, 1012.0)
    for latitude, longitude, size in bumps:
        values += size * np.exp(-((y - latitude) ** 2 + ((x - longitude) * 0.82) ** 2) / 36)
    values += noise * np.random.default_rng(0).standard_normal(y.shape)
    return Field(LATITUDE, LONGITUDE, values)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_highs_and_lows_are_found_where_they_are(noise: float) -> None:
    found = field((45, 125, 20), (30, 145, -30), noise=noise).centres()
    assert [centre["kind"] for centre in found] == ["H", "L"]
    for centre, (latitude, longitude, hpa) in zip(found, [(45, 125, 1032), (30, 145, 982)], strict=True):
        # Noise of half a hectopascal moves the top of a bump of 6 degrees by a grid point or two.
        assert abs(centre["latitude"] - latitude) <= 2 * (noise > 0)
        assert abs(centre["longitude"] - longitude) <= 2 * (noise > 0)
        assert abs(centre["hpa"] - hpa) < 0.6 + 3 * noise


def test_slopes_shallow_bumps_and_edges_are_no_centres() -> None:
    assert field().centres() == []
    assert field((35, 135, 0.5)).centres() == []
    slope = np.broadcast_to(LONGITUDE - 115 + 1000, (41, 41))
    assert Field(LATITUDE, LONGITUDE, slope).centres() == []
    # The top of this one lies outside.
    assert field((35, 160, 20)).centres() == []


def a_day(**more: Any) -> dict[str, Any]:
    classes = more.get("classes", ["1", "2A", "3B"])
    probability = dict(zip(classes, (0.91, 0.004, 0.42), strict=True))
    return {
        "date": "1999-03-10", "status": "done", "labels": classes[:1], "joiner": "+", "classes": classes,
        "probability": probability, "thresholds": dict.fromkeys(classes, 0.4), "times": ["1999-03-10T00:00:00Z"],
        "timezone": "Asia/Tokyo", "data": "ERA5T", "run": {"name": "simple-1a2b3c4d"}, "centres": [], **more,
    }  # fmt: skip


def ink(path: Path, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> float:
    """Return the share of pixels that are not white in a part of a picture (left, top, right, bottom)."""
    with Image.open(path) as image:
        width, height = image.size
        part = image.convert("L").crop(tuple(round(s * at) for s, at in zip((width, height) * 2, box, strict=True)))  # type: ignore[arg-type]
        return float((np.asarray(part) < 250).mean())


def test_a_map_with_isobars_and_one_without(tmp_path: Path) -> None:
    pressure = field((45, 125, 20), (30, 145, -30))
    record = a_day(centres=pressure.centres())
    draw_day(tmp_path / "map.png", record, pressure, 60)
    draw_day(tmp_path / "again.png", record, pressure, 60)
    assert (tmp_path / "map.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert ink(tmp_path / "map.png", (0.1, 0.2, 0.5, 0.9)) > 0.2
    draw_day(tmp_path / "bars.png", a_day(thresholds=dict.fromkeys(["1", "2A", "3B"])), None, 60)
    with Image.open(tmp_path / "bars.png") as bars, Image.open(tmp_path / "map.png") as whole:
        assert bars.size[0] < whole.size[0] * 0.7
    draw_day(tmp_path / "names.png", a_day(classes=["冬型", "南岸低気圧", "移動性高気圧（帯状）"], labels=[]), None, 60)
    assert ink(tmp_path / "names.png") > 0.02


def test_isobars_keep_the_values_of_the_field() -> None:
    pressure = field((45, 125, 20))
    longitude, latitude, values = weather_map._refined(pressure)
    assert len(longitude) == 161
    np.testing.assert_allclose(values[::4, ::4], pressure.values, rtol=0, atol=1e-9)
    y, x = np.meshgrid(latitude, longitude, indexing="ij")
    exact = 1012 + 20 * np.exp(-((y - 45) ** 2 + ((x - 125) * 0.82) ** 2) / 36)
    # Cubic convolution is of third order: a quarter of a degree between points one degree apart.
    assert np.abs(values - exact).max() < 0.05


def test_coastlines_are_drawn_where_cartopy_and_its_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressure, record = field(), a_day()
    draw_day(tmp_path / "without.png", record, pressure, 60)
    shapes = tmp_path / "ne_50m_coastline.shp"
    shapes.write_bytes(b"")
    stand_in_for_cartopy(monkeypatch, shapes, [[(130, 31), (141, 41)], [(-225, 20), (-215, 30)]])
    assert [line.shape for line in weather_map._coastlines()] == [(2, 2), (2, 2)]
    draw_day(tmp_path / "with.png", record, pressure, 60)
    assert ink(tmp_path / "with.png") > ink(tmp_path / "without.png")
    shapes.unlink()
    assert weather_map._coastlines() == []


def stand_in_for_cartopy(monkeypatch: pytest.MonkeyPatch, shapes: Path, lines: list[Any]) -> None:
    """Put modules there that answer like those of cartopy that are asked."""
    downloader = SimpleNamespace(pre_downloaded_path=lambda words: None, target_path=lambda words: shapes)
    found = SimpleNamespace(geometries=lambda: [SimpleNamespace(coords=line) for line in lines])
    parts = {
        "cartopy": {"config": {}},
        "cartopy.io": {"Downloader": SimpleNamespace(from_config=lambda key: downloader)},
        "cartopy.io.shapereader": {"Reader": lambda path: found},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(weather_map, "find_spec", lambda name: object())


def test_a_table_of_days_with_gaps(tmp_path: Path) -> None:
    days = [a_day(date=f"1999-03-{number:02d}") for number in (1, 2, 3, 20)]
    days[1] = {"date": "1999-03-02", "status": "failed"}
    draw_recent(tmp_path / "table.png", days, 60)
    draw_recent(tmp_path / "one.png", days[:1], 60)
    with Image.open(tmp_path / "table.png") as table, Image.open(tmp_path / "one.png") as one:
        assert table.size[0] > one.size[0]
    assert ink(tmp_path / "table.png") > 0.3
