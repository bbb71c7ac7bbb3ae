"""What each job is tried on: a tiny place in which everything before it is done, and the command."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from pipeline.synthetic.cds_server import CdsServer
from pipeline.testing import World, write_world
from tests.faults.compare import fingerprint, trials
from tests.faults.nursery import ROOT, Nursery, Order
from tests.importance.made_up_series import SMALL, write_truth

WORLD = World(start=date(1994, 11, 1), days=460, lat_points=5, lon_points=5, types=("1", "2A", "3B", "4A"))
CONFIG: dict[str, Any] = {
    "name": "tiny",
    "derive": {
        "raw": ["raw/*.nc"],
        "fields": ["msl", "msl_dt24", "grad_msl"],
        "workers": 1,
        "labels": {"files": ["raw/labels.csv"]},
    },
    "store": {"split": {"train": [1995], "val": [1996], "test": [1994]}},
    "train": {
        "epochs": 25,
        "batch_size": 64,
        "threads": 1,
        "device": "cpu",
        "checkpoint_minutes": 0.001,
        "model": {"hidden": 16},
        "ema": {"decay": 0.9},
        "augment": {"noise": 0.1},
    },
    "evaluate": {"bootstrap": 20},
    "report": {"dpi": 50},
}
DOWNLOAD: dict[str, Any] = {
    "name": "tiny",
    "download": {
        "source": "cds",
        "start": "1991-01-01",
        "end": "1991-02-28",
        "area": [55, 115, 15, 155],
        "grid": [10, 10],
        "poll_seconds": 0.02,
        "requests": [{"variables": ["msl", "tp"]}],
    },
}
TUNE: dict[str, Any] = {
    "base": "base.yaml",
    "study": {"name": "study", "n_trials": 4, "max_retries": 20},
    "sampler": "Grid",
    "pruner": "none",
    "pictures": False,
    "search_space": {
        "train.optimizer.lr": {"type": "categorical", "choices": [0.001, 0.01]},
        "train.model.dropout": {"type": "categorical", "choices": [0.0, 0.2]},
    },
}
DAILY: dict[str, Any] = {
    "daily": {
        "run": "results/tiny/latest",
        "start": "1996-01-30",
        "hours": [0],
        "threads": 1,
        "device": "cpu",
        "dpi": 50,
    },
    "download": {"source": "local", "files": ["raw/*.nc"]},
}
IMPORTANCE: dict[str, Any] = {
    **SMALL,
    "lightgbm": {"rounds": 6, "num_leaves": 5, "min_data_in_leaf": 10},
    "search": {"trials": 2, "rounds": [3, 6], "num_leaves": [3, 5]},
    "null": {"shuffles": 4},
    "repeats": 1,
}
QUICK = ("train.epochs=3",)


@dataclass(frozen=True)
class Scene:
    """One job and what it is run on."""

    job: str
    words: tuple[str, ...]
    """Arguments; those that start with ``./`` are paths of the place."""
    after: str
    """Scene or state whose place this one begins from."""
    hook: str = ""
    server: bool = False
    """Whether a made-up Climate Data Store answers."""
    print: Callable[[Path], dict[str, str]] = fingerprint
    locks: tuple[str, ...] = ()
    """Where locks lie that a dead process may leave, with ``*``."""
    weight: int = 1
    """How many faults it gets for one of the others; long jobs get fewer."""
    tells_each: bool = False
    """Whether it goes on after an error, and has a line for each."""


FORKING = "tests.faults.hooks:forking"
RUN = "./results/tiny/latest"
SCENES: dict[str, Scene] = {
    scene.job: scene
    for scene in (
        Scene("download", ("./tiny.yaml",), "empty", server=True, locks=("data/raw/tiny",), weight=4),
        Scene("derive", ("./tiny.yaml",), "raw", locks=("data/derived/*",), weight=4),
        Scene("store", ("./tiny.yaml",), "derived", locks=("data/store/tiny", "data/store/tiny/*"), weight=4),
        Scene("train", ("./tiny.yaml",), "stored", locks=("results/tiny/*",), weight=4),
        Scene("thresholds", ("./tiny.yaml",), "trained", locks=("results/tiny/*",), weight=4),
        Scene("evaluate", ("./tiny.yaml",), "decided", locks=("results/tiny/*",), weight=4),
        Scene("report", ("./tiny.yaml",), "judged", locks=("results/tiny/*",)),
        Scene("tune", ("./tune.yaml",), "stored", print=trials, locks=("results/tiny/study-*",), weight=2),
        Scene(
            "run_backbones",
            ("./tiny.yaml", "--backbones", "simple,positional", *QUICK),
            "stored",
            FORKING,
            locks=("results/tiny/sweeps/*",),
        ),
        Scene("importance", ("./made.yaml",), "empty", locks=("results/made/*",), weight=2),
        Scene("predict", (RUN, "./raw", "--output", "./out/new.csv", "predict.workers=1"), "decided", weight=3),
        Scene("daily", ("./daily.yaml",), "decided", locks=("results/tiny/daily",), weight=3, tells_each=True),
        Scene("chain", ("./tiny.yaml", *QUICK), "raw", FORKING, locks=("results/tiny/*",)),
    )
}
"""Jobs in the order of a project."""


@dataclass
class Theatre:
    """The folder in which scenes are played, always the same path, and their beginnings to copy from."""

    root: Path
    nursery: Nursery
    clock: Nursery | None
    """Forks jobs whose clock the harness sets; ``None`` where there is no C compiler."""
    mounted: bool
    """Whether the place is a small file system of its own (root)."""
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    growth: dict[str, int] = field(default_factory=dict)
    """Kilobytes that a job adds to its place."""
    centre: CdsServer | None = None
    _servers: int = 0

    @property
    def home(self) -> Path:
        return self.root / "stage" / "home"

    @property
    def clock_file(self) -> Path:
        return self.root / "clock"

    def order(self, scene: Scene, **more: Any) -> Order:
        words = [str(self.home / word[2:]) if word.startswith("./") else word for word in scene.words]
        variables = {"HOME": str(self.root / "nobody")}
        if self.centre is not None:
            variables |= {"CDSAPI_URL": self.centre.url, "CDSAPI_KEY": self.centre.key}
        return Order(scene.job, words, self.home, variables, **{"hook": scene.hook, **more})

    @contextmanager
    def play(self, scene: Scene) -> Iterator[None]:
        """Set the place as it is before the job; a data centre of its own answers where the job asks one."""
        self.set(scene.after)
        if not scene.server:
            yield
            return
        self._servers += 1
        folder = self.root / f"centre{self._servers}"
        with CdsServer(folder, native=10.0, queue_seconds=0.02, run_seconds=0.02) as self.centre:
            yield
        self.centre = None
        shutil.rmtree(folder)

    def set(self, state: str) -> None:
        """Put a copy of a state onto the stage."""
        self.size()
        if self.home.exists():
            shutil.rmtree(self.home)
        shutil.copytree(self.root / "states" / state, self.home, symlinks=True)

    def size(self, kilobytes: int = 400_000, closed: bool = False) -> None:
        """Give the place so much room, or close it for writing; only where it is a file system of its own."""
        if self.mounted:
            options = f"remount,size={kilobytes}k,{'ro' if closed else 'rw'}"
            done = subprocess.run(["mount", "-o", options, str(self.root / "stage")], capture_output=True)
            if done.returncode and not closed:  # smaller than what is in it by a page or two
                self.size(kilobytes + 8)
            elif done.returncode:
                raise RuntimeError(done.stderr.decode())

    def used_kilobytes(self) -> int:
        """Return what is taken of the room."""
        room = os.statvfs(self.root / "stage")
        return (room.f_blocks - room.f_bfree) * room.f_frsize // 1024


@contextmanager
def theatre(clock: bool = True) -> Iterator[Theatre]:
    """Build the place and its states, and take them down in the end."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="isobar-faults-", dir=memory if os.access(memory, os.W_OK) else None))
    (root / "stage").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(root / "stage")]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    library = clock_library(root) if clock else None
    set_clock(root / "clock", 0)
    try:
        with Nursery(root / "said") as plain:
            preload = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(root / "clock")}
            shifted = Nursery(root / "said2", preload) if library else None
            made = Theatre(root, plain, shifted, mounted)
            _build(made)
            try:
                yield made
            finally:
                if shifted:
                    shifted.close()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(root / "stage")], check=True)
        shutil.rmtree(root, ignore_errors=True)


