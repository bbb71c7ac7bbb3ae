"""Files that are there already: entered as they are, or refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import InputError
from pipeline.download import check, local
from pipeline.download.local import register
from pipeline.synthetic.files import LAYOUTS, read_content
from pipeline.testing import World, plant, write_world

SHARED = Path(__file__).parents[3] / "shared" / "data" / "cds_samples"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of four groups, daily."""
    folder = tmp_path_factory.mktemp("made")
    write_world(World(start=date(1995, 1, 20), days=24, groups=("msl", "z_500_1000", "sst", "tp")), folder)
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "home" / "raw")
    return tmp_path / "home"


def refusal(home: Path, *patterns: str) -> str:
    with pytest.raises(InputError) as caught:
        register(patterns or ("raw/*.nc",), home)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_entries_say_what_the_files_are(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    entries = register(["raw/*.nc"], home)
    assert list(entries) == sorted(str(path) for path in home.glob("raw/*.nc"))
    assert len(entries) == 8
    for name, entry in entries.items():
        content = Path(name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert entry["preliminary"] is False
    z = entries[str(home / "raw" / "era5_z_500_1000_1995-02.nc")]
    assert (z["variables"], z["first"], z["last"]) == (["z"], "1995-02-01T00:00:00", "1995-02-12T00:00:00")
    assert z["missing_share"] == {"z": 0.0}
    sst = home / "raw" / "era5_sst_1995-01.nc"
    with xr.open_dataset(sst, engine="h5netcdf") as data:
        share = float(np.isnan(data["sst"].values).mean())
    assert entries[str(sst)]["missing_share"] == {"sst": share}
    assert share > 0
    json.dumps(entries)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_patterns(home: Path, tmp_path: Path) -> None:
    one = str(home / "raw" / "era5_msl_1995-01.nc")
    for patterns in (["raw/era5_msl_1995-01.nc"], [one], ["**/*msl_1995-01.nc"], ["raw/*msl*01.nc", one]):
        assert list(register(patterns, home)) == [one]


def test_other_layouts(home: Path) -> None:
    raw = home / "raw"
    for layout, group in (("old", "msl"), ("old_expver", "sst"), ("grib", "z_500_1000")):
        path = raw / f"era5_{group}_1995-01.nc"
        LAYOUTS[layout](path, path, read_content(path))
    with zipfile.ZipFile(raw / "both.zip", "w") as archive:
        for name in ("era5_msl_1995-02.nc", "era5_tp_1995-02.nc"):
            archive.write(raw / name, name)
            (raw / name).unlink()
    entries = register(["raw/era5_*", "raw/both.zip"], home)
    assert entries[str(raw / "both.zip")]["variables"] == ["msl", "tp"]
    assert entries[str(raw / "era5_z_500_1000_1995-01.nc")]["missing_share"] == {"z": 0.0}
    assert {Path(name).name for name, entry in entries.items() if entry["preliminary"]} == {"era5_sst_1995-01.nc"}


def test_known_entries_are_not_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = register(["raw/*msl*.nc"], home)
    read: list[Path] = []
    real = local.look
    monkeypatch.setattr(local, "look", lambda data, target, path: (read.append(path), real(data, target, path))[1])
    assert register(["raw/*msl*.nc"], home, entries) == entries
    assert read == []
    changed = home / "raw" / "era5_msl_1995-02.nc"
    plant("flipped_latitude", changed)
    again = register(["raw/*msl*.nc"], home, entries)
    assert read == [changed]
    assert again[str(changed)]["sha256"] != entries[str(changed)]["sha256"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real samples are not beside this checkout")
def test_real_files() -> None:
    for path in sorted(SHARED.glob("*.nc")):
        entries = register([str(path)], Path("/"))
        assert entries[str(path)]["preliminary"] is ("era5t" in path.name or "expver" in path.name), path


# --- refusals --------------------------------------------------------------------------------------------------


def test_a_pattern_without_files(home: Path) -> None:
    assert (
        refusal(home, "raw/*.nc", "raw/*.grib")
        == f"raw/*.grib: no such file (looked for in {home}); correct download.files"
    )
    assert "raw: no such file" in refusal(home, "raw")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "'msl' is missing in 1 cells"),
        ("inf", "'msl' is infinite"),
        ("mislabelled_units", "msl lies within 85000 … 112000 Pa"),
        ("missing_units", "units"),
        ("duplicate_times", "twice"),
        ("truncated_file", "truncated"),
    ],
)
def test_faults_are_named_with_their_file(home: Path, fault: str, words: str) -> None:
    path = home / "raw" / "era5_msl_1995-02.nc"
    plant(fault, path)
    text = refusal(home)
    assert text.startswith(str(path))
    assert words in text


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"<html>", "is not NetCDF"), (b"PK\x03\x04", "ZIP")]
)
def test_files_that_are_no_data(home: Path, content: bytes, words: str) -> None:
    (home / "raw" / "x.nc").write_bytes(content)
    text = refusal(home, "raw/x.nc")
    assert text.startswith(str(home / "raw" / "x.nc"))
    assert words in text


