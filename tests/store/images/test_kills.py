"""A build killed at any of its steps ends with the bytes of a build that nobody disturbed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.artifact import sha256
from pipeline.store.images import decode as decoding
from tests.store.images.made_up_images import build, name_of, settings, write_charts, write_series

# Kills itself with SIGKILL at the n-th event that a crash could fall on: the write of a block of pixels or windows, of
# a journal entry, the cut of skipped rows, or a rename.
KILLED = """
import os, sys
from pathlib import Path
from pipeline.store import arrays
from pipeline.store.images import decode as decoding
from pipeline.store.journal import Journal
from tests.store import killing
from tests.store.images.made_up_images import build
from tests.store.images.test_kills import BLOCK, SETTINGS
from tests.store.killing import count, half_noted, half_written

def half_cut(path, shape, rows):
    os.truncate(path, path.stat().st_size - 1000)

decoding.BLOCK_BYTES = BLOCK
arrays._pwrite = count(arrays._pwrite, half_written)
Journal.add = count(Journal.add, half_noted)
decoding._shrink = count(decoding._shrink, half_cut)
os.replace = count(os.replace)
build(Path(sys.argv[1]), SETTINGS)
print("events left:", killing.left)
"""
BLOCK = 16 * 3 * 16 * 24
SETTINGS = settings(
    {"datasets": ["eur_15m_winsize4"], "workers": 2, "skip_broken": 0.05},
    series={"files": ["rates.csv"], "window_size": 5},
)


def prepare(home: Path) -> Path:
    write_charts(home)
    write_series(home / "rates.csv", range(110))
    broken = home / "eur_15m_winsize4" / "train" / "Up" / name_of(9, 0)
    broken.write_bytes(broken.read_bytes()[:300])
    return home


def killed_at(home: Path, event: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(home), str(event)]
    root = Path(__file__).parents[3]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)


def checksums(home: Path) -> dict[str, str]:
    files = [path for path in (home / "store").rglob("*") if path.is_file() and path.suffix != ".sha256"]
    return {str(path.relative_to(home)): sha256(path) for path in sorted(files)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The checksums of an uninterrupted build, in blocks of another size."""
    home = prepare(tmp_path_factory.mktemp("whole"))
    assert decoding.BLOCK_BYTES != BLOCK
    build(home, SETTINGS)
    return checksums(home)


def test_killed_again_and_again(whole: dict[str, str], tmp_path: Path) -> None:
    """Two renames, six headers and blocks of pixels with five notes, the cut, windows, small files, the last rename."""
    prepare(tmp_path)
    for event in (1, 2, 5, 3, 7):
        assert killed_at(tmp_path, event).returncode == -signal.SIGKILL
        assert not list((tmp_path / "store").glob("*[0-9a-f]/store.json"))
    ended = killed_at(tmp_path, 10_000)
    assert ended.returncode == 0, ended.stderr
    assert checksums(tmp_path) == whole


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many events an undisturbed build has."""
    ended = killed_at(prepare(tmp_path_factory.mktemp("count")), 10_000)
    return 10_000 - int(ended.stdout.rpartition(":")[2])


@pytest.mark.parametrize("from_the_end", [1, 2, 3, 5, 8, 10, 12])
def test_killed_at_its_last_steps(whole: dict[str, str], events: int, tmp_path: Path, from_the_end: int) -> None:
    home = prepare(tmp_path)
    assert killed_at(home, events - from_the_end + 1).returncode == -signal.SIGKILL
    build(home, SETTINGS)
    assert checksums(home) == whole
