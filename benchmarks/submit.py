"""How much later a job begins because it was submitted: here, and on Slurm where this machine has one."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import yaml

from benchmarks.start import BEGUN, until_first_step
from benchmarks.table import Figure
from pipeline.submit.ticket import Ticket, jobs_folder
from pipeline.testing import World, write_world

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks submit"
_TIMES = 3
_PATIENCE = 120.0


def measure() -> list[Figure]:
    """Return seconds from the typed command to the first training step, the median of three, against no submission."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        config = _stored(home)
        direct = _median(lambda seed: _direct(home, config, seed))
        figures = []
        clusters = {"local": "a detached process", "slurm": "sbatch"}
        if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
            del clusters["slurm"]
        for cluster, how in clusters.items():
            taken = _median(lambda seed, cluster=cluster: _submitted(home, config, seed, cluster))  # type: ignore[misc]
            figures.append(
                Figure(
                    f"submit.py --cluster {cluster} ({how}): command to first step", f"{taken:.1f} s",
                    f"`python jobs/train.py` in the foreground: {direct:.1f} s", f"{taken / direct:.2f}", COMMAND,
                )
            )  # fmt: skip
        return figures


def _median(one: Callable[[int], float]) -> float:
    return sorted(one(seed) for seed in range(_TIMES))[_TIMES // 2]


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}


def _job(home: Path, *words: str) -> str:
    command = [sys.executable, str(ROOT / "jobs" / f"{words[0]}.py"), *words[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=_environment(home)).stdout


def _stored(home: Path) -> Path:
    """Make a small store to train on."""
    write_world(World(start=date(1994, 11, 1), days=460, lat_points=9, lon_points=9), home / "raw")
    config = home / "small.yaml"
    text = {
        "name": "small",
        "derive": {"raw": ["raw/*.nc"], "fields": ["msl"], "labels": {"files": ["raw/labels.csv"]}},
        "store": {"split": {"train": [1995], "val": [1996], "test": [1994]}},
        "train": {"epochs": 2000, "threads": 1},
    }
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    for job in ("derive", "store"):
        _job(home, job, str(config))
    return config


def _direct(home: Path, config: Path, seed: int) -> float:
    command = [sys.executable, str(ROOT / "jobs/train.py"), str(config), f"train.seed={seed}"]
    return until_first_step(command, _environment(home))[0]


def _submitted(home: Path, config: Path, seed: int, cluster: str) -> float:
    shutil.rmtree(home / "results" / "small", ignore_errors=True)
    began = time.perf_counter()
    _job(home, "submit", "train", str(config), f"train.seed={seed}", "--cluster", cluster)
    folder = max(jobs_folder(home).glob("j*"), key=lambda path: int(path.name[1:]))
    (task,) = Ticket.read(folder).tasks
    while True:
        taken = time.perf_counter() - began
        log = Path(str(task.last().get("log", "/nowhere")))
        if log.exists() and BEGUN in log.read_text(errors="replace"):
            break
        if taken > _PATIENCE:
            sys.exit(f"{folder}: no training began in {taken:.0f} s")
        time.sleep(0.02)
    _job(home, "status", "cancel", folder.name)
    while "ended" not in task.last():
        time.sleep(0.1)
    return taken