CLOCK = Path(__file__).with_name("clock.c")


def clock_library(folder: Path) -> Path | None:
    """Compile the library that shifts the wall clock; ``None`` where there is no C compiler."""
    made = folder / "clock.so"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(CLOCK)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return made


def set_clock(file: Path, seconds: int) -> None:
    """Shift the clock of running jobs, at once."""
    with file.open("r+b" if file.exists() else "w+b") as stream:
        stream.write(struct.pack("q", seconds))


def _build(made: Theatre) -> None:
    """Make the states by the jobs themselves, each at the path where it will be used."""
    home, states = made.home, made.root / "states"
    home.mkdir(parents=True)
    (made.root / "nobody").mkdir()
    (home / "tiny.yaml").write_text(yaml.safe_dump(DOWNLOAD))
    (home / "made.yaml").write_text(yaml.safe_dump(IMPORTANCE))
    write_truth(home / "truth.csv", rows=220)
    shutil.copytree(home, states / "empty")
    shutil.rmtree(home)
    home.mkdir()
    write_world(WORLD, home / "raw")
    (home / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    base = {**CONFIG, "train": {**CONFIG["train"], "epochs": 3}}
    (home / "base.yaml").write_text(yaml.safe_dump(base))
    (home / "daily.yaml").write_text(yaml.safe_dump(DAILY))
    (home / "tune.yaml").write_text(yaml.safe_dump({**TUNE, "base": str(home / "base.yaml")}))
    shutil.copytree(home, states / "raw")
    steps = (
        ("derive", "derived"), ("store", "stored"), ("train", "trained"), ("thresholds", "decided"),
        ("evaluate", "judged"),
    )  # fmt: skip
    for job, state in steps:
        ended = made.nursery.run(job, home / "tiny.yaml", home=home)
        assert ended.code == 0, ended.text
        shutil.copytree(home, states / state, symlinks=True)


def uninterrupted(made: Theatre, scene: Scene) -> None:
    """Run a scene without a fault, and note what it makes and how long it takes."""
    with made.play(scene):
        began, before = time.monotonic(), made.used_kilobytes()
        ended = made.nursery.start(made.order(scene)).wait()
        assert ended.code == 0, f"{scene.job}: {ended.text}"
        made.seconds[scene.job] = time.monotonic() - began
        made.growth[scene.job] = made.used_kilobytes() - before
        made.expected[scene.job] = scene.print(made.home)
        assert made.expected[scene.job], scene.job


def strays(home: Path) -> list[str]:
    """Return records that say that somebody is still at work."""
    records = list(home.rglob("run.json"))
    return [str(path.relative_to(home)) for path in records if json.loads(path.read_text()).get("status") == "running"]


__all__ = ["ROOT", "SCENES", "Scene", "Theatre", "theatre", "uninterrupted"]
