"""Archives: merged without a loss, or refused with one line."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import EnvironmentFault
from pipeline.download import netcdf, unpack
from pipeline.download.check import Expected, Rejected, check_file
from pipeline.download.unpack import settle
from pipeline.raw.reader import opened
from pipeline.synthetic.files import LAYOUTS, read_content, write_content
from pipeline.testing import World, write_world

SHARED = Path(__file__).parents[3] / "shared" / "data" / "cds_samples"
DATE = (2025, 1, 1, 0, 0, 0)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of one grid and period: instantaneous, accumulated, on levels."""
    folder = tmp_path_factory.mktemp("members")
    write_world(World(days=8, groups=("msl", "tp", "uv_850", "w_500", "sst")), folder)
    return {name: folder / f"era5_{name}_1995-01.nc" for name in ("msl", "tp", "uv_850", "w_500", "sst")}


def archive(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, date_time=DATE)
            info.compress_type = compression
            made.writestr(info, content)
    return path


def refusal(path: Path, **settings: int) -> str:
    """Return the one line of a refusal; the archive and its folder are as they were."""
    before, names = path.read_bytes(), sorted(path.parent.iterdir())
    with pytest.raises(Rejected) as caught:
        settle(path, **settings)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == names
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def load(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", decode_cf=False) as data:
        return data.load()


def rewrite(path: Path, to: Path, **changes: object) -> bytes:
    """Return a member with other coordinates or variables."""
    data = load(path)
    for name, value in changes.items():
        data[name] = value
    data.to_netcdf(to, engine="h5netcdf")
    return to.read_bytes()


# --- merging ---------------------------------------------------------------------------------------------------


def test_merged_values_and_attributes_are_the_members(members: dict[str, Path], tmp_path: Path) -> None:
    names = ("msl", "tp", "uv_850")
    contents = {f"data_{name}.nc": members[name].read_bytes() for name in names}
    path = archive(tmp_path / "piece.nc", contents)
    settle(path)
    merged = load(path)
    for name in names:
        member = load(members[name])
        for variable in member.variables:
            xr.testing.assert_identical(merged[variable].variable, member[variable].variable)
        assert merged.attrs.items() >= {key: value for key, value in member.attrs.items() if key != "history"}.items()
        assert member.attrs["history"] in merged.attrs["history"].splitlines()
    assert set(merged.data_vars) >= {"msl", "tp", "u", "v"}
    assert merged["number"].ndim == 0
    assert [item.name for item in tmp_path.iterdir()] == ["piece.nc"]


def test_merged_file_passes_the_check_and_is_compressed(members: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {name: members[name].read_bytes() for name in ("msl", "tp")})
    settle(path)
    seconds = load(members["msl"])["valid_time"].values
    expected = Expected((("msl", None), ("tp", None)), seconds, (55, 115, 15, 155), (5, 5))
    assert check_file(path, expected).variables == ("msl", "tp")
    with h5netcdf.File(path) as file:
        for name in ("msl", "tp"):
            stored = file.variables[name]._h5ds
            assert (stored.compression, stored.compression_opts, stored.shuffle) == ("gzip", 1, True)


def test_merging_gives_the_same_bytes_whatever_the_order(members: dict[str, Path], tmp_path: Path) -> None:
    digests = set()
    for number, names in enumerate((("msl", "tp", "sst"), ("sst", "msl", "tp"), ("tp", "sst", "msl"))):
        path = archive(tmp_path / f"{number}.nc", {f"{name}.nc": members[name].read_bytes() for name in names})
        settle(path)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_what_is_no_archive_stays_and_settling_twice_changes_nothing(members: dict[str, Path], tmp_path: Path) -> None:
    for content in (members["msl"].read_bytes(), b"GRIB", b"<html>", b""):
        path = tmp_path / "piece.nc"
        path.write_bytes(content)
        settle(path)
        assert path.read_bytes() == content
    archive(path, {name: members[name].read_bytes() for name in ("msl", "tp")})
    settle(path)
    once = path.read_bytes()
    settle(path)
    assert path.read_bytes() == once


def test_one_member_takes_the_place_of_the_archive(members: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {"folder/": b"", "folder/data.nc": members["msl"].read_bytes()})
    settle(path)
    assert path.read_bytes() == members["msl"].read_bytes()


def test_preliminary_wins_in_expver(members: dict[str, Path], tmp_path: Path) -> None:
    late = ["0001"] * 6 + ["0005"] * 2
    tp = rewrite(members["tp"], tmp_path / "tp", expver=("valid_time", np.array(late, dtype=object)))
    (tmp_path / "tp").unlink()
    path = archive(tmp_path / "piece.nc", {"a": members["msl"].read_bytes(), "b": tp})
    settle(path)
    assert load(path)["expver"].values.tolist() == late


def test_expver_of_one_number_is_spread_over_the_times(members: dict[str, Path], tmp_path: Path) -> None:
    data = load(members["tp"]).drop_vars("expver")
    data["expver"] = ((), 5)
    data.to_netcdf(tmp_path / "tp", engine="h5netcdf")
    path = archive(tmp_path / "piece.nc", {"a": members["msl"].read_bytes(), "b": (tmp_path / "tp").read_bytes()})
    settle(path)
    assert load(path)["expver"].values.tolist() == ["0005"] * 8


def test_netcdf_3_members_keep_their_packing(members: dict[str, Path], tmp_path: Path) -> None:
    contents = {}
    for name in ("msl", "sst"):
        LAYOUTS["old"](tmp_path / name, tmp_path / name, read_content(members[name]))
        contents[name] = (tmp_path / name).read_bytes()
    path = archive(tmp_path / "piece.nc", contents)
    settle(path)
    merged = load(path)
    for name in ("msl", "sst"):
        with xr.open_dataset(tmp_path / name, engine="scipy", decode_cf=False) as member:
            assert merged[name].dtype == np.int16
            np.testing.assert_array_equal(merged[name].values, member[name].values)
            assert merged[name].attrs["scale_factor"] == member[name].attrs["scale_factor"]


def test_grib_members_are_joined(members: dict[str, Path], tmp_path: Path) -> None:
    contents = {}
    for name in ("msl", "sst"):
        LAYOUTS["grib"](tmp_path / name, members[name], read_content(members[name]))
        contents[name] = (tmp_path / name).read_bytes()
    path = archive(tmp_path / "piece.grib", contents)
    settle(path)
    assert path.read_bytes() == contents["msl"] + contents["sst"]
    seconds = load(members["msl"])["valid_time"].values
    expected = Expected((("msl", None), ("sst", None)), seconds, (55, 115, 15, 155), (5, 5))
    assert set(check_file(path, expected).variables) == {"msl", "sst"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real samples are not beside this checkout")
def test_a_real_archive(tmp_path: Path) -> None:
    source = SHARED / "new_cds_zip_named_nc__flujos_valdivia_era5.nc"
    path = tmp_path / "piece.nc"
    path.write_bytes(source.read_bytes())
    settle(path)
    merged = load(path)
    with zipfile.ZipFile(source) as zipped:
        for name in zipped.namelist():
            with xr.open_dataset(io.BytesIO(zipped.read(name)), engine="h5netcdf", decode_cf=False) as member:
                for variable in member.variables:
                    xr.testing.assert_identical(merged[variable].variable, member[variable].load().variable)
    with opened(path) as data:
        assert {"sst", "slhf", "sshf", "ssr", "str"} <= set(data.data_vars)


# --- refused ---------------------------------------------------------------------------------------------------


def test_a_broken_archive(members: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {name: members[name].read_bytes() for name in ("msl", "tp")})
    content = path.read_bytes()
    for size in (4, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert "is a broken ZIP archive" in refusal(path)
    path.write_bytes(content[:2000] + bytes(500) + content[2500:])
    assert "is a broken ZIP archive" in refusal(path)


def test_an_archive_without_members(tmp_path: Path) -> None:
    assert "is a ZIP archive without members" in refusal(archive(tmp_path / "piece.nc", {}))
    assert "is a ZIP archive without members" in refusal(archive(tmp_path / "piece.nc", {"folder/": b""}))


def test_an_encrypted_archive(members: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {"a.nc": members["msl"].read_bytes()})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.rindex(signature) + offset] |= 1
    path.write_bytes(bytes(content))
    assert "is an encrypted ZIP archive" in refusal(path)


def test_members_that_are_no_data(members: dict[str, Path], tmp_path: Path) -> None:
    msl = members["msl"].read_bytes()
    path = archive(tmp_path / "piece.nc", {"a.nc": msl, "b.nc": b"<html>"})
    assert "is a ZIP archive whose member 2 of 2 is neither NetCDF nor GRIB" in refusal(path)
    inner = archive(tmp_path / "inner", {"a.nc": msl}).read_bytes()
    assert "member 1 of 1 is a ZIP archive" in refusal(archive(path, {"a.nc": inner}))
    assert "of NetCDF and GRIB members" in refusal(archive(path, {"a.nc": msl, "b.grib": b"GRIB...."}))


@pytest.mark.parametrize("name", ["../../evil.nc", "/tmp/evil.nc", "..\\evil.nc", "a/../../../evil.nc"])
def test_member_names_are_no_paths(members: dict[str, Path], tmp_path: Path, name: str) -> None:
    home = tmp_path / "deep" / "er"
    home.mkdir(parents=True)
    path = archive(home / "piece.nc", {name: members["msl"].read_bytes()})
    settle(path)
    assert path.read_bytes() == members["msl"].read_bytes()
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [path]


def test_bombs(tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {"a.nc": b"\x89HDF" + bytes(5_000_000)})
    assert path.stat().st_size < 10_000
    assert "unpacks to 5000004 bytes; at most 1000000 are unpacked" in refusal(path, largest=1_000_000)
    assert unpack.LARGEST == 20_000_000_000
    many = archive(tmp_path / "many.nc", {str(number): b"" for number in range(1001)})
    assert "is a ZIP archive of 1001 members; at most 1000" in refusal(many)


def test_a_member_that_is_longer_than_it_says(tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {"a.nc": b"\x89HDF" + bytes(100_000)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = content.rindex(signature) + offset
        content[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(bytes(content))
    assert "is a broken ZIP archive" in refusal(path)


def test_members_of_other_times_or_grids(members: dict[str, Path], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    msl, tp = members["msl"].read_bytes(), members["tp"]
    times = load(tp)["valid_time"]
    later = rewrite(tp, scratch, valid_time=times.copy(data=times.values + 3600))
    longer = replace(read_content(tp).header, times=times.values[:-1])
    write_content(scratch, replace(read_content(tp), header=longer, arrays={"tp": read_content(tp).arrays["tp"][:-1]}))
    shorter = scratch.read_bytes()
    latitude = load(tp)["latitude"]
    moved = rewrite(tp, scratch, latitude=latitude.copy(data=latitude.values + 0.25))
    since = rewrite(tp, scratch, valid_time=times.assign_attrs(units="hours since 1970-01-01"))
    scratch.unlink()
    for other, name in ((later, "valid_time"), (shorter, "valid_time"), (moved, "latitude"), (since, "valid_time")):
        path = archive(tmp_path / "piece.nc", {"a": msl, "b": other})
        assert f"differ in {name!r}; they are not of one grid and period" in refusal(path)
    path = archive(tmp_path / "piece.nc", {"a": members["w_500"].read_bytes(), "b": members["uv_850"].read_bytes()})
    assert "differ in 'pressure_level'" in refusal(path)


def test_members_with_one_variable_twice(members: dict[str, Path], tmp_path: Path) -> None:
    path = archive(tmp_path / "piece.nc", {"a": members["msl"].read_bytes(), "b": members["msl"].read_bytes()})
    assert "two members of this ZIP archive hold the variable 'msl'" in refusal(path)


def test_members_that_name_their_dimensions_otherwise(members: dict[str, Path], tmp_path: Path) -> None:
    msl, other = members["msl"].read_bytes(), tmp_path / "other"
    load(members["tp"]).rename({"valid_time": "time"}).to_netcdf(other, engine="h5netcdf")
    path = archive(tmp_path / "piece.nc", {"a": msl, "b": other.read_bytes()})
    assert "name their times time, valid_time" in refusal(path)
    load(members["tp"]).drop_vars("latitude").isel(latitude=slice(3)).to_netcdf(other, engine="h5netcdf")
    path = archive(tmp_path / "piece.nc", {"a": msl, "b": other.read_bytes()})
    assert "have 9 and 3 of 'latitude'" in refusal(path)


def test_a_member_that_does_not_open(members: dict[str, Path], tmp_path: Path) -> None:
    tp = members["tp"].read_bytes()
    path = archive(tmp_path / "piece.nc", {"a": members["msl"].read_bytes(), "b": tp[: len(tp) // 3]})
    assert "a member of this ZIP archive cannot be opened" in refusal(path)


def test_a_member_with_damaged_values(members: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(members["tp"].read_bytes())
    with h5netcdf.File(members["tp"]) as file:
        chunk = file.variables["tp"]._h5ds.id.get_chunk_info(0)
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path = archive(tmp_path / "piece.nc", {"a": members["msl"].read_bytes(), "b": bytes(content)})
    assert "'tp' in this ZIP archive cannot be read" in refusal(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no such file"):
        settle(tmp_path / "piece.nc")


# --- kills and full disks --------------------------------------------------------------------------------------


def test_a_full_disk_is_the_machines_fault(
    members: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "piece.nc", {name: members[name].read_bytes() for name in ("msl", "tp")})
    before = path.read_bytes()

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(netcdf.os, "posix_fallocate", full)
    with pytest.raises(EnvironmentFault, match="cannot write, the disk is full"):
        settle(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared(members: dict[str, Path], tmp_path: Path) -> None:
    stale = tmp_path / ".piece.nc.members"
    stale.mkdir()
    (stale / "0000").write_bytes(b"half")
    path = archive(tmp_path / "piece.nc", {name: members[name].read_bytes() for name in ("msl", "tp")})
    settle(path)
    assert list(tmp_path.iterdir()) == [path]
    stale.mkdir()
    settle(path)
    assert list(tmp_path.iterdir()) == [path]
