"""Compressed blocks that are inflated past the HDF5 library give what the library gives."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.raw import hdf5
from pipeline.raw.header import Cut, Unpack
from pipeline.raw.reader import read, scan
from tests.derive.raw_files import days, write_raw

AS_IS = Unpack((), 1.0, 0.0)
DIMS = ("time", "latitude", "longitude")
LAT, LON = np.linspace(55.0, 49.0, 13), np.linspace(115.0, 122.0, 15)
TIMES = days("2001-01-01", 20)


def write(path: Path, values: np.ndarray, **storage: object) -> Path:
    """Write a variable ``x`` over time × [level ×] latitude × longitude."""
    dims = ("time", "level", "latitude", "longitude") if values.ndim == 4 else DIMS
    with h5py.File(path, "w") as file:
        for name, size in zip(dims, values.shape, strict=True):
            file[name] = np.arange(size, dtype=float)
            file[name].make_scale(name)
        item = file.create_dataset("x", data=values, **storage)
        for axis, name in enumerate(dims):
            item.dims[axis].attach_scale(file[name])
    return path


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2", "<i4", "u1"])
@pytest.mark.parametrize(
    "storage",
    [
        pytest.param({"chunks": (7, 5, 4), "compression": "gzip", "shuffle": True}, id="shuffle-gzip"),
        pytest.param({"chunks": (7, 5, 4), "compression": "gzip"}, id="gzip"),
        pytest.param({"chunks": (20, 13, 15), "compression": "gzip", "shuffle": True}, id="one-block"),
        pytest.param({"chunks": (7, 5, 4), "compression": "gzip", "fletcher32": True}, id="fletcher32"),
        pytest.param({"chunks": (7, 5, 4), "compression": "lzf"}, id="lzf"),
        pytest.param({"chunks": (7, 5, 4), **hdf5plugin.LZ4()}, id="lz4"),
        pytest.param({"chunks": (7, 5, 4)}, id="not compressed"),
        pytest.param({}, id="contiguous"),
    ],
)
def test_every_storage(tmp_path: Path, dtype: str, storage: dict[str, object]) -> None:
    values = np.random.default_rng(0).integers(0, 200, (20, 13, 15)).astype(dtype)
    source = hdf5.Hdf5Source(write(tmp_path / "x.nc", values, **storage), "x")
    for places in (np.arange(20), np.array([3]), np.array([0, 4, 8, 12]), np.array([1, 2, 7, 13, 19])):
        np.testing.assert_array_equal(source.fetch("x", Cut(DIMS, places), AS_IS), values[places].astype(np.float32))
    source.close()


@pytest.mark.parametrize("levels", [1, 2])
def test_levels(tmp_path: Path, levels: int) -> None:
    """A level may lie in one block with the next one."""
    values = np.random.default_rng(0).normal(size=(20, 3, 13, 15)).astype(np.float32)
    path = write(tmp_path / "x.nc", values, chunks=(6, levels, 13, 8), compression="gzip", shuffle=True)
    source = hdf5.Hdf5Source(path, "x")
    for level in range(3):
        cut = Cut(DIMS, np.arange(2, 20, 3), {"level": level})
        np.testing.assert_array_equal(source.fetch("x", cut, AS_IS), values[2::3, level])
    source.close()


def test_blocks_never_written_hold_the_fill_value(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nc", np.ones((8, 4, 4), np.float32), compression="gzip", chunks=(4, 4, 4))
    with h5py.File(path, "r+") as file:
        dims = [file[name] for name in DIMS]
        del file["x"]
        item = file.create_dataset("x", (8, 4, 4), "f4", chunks=(4, 4, 4), compression="gzip", fillvalue=-1)
        item[:4] = 2
        for axis, dim in enumerate(dims):
            item.dims[axis].attach_scale(dim)
    source = hdf5.Hdf5Source(path, "x")
    values = source.fetch("x", Cut(DIMS, np.arange(8)), Unpack((-1.0,), 3.0, 1.0))
    assert np.all(values[:4] == 7)
    assert np.isnan(values[4:]).all()
    source.close()


def test_each_block_is_inflated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((20, 13, 15), np.float32)
    path = write(tmp_path / "x.nc", values, chunks=(7, 5, 8), compression="gzip", shuffle=True)
    counts: list[int] = []
    inflate = hdf5._inflate

    def counting(data: bytes, size: int) -> bytes:
        counts.append(len(data))
        return inflate(data, size)

    monkeypatch.setattr(hdf5, "_inflate", counting)
    source = hdf5.Hdf5Source(path, "x")
    source.fetch("x", Cut(DIMS, np.arange(20)), AS_IS)
    assert len(counts) == 3 * 3 * 2
    source.close()


def test_a_damaged_block_is_never_read_as_values(tmp_path: Path) -> None:
    """One flipped byte in the middle of a block: libdeflate and zlib compare its Adler-32."""
    values = 100_000 + np.random.default_rng(0).normal(size=(20, 13, 15)).astype(np.float32)
    path = write_raw(tmp_path / "raw.nc", TIMES, LAT, LON, values)
    with h5py.File(path, "r+") as file:
        attributes, data = dict(file["msl"].attrs), file["msl"][...]
        del file["msl"]
        item = file.create_dataset("msl", data=data, chunks=(20, 13, 15), compression="gzip")
        item.attrs["units"] = attributes["units"]
        for axis, name in enumerate(("valid_time", "latitude", "longitude")):
            item.dims[axis].attach_scale(file[name])
    file_ = scan(path, ["msl"])[0]
    assert file_ is not None
    with h5py.File(path) as file:
        place = file["msl"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset + place.size // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"raw\.nc: truncated or corrupt \(.*\); download it again"):
        read(file_, "msl", None, np.arange(20))


@pytest.mark.parametrize(
    ("stored", "attributes", "right"),
    [
        (np.array([0, 1000, -32767], np.int16), {"scale_factor": 0.5, "add_offset": 99_000.0, "_FillValue": -32767},
         [99_000, 99_500, np.nan]),
        (np.array([0, 10, 20], np.uint8), {"scale_factor": 100.0, "add_offset": 98_000.0}, [98_000, 99_000, 100_000]),
        (np.array([1e5, -9.96921e36, 9.9e4], np.float32), {"missing_value": np.float32(-9.96921e36)},
         [1e5, np.nan, 9.9e4]),
        (np.array([1e5, 1e20, 9.9e4], np.float64), {"_FillValue": 1e20, "missing_value": 1e20}, [1e5, np.nan, 9.9e4]),
    ],
)  # fmt: skip
def test_packed_values(stored: np.ndarray, attributes: dict[str, object], right: list[float]) -> None:
    np.testing.assert_array_equal(Unpack.of(attributes)(stored), np.array(right))


def test_units_with_an_offset() -> None:
    """Packing first, then the unit: 0.01 K steps in °C become kelvins."""
    unpack = Unpack.of({"scale_factor": 0.01, "add_offset": 5.0}, 1.0, 273.15)
    np.testing.assert_allclose(unpack(np.array([0, 100], np.int16)), [278.15, 279.15], rtol=1e-15)
    hundredfold = Unpack.of({"scale_factor": 0.01, "add_offset": 5.0}, 100.0, 0.0)
    np.testing.assert_allclose(hundredfold(np.array([0, 100], np.int16)), [500, 600], rtol=1e-15)


def test_a_scalar_time(tmp_path: Path) -> None:
    """NetCDF-4 of a single time, without a dimension for it."""
    whole = write_raw(tmp_path / "whole.nc", TIMES[:1], LAT, LON)
    with h5py.File(whole) as source, h5py.File(tmp_path / "single.nc", "w") as file:
        for name in ("latitude", "longitude"):
            file[name] = source[name][...]
            file[name].make_scale(name)
            file[name].attrs["units"] = source[name].attrs["units"]
        file["valid_time"] = TIMES[0]
        file["valid_time"].attrs["units"] = "seconds since 1970-01-01"
        item = file.create_dataset("msl", data=source["msl"][0])
        item.attrs["units"] = "Pa"
        for axis, name in enumerate(("latitude", "longitude")):
            item.dims[axis].attach_scale(file[name])
        right = source["msl"][...]
    found = scan(tmp_path / "single.nc", ["msl"])[0]
    assert found is not None
    assert found.layout.seconds.tolist() == TIMES[:1].tolist()
    np.testing.assert_array_equal(read(found, "msl", None, np.array([0])), right)
