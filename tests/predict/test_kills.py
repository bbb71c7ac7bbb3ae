"""The job killed for real, again and again, ends with the bytes of one that was left alone."""

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment, run_job
from tests.predict.finished_runs import Made

pytestmark = pytest.mark.slow
SETTINGS = ("predict.batch_size=1", "predict.threads=1", "predict.workers=1")


def size(work: Path) -> int:
    """Return the bytes of finished months and batches."""
    found = 0
    for path in (path for kind in ("*.nc", "*.f32") for path in work.rglob(kind)):
        with suppress(FileNotFoundError):  # renamed meanwhile
            found += path.stat().st_size
    return found


HELD = """
import runpy, sys, time
from pathlib import Path
from pipeline.predict.journal import Journal

reached, add = Path(sys.argv.pop(1)), Journal.add

def wait(self, first, values):
    add(self, first, values)
    if first >= 2 and not reached.exists():
        reached.touch()
        while not reached.with_name("go").exists():
            time.sleep(0.005)

Journal.add = wait
sys.argv[0] = "jobs/predict.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def kill_held(arguments: tuple[object, ...], place: Path, how: signal.Signals) -> int:
    """Start the job, which waits after its third batch, signal it there, and return its exit code."""
    reached = place / "reached"
    command = [sys.executable, "-c", HELD, str(reached), *map(str, arguments)]
    where = {**environment(*arguments), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT, env=where)
    while process.poll() is None and not reached.exists():
        time.sleep(0.01)
    process.send_signal(how)
    reached.with_name("go").touch()
    return process.wait()


def kill_at_work(arguments: tuple[object, ...], output: Path, how: signal.Signals, chance: random.Random) -> int:
    """Start the job, kill it a random while after it got on with its work, and return its exit code."""
    command = [sys.executable, str(ROOT / "jobs" / "predict.py"), *map(str, arguments)]
    work = output.with_name(f".{output.name}.work")
    before = size(work)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment(*arguments))
    while process.poll() is None and size(work) <= before:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.3))
    process.send_signal(how)
    return process.wait()


@pytest.mark.parametrize(("how", "kind"), [(signal.SIGKILL, "maps"), (signal.SIGTERM, "charts")])
def test_killed_at_random_moments(maps: Made, both: Made, tmp_path: Path, how: signal.Signals, kind: str) -> None:
    of_charts = (both.run, both.home / "eur_15m_winsize4", both.home / "rates.csv")
    words = of_charts if kind == "charts" else (maps.run, maps.home / "raw")
    whole, output, chance = tmp_path / "whole.json", tmp_path / "out.json", random.Random(5)
    assert run_job("predict", *words, "--output", whole, *SETTINGS).code == 0
    again = (*words, "--output", output, *SETTINGS)
    assert kill_held(again, tmp_path, how) == (-9 if how == signal.SIGKILL else 75)
    codes = [kill_at_work(again, output, how, chance) for _ in range(2)]
    # A signal while Python is leaving, after everything is written, has its default effect (-15).
    assert set(codes) <= {0, -how, 75}
    assert run_job("predict", *words, "--output", output, *SETTINGS).code == 0
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*.work"))
