"""The Zarr copy of ERA5: what is written equals what xarray selects; every refusal is one line."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import types
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.download import arco, netcdf
from pipeline.download.arco import ArcoStore
from pipeline.download.check import Expected, Rejected, check_file
from pipeline.synthetic.arco import write_arco
from pipeline.synthetic.fields import FIELDS, Atmosphere, Grid
from pipeline.synthetic.plan import Weather

GLOBE = (90.0, -180.0, -90.0, 179.75)
JAPAN = (55.0, 115.0, 15.0, 155.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 5°: three days of final data, one of preliminary data, two days of axis without any."""
    return write_arco(tmp_path_factory.mktemp("arco") / "store.zarr")


@pytest.fixture
def store(folder: Path) -> ArcoStore:
    return ArcoStore(str(folder))


def times(first: str, count: int, hours: int = 6) -> np.ndarray:
    return np.datetime64(first, "s").astype(np.int64) + 3600 * hours * np.arange(count)


def direct(folder: Path, name: str) -> xr.DataArray:
    return xr.open_zarr(folder, chunks=None)[name].load()


def written(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return data.load()


# --- values ----------------------------------------------------------------------------------------------------


def test_the_store_is_laid_out_as_the_public_one(folder: Path) -> None:
    data = xr.open_zarr(folder)
    assert data["mean_sea_level_pressure"].dims == ("time", "latitude", "longitude")
    assert data["geopotential"].dims == ("time", "level", "latitude", "longitude")
    assert data["geopotential"].encoding["chunks"] == (1, 3, 37, 72)
    assert (data["latitude"].values[[0, -1]] == (90, -90)).all()
    assert (data["longitude"].values[[0, -1]] == (0, 355)).all()
    assert data["level"].dtype.kind == "i"
    assert data["geopotential"].attrs["short_name"] == "z"
    raw = xr.open_zarr(folder, decode_times=False)
    assert raw["time"].attrs["units"] == "hours since 1900-01-01"
    assert data.attrs["valid_time_stop"] == "1995-01-03"
    # Beyond the data the axis goes on with nothing in it, as in the public store.
    assert bool(data["mean_sea_level_pressure"].isel(time=-1).isnull().all())


def test_the_store_holds_the_invented_weather(folder: Path) -> None:
    air = Atmosphere(Weather(0), [date(1995, 1, 2), date(1995, 1, 3)])
    latitude, longitude = np.arange(55.0, 14, -5), np.arange(115.0, 156, 5)
    fields = Grid(latitude, longitude).sample(FIELDS["z500"](air))
    found = direct(folder, "geopotential").sel(level=500, latitude=latitude, longitude=longitude)
    # float32 of values up to 6e4.
    assert np.allclose(found.sel(time="1995-01-02T00"), fields[0], atol=0.01)
    assert np.allclose(found.sel(time="1995-01-02T18"), fields[0] / 4 + fields[1] * 3 / 4, atol=0.01)


@pytest.mark.parametrize(
    ("area", "grid", "latitude", "longitude"),
    [
        (JAPAN, None, np.arange(55, 14, -5), np.arange(115, 156, 5)),
        (JAPAN, (10.0, 5.0), np.arange(55, 14, -10), np.arange(115, 156, 5)),
        ((30.0, -20.0, 0.0, 25.0), None, np.arange(30, -1, -5), np.arange(-20, 26, 5)),
        ((30.0, 160.0, 0.0, 200.0), (5.0, 10.0), np.arange(30, -1, -5), np.arange(160, 201, 10)),
        ((30.0, 350.0, 25.0, 370.0), (5.0, 5.0), np.array([30, 25]), np.arange(350, 371, 5)),
        (GLOBE, None, np.arange(90, -91, -5), np.arange(-180, 180, 5)),
        ((90.0, 0.0, -90.0, 360.0), (30.0, 60.0), np.arange(90, -91, -30), np.arange(0, 360, 60)),
        ((33.0, 121.0, 18.0, 139.0), None, np.array([30, 25, 20]), np.array([125, 130, 135])),
        ((20.0, 130.0, 19.0, 131.0), None, np.array([20]), np.array([130])),
    ],
)
def test_areas_and_grids(
    store: ArcoStore,
    folder: Path,
    tmp_path: Path,
    area: tuple[float, float, float, float],
    grid: tuple[float, float] | None,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> None:
    keys = (("msl", None), ("z", 500.0), ("z", 1000.0))
    seconds = times("1995-01-02", 5)
    store.write_piece(keys, seconds, area, grid, tmp_path / "piece.nc")
    found = written(tmp_path / "piece.nc")
    assert found["latitude"].values.tolist() == latitude.tolist()
    assert found["longitude"].values.tolist() == longitude.tolist()
    assert found["pressure_level"].values.tolist() == [1000, 500]
    when = seconds.astype("datetime64[s]")
    assert (found["valid_time"].values == when).all()
    where = {"time": when, "latitude": latitude, "longitude": longitude % 360}
    np.testing.assert_array_equal(found["msl"].values, direct(folder, "mean_sea_level_pressure").sel(where).values)
    there = direct(folder, "geopotential").sel(level=[1000, 500], **where)
    np.testing.assert_array_equal(found["z"].values, there.values)
    # A single point has no spacing to check.
    if len(latitude) > 1:
        expected = Expected(keys, seconds, area, grid or (5.0, 5.0))
        assert check_file(tmp_path / "piece.nc", expected).variables == ("msl", "z")


def test_the_file_is_laid_out_as_the_data_store_does(store: ArcoStore, tmp_path: Path) -> None:
    path = tmp_path / "piece.nc"
    keys = (("total_precipitation", None), ("sst", None), ("10m_u_component_of_wind", None), ("t", 850.0))
    store.write_piece(keys, times("1995-01-01T03", 3, 1), JAPAN, None, path)
    found = written(path)
    assert list(found.data_vars) == ["tp", "sst", "u10", "t"]
    assert found["t"].dims == ("valid_time", "pressure_level", "latitude", "longitude")
    assert found["tp"].dims == ("valid_time", "latitude", "longitude")
    assert [found[name].attrs["units"] for name in found.data_vars] == ["m", "K", "m s**-1", "K"]
    assert found["tp"].attrs["long_name"] == "Total precipitation"
    assert all(found[name].dtype == np.float32 for name in found.data_vars)
    share = float(np.isnan(found["sst"].values).mean())
    assert 0 < share < 1
    expected = Expected(keys, times("1995-01-01T03", 3, 1), JAPAN, (5.0, 5.0))
    assert check_file(path, expected).missing_share["sst"] == pytest.approx(share)


def test_blocks_of_times_change_nothing(store: ArcoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = (("msl", None), ("t", 850.0), ("t", 850.0))
    for number, block in enumerate((arco._BLOCK, 4 * 81 * 2 * 3)):
        monkeypatch.setattr(arco, "_BLOCK", block)
        store.write_piece(keys, times("1995-01-01", 11), JAPAN, None, tmp_path / f"{number}.nc")
    xr.testing.assert_identical(written(tmp_path / "0.nc"), written(tmp_path / "1.nc"))


def test_the_same_piece_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    digests = set()
    for threads in (1, 3):
        path = tmp_path / f"{threads}.nc"
        store = ArcoStore(str(folder), threads=threads)
        store.write_piece((("z", 500.0), ("msl", None)), times("1995-01-01", 9), JAPAN, None, path)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_days_and_preliminary_data(store: ArcoStore, tmp_path: Path) -> None:
    assert (store.earliest(), store.latest(), store.latest(preliminary=True)) == (
        date(1995, 1, 1),
        date(1995, 1, 3),
        date(1995, 1, 4),
    )
    path, seconds = tmp_path / "piece.nc", times("1995-01-03T12", 4)
    store.write_piece((("msl", None),), seconds, JAPAN, None, path)
    assert written(path)["expver"].values.tolist() == ["0001", "0001", "0005", "0005"]
    expected = Expected((("msl", None),), seconds, JAPAN, (5.0, 5.0))
    assert check_file(path, expected).preliminary
    store.write_piece((("msl", None),), seconds[:2], JAPAN, None, path)
    assert not check_file(path, Expected(expected.keys, seconds[:2], JAPAN, (5.0, 5.0))).preliminary


def test_chunks_are_read_in_several_threads_but_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, most, now, changed = ArcoStore(str(folder), threads=3), 0, 0, threading.Condition()
    patience = time.monotonic() + 30
    real = xr.DataArray.values.fget

    def slow(item: xr.DataArray) -> Any:
        nonlocal most, now
        with changed:
            now += 1
            most = max(most, now)
            changed.notify_all()
            # However late the others come: three are in here at one time.
            changed.wait_for(lambda: most >= 3, patience - time.monotonic())
        # A moment for a fourth, which must not come.
        time.sleep(0.01)
        try:
            return real(item)
        finally:
            with changed:
                now -= 1

    store.open()
    data = store.select((("msl", None),), times("1995-01-01", 9), JAPAN)
    monkeypatch.setattr(xr.DataArray, "values", property(slow))
    with arco.ThreadPoolExecutor(6) as pool:
        field = data.fields[0]
        list(pool.map(lambda place: store._hour(store.open(), field, data, place), data.times))
    assert most == 3


# --- refusals --------------------------------------------------------------------------------------------------


def refusal(store: ArcoStore, tmp_path: Path, **changes: Any) -> str:
    asked = {"keys": (("msl", None),), "seconds": times("1995-01-01", 2), "area": JAPAN, "grid": None, **changes}
    with pytest.raises(InputError) as caught:
        store.write_piece(**asked, target=tmp_path / "piece.nc")
    assert not list(tmp_path.iterdir())
    text = str(caught.value)
    assert text.startswith(store.address)
    assert "\n" not in text
    return text


def test_variables_that_the_store_lacks(store: ArcoStore, tmp_path: Path) -> None:
    keys = (("msl", None), ("mean_sea_level_presure", None), ("vo", 850.0), ("msl", 500.0), ("zzz", None))
    text = refusal(store, tmp_path, keys=keys[1:])
    assert "'mean_sea_level_presure' without levels (did you mean mean_sea_level_pressure?)" in text
    assert "'vo' on pressure levels" in text
    assert "'msl' on pressure levels" in text
    assert "'zzz' without levels; holds 10m_u_component_of_wind, geopotential" in text


def test_levels_that_the_store_lacks(store: ArcoStore, tmp_path: Path) -> None:
    text = refusal(store, tmp_path, keys=(("z", 500.0), ("z", 300.0), ("z", 700.0)))
    assert "lacks the levels 700, 300 hPa; holds 500, 850, 1000" in text


@pytest.mark.parametrize("grid", [(2.5, 5.0), (5.0, 7.0), (12.5, 10.0)])
def test_a_grid_that_is_no_multiple(store: ArcoStore, tmp_path: Path, grid: tuple[float, float]) -> None:
    assert "every 5°; download.grid must be a multiple of that, not" in refusal(store, tmp_path, grid=grid)


def test_an_area_without_points(store: ArcoStore, tmp_path: Path) -> None:
    assert "has no latitude 54 … 51; change download.area" in refusal(store, tmp_path, area=(54.0, 115.0, 51.0, 155.0))
    assert "has no longitude 116 … 119" in refusal(store, tmp_path, area=(55.0, 116.0, 15.0, 119.0))


def test_times_without_data(store: ArcoStore, tmp_path: Path) -> None:
    for seconds in (times("1994-12-31T18", 3), times("1995-01-04T18", 3)):
        text = refusal(store, tmp_path, seconds=seconds)
        assert "holds 1995-01-01 … 1995-01-04, not" in text
        assert "change download.start or download.end" in text
    assert "has no times 1995-01-01T00:30:00" in refusal(store, tmp_path, seconds=times("1995-01-01T00:30", 1))


def test_no_store_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Zarr store is there; check download\.store"):
        ArcoStore(str(tmp_path / "nothing")).latest()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Zarr"):
        ArcoStore(str(tmp_path / "file")).latest()


def test_a_store_of_another_layout(tmp_path: Path) -> None:
    xr.Dataset({"a": ("x", np.arange(3))}).to_zarr(tmp_path / "other", zarr_format=2)
    with pytest.raises(InputError, match="not laid out as ARCO-ERA5, lacks time, latitude, longitude"):
        ArcoStore(str(tmp_path / "other")).open()


def test_damaged_metadata(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".zmetadata").write_text("{")
    (tmp_path / ".zgroup").write_text("{")
    with pytest.raises(InputError, match="cannot be opened as Zarr"):
        ArcoStore(str(tmp_path)).open()


@pytest.mark.parametrize(
    ("address", "absent", "words"),
    [("gs://bucket/store", "gcsfs", "gcsfs"), ("gs://bucket/store", "", "zarr and gcsfs"), ("/data/store", "", "zarr")],
)
def test_packages_that_are_missing(address: str, absent: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        arco.importlib.util, "find_spec", lambda name: None if not absent or name == absent else object()
    )
    with pytest.raises(InputError, match=f"needs the package {words}; uv sync --extra arco"):
        ArcoStore(address).open()


def test_the_public_store_is_opened_anonymously(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def open_zarr(address: str, **settings: Any) -> xr.Dataset:
        seen.update(settings, address=address)
        raise TimeoutError("connect timed out")

    monkeypatch.setattr(arco.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(arco.xr, "open_zarr", open_zarr)
    monkeypatch.setitem(sys.modules, "aiohttp", types.SimpleNamespace(ClientTimeout=dict))
    with pytest.raises(Rejected, match=r"gs://bucket/store: reading failed \(connect timed out\); it is tried again"):
        ArcoStore("gs://bucket/store", timeout=7).open()
    assert seen["storage_options"] == {
        "token": "anon",
        "requests_timeout": {"total": None, "sock_connect": 7, "sock_read": 7},
    }
    assert seen["address"] == "gs://bucket/store"


class _HttpError(Exception):
    """Stands for what gcsfs raises, which is no ``OSError``."""


_HttpError.__module__ = "gcsfs.retry"


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(104, "reset by peer"), _HttpError("503")])
def test_what_the_network_does_can_be_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = ArcoStore(str(folder))
    selection = store.select((("msl", None),), times("1995-01-01", 9), JAPAN)
    real, calls = xr.DataArray.values.fget, 0

    def values(item: xr.DataArray) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise error
        return real(item)

    assert len(selection.times) == 9
    with monkeypatch.context() as patched:
        patched.setattr(arco.ArcoStore, "select", lambda *_: selection)
        patched.setattr(xr.DataArray, "values", property(values))
        with pytest.raises(Rejected, match=r"reading failed .*; it is tried again"):
            store.write_piece((("msl", None),), times("1995-01-01", 9), JAPAN, None, tmp_path / "piece.nc")
    assert not list(tmp_path.iterdir())
    store.write_piece((("msl", None),), times("1995-01-01", 9), JAPAN, None, tmp_path / "piece.nc")
    assert (tmp_path / "piece.nc").exists()


def test_a_damaged_chunk_can_be_tried_again(tmp_path: Path) -> None:
    folder = write_arco(tmp_path / "store", names=("msl",), final_days=1, preliminary_days=0, spacing=15)
    chunk = folder / "mean_sea_level_pressure" / "6.0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(Rejected, match="reading failed"):
        ArcoStore(str(folder)).write_piece((("msl", None),), times("1995-01-01", 3), GLOBE, None, tmp_path / "piece.nc")
    chunk.unlink()
    # A chunk that is not there reads as missing values, without a word: the check finds them.
    ArcoStore(str(folder)).write_piece((("msl", None),), times("1995-01-01", 3), GLOBE, None, tmp_path / "piece.nc")
    expected = Expected((("msl", None),), times("1995-01-01", 3), GLOBE, (15.0, 15.0))
    with pytest.raises(Rejected, match="'msl' is missing in 312 cells, first at 1995-01-01T06:00:00 UTC"):
        check_file(tmp_path / "piece.nc", expected)


def test_a_full_disk(store: ArcoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(netcdf.os, "posix_fallocate", full)
    with pytest.raises(EnvironmentFault, match="cannot write, the disk is full"):
        store.write_piece((("msl", None),), times("1995-01-01", 2), JAPAN, None, tmp_path / "piece.nc")
    assert not list(tmp_path.iterdir())
