"""What is read together: each compressed stretch is inflated once, memory is bounded, and the bytes stay the same."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from pipeline.derive import inputs as inputs_module
from pipeline.derive.inputs import Inputs
from pipeline.derive.plan import expand, needs_of
from pipeline.derive.recipe import Need, choose_fields
from pipeline.derive.series import Archive, open_archive
from pipeline.derive.windows import costs_of_cuts, independent, plan_windows
from pipeline.raw import hdf5
from pipeline.raw.reader import keeping_open
from pipeline.testing import World, write_world
from tests.derive.raw_files import contents, load, run, settings

FIELDS = ["msl", "msl_dt24", "lap_msl", "u850", "vmag850", "gh500", "thk_1000_500"]
GROUPS = ("msl", "uv_850", "z_500_1000")


def slices(windows: list[slice]) -> list[tuple[int, int]]:
    return [(window.start, window.stop) for window in windows]


# --- planning --------------------------------------------------------------------------------------------------------


def test_windows_follow_stretches() -> None:
    """Stretches of 183 and 182 days in a year of daily files: two windows, not twelve."""
    costs = np.full(365, 30)
    costs[[0, 183]] = 0
    assert slices(plan_windows(costs, 200)) == [(0, 183), (183, 365)]
    assert slices(plan_windows(costs, 400)) == [(0, 183), (183, 365)]


def test_windows_within_memory() -> None:
    """Where a stretch does not fit, windows are as long as memory allows, and end at its end."""
    costs = np.full(365, 30)
    costs[[0, 183]] = 0
    assert slices(plan_windows(costs, 100)) == [(0, 100), (100, 183), (183, 283), (283, 365)]
    assert slices(plan_windows(costs, 0))[:2] == [(0, 1), (1, 2)]


def test_windows_cut_where_fewest_are_inflated_twice() -> None:
    """Files of different stretches have no cut that costs nothing; the cheapest one is taken, the last of several."""
    costs = np.full(120, 5)
    costs[[31, 59, 90]] = (2, 1, 2)
    assert slices(plan_windows(costs, 80))[0] == (0, 59)
    costs[59] = 2
    assert slices(plan_windows(costs, 80))[0] == (0, 59)
    assert slices(plan_windows(costs, 58))[0] == (0, 31)


def test_windows_are_not_tiny_where_cuts_are_free() -> None:
    assert {window.stop - window.start for window in plan_windows(np.zeros(240, np.int64), 1000)} == {24}


def test_units_share_no_stretch() -> None:
    """Months of two years, each year one stretch."""
    sizes = [31, 28, 31] * 2
    costs = np.full(sum(sizes), 1)
    costs[[0, 90]] = 0
    assert slices(independent(costs, sizes)) == [(0, 3), (3, 6)]
    assert slices(independent(np.zeros(sum(sizes), np.int64), sizes)) == [(n, n + 1) for n in range(6)]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _blocks_of_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a real grid, where a month is computed in several blocks."""
    monkeypatch.setattr(inputs_module, "_BLOCK_BYTES", 4 * 81 * 7)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year in one file a group, compressed in stretches of 50 days."""
    folder = tmp_path_factory.mktemp("raw")
    for path in write_world(World(start=date(1995, 1, 1), days=365, per="year", groups=GROUPS), folder).files:
        restretch(path, 50)
    return folder


def restretch(path: Path, times: int) -> None:
    """Rewrite the variables of a file in blocks of so many times."""
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        whole = data.load()
    encoding = {
        str(name): {"chunksizes": (times, *item.shape[1:]), "zlib": True, "shuffle": True}
        for name, item in whole.data_vars.items()
    }
    whole.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def archive_of(raw: Path, fields: list[str]) -> tuple[Archive, list[Need]]:
    needs = needs_of(choose_fields(fields))
    return open_archive(expand([str(raw / "*.nc")], raw, "raw"), [need.key for need in needs]), needs


def test_each_stretch_is_inflated_once(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve months and two looks at pressure (one a day before), and no block is inflated a second time."""
    counts: list[int] = []
    inflate = hdf5._inflate

    def counting(data: bytes, size: int) -> bytes:
        counts.append(size)
        return inflate(data, size)

    monkeypatch.setattr(hdf5, "_inflate", counting)
    run(settings(raw / "*.nc", fields=FIELDS), tmp_path / "out")
    blocks = 0
    for path in raw.glob("*.nc"):
        with h5py.File(path) as file:
            counted = {"msl": 1, "u": 1, "v": 1, "z": 1} if "z" not in file else {"z": 1}
            blocks += sum(file[name].id.get_num_chunks() for name in counted if name in file)
    # z holds two levels in one block, and each level is read by itself.
    levels = -(-365 // 50)
    assert len(counts) == blocks + levels


@pytest.mark.parametrize("memory_gb", [1e-9, 3e-5, 1e-4, 1.0])
def test_memory_changes_no_byte(raw: Path, tmp_path: Path, memory_gb: float) -> None:
    run(settings(raw / "*.nc", fields=FIELDS), tmp_path / "plain")
    run(settings(raw / "*.nc", fields=FIELDS, memory_gb=memory_gb), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_months_of_any_start(raw: Path, tmp_path: Path) -> None:
    """A lost month is made again from the middle of a stretch, with the day before it."""
    run(settings(raw / "*.nc", fields=FIELDS), tmp_path / "out")
    before = contents(tmp_path / "out")
    for name in ("1995-03.nc", "1995-08.nc", "1995-09.nc"):
        (tmp_path / "out" / name).unlink()
    run(settings(raw / "*.nc", fields=FIELDS), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_values_do_not_depend_on_windows(raw: Path) -> None:
    """What inputs hand out is what the series holds, at window edges as well."""
    archive, needs = archive_of(raw, FIELDS)
    seconds = archive.series["msl", None].seconds
    with keeping_open():
        inputs = Inputs(archive, needs, seconds, memory=4 * 81 * 5 * 40)
        assert len(inputs._windows) > 5
        for block in inputs.blocks(seconds):
            for need in needs:
                times = seconds[block] - 3600 * need.hours_before
                right = archive.series[need.key].read(times)
                np.testing.assert_array_equal(inputs.of(need, seconds[block]), right)


def test_memory_is_what_was_asked_for(raw: Path) -> None:
    archive, needs = archive_of(raw, FIELDS)
    seconds = archive.series["msl", None].seconds
    memory = 4 * 81 * 5 * 60
    costs = costs_of_cuts(seconds, {need.key for need in needs}, archive)
    assert np.flatnonzero(costs == 0).tolist() == list(range(0, 365, 50))
    with keeping_open():
        inputs = Inputs(archive, needs, seconds, memory)
        most = 0
        for _ in inputs.blocks(seconds):
            most = max(most, sum(values.nbytes for values in inputs._values.values()))
    # The day before each window comes on top, and the first times of a week that began in the window before.
    assert memory / 2 < most <= memory + 4 * 81 * (1 + 6 * 5)


# --- bits ------------------------------------------------------------------------------------------------------------


def test_fewer_bits_of_computed_fields_only(raw: Path, tmp_path: Path) -> None:
    """Pass-through fields stay as they are; others are within 2⁻¹⁷ of the value, and say so."""
    fields = ["msl", "lap_msl", "vmag850", "msl_dt24"]
    whole = load(tmp_path / "whole", run(settings(raw / "*.nc", fields=fields), tmp_path / "whole"))
    spec = run(settings(raw / "*.nc", fields=fields, keep_bits=16), tmp_path / "fewer")
    fewer = load(tmp_path / "fewer", spec)
    np.testing.assert_array_equal(fewer["msl"], whole["msl"])
    assert "quantization" not in fewer["msl"].attrs
    for name in fields[1:]:
        np.testing.assert_allclose(fewer[name], whole[name], rtol=2**-17, atol=0)
        bits = fewer[name].values.view(np.uint32) & np.uint32(0x7F)
        assert not bits[~np.isnan(fewer[name].values)].any()
        assert fewer[name].attrs["quantization_nsb"] == 16
        assert fewer[name].attrs["quantization"] in fewer
    assert np.isnan(fewer["msl_dt24"].values[0]).all()
    sizes = [sum(path.stat().st_size for path in (tmp_path / name).glob("*.nc")) for name in ("fewer", "whole")]
    assert sizes[0] < sizes[1]
