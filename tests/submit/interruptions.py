"""Jobs on the one-machine cluster, interrupted at random moments in every way that clusters know.

    python -m tests.submit.interruptions 30 200 1

(how many, epochs of each, seed of the moments) prints what was done to each training, and whether its weights are those
of one that nobody interrupted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from pipeline.submit.ticket import Task, Ticket, jobs_folder
from pipeline.testing import World, write_world
from tests.conftest import CONFIG, ROOT

SCRIPT = ROOT / "slurm" / "dev_cluster.sh"
PROFILES = """\
default: tiny
profiles:
  tiny: {cpus: 1, memory: 500M, time: "00:10:00"}
  minute: {cpus: 1, memory: 500M, time: "1", signal_before: 10}
"""
KINDS = (
    "preemption",
    "requeue",
    "warning",
    "time limit",
    "node failure",
    "kill of the job",
    "kill of everything",
)
OVER = ("done", "failed", "cancelled", "interrupted", "lost")


def cluster_is_up() -> bool:
    """Tell whether the one-machine cluster answers; if so, point this process at it."""
    told = subprocess.run([str(SCRIPT), "env"], capture_output=True, text=True)
    if told.returncode:
        return False
    os.environ["SLURM_CONF"] = told.stdout.strip().partition("=")[2]
    return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=30).returncode == 0


class Bench:
    """A folder with data, and the commands that a person would type in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "tiny.yaml"
        self.variables = {
            **os.environ,
            "ISOBAR_HOME": str(home),
            "ISOBAR_PROFILES": str(home / "profiles.yaml"),
            "OMP_NUM_THREADS": "1",
        }
        (home / "profiles.yaml").write_text(PROFILES, encoding="utf-8")

    def job(self, script: str, *words: str) -> str:
        """Run a job's script to its end."""
        command = [sys.executable, str(ROOT / "jobs" / f"{script}.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=self.variables)
        if done.returncode:
            raise AssertionError((done.stdout + done.stderr)[-3000:])
        return done.stdout + done.stderr

    def submit(self, *words: str) -> list[Ticket]:
        """Submit, and return the tickets."""
        told = self.job("submit", *words)
        ids = [line.split()[0] for line in told.splitlines() if ": Slurm job " in line or ": process " in line]
        return [Ticket.read(jobs_folder(self.home) / one) for one in ids]

    def rows(self) -> list[dict[str, object]]:
        """Return what ``status.py list`` says."""
        return list(json.loads(self.job("status", "list", "--all", "--json")))

    def state(self, name: str) -> str:
        """Return the state of a ticket or task."""
        return next(str(row["state"]) for row in self.rows() if row["id"] == name)

    def wait(self, name: str, wanted: tuple[str, ...] = OVER, seconds: float = 240) -> str:
        """Wait until a ticket or task is in one of these states; return it."""
        end = time.monotonic() + seconds
        while (found := self.state(name)) not in wanted:
            if time.monotonic() > end:
                raise AssertionError(f"{name} is still {found}:\n{self.job('status', 'why', name)}")
            time.sleep(0.5)
        return found


def running(task: Task, attempts: int, seconds: float = 90) -> dict[str, object]:
    """Wait until the training of this attempt is under way; return the attempt's record."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = task.attempts()
        if len(found) >= attempts and "child" in found[-1] and "ended" not in found[-1]:
            log = Path(str(found[-1]["log"]))
            if log.exists() and log.read_text(errors="replace").count("training simple") >= 1:
                return found[-1]
        time.sleep(0.1)
    raise AssertionError(f"attempt {attempts} of {task.folder} did not begin: {task.attempts()}")


def slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def kill(process: dict[str, object]) -> None:
    os.kill(int(str(process["pid"])), signal.SIGKILL)


def interrupt(kind: str, task: Task, bench: Bench) -> None:
    """Do to a running task what its kind of interruption is."""
    last = task.last()
    node = str(last["node"])
    acts: dict[str, Callable[[], object]] = {
        "preemption": lambda: slurm("srun", "-p", "urgent", "-w", node, "--exclusive", "true"),
        "requeue": lambda: slurm("scontrol", "requeue", task.slurm_id),
        # What Slurm sends before the time limit; the limit itself takes a minute at least.
        "warning": lambda: slurm("scancel", "--batch", "--signal=USR2", task.slurm_id),
        "time limit": lambda: None,
        "node failure": lambda: slurm(str(SCRIPT), "stop", node),
        "kill of the job": lambda: kill(last["child"]),
        "kill of everything": lambda: kill(last["process"]),
    }
    acts[kind]()
    if kind == "kill of everything":
        name = task.folder.parent.name
        bench.wait(name, ("failed", "lost", "interrupted"))
        bench.job("status", "requeue", name)
    if kind == "node failure":
        wait_until(lambda: len(task.attempts()) > 1 or "ended" in task.last(), 120)
        slurm(str(SCRIPT), "start", node)


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.2)


PROFILE = {"time limit": "minute"}


def interrupted_once(
    bench: Bench, kind: str, training: list[str], epoch: int, delay: float
) -> tuple[Ticket, list[dict[str, object]]]:
    """Submit a training, interrupt it ``delay`` seconds after an epoch, and wait until it is done."""
    (ticket,) = bench.submit("train", str(bench.config), *training, "--profile", PROFILE.get(kind, "tiny"))
    task = ticket.tasks[0]
    first = running(task, 1)
    log = Path(str(first["log"]))
    wait_until(lambda: "ended" in task.last() or log.read_text(errors="replace").count("  epoch ") >= epoch, 240)
    time.sleep(delay)
    if "ended" not in task.last():
        interrupt(kind, task, bench)
    state = bench.wait(ticket.id, ("done", "failed", "cancelled"))
    if state != "done":
        raise AssertionError(bench.job("status", "why", ticket.id))
    return ticket, task.attempts()


def main(count: int, epochs: int, seed: int, first: int) -> None:
    """Interrupt ``count`` trainings, one after the other, and compare their weights."""
    import torch

    chance = random.Random(1000 * seed + first)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.config.write_text(CONFIG, encoding="utf-8")
        write_world(World(start=date(1994, 12, 1), days=460, types=("1", "2A", "3B", "4A", "5")), bench.home / "raw")
        for job in ("derive", "store"):
            bench.job(job, str(bench.config))
        training = [f"train.epochs={epochs}", "train.ema.decay=0.9", "train.augment.noise=0.1"]

        def weights() -> dict[str, torch.Tensor]:
            (path,) = bench.home.glob("results/tiny/simple-*/model.pt")
            return dict(torch.load(path, weights_only=True)["model"])

        def clear() -> None:
            for path in bench.home.glob("results/tiny"):
                path.rename(path.with_name(f"tiny-{time.monotonic_ns()}"))

        began = time.monotonic()
        bench.job("train", str(bench.config), *training)
        alone, whole, equal = time.monotonic() - began, weights(), 0
        print(f"uninterrupted: {alone:.1f} s")
        for number in range(first, first + count):
            clear()
            kind = KINDS[number % len(KINDS)]
            epoch, delay = chance.randrange(epochs // 2), chance.uniform(0.0, 1.0)
            began = time.monotonic()
            _, attempts = interrupted_once(bench, kind, training, epoch, delay)
            same = all(torch.equal(whole[name], value) for name, value in weights().items())
            equal += same
            ends = "; ".join(
                f"{one.get('exit_code', 'gone')} {one.get('why') or ''} {one.get('then') or ''}" for one in attempts
            )
            print(
                f"{number + 1:3d} {kind:<18} epoch {epoch:3d} + {delay:.2f} s: {len(attempts)} attempts, "
                f"{time.monotonic() - began:5.1f} s, same weights: {same} [{ends}]",
                flush=True,
            )
        print(f"{equal} of {count} ended with the weights of the uninterrupted run, bit for bit")


if __name__ == "__main__":
    if not cluster_is_up():
        raise SystemExit(f"start the cluster first: {SCRIPT} up")
    numbers = [int(word) for word in sys.argv[1:]]
    main(*numbers, *(30, 200, 1, 0)[len(numbers) :])
