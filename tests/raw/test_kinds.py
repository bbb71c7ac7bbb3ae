"""Every kind of file that data centres deliver, whatever it is called: the values that are in it, or one clear line."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import InputError
from pipeline.derive.series import open_archive
from pipeline.raw.classic import check_length
from pipeline.raw.reader import keeping_open, opened, read, scan, scan_members
from pipeline.raw.times import decode_times
from pipeline.raw.variables import RAW
from pipeline.testing import World, write_world
from tests.conftest import SHARED
from tests.derive.raw_files import RawLayout, days, load, pressure, run, settings, write_raw

LAT, LON = [55.0, 52.5, 50.0, 47.5], [115.0, 117.5, 120.0, 122.5, 125.0]
TIMES = days("2001-01-01", 5)
WORLD = World(start=date(1999, 12, 28), days=9, lat_points=7, lon_points=8, groups=("uv_850", "z_500_1000", "tp"))
CLASSIC = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


# --- ZIP -------------------------------------------------------------------------------------------------------------


def zipped(path: Path, members: Sequence[Path], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member in members:
            archive.write(member, member.name)
    return path


@pytest.fixture
def instant(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "data_stream-oper_stepType-instant.nc", TIMES, LAT, LON)


@pytest.fixture
def accumulated(tmp_path: Path) -> Path:
    values = pressure(TIMES, LAT, LON) * np.float32(1e-8)
    return write_raw(tmp_path / "data_stream-oper_stepType-accum.nc", TIMES, LAT, LON, values, RawLayout("tp", "m"))


@pytest.mark.parametrize("name", ["raw.zip", "raw.nc", "raw"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_both_members_of_a_zip(tmp_path: Path, instant: Path, accumulated: Path, name: str, compression: int) -> None:
    path = zipped(tmp_path / name, [instant, accumulated], compression)
    folder = tmp_path / "out"
    data = load(folder, run(settings(path, fields=["msl", "tp"]), folder))
    np.testing.assert_array_equal(data["msl"].values, pressure(TIMES, LAT, LON))
    assert data["tp"].shape == data["msl"].shape
    with opened(path) as merged:
        assert set(merged.data_vars) == {"msl", "tp"}
        np.testing.assert_array_equal(merged["msl"].values, pressure(TIMES, LAT, LON))


def test_a_zip_in_a_folder_that_is_read_only(tmp_path: Path, instant: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    path = zipped(folder / "raw.zip", [instant])
    folder.chmod(0o555)
    try:
        assert len(scan_members(path, ["msl"])[0]) == 1
        assert [item.name for item in folder.iterdir()] == ["raw.zip"]
    finally:
        folder.chmod(0o755)


def test_a_variable_in_two_members(tmp_path: Path, instant: Path) -> None:
    second = tmp_path / "second.nc"
    second.write_bytes(instant.read_bytes())
    path = zipped(tmp_path / "raw.zip", [instant, second])
    with pytest.raises(InputError, match=r"raw\.zip \(second\.nc\): holds msl at .* and so does .*instant\.nc\)"):
        open_archive([path], [("msl", None)])


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, r"raw\.zip: a ZIP archive without a file in it"),
        ({"readme.txt": b"hello"}, r"raw\.zip \(readme\.txt\): is not NetCDF \(it begins with b'hell'\)"),
        ({"empty.nc": b""}, r"raw\.zip \(empty\.nc\): is empty"),
        ({"inner.nc": b"PK\x03\x04rest"}, r"raw\.zip \(inner\.nc\): is not NetCDF"),
        ({"broken.nc": b"\x89HDF\r\n\x1a\n" + bytes(50)}, r"raw\.zip \(broken\.nc\): truncated or corrupt"),
    ],
)
def test_zips_that_are_refused(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    path = tmp_path / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=says) as caught:
        scan(path, ["msl"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_zip(tmp_path: Path, instant: Path, part: float) -> None:
    path = zipped(tmp_path / "raw.zip", [instant])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(InputError, match=r"raw\.zip: a ZIP archive that is truncated or corrupt"):
        scan(path, ["msl"])


def test_handles_of_archives_are_closed(tmp_path: Path, instant: Path, accumulated: Path) -> None:
    path = zipped(tmp_path / "raw.zip", [instant, accumulated])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with keeping_open():
            files, _ = scan_members(path, ["msl", "tp"])
            assert len(files) == 2
            read(files[1], "msl", None, np.arange(5))
        with opened(path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


# --- GRIB ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grib(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    pytest.importorskip("eccodes")
    return {
        layout: list(
            write_world(World(**{**vars(WORLD), "layout": layout}), tmp_path_factory.mktemp(layout)).files
        )
        for layout in ("cds", "grib")
    }  # fmt: skip


def test_grib_and_netcdf_of_one_weather(grib: dict[str, list[Path]]) -> None:
    keys = [("u", 850.0), ("v", 850.0), ("z", 500.0), ("z", 1000.0), ("tp", None)]
    left, right = (open_archive(grib[name], keys) for name in ("cds", "grib"))
    assert left.grid.same(right.grid)
    for key in keys:
        times = left.series[key].seconds
        np.testing.assert_array_equal(times, right.series[key].seconds)
        exact, packed = left.series[key].read(times), right.series[key].read(times)
        # 16 bits over the range of one field, and the step of the decimal scaling.
        np.testing.assert_allclose(packed, exact, rtol=0, atol=float(np.ptp(exact)) / 65_535 + 1e-7)


def test_grib_as_a_data_set(grib: dict[str, list[Path]]) -> None:
    path = next(path for path in grib["grib"] if "z_500_1000" in path.name)
    file = scan(path, ["z"])[0]
    assert file is not None
    with opened(path) as data:
        assert data["z"].dims == ("time", "level_z", "latitude", "longitude")
        assert data["level_z"].values.tolist() == [500.0, 1000.0]
        for place, level in enumerate((500.0, 1000.0)):
            right = read(file, "z", level, np.arange(len(file.layout.seconds)))
            np.testing.assert_array_equal(data["z"].isel(level_z=place).values, right)
        np.testing.assert_array_equal(data["z"].values[:, 1], right)
        np.testing.assert_array_equal(data["z"].isel(time=slice(1, 3), level_z=1, latitude=2).values, right[1:3, 2])


def test_grib_messages_of_all_variables_in_one_file(grib: dict[str, list[Path]], tmp_path: Path) -> None:
    path = tmp_path / "all.grib"
    path.write_bytes(b"".join(item.read_bytes() for item in sorted(grib["grib"], key=lambda item: item.stat().st_size)))
    archive = open_archive([path], [("u", 850.0), ("z", 1000.0), ("tp", None)])
    assert {len(series.seconds) for series in archive.series.values()} == {9}


def test_grib_that_holds_a_message_twice(grib: dict[str, list[Path]], tmp_path: Path) -> None:
    path = tmp_path / "twice.grib"
    path.write_bytes(2 * grib["grib"][0].read_bytes())
    with pytest.raises(InputError, match=r"twice\.grib: holds \w+ at 850 hPa 2 times at .* keep one of them"):
        scan(path, RAW)


@pytest.mark.parametrize("part", [0.01, 0.45, 0.999])
def test_truncated_grib(grib: dict[str, list[Path]], tmp_path: Path, part: float) -> None:
    whole = grib["grib"][0].read_bytes()
    path = tmp_path / "raw.grib"
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"raw\.grib: truncated or corrupt"):
        scan(path, RAW)


def test_grib_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "raw.nc"
    path.write_bytes(b"GRIB" + bytes(100))
    monkeypatch.setitem(sys.modules, "eccodes", None)
    with pytest.raises(InputError, match=r"pip install 'isobar\[grib\]' \(or: uv sync --extra grib\)$"):
        scan(path, ["msl"])


# --- classic NetCDF --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Cannot close a netcdf_file")
@pytest.mark.parametrize("file_format", CLASSIC)
@pytest.mark.parametrize("unlimited", [False, True])
def test_classic_kinds(tmp_path: Path, file_format: str, unlimited: bool) -> None:
    """With records that alternate among variables, and without."""
    path, right = tmp_path / "raw.nc", pressure(TIMES, LAT, LON)
    with netCDF4.Dataset(path, "w", format=file_format) as file:
        file.createDimension("time", None if unlimited else len(TIMES))
        for name, axis in {"latitude": LAT, "longitude": LON}.items():
            file.createDimension(name, len(axis))
            file.createVariable(name, "f4", (name,))[:] = axis
        file.createVariable("time", "f8", ("time",)).units = "hours since 1800-01-01 00:00:0.0"
        file["time"][:] = (TIMES - np.datetime64("1800-01-01", "s").astype(int)) / 3600
        for name in ("slp", "other"):
            item = file.createVariable(name, "i2", ("time", "latitude", "longitude"), fill_value=-32768)
            item.setncatts({"scale_factor": 1.0, "add_offset": 100_000.0, "units": "Pa", "actual_range": [0.0, 1.0]})
            item[:] = right
    check_length(path)
    found = scan(path, ["msl"])[0]
    assert found is not None
    np.testing.assert_array_equal(found.layout.seconds, TIMES)
    np.testing.assert_array_equal(read(found, "msl", None, np.arange(5)), np.round(right))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - 5])
    with pytest.raises(InputError, match=r"raw\.nc: truncated or corrupt"):
        scan(path, ["msl"])


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "units",
    [
        "hours since 1900-01-01 00:00:00.0", "hours since 1800-01-01", "days since 1-1-1 00:00:00",
        "seconds since 1970-01-01T00:00:00Z", "minutes since 1990-1-1 6:30", "hours since 1900-01-01 00:00:0.0",
        "days since 2000-01-01 00:00:00 UTC",
    ],
)  # fmt: skip
@pytest.mark.parametrize("calendar", [None, "gregorian", "proleptic_gregorian", "standard"])
@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
def test_times_as_xarray_decodes_them(units: str, calendar: str | None) -> None:
    """The short way for common units gives what the general one does."""
    attrs = {"units": units} | ({"calendar": calendar} if calendar else {})
    values = np.array([730_500.0, 730_500.25, 730_501.0]) * (1 if units.startswith("day") else 24)
    right = xr.decode_cf(xr.Dataset({"x": ("n", values, attrs)}))["x"].values.astype("datetime64[s]").astype(np.int64)
    np.testing.assert_array_equal(decode_times(values, attrs), right)


# --- real deliveries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "DERIVED_new_cds_layout_z_t_pressure_level.nc",
        "DERIVED_old_cds_expver_dim_msl_japan.nc",
        "new_cds__u10v10_germany_20251104_hourly_era5t.nc",
        "new_cds_zip_named_nc__flujos_valdivia_era5.nc",
        "old_cds__era5_japan_msl_monthly_2018_2021_int16.nc",
    ],
)
def test_real_files_as_xarray_reads_them(name: str, tmp_path: Path) -> None:
    """Every known variable, level and time of every sample."""
    path = SHARED / "data" / "cds_samples" / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    files, _ = scan_members(path, RAW)
    checked = 0
    for file in files:
        data = reference(path, tmp_path)
        layout = file.layout
        time, latitude, longitude = layout.dims
        for key, held in layout.held.items():
            for number, level in enumerate(held.levels or (None,)):
                item = data[held.name]
                if "expver" in item.dims:
                    item = item.sel(expver=1).fillna(item.sel(expver=5))
                if held.level_dim:
                    item = item.isel({held.level_dim: number})
                right = item.transpose(time, latitude, longitude).values
                right = right[:, layout.order.rows][:, :, layout.order.columns] * held.factor + held.offset
                mine = read(file, key, level, np.arange(len(layout.seconds)))
                # float32 holds 24 bits.
                np.testing.assert_allclose(mine, right, rtol=2**-23, atol=1e-9)
                checked += 1
        times = data[time].values.astype("datetime64[s]").astype(np.int64)
        np.testing.assert_array_equal(layout.seconds, times)
        assert np.all(np.diff(layout.grid.latitude) < 0)
        assert np.all(np.diff(layout.grid.longitude) > 0)
    assert checked >= 1


def reference(path: Path, folder: Path) -> xr.Dataset:
    """Read with xarray by the netCDF library, an archive after unpacking it."""
    if not zipfile.is_zipfile(path):
        return xr.load_dataset(path, engine="netcdf4")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
        return xr.merge(
            [xr.load_dataset(folder / name, engine="netcdf4") for name in archive.namelist()], compat="equals"
        )
