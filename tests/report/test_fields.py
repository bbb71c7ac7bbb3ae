"""Maps of a day: isobars at the right pressures, highs and lows where they are, degrees on the axes, coastlines."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from pipeline.contract.pressure import PressureMap
from pipeline.report import coast
from pipeline.report.fields import Grid, _degrees, draw_day, smooth, what_is_drawn

GRID = Grid(np.linspace(50.0, 30.0, 21), np.linspace(120.0, 150.0, 31))
Y, X = np.meshgrid(GRID.latitude, GRID.longitude, indexing="ij")


def hill(latitude: float, longitude: float, height: float, width: float = 3.0) -> np.ndarray:
    return height * np.exp(-(((Y - latitude) ** 2 + (X - longitude) ** 2) / (2 * width**2)))


PRESSURE = 1010.0 + hill(44, 140, -25) + hill(35, 128, 18)


def panel():
    figure = Figure(figsize=(3, 3))
    FigureCanvasAgg(figure)
    return figure.subplots()


@pytest.mark.parametrize(("name", "units", "factor"), [("msl", "hPa", 1.0), ("msl", "Pa", 100.0), ("slp", "hPa", 1.0)])
def test_isobars_are_every_four_hectopascals_and_thick_every_twenty(name: str, units: str, factor: float):
    axis = panel()
    draw_day(axis, GRID, {"vo850": Y, name: PRESSURE * factor}, {"vo850": "s-1", name: units})
    lines = next(one for one in axis.collections if isinstance(one, QuadContourSet) and not one.filled)
    assert np.diff(lines.levels) == pytest.approx(4.0)
    assert all(level % 4 == 0 for level in lines.levels)
    widths = dict(zip(lines.levels, lines.get_linewidths(), strict=True))
    assert widths[1000.0] > widths[1004.0]
    assert what_is_drawn({"vo850": "s-1", name: units}) == "isobars every 4 hPa"
    letters = {text.get_text() for text in axis.texts if text.get_text() in "HL"}
    assert letters == {"H", "L"}


def test_the_centres_of_the_map_are_drawn_where_they_are_with_their_values():
    axis = panel()
    draw_day(axis, GRID, {"msl": PRESSURE * 100}, {"msl": "Pa"})
    drawn = [(text.get_text(), text.xy) for text in axis.texts if hasattr(text, "xy")]
    assert drawn == [
        ("H", (128.0, 35.0)), ("1028", (128.0, 35.0)), ("L", (140.0, 44.0)), ("985", (140.0, 44.0)),
    ]  # fmt: skip
    axis = panel()
    draw_day(axis, GRID, {"msl": np.full(Y.shape, 1010.0)}, {"msl": "hPa"})
    assert not [text for text in axis.texts if hasattr(text, "xy")]


def test_gaps_do_not_stop_the_map():
    broken = PRESSURE.copy()
    broken[:8, :10] = np.nan
    assert len(PressureMap(GRID.latitude, GRID.longitude, broken).centres()) == 2
    axis = panel()
    draw_day(axis, GRID, {"msl": broken}, {"msl": "hPa"})
    axis.figure.canvas.draw()
    assert [text.get_text() for text in axis.texts if text.get_text() in "HL"] == ["H", "L"]


def test_interpolation_keeps_the_values_and_follows_a_wave():
    grid, fine = smooth(GRID, PRESSURE)
    assert fine.shape == (81, 121)
    assert fine[::4, ::4] == pytest.approx(PRESSURE)
    assert grid.latitude[::4] == pytest.approx(GRID.latitude)
    expected = 1010 - 25 * np.exp(-((grid.latitude - 44) ** 2) / 18)[:, None] * np.exp(
        -((grid.longitude - 140) ** 2) / 18
    )
    expected += 18 * np.exp(-((grid.latitude - 35) ** 2) / 18)[:, None] * np.exp(-((grid.longitude - 128) ** 2) / 18)
    # Cubics through points a third of a width apart; straight lines would be off by 0.35.
    assert np.abs(fine - expected).max() < 0.12


def test_interpolation_is_as_fine_as_asked_for_and_leaves_gaps_alone():
    for across, shape in ((30, (21, 31)), (31, (41, 61)), (160, (121, 181))):
        grid, fine = smooth(GRID, PRESSURE, across)
        assert fine.shape == shape == (len(grid.latitude), len(grid.longitude))
    broken = PRESSURE.copy()
    broken[3, 3] = np.nan
    assert smooth(GRID, broken)[1] is broken
    thin = Grid(GRID.latitude[:2], GRID.longitude)
    assert smooth(thin, PRESSURE[:2])[0] is thin


def test_without_pressure_the_next_best_is_shown_and_told():
    axis = panel()
    units = {"vg": "m s-1", "ug": "m s-1", "vog": "s-1"}
    draw_day(axis, GRID, {"vg": X - 135, "ug": Y - 40, "vog": (Y - 40) * 1e-5}, units)
    assert what_is_drawn(units) == "colours: vog (s-1), arrows: ug, vg"
    assert any(isinstance(one, Quiver) for one in axis.collections)
    assert what_is_drawn({"t850": "K", "z500": "m2 s-2"}) == "lines: z500 (m2 s-2)"
    draw_day(panel(), GRID, {"t850": Y, "z500": 5e4 + 100 * Y}, {"t850": "K", "z500": "m2 s-2"})
    assert what_is_drawn({"sst": "K"}) == "colours: sst (K)"
    draw_day(panel(), GRID, {"sst": np.full(Y.shape, 280.0)}, {"sst": "K"})


def test_degrees_have_a_side():
    said = [_degrees(value, "EW") for value in (-20.0, 0.0, 140.0, 180.0, -180.0)]
    assert said == ["20°W", "0°", "140°E", "180°", "180°"]
    assert [_degrees(value, "NS") for value in (-5.0, 0.0, 32.5)] == ["5°S", "0°", "32.5°N"]
    axis = panel()
    draw_day(axis, Grid(GRID.latitude, GRID.longitude + 60), {"msl": PRESSURE}, {"msl": "hPa"})
    axis.figure.canvas.draw()
    assert [text.get_text() for text in axis.get_xticklabels() if text.get_text()][-1].endswith("W"), "beyond 180°"


def test_coastlines_where_cartopy_and_its_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A stand-in for cartopy, which is not among our packages: its data folder and its reader of shapes."""
    folder = tmp_path / "shapefiles/natural_earth/physical"
    folder.mkdir(parents=True)
    lines = [
        SimpleNamespace(coords=[(-225.0, 35.0), (-220.0, 40.0)]),
        SimpleNamespace(coords=[(0.0, 0.0), (10.0, 0.0)]),
    ]
    package, reading = ModuleType("cartopy"), ModuleType("cartopy.io.shapereader")
    package.config = {"pre_existing_data_dir": "", "data_dir": tmp_path}
    reading.Reader = lambda path: SimpleNamespace(geometries=lambda: lines)
    package.__spec__ = SimpleNamespace(name="cartopy")
    for name, module in {"cartopy": package, "cartopy.io": ModuleType("cartopy.io"), reading.__name__: reading}.items():
        monkeypatch.setitem(sys.modules, name, module)
    coast.coastlines.cache_clear()
    try:
        told: list[str] = []
        monkeypatch.setattr(coast.log, "info", told.append)
        assert coast.coastlines() == (), "installed without its files: nothing is fetched"
        assert ["its Natural Earth data are not" in line for line in told] == [True]
        (folder / "ne_110m_coastline.shp").touch()
        coast.coastlines.cache_clear()
        axis = panel()
        assert coast.draw_coast(axis, 120.0, 150.0)
        drawn = [path for one in axis.collections if isinstance(one, LineCollection) for path in one.get_paths()]
        assert [path.vertices[0].tolist() for path in drawn] == [[135.0, 35.0]], "turned into the map's longitudes"
    finally:
        coast.coastlines.cache_clear()
