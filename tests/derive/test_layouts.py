"""The same weather in every layout that data centres have delivered gives the same canonical values."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.derive.series import Archive, open_archive
from pipeline.raw.reader import Values
from pipeline.testing import World, plant, write_world
from tests.derive.raw_files import RawLayout, days, load, pressure, run, settings, write_raw

MSL = ("msl", None)
LAT, LON = [55.0, 52.5, 50.0, 47.5], [115.0, 117.5, 120.0, 122.5, 125.0]
TIMES = days("2001-01-01", 5)
NCEP = RawLayout(name="slp", time="time", since="hours since 1800-01-01", latitude="lat", longitude="lon")


def canonical(*paths: Path) -> tuple[Archive, Values]:
    archive = open_archive(paths, [MSL])
    series = archive.series[MSL]
    return archive, series.read(series.seconds)


# --- layouts of the Climate Data Store -------------------------------------------------------------------------------

WORLD = World(start=date(1999, 12, 28), days=9, lat_points=7, lon_points=8, per="year")


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, Values]:
    return canonical(*write_world(WORLD, tmp_path_factory.mktemp("today")).files)


@pytest.mark.parametrize("layout", ["old", "old_expver"])
def test_layouts_of_the_climate_data_store(tmp_path: Path, today: tuple[Archive, Values], layout: str) -> None:
    """Old files have int16 values and, with ``expver``, each time in one of two versions."""
    raw = write_world(World(**{**vars(WORLD), "layout": layout}), tmp_path)
    archive, values = canonical(*raw.files)
    assert archive.grid.same(today[0].grid)
    np.testing.assert_array_equal(archive.series[MSL].seconds, today[0].series[MSL].seconds)
    assert values.dtype == np.float32
    # Half a step of 16 bits over the range of one file, and the rounding of float32 near 1e5.
    span = today[1].max() - today[1].min()
    np.testing.assert_allclose(values, today[1], rtol=0, atol=span / 65_532 / 2 + 2**-7)


def test_files_of_several_layouts_in_one_series(tmp_path: Path, today: tuple[Archive, Values]) -> None:
    """Delivered before and after the change of 2024, as an archive that has grown over years is."""
    old = write_world(World(**{**vars(WORLD), "layout": "old"}), tmp_path / "old").files[0]
    new = write_world(WORLD, tmp_path / "new").files[1]
    archive, values = canonical(old, new)
    np.testing.assert_array_equal(archive.series[MSL].seconds, today[0].series[MSL].seconds)
    np.testing.assert_array_equal(values[4:], today[1][4:])


def test_final_data_go_before_preliminary_ones(tmp_path: Path) -> None:
    """Where both versions have a value, expver 1 counts, in whatever order the file lists them."""
    for order in ([1, 5], [5, 1]):
        path = tmp_path / f"both_{order[0]}.nc"
        values = np.stack([pressure(TIMES, LAT, LON) + (100 if version == 5 else 0) for version in order], axis=1)
        values[2, order.index(1)] = np.nan
        with netCDF4.Dataset(path, "w") as file:
            for name, axis in {"time": TIMES, "expver": order, "latitude": LAT, "longitude": LON}.items():
                file.createDimension(name, len(axis))
                file.createVariable(name, "f8", (name,))[:] = axis
            file["time"].units = "seconds since 1970-01-01"
            item = file.createVariable("msl", "f4", ("time", "expver", "latitude", "longitude"))
            item[:], item.units = values, "Pa"
        right = pressure(TIMES, LAT, LON)
        right[2] += 100
        np.testing.assert_array_equal(canonical(path)[1], right)


def test_a_variable_without_the_dimension_of_versions(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON)
    with netCDF4.Dataset(path, "a") as file:
        file.createDimension("expver", 2)
        file.createVariable("expver", "i4", ("expver",))[:] = [1, 5]
        file.createVariable("tcc", "f4", ("valid_time", "expver", "latitude", "longitude")).units = "1"
    np.testing.assert_array_equal(canonical(path)[1], pressure(TIMES, LAT, LON))


def test_a_zip_archive_named_nc(tmp_path: Path, today: tuple[Archive, Values]) -> None:
    raw = write_world(World(**{**vars(WORLD), "layout": "zip"}), tmp_path)
    archive, values = canonical(*raw.files)
    np.testing.assert_array_equal(archive.series[MSL].seconds, today[0].series[MSL].seconds)
    np.testing.assert_array_equal(values, today[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["era5_msl_1999.nc", "era5_msl_2000.nc", "labels.csv"]


def test_variables_on_levels(tmp_path: Path) -> None:
    """Old files sort levels upwards, and leave the dimension out where there is one level only."""
    heights = {}
    for layout in ("cds", "old"):
        world = World(**{**vars(WORLD), "groups": ("z_500_1000", "msl"), "layout": layout})
        raw = write_world(world, tmp_path / layout)
        spec = run(settings(*raw.files, fields=["gh500", "msl"]), tmp_path / f"{layout}_out")
        heights[layout] = load(tmp_path / f"{layout}_out", spec)["gh500"].values
    assert 4500 < heights["cds"].min() < heights["cds"].max() < 6100
    np.testing.assert_allclose(heights["old"], heights["cds"], atol=0.1)


# --- orders and conventions ------------------------------------------------------------------------------------------


def test_ncep_file(tmp_path: Path) -> None:
    """Ascending ``lat``, hours since 1800, another name of the variable, no more attributes than units."""
    path = write_raw(tmp_path / "slp.nc", TIMES, LAT[::-1], LON, layout=NCEP)
    archive, values = canonical(path)
    assert archive.grid.latitude.tolist() == LAT
    assert archive.grid.longitude.tolist() == LON
    np.testing.assert_array_equal(archive.series[MSL].seconds, TIMES)
    np.testing.assert_array_equal(values, pressure(TIMES, LAT, LON))


def test_flipped_latitude(tmp_path: Path, today: tuple[Archive, Values]) -> None:
    raw = write_world(WORLD, tmp_path)
    for path in raw.files:
        plant("flipped_latitude", path)
    archive, values = canonical(*raw.files)
    assert archive.grid.same(today[0].grid)
    np.testing.assert_array_equal(values, today[1])


@pytest.mark.parametrize(
    ("columns", "right"),
    [
        pytest.param([115, 120, 125, 130], [115, 120, 125, 130], id="Japan"),
        pytest.param([290, 300, 310, 320], [-70, -60, -50, -40], id="west of Greenwich as 0-360"),
        pytest.param([-70, -60, -50, -40], [-70, -60, -50, -40], id="west of Greenwich as ±180"),
        pytest.param([350, 355, 0, 5], [-10, -5, 0, 5], id="over Greenwich as 0-360 from the west"),
        pytest.param([0, 5, 350, 355], [-10, -5, 0, 5], id="over Greenwich as 0-360 ascending"),
        pytest.param([-10, -5, 0, 5], [-10, -5, 0, 5], id="over Greenwich as ±180"),
        pytest.param([350, 355, 360, 365], [-10, -5, 0, 5], id="over Greenwich beyond 360"),
        pytest.param([170, 175, 180, 185], [170, 175, 180, 185], id="over the date line as 0-360"),
        pytest.param([170, 175, -180, -175], [170, 175, 180, 185], id="over the date line as ±180 from the west"),
        pytest.param([-180, -175, 170, 175], [170, 175, 180, 185], id="over the date line as ±180 ascending"),
        pytest.param([180, 185, 190, 195], [-180, -175, -170, -165], id="from the date line on"),
        pytest.param([130, 125, 120, 115], [115, 120, 125, 130], id="descending"),
        pytest.param([0, 90, 180, 270], [-180, -90, 0, 90], id="globe as 0-360"),
        pytest.param([-180, -90, 0, 90], [-180, -90, 0, 90], id="globe as ±180"),
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_longitudes(tmp_path: Path, columns: list[float], right: list[float], flip: bool) -> None:
    """One set of meridians, one canonical order, whichever way it is written; values move with their meridian."""
    rows = LAT[::-1] if flip else LAT
    archive, values = canonical(write_raw(tmp_path / "raw.nc", TIMES, rows, columns))
    assert archive.grid.longitude.tolist() == right
    assert archive.grid.latitude.tolist() == LAT
    np.testing.assert_array_equal(values, pressure(TIMES, LAT, right))


def test_coordinates_in_float32_are_the_same_grid(tmp_path: Path) -> None:
    """115.3 in float32 is 115.30000305; both files name the same meridian."""
    lat, lon = np.linspace(50.1, 48.9, 13), np.linspace(115.3, 116.9, 17)
    narrow = RawLayout(coordinate_type="f4")
    left = write_raw(tmp_path / "left.nc", TIMES[:2], lat, lon, layout=narrow)
    right = write_raw(tmp_path / "right.nc", TIMES[2:], lat, lon)
    archive, values = canonical(left, right)
    np.testing.assert_allclose(archive.grid.longitude, lon, atol=1e-8)
    assert len(values) == 5


@pytest.mark.parametrize("step", [0.703125, 1 / 3, 0.1, 0.28125])
@pytest.mark.parametrize("coordinate_type", ["f4", "f8"])
def test_axes_keep_their_digits(tmp_path: Path, step: float, coordinate_type: str) -> None:
    """Removing the noise of float32 must not round what float64 says exactly."""
    lat, lon = 50 - step * np.arange(9), 115 + step * np.arange(11)
    path = write_raw(tmp_path / "raw.nc", TIMES, lat, lon, layout=RawLayout(coordinate_type=coordinate_type))
    grid = canonical(path)[0].grid
    allowed = 1e-9 if coordinate_type == "f8" and step != 1 / 3 else 2e-5
    np.testing.assert_allclose(grid.latitude, lat, rtol=0, atol=allowed)
    np.testing.assert_allclose(grid.longitude, lon, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    "layout",
    [
        RawLayout(name="slp"),
        RawLayout(name="var151", attributes={"GRIB_shortName": "msl"}),
        RawLayout(name="p", attributes={"standard_name": "air_pressure_at_sea_level"}),
        RawLayout(name="MSL", units="pascal", time="time", since="days since 1900-01-01"),
        RawLayout(
            latitude="y",
            longitude="x",
            lat_attributes={"units": "degree_north"},
            lon_attributes={"units": "degrees_E"},
        ),
        RawLayout(
            latitude="rows",
            longitude="columns",
            lat_attributes={"standard_name": "latitude"},
            lon_attributes={"standard_name": "longitude"},
        ),
        RawLayout(latitude="lat", longitude="lon", lat_attributes={}, lon_attributes={}),
        RawLayout(file_format="NETCDF3_CLASSIC", since="hours since 1900-01-01", calendar="gregorian"),
        RawLayout(file_format="NETCDF3_64BIT_OFFSET", calendar="standard"),
        RawLayout(file_format="NETCDF4_CLASSIC"),
    ],
    ids=lambda layout: "-".join((layout.name, layout.latitude, layout.file_format)),
)  # fmt: skip
def test_found_by_attributes(tmp_path: Path, layout: RawLayout) -> None:
    archive, values = canonical(write_raw(tmp_path / "raw.nc", TIMES, LAT, LON, layout=layout))
    assert archive.grid.latitude.tolist() == LAT
    np.testing.assert_array_equal(archive.series[MSL].seconds, TIMES)
    np.testing.assert_array_equal(values, pressure(TIMES, LAT, LON))


@pytest.mark.parametrize(("units", "factor"), [("hPa", 0.01), ("mbar", 0.01), ("millibars", 0.01), ("Pa", 1)])
def test_units_are_converted(tmp_path: Path, units: str, factor: float) -> None:
    values = (pressure(TIMES, LAT, LON) * factor).astype(np.float64)
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON, values, RawLayout(units=units))
    np.testing.assert_allclose(canonical(path)[1], pressure(TIMES, LAT, LON), rtol=1e-7)


def test_a_file_of_one_time_without_a_time_dimension(tmp_path: Path) -> None:
    whole = write_raw(tmp_path / "whole.nc", TIMES[:1], LAT, LON)
    path = tmp_path / "single.nc"
    with netCDF4.Dataset(whole) as source, netCDF4.Dataset(path, "w") as file:
        for name, axis in {"latitude": LAT, "longitude": LON}.items():
            file.createDimension(name, len(axis))
            file.createVariable(name, "f8", (name,))[:] = axis
        file.createVariable("valid_time", "i8", ())[...] = TIMES[0]
        file["valid_time"].units = "seconds since 1970-01-01"
        item = file.createVariable("msl", "f4", ("latitude", "longitude"))
        item[:], item.units = source["msl"][0], "Pa"
    archive, values = canonical(path)
    assert archive.series[MSL].seconds.tolist() == TIMES[:1].tolist()
    np.testing.assert_array_equal(values, pressure(TIMES[:1], LAT, LON))


def test_other_order_of_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "raw.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, axis in {"longitude": LON, "time": TIMES, "latitude": LAT}.items():
            file.createDimension(name, len(axis))
            file.createVariable(name, "f8", (name,))[:] = axis
        file["time"].units = "seconds since 1970-01-01"
        item = file.createVariable("msl", "f4", ("longitude", "time", "latitude"))
        item[:], item.units = pressure(TIMES, LAT, LON).transpose(2, 0, 1), "Pa"
    np.testing.assert_array_equal(canonical(path)[1], pressure(TIMES, LAT, LON))


def test_every_layout_gives_the_same_monthly_files(tmp_path: Path) -> None:
    """Not only the reading: fields, dates and grid of the finished files are equal to the last bit."""
    times = days("2001-01-25", 10)
    writings = {
        "plain": (LAT, LON, RawLayout()),
        "flipped": (LAT[::-1], LON, RawLayout()),
        "shifted": (LAT, [value - 360 for value in LON], RawLayout()),
        "ncep": (LAT[::-1], LON, NCEP),
    }
    found = {}
    for name, (lat, lon, layout) in writings.items():
        path = write_raw(tmp_path / name / "raw.nc", times, lat, lon, layout=layout)
        folder = tmp_path / name / "out"
        found[name] = load(folder, run(settings(path, fields=["msl", "msl_dt24", "grad_msl", "lap_msl"]), folder))
    for name, data in found.items():
        assert data.drop_attrs().identical(found["plain"].drop_attrs()), name
