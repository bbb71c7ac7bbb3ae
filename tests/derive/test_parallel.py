"""Several processes, several parts, one file: the same bytes as one process alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from pipeline.contract.derived import load_derived, read_derived
from pipeline.core.errors import EnvironmentFault, InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import holding
from pipeline.core.parts import Part
from pipeline.derive import onefile
from pipeline.derive.config import DeriveConfig
from pipeline.derive.onefile import ONE_FILE, write_one_file
from pipeline.testing import World, write_world
from tests.conftest import ROOT
from tests.derive.raw_files import contents, load, run, settings

WORLD = World(start=date(1995, 1, 1), days=181, types=("1", "3B"), groups=("msl", "uv_850", "q_850", "tp"))
FIELDS = ["msl", "msl_dt24", "mfc850", "tp"]
MONTHS = [f"1995-{number:02}.nc" for number in range(1, 7)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_world(WORLD, folder)
    return folder


@pytest.fixture(scope="module")
def whole(raw: Path) -> dict[str, bytes]:
    run(config(raw, workers=1), raw / "whole")
    return contents(raw / "whole")


def config(raw: Path, **changes: object) -> DeriveConfig:
    labels = {"files": [str(raw / "labels.csv")]}
    return settings(raw / "*.nc", **{"fields": FIELDS, "labels": labels, **changes})


# --- workers ---------------------------------------------------------------------------------------------------------


def test_two_workers(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    spec = run(config(raw, workers=2), tmp_path / "out")
    assert spec.complete
    assert contents(tmp_path / "out") == whole


def test_a_worker_that_finds_a_broken_file(raw: Path, tmp_path: Path) -> None:
    """The error of a worker is the error of the job, in one line; nothing half-written stays."""
    for path in (*raw.glob("*.nc"), raw / "labels.csv"):
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(data)
    with h5py.File(tmp_path / "era5_msl_1995-05.nc", "r+") as file:
        file["msl"][3, 2, 1] = np.nan
    with pytest.raises(InputError, match=r"era5_msl_1995-05\.nc: 'msl' is missing or infinite in 1 cells") as caught:
        run(config(tmp_path, workers=2), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob(".*.part"))
    assert not read_derived(tmp_path / "out").complete


def test_a_stop_reaches_the_workers(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.limit(0)
    with pytest.raises(Interrupted, match=r"stopped by max_time: \d of 6 months are saved; run the same command again"):
        run(config(raw, workers=2), tmp_path / "out", interrupt)
    run(config(raw, workers=2), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_in_any_order(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    for number, part in enumerate(("3/3", "1/3", "2/3")):
        spec = run(config(raw, parts=part), tmp_path / "out")
        assert spec.complete == (number == 2)
        assert len(spec.pieces) == 2 * (number + 1)
    assert contents(tmp_path / "out") == whole
    assert run(config(raw, parts="2/3"), tmp_path / "out") == load_derived(tmp_path / "out")


def test_parts_at_the_same_time(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.derive.test_parallel", str(raw), str(tmp_path / "out")]
    jobs = [subprocess.Popen([*command, f"parts={number}/3"], cwd=ROOT) for number in (1, 2, 3)]
    assert [job.wait(timeout=300) for job in jobs] == [0, 0, 0]
    assert contents(tmp_path / "out") == whole


def test_a_part_that_is_taken(raw: Path, tmp_path: Path) -> None:
    with holding(tmp_path / "out", Part(2, 3)):
        with pytest.raises(EnvironmentFault, match=r"in use by process \d+"):
            run(config(raw, parts="2/3"), tmp_path / "out")
        with pytest.raises(EnvironmentFault, match="in use by"):
            run(config(raw), tmp_path / "out")
        run(config(raw, parts="1/3"), tmp_path / "out")


def test_more_parts_than_stretches(tmp_path: Path) -> None:
    """A year in one file is one stretch to inflate, but its months can still be divided."""
    write_world(World(start=date(1995, 1, 1), days=90, per="year", types=("1", "3B")), tmp_path)
    for number in (1, 2, 3):
        run(settings(tmp_path / "*.nc", parts=f"{number}/3"), tmp_path / "out")
    assert [piece.days for piece in load_derived(tmp_path / "out").pieces] == [31, 28, 31]


# --- kills -----------------------------------------------------------------------------------------------------------


def children_of(process: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def workers_of(process: int) -> list[int]:
    """Return the workers of a job that have begun to be Python programs of their own."""
    found = []
    for child in children_of(process):
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("settings_of_it", [("workers=2",), ("workers=1", "one_file=true")])
def test_killed_at_random_moments(
    raw: Path, whole: dict[str, bytes], tmp_path: Path, settings_of_it: tuple[str, ...]
) -> None:
    """SIGKILL takes the workers as well, and the same command finishes with the same bytes."""
    command = [sys.executable, "-m", "tests.derive.test_parallel", str(raw), str(tmp_path / "out"), *settings_of_it]
    chance, orphans, kills = random.Random(3), [], 0
    for _ in range(4):
        job = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 300
        wanted = len(list((tmp_path / "out").glob("*.nc"))) + 1
        while len(list((tmp_path / "out").glob("*.nc"))) < wanted and job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        orphans += children_of(job.pid)
        kills += job.poll() is None
        job.kill()
        job.wait()
    assert kills >= 1
    deadline = time.monotonic() + 60
    while any(map(alive, orphans)):
        assert time.monotonic() < deadline, "workers outlive their job"
        time.sleep(0.02)
    assert subprocess.run(command, cwd=ROOT, timeout=300).returncode == 0
    found = contents(tmp_path / "out")
    assert {name: data for name, data in found.items() if name != ONE_FILE} == whole
    assert not list((tmp_path / "out").glob(".*.part"))


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between opening and reading
        return False
    return state != "Z"


def test_a_worker_that_is_killed(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """The system takes one worker (memory): the job says so and ends; the same command goes on."""
    command = [sys.executable, "-m", "tests.derive.test_parallel", str(raw), str(tmp_path / "out"), "workers=2"]
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while len(workers_of(job.pid)) < 2:
        assert job.poll() is None
        time.sleep(0.001)
    # One is held, so that the job is still at work when the first month of the other is there.
    victim = workers_of(job.pid)[0]
    os.kill(victim, signal.SIGSTOP)
    end = time.monotonic() + 60  # it might be held with a lock in its hands, and then the other waits as well
    while not list((tmp_path / "out").glob("*.nc")) and time.monotonic() < end:
        assert job.poll() is None
        time.sleep(0.002)
    os.kill(victim, signal.SIGKILL)
    _, text = job.communicate(timeout=300)
    assert job.returncode == 1
    assert "derive.workers: a worker process was killed" in text
    run(config(raw, workers=1), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


# --- one file --------------------------------------------------------------------------------------------------------


def test_one_file(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = run(config(raw, one_file=True), tmp_path / "out")
    path = tmp_path / "out" / ONE_FILE
    months = load(tmp_path / "out", spec)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data.sizes["time"] == 181
        assert data["msl"].encoding["chunksizes"] == (1, 9, 9)
        assert data.drop_attrs().identical(months.drop_attrs())
        assert data["mfc850"].attrs == months["mfc850"].attrs
        assert data.attrs["Conventions"] == "CF-1.12"
    with h5py.File(path) as file:
        assert {32004, 32008} & {file["msl"].id.get_create_plist().get_filter(n)[0] for n in range(1)}
    first, when = path.read_bytes(), path.stat().st_mtime_ns
    run(config(raw, one_file=True), tmp_path / "out")
    assert path.stat().st_mtime_ns == when, "fresh"
    path.unlink()
    run(config(raw, one_file=True), tmp_path / "out")
    assert path.read_bytes() == first, "the same bytes again"
    path.write_bytes(first[:1000])
    run(config(raw, one_file=True), tmp_path / "out")
    assert path.read_bytes() == first, "broken, so made again"
    monkeypatch.setattr(onefile, "FORMAT", 99)
    write_one_file(tmp_path / "out", spec)
    assert path.read_bytes() != first, "stale, so made again"


def test_one_file_is_lz4_whatever_the_months_are(raw: Path, tmp_path: Path) -> None:
    run(config(raw, one_file=True), tmp_path / "lz4")
    run(config(raw, one_file=True, compression="none"), tmp_path / "none")
    left, right = (xr.load_dataset(tmp_path / name / ONE_FILE, engine="h5netcdf") for name in ("lz4", "none"))
    assert left.drop_attrs().identical(right.drop_attrs())
    sizes = [(tmp_path / name / ONE_FILE).stat().st_size for name in ("lz4", "none")]
    assert abs(sizes[0] - sizes[1]) < 0.01 * sizes[0]


def main() -> None:
    """Derive as one process of several, for the tests above."""
    raw_folder, out, *changes = sys.argv[1:]
    more = {key: int(value) if value.isdigit() else value for key, value in (text.split("=") for text in changes)}
    try:
        run(config(Path(raw_folder), **more), Path(out))
    except EnvironmentFault as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
