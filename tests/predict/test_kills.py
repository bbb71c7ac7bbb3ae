"""The job killed for real, again and again, ends with the bytes of one that was left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment, run_job
from tests.predict.finished_runs import Made

pytestmark = pytest.mark.slow
SETTINGS = ("predict.batch_size=1", "predict.threads=1", "predict.workers=1")


def size(work: Path) -> int:
    """Return the bytes of finished months and batches."""
    return sum(path.stat().st_size for kind in ("*.nc", "*.f32") for path in work.rglob(kind))


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
    codes = [kill_at_work((*words, "--output", output, *SETTINGS), output, how, chance) for _ in range(3)]
    # A signal while Python is leaving, after everything is written, has its default effect (-15).
    assert set(codes) <= {0, -how, 75}
    assert codes[0] in (-9, 75)
    assert run_job("predict", *words, "--output", output, *SETTINGS).code == 0
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*.work"))
