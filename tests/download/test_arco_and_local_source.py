"""The two sources without a queue go through the same manifest and the same checks."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.contract.raw import load_raw
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.download.config import DownloadConfig
from pipeline.download.stage import Summary, download
from pipeline.synthetic.arco import write_arco
from pipeline.testing import World, write_world


def run(folder: Path, **settings: object) -> Summary:
    return download(DownloadConfig.model_validate(settings), "tiny", folder / "data", folder, Interrupt())


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_world(World(start=date(1995, 1, 30), days=5, groups=("msl", "z_500_1000")), tmp_path / "mine")
    return tmp_path


def test_local_files_are_listed_where_they_are(world: Path) -> None:
    before = {path: path.read_bytes() for path in (world / "mine").iterdir()}
    summary = run(world, source="local", files=["mine/*.nc"])
    assert (summary.files, summary.fetched, summary.complete) == (4, 4, True)
    entries = load_raw(world / "data/manifest.json")
    assert {entry.file for entry in entries} == set((world / "mine").glob("*.nc"))
    assert {path: path.read_bytes() for path in (world / "mine").iterdir()} == before
    assert run(world, source="local", files=["mine/*.nc"]).fetched == 0


def test_a_local_file_that_is_no_good_is_named(world: Path) -> None:
    bad = world / "mine/bad.nc"
    bad.write_bytes(b"not data")
    with pytest.raises(InputError, match=r"bad\.nc"):
        run(world, source="local", files=["mine/*.nc"])
    assert not (world / "data/manifest.json").exists() or not read_json(world / "data/manifest.json")["files"]


def test_a_folder_holds_one_source(world: Path) -> None:
    run(world, source="local", files=["mine/*.nc"])
    with pytest.raises(InputError, match=r"holds data of area .* choose another `dataset` name"):
        run(world, source="local", files=["mine/*.nc"], area=[1, 0, 0, 1])


def test_arco_is_read_by_the_month_and_checked(tmp_path: Path) -> None:
    write_arco(tmp_path / "arco", ("msl", "tp", "z"), start=date(1995, 1, 29), final_days=5, preliminary_days=2)
    rows = [{"variables": ["msl", "tp"]}, {"variables": ["z"], "levels": [500]}]
    settings = {"source": "arco", "store": str(tmp_path / "arco"), "start": "1995-01-30", "requests": rows}
    area = {"area": [55, 115, 15, 155], "grid": [5, 5]}
    preview = run(tmp_path, **settings, **area, dry_run=True)
    assert preview.table.splitlines()[-2].split() == ["total", "6", "12", "0", "0", "0", "6"]
    assert not (tmp_path / "data").exists()
    summary = run(tmp_path, **settings, **area)
    assert (summary.files, summary.fetched, summary.preliminary, summary.complete) == (6, 6, 0, True)
    entries = load_raw(tmp_path / "data/manifest.json")
    assert [entry.file.name for entry in entries] == [
        "pl_z_500_1995-01-30to31.nc",
        "pl_z_500_1995-02-01to02.nc",
        "sl_msl_1995-01-30to31.nc",
        "sl_msl_1995-02-01to02.nc",
        "sl_tp_1995-01-30to31.nc",
        "sl_tp_1995-02-01to02.nc",
    ]
    first = {entry.file: entry.file.read_bytes() for entry in entries}
    entries[0].file.unlink()
    entries[1].file.write_bytes(b"broken")
    assert run(tmp_path, **settings, **area).fetched == 2
    assert {path: path.read_bytes() for path in first} == first


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Zarr store is there"):
        run(tmp_path, source="arco", store=str(tmp_path / "x"), start="1995-01-30", requests=[{"variables": ["msl"]}])


def test_no_source_is_told() -> None:
    with pytest.raises(InputError, match=r"download\.source: is none"):
        run(Path("/nowhere"))
