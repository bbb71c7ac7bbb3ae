"""What the tests of whole jobs share: a small world, its config, and the real command line."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Where a shell starts the tests in the background they ignore Ctrl-C, and so would the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers of the tests are on this machine, whatever stands between it and the others.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

with suppress(ImportError):  # before anything that loads ecCodes; see pipeline/raw/grib.py
    import pyproj  # noqa: F401

from pipeline.core.interrupt import CAUGHT
from pipeline.core.logs import log
from pipeline.testing import World, write_world
from tests.faults.nursery import Nursery, Order

# The same examples each time, so that a change is judged by itself; HYPOTHESIS_PROFILE=new draws others. No example is
# judged by the time that it took: a machine may stop for a moment.
_PATIENT: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, database=None, **_PATIENT)
settings.register_profile("new", **_PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

CONFIG = """\
name: tiny
derive:
  raw: ["raw/*.nc"]
  fields: [msl, msl_dt24, grad_msl]
  labels:
    files: ["raw/labels.csv"]
store:
  split:
    train: [1995]
    val: [1996]
    test: [1994]
train:
  epochs: 2
  batch_size: 32
  threads: 1
  device: cpu
evaluate:
  bootstrap: 50
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    text: str
    """Standard output and error."""


def run_job(job: str, *arguments: object, timeout: float = 1800) -> Ended:
    """Run ``jobs/<job>.py`` to its end, with the place of its config or run folder as ``ISOBAR_HOME``.

    The process is forked from one that has imported the libraries (see the nursery), so that a test costs its own work
    and not the imports; kills, starts and the documentation are tested with programs from scratch.
    """
    order = Order(job, arguments, ROOT, environment=environment(*arguments))
    ended = _nursery().start(order).wait(timeout)
    return Ended(ended.code, ended.text)


@cache
def _nursery() -> Nursery:
    folder = Path(tempfile.mkdtemp(prefix="isobar-jobs-"))
    found = Nursery(folder)
    atexit.register(lambda: (found.close(), shutil.rmtree(folder, ignore_errors=True)))
    return found


def environment(*arguments: object) -> dict[str, str]:
    """Return the environment of a job: ``ISOBAR_HOME`` is the folder of the ``tiny.yaml`` around one of the paths."""
    paths = [Path(str(argument)).absolute() for argument in arguments if "=" not in str(argument)]
    homes = [folder for path in paths for folder in (path, *path.parents) if (folder / "tiny.yaml").exists()]
    return {**os.environ, **({"ISOBAR_HOME": str(homes[0])} if homes else {})}


@dataclass(frozen=True)
class Place:
    """A folder with raw files and a config."""

    home: Path

    @property
    def config(self) -> Path:
        return self.home / "tiny.yaml"

    @property
    def raw(self) -> Path:
        return self.home / "raw"

    def one(self, pattern: str) -> Path:
        """Return the only file or folder of this pattern."""
        (found,) = self.home.glob(pattern)
        return found

    def copy(self, to: Path) -> Place:
        """Return a copy of everything in another folder."""
        shutil.copytree(self.home, to, symlinks=True, dirs_exist_ok=True)
        return Place(to)


@pytest.fixture(autouse=True)
def process_of_its_own() -> Iterator[None]:
    """Let each test find the log and the signals as if no other test had run a job in this process before it."""
    handlers, level, propagates = list(log.handlers), log.level, log.propagate
    signals = {name: signal.getsignal(getattr(signal, name)) for name in CAUGHT}
    log.propagate = True
    yield
    log.handlers[:], log.propagate = handlers, propagates
    log.setLevel(level)
    for name, handler in signals.items():
        signal.signal(getattr(signal, name), handler)


@pytest.fixture(scope="session")
def raw_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Raw files of 9 × 9 points over 420 days from December 1994, and a config; treat as read-only."""
    place = Place(tmp_path_factory.mktemp("raw_place"))
    write_world(World(start=date(1994, 12, 1), days=460, types=("1", "2A", "3B", "4A", "5")), place.raw)
    place.config.write_text(CONFIG, encoding="utf-8")
    return place


@pytest.fixture(scope="session")
def trained_place(raw_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of ``raw_place`` after the whole chain; treat as read-only."""
    place = raw_place.copy(tmp_path_factory.mktemp("trained_place"))
    ended = run_job("chain", place.config)
    assert ended.code == 0, ended.text
    return place
