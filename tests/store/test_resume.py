import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.contract.store import Store
from pipeline.core.artifact import sha256
from pipeline.core.errors import EnvironmentFault, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.store import arrays, passes, stage
from pipeline.store.arrays import ArrayWriter
from pipeline.store.stage import build_store
from tests.stopping import StopAt
from tests.store.conftest import World, config

SETTINGS = config(dtype="float16")
# Kills itself with SIGKILL at the n-th event that a crash could fall on: the write of a block, of a journal entry,
# of a small file, or a rename.
KILLED = """
import os, sys
from pathlib import Path
from pipeline.core.interrupt import Interrupt
from pipeline.store import arrays, passes
from pipeline.store.stage import build_store
from tests.store import killing
from tests.store.conftest import config
from tests.store.killing import count, half_noted, half_written

arrays._pwrite = count(arrays._pwrite, half_written)
passes.Journal.add = count(passes.Journal.add, half_noted)
os.replace = count(os.replace)
build_store(config(dtype="float16"), Path(sys.argv[1]), Path(sys.argv[2]), "made_up", Interrupt())
print("events left:", killing.left)
"""


def build(world: World, folder: Path, interrupt: Interrupt | None = None) -> None:
    build_store(SETTINGS, world.folder, folder, "made_up", interrupt or Interrupt())


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The checksums of an uninterrupted build."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    build(world, folder)
    return checksums(folder)


