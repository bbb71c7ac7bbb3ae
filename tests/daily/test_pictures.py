"""Pictures that are whole with and without what they may lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.contract.pressure import PressureMap
from pipeline.report import coast, weather_map
from pipeline.report.fields import Grid, smooth
from pipeline.report.weather_map import draw_day, draw_recent

LATITUDE, LONGITUDE = np.linspace(55, 15, 41), np.linspace(115, 155, 41)


def field(*bumps: tuple[float, float, float]) -> PressureMap:
    """Return 1012 hPa with a bump of (latitude, longitude, hPa) and 6 degrees radius each."""
    y, x = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    values = np.full(y.shape, 1012.0)
    for latitude, longitude, size in bumps:
        values += size * np.exp(-((y - latitude) ** 2 + ((x - longitude) * 0.82) ** 2) / 36)
    return PressureMap(LATITUDE, LONGITUDE, values)


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
    grid, values = smooth(Grid(LATITUDE, LONGITUDE), pressure.values, weather_map._ACROSS)
    assert len(grid.longitude) == len(grid.latitude) == 161
    np.testing.assert_allclose(values[::4, ::4], pressure.values, rtol=0, atol=1e-9)
    y, x = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
    exact = 1012 + 20 * np.exp(-((y - 45) ** 2 + ((x - 125) * 0.82) ** 2) / 36)
    # Cubic convolution is of third order: a quarter of a degree between points one degree apart.
    assert np.abs(values - exact).max() < 0.05


def test_coastlines_are_drawn_where_cartopy_and_its_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressure, record = field(), a_day()
    monkeypatch.setattr(coast, "coastlines", tuple)
    draw_day(tmp_path / "without.png", record, pressure, 60)
    lines = (np.array([(130.0, 31.0), (141.0, 41.0)]), np.array([(-225.0, 20.0), (-215.0, 30.0)]))
    inks = []
    for count in (1, 2):
        monkeypatch.setattr(coast, "coastlines", lambda count=count: lines[:count])
        draw_day(tmp_path / "with.png", record, pressure, 60)
        inks.append(changed(tmp_path / "without.png", tmp_path / "with.png"))
    assert 0 < inks[0] < inks[1], "the second is given west of 180° and turned into the map's longitudes"


def changed(one: Path, other: Path) -> int:
    """Return in how many pixels two pictures of one size differ."""
    with Image.open(one) as first, Image.open(other) as second:
        return int((np.asarray(first.convert("L")) != np.asarray(second.convert("L"))).sum())


@pytest.mark.parametrize("turned", ["latitude", "gap"])
def test_maps_from_the_south_and_with_gaps_are_drawn(tmp_path: Path, turned: str) -> None:
    pressure = field((45, 125, 20), (30, 145, -30))
    draw_day(tmp_path / "plain.png", a_day(centres=pressure.centres()), pressure, 60)
    if turned == "latitude":
        other = PressureMap(LATITUDE[::-1], LONGITUDE, pressure.values[::-1])
    else:
        values = pressure.values.copy()
        values[-10:, :10] = np.nan
        other = PressureMap(LATITUDE, LONGITUDE, values)
    draw_day(tmp_path / "other.png", a_day(centres=other.centres()), other, 60)
    with Image.open(tmp_path / "plain.png") as plain:
        size = plain.size[0] * plain.size[1]
    # Isobars of the same field: only places of their labels may differ; a gap of a tenth of the map stays white.
    assert changed(tmp_path / "plain.png", tmp_path / "other.png") < 0.1 * size
    assert ink(tmp_path / "other.png", (0.1, 0.2, 0.5, 0.7)) > 0.2


def test_a_table_of_days_with_gaps(tmp_path: Path) -> None:
    days = [a_day(date=f"1999-03-{number:02d}") for number in (1, 2, 3, 20)]
    days[1] = {"date": "1999-03-02", "status": "failed"}
    draw_recent(tmp_path / "table.png", days, 60)
    draw_recent(tmp_path / "one.png", days[:1], 60)
    with Image.open(tmp_path / "table.png") as table, Image.open(tmp_path / "one.png") as one:
        assert table.size[0] > one.size[0]
    assert ink(tmp_path / "table.png") > 0.3
