"""How long a person waits: --help, a config error, the first training step."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Figure

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks start"
BEGUN = "first step after"
"""In the log line of a training's first step."""


def measure() -> list[Figure]:
    """Return seconds of each start, the median of five (of three for the training step)."""
    import_torch = _median([sys.executable, "-c", "import torch"], 3)
    help_time = _median([sys.executable, str(ROOT / "jobs/train.py"), "--help"], 5)
    wrong = _median([sys.executable, str(ROOT / "jobs/train.py"), "configs/demo.yaml", "train.epoch=3"], 5)
    first = _first_step()
    return [
        Figure("train.py --help", f"{help_time:.2f} s", "promised: < 1 s", f"{help_time / 1:.2f}", COMMAND),
        Figure("train.py with a wrong key", f"{wrong:.2f} s", "promised: < 1.5 s", f"{wrong / 1.5:.2f}", COMMAND),
        Figure(
            "train.py, command to first step",
            f"{first:.1f} s",
            f"`import torch` alone: {import_torch:.1f} s; promised: < 8 s",
            f"{first / 8:.2f}",
            COMMAND,
        ),
    ]


def _median(command: list[str], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


def _first_step() -> float:
    """Return the seconds from starting the demo's training (store built) to the log line of its first step."""
    demo = [str(ROOT / "configs/demo.yaml")]
    for job in ("derive", "store"):
        subprocess.run([sys.executable, str(ROOT / f"jobs/{job}.py"), *demo], cwd=ROOT, check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, str(ROOT / "jobs/train.py"), *demo, f"results={results}"]
        return sorted(until_first_step([*command, f"train.seed={seed}"])[0] for seed in range(3))[1]


def until_first_step(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Return the seconds to the log line of a training's first step: of the clock, and of the processor."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stderr is not None
        taken = next(time.perf_counter() - began for line in job.stderr if BEGUN in line)
        fields = Path(f"/proc/{job.pid}/stat").read_text().rpartition(") ")[2].split()
        job.kill()
    return taken, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