def test_grib_without_its_packages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "raw" / "x.grib").write_bytes(b"GRIB....")
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    assert "is GRIB, which needs the package eccodes" in refusal(home, "raw/x.grib")


def test_a_file_without_known_variables(home: Path) -> None:
    path = home / "raw" / "other.nc"
    xr.Dataset({"chlorophyll": (("y", "x"), np.ones((2, 2)))}).to_netcdf(path, engine="h5netcdf")
    text = refusal(home)
    assert text.startswith(f"{path}: holds no variable that is known here, but chlorophyll; known are msl, z")


def test_files_on_two_grids(home: Path) -> None:
    write_world(World(start=date(1995, 3, 1), days=4, lat_points=5), home / "coarse")
    text = refusal(home, "raw/*msl*.nc", "coarse/*.nc")
    first = home / "coarse" / "era5_msl_1995-03.nc"
    assert text.startswith(f"{home / 'raw' / 'era5_msl_1995-01.nc'}: is on 9 latitudes 55 … 15 and 9 longitudes")
    assert f"while {first} is on 5 latitudes 55 … 15 and 9 longitudes 115 … 155; register one grid at a time" in text


def test_a_time_in_two_files(home: Path) -> None:
    write_world(World(start=date(1995, 2, 10), days=5, groups=("z_500_1000",)), home / "more")
    text = refusal(home, "raw/*.nc", "more/*.nc")
    one, other = home / "more" / "era5_z_500_1000_1995-02.nc", home / "raw" / "era5_z_500_1000_1995-02.nc"
    assert text == (
        f"{other}: z at 1000 hPa at 3 times, first 1995-02-10T00:00:00 UTC, is in {one} as well; name one of them"
    )


def test_two_levels_of_a_variable_may_be_in_two_files(home: Path) -> None:
    path = home / "raw" / "era5_z_500_1000_1995-01.nc"
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        data = data.load()
    for number in (0, 1):
        data.isel(pressure_level=[number]).to_netcdf(home / "raw" / f"level{number}.nc", engine="h5netcdf")
    path.unlink()
    assert len(register(["raw/level*.nc"], home)) == 2
    shutil.copy(home / "raw" / "level0.nc", home / "raw" / "level2.nc")
    assert "z at 1000 hPa at 12 times" in refusal(home, "raw/level*.nc")


def test_a_variable_twice_in_an_archive(home: Path) -> None:
    with zipfile.ZipFile(home / "raw" / "twice.zip", "w") as archive:
        for number in (1, 2):
            archive.write(home / "raw" / "era5_msl_1995-01.nc", f"{number}.nc")
    assert "msl" in refusal(home, "raw/twice.zip")
