"""jobs/store.py through its real command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.artifact import sha256
from pipeline.core.config import load
from pipeline.experiment import Experiment
from tests.store.conftest import make_labels
from tests.store.derived_files import days, weather, write_derived

ROOT = Path(__file__).parents[2]
CONFIG = """\
name: made_up
store:
  split: {train: [2001, 2002], val: [2003], test: [2004]}
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "jobs" / "store.py"), *arguments]


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ISOBAR_HOME": str(home)}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config and derived files where the config expects them; tests write stores beside them."""
    place = tmp_path_factory.mktemp("home")
    (place / "made_up.yaml").write_text(CONFIG)
    dates = days("2001-01-01", "2004-12-31")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOBAR_HOME", str(place))
        derived = load(place / "made_up.yaml", Experiment).config.derived_folder()
    axis = np.linspace(55, 15, 33), np.linspace(115, 155, 33)
    write_derived(derived, dates, make_labels(dates), weather, *axis)
    return place


def stores(home: Path) -> list[Path]:
    return sorted((home / "data" / "store" / "made_up").iterdir())


def test_the_job_builds_says_what_is_next_and_is_fresh_afterwards(home: Path) -> None:
    config = str(home / "made_up.yaml")
    first = run(home, config)
    assert first.returncode == 0, first.stderr
    assert "labelled days, 2001-01-02 to 2004-12-30" in first.stdout
    assert "wrote: " in first.stderr
    assert f"next: python jobs/train.py {config}" in first.stderr
    second = run(home, config)
    assert second.returncode == 0
    assert "fresh already" in second.stderr
    assert second.stdout == first.stdout
    assert len(stores(home)) == 1


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["store.channels=[mls]"], 2, "store.channels: mls not in the derived data; did you mean 'msl'?"),
        (["store.split.val=[2003,2001]"], 2, "store.split: year 2001 is in train and in val"),
        (["store.region={south: 50, north: 20, west: 100, east: 110}"], 2, "north (20) must be greater than south"),
        (["store.split.gap_days=800"], 2, "store.split.train: no day is left"),
        (["store.dtype=float23"], 2, "unknown name 'float23'; did you mean 'float32'?"),
        (["dataset=elsewhere"], 2, "run the stage that writes it first"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(home: Path, overrides: list[str], code: int, message: str) -> None:
    before = list((home / "data").rglob("*"))
    ended = run(home, str(home / "made_up.yaml"), *overrides)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert message in ended.stderr
    assert ended.stderr.count(" ERROR ") == 1
    assert ended.stderr.rstrip().splitlines()[-1].count(" ERROR ") == 1
    assert list((home / "data").rglob("*")) == before


def test_check_shows_what_would_be_stored_and_stores_nothing(home: Path) -> None:
    before = set((home / "data").rglob("*"))
    ended = run(home, str(home / "made_up.yaml"), "store.coarsen=4", "--check")
    assert ended.returncode == 0, ended.stderr
    assert "labelled days, 2001-01-02 to 2004-12-30" in ended.stdout
    assert "× 8 × 8: " in ended.stdout
    assert "checked; nothing is stored" in ended.stderr
    assert set((home / "data").rglob("*")) == before


def test_sigterm_ends_with_75_and_the_same_command_finishes_with_the_same_bytes(home: Path) -> None:
    arguments = command(str(home / "made_up.yaml"), "store.coarsen=1", "store.scalars=[f1_season]")
    environment = os.environ | {"ISOBAR_HOME": str(home)}
    known = set(stores(home)) if (home / "data" / "store").exists() else set()
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(home.glob("data/store/made_up/*.part/progress/moments")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 75, message
    assert "run the same command again" in message
    (part,) = set(stores(home)) - known
    assert part.name.endswith(".part")
    assert run(home, *arguments[2:]).returncode == 0
    (store,) = set(stores(home)) - known
    resumed = {path.name: sha256(path) for path in store.iterdir()}
    store.rename(home / "aside")
    assert run(home, *arguments[2:]).returncode == 0
    assert resumed == {path.name: sha256(path) for path in store.iterdir()}


def test_help_and_a_config_error_load_no_array_library(home: Path) -> None:
    """Starting fast is held by what is not imported: a timing would depend on the machine."""
    for arguments in (["--help"], [str(home / "made_up.yaml"), "store.coarsen=0"]):
        traced = [sys.executable, "-X", "importtime", *command(*arguments)[1:]]
        ended = subprocess.run(traced, capture_output=True, text=True, timeout=300, env=os.environ)
        assert ended.returncode == (0 if arguments == ["--help"] else 2)
        loaded = {line.split("|")[2].strip() for line in ended.stderr.splitlines() if line.count("|") == 2}
        assert "pipeline.store.config" in loaded
        assert not loaded & {"numpy", "xarray", "h5py", "torch", "pandas"}