def test_the_manifest_has_the_checksums_that_the_files_have(world: World, tmp_path: Path) -> None:
    build(world, tmp_path / "store")
    found = checksums(tmp_path / "store")
    store = Store(tmp_path / "store")
    assert {name: entry["sha256"] for name, entry in store.spec.files.items()} == {
        name: digest for name, digest in found.items() if name != "store.json"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def killed_at(world: World, folder: Path, event: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(world.folder), str(folder), str(event)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)


def test_a_build_killed_again_and_again_ends_with_the_same_bytes(
    world: World, whole: dict[str, str], tmp_path: Path
) -> None:
    """36 months: 36 journal entries of moments, then 36 blocks and 36 entries, small files and the last rename."""
    folder = tmp_path / "store"
    for event in (1, 13, 30, 2, 18, 44, 8):
        assert killed_at(world, folder, event).returncode == -signal.SIGKILL
        assert not folder.exists()
    assert killed_at(world, folder, 10_000).returncode == 0
    assert checksums(folder) == whole


def test_a_build_killed_at_its_last_steps_ends_with_the_same_bytes(
    world: World, whole: dict[str, str], tmp_path: Path
) -> None:
    ended = killed_at(world, tmp_path / "first", 10_000)
    events = 10_000 - int(ended.stdout.rpartition(":")[2])
    folder = tmp_path / "store"
    assert killed_at(world, folder, events - 2).returncode == -signal.SIGKILL
    assert killed_at(world, folder, events).returncode == 0, "the second process has fewer events: months are done"
    for last in (0, 1):
        again = tmp_path / f"again{last}"
        assert killed_at(world, again, events - last).returncode == -signal.SIGKILL
        assert (again.with_name(f"{again.name}.part") / "store.json").exists() == (last == 0)
        build(world, again)
        assert checksums(again) == whole
    assert checksums(folder) == whole


def test_a_build_stopped_after_every_few_months_ends_with_the_same_bytes(
    world: World, whole: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(72 // 7):
        with pytest.raises(Interrupted, match="run the same command again"):
            build(world, tmp_path / "store", StopAt(7))
        assert not (tmp_path / "store").exists()
    build(world, tmp_path / "store", StopAt(7))
    assert checksums(tmp_path / "store") == whole


def test_finished_months_are_not_read_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        build(world, tmp_path / "store", StopAt(36 + 20))
    opened = []
    monkeypatch.setattr(passes, "derived_file", counting(passes.derived_file, opened))
    build(world, tmp_path / "store")
    assert [path.name for path in opened] == [f"{month}.nc" for month in months(world)[20:]]


def months(world: World) -> list[str]:
    return [str(month) for month in np.unique(world.dates.astype("datetime64[M]"))]


def counting(function: Callable[[Path], Any], seen: list[Path]) -> Callable[[Path], Any]:
    def counted(path: Path) -> Any:
        seen.append(path)
        return function(path)

    return counted


def test_rows_that_vanished_are_written_again(world: World, whole: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        build(world, tmp_path / "store", StopAt(36 + 20))
    (tmp_path / "store.part" / "grid.npy").unlink()
    build(world, tmp_path / "store")
    assert checksums(tmp_path / "store") == whole


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5])
def test_rows_that_changed_are_written_again(
    world: World, whole: dict[str, str], tmp_path: Path, where: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A bit of the half-built array flips between a kill and the next start; the journal knows what it held."""
    with pytest.raises(Interrupted):
        build(world, tmp_path / "store", StopAt(36 + 20))
    path = tmp_path / "store.part" / "grid.npy"
    data = bytearray(path.read_bytes())
    data[140 + int(where * len(data))] ^= 1
    path.write_bytes(data)
    build(world, tmp_path / "store")
    assert checksums(tmp_path / "store") == whole
    assert "grid.npy: changed since it was written; it is begun anew" in caplog.text


def test_the_remains_of_other_settings_are_cleared(world: World, whole: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        build_store(config(coarsen=2), world.folder, tmp_path / "store", "made_up", StopAt(50))
    build(world, tmp_path / "store")
    assert checksums(tmp_path / "store") == whole


def test_a_full_disk_is_the_environments_fault_and_the_build_goes_on(
    world: World, whole: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = 0

    def full(file: int, data: memoryview, position: int) -> None:
        nonlocal blocks
        blocks += 1
        if blocks > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        arrays_pwrite(file, data, position)

    arrays_pwrite = arrays._pwrite
    monkeypatch.setattr(arrays, "_pwrite", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        build(world, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    monkeypatch.undo()
    build(world, tmp_path / "store")
    assert checksums(tmp_path / "store") == whole


def test_too_little_space_is_found_before_anything_is_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(EnvironmentFault, match=r"needs 0\.02 GB, 0\.00 GB are free"):
        build(world, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_store_that_another_process_builds_is_left_alone(world: World, tmp_path: Path) -> None:
    with exclusive(tmp_path / "store.part"), pytest.raises(EnvironmentFault, match=f"in use by process {os.getpid()}"):
        build(world, tmp_path / "store")


# --- the file that grows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("cut", [0, 1, 17])
def test_a_file_written_in_two_goes_is_what_numpy_saves(tmp_path: Path, dtype: str, cut: int) -> None:
    values = np.random.default_rng(0).standard_normal((17, 3, 4, 5)).astype(dtype)
    path = tmp_path / "a.npy"
    first = ArrayWriter(path, dtype, values.shape, 0)
    for row in values[:cut]:
        first.append(row[None])
    first.flush()
    first.close()
    second = ArrayWriter(path, dtype, values.shape, cut)
    second.append(values[cut:])
    second.flush()
    second.close()
    np.save(tmp_path / "b.npy", values)
    assert path.read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert second.describe() == {"bytes": path.stat().st_size, "sha256": sha256(path)}


def test_an_unfinished_file_has_no_checksum(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "a.npy", "float32", (3, 2), 0)
    writer.append(np.zeros((2, 2), np.float32))
    writer.flush()
    writer.close()
    with pytest.raises(RuntimeError, match="8 bytes are still to be written"):
        writer.describe()


def test_a_changed_journal_is_not_taken_up(tmp_path: Path) -> None:
    """A part whose bytes changed since is done again, with those after it."""
    shapes = [(3, 2, 2)] * 3
    journal = passes.Journal(tmp_path, "moments", shapes)
    for number in range(3):
        journal.add(np.full((3, 2, 2), float(number)))
    assert len(passes.Journal(tmp_path, "moments", shapes).parts) == 3
    data = bytearray((tmp_path / "moments").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "moments").write_bytes(data)
    assert len(passes.Journal(tmp_path, "moments", shapes).parts) == 1
