"""Trainings interrupted at random moments in every way that clusters know, on the one-machine cluster or without one.

    python -m tests.submit.interruptions 30 200 1 [slurm|local]

(how many, epochs of each, seed of the moments) prints what was done to each training, whether its weights are those of
one that nobody interrupted, how often an epoch was done again, and the most processes that were at it at a time.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipeline.submit.process import identity, signal_process
from pipeline.submit.ticket import Task, Ticket, jobs_folder
from pipeline.testing import World, write_world
from tests.beside import looking
from tests.conftest import CONFIG, ROOT

SCRIPT = ROOT / "slurm" / "dev_cluster.sh"
PROFILES = """\
default: tiny
profiles:
  tiny: {cpus: 1, memory: 500M, time: "00:10:00"}
  minute: {cpus: 1, memory: 500M, time: "1", signal_before: 10}
  two: {cpus: 1, memory: 1G, time: "00:10:00", nodes: 2}
"""
KINDS = (
    "preemption",
    "requeue",
    "warning",
    "time limit",
    "max_time",
    "node failure",
    "kill of the job",
    "kill of everything",
    "cancel",
)
HERE = ("max_time", "kill of the job", "kill of everything", "term of the job", "term of everything", "cancel")
"""Without a cluster."""
KILLS = ("kill of the job", "kill of everything", "node failure")
"""What gives a training no time to save: it does the steps since its last checkpoint again.

If that kill comes between an epoch's checkpoint and its line in the log, the line is missing for good.
"""
OVER = ("done", "failed", "cancelled", "interrupted", "lost")


def cluster_is_up() -> bool:
    """Tell whether the one-machine cluster answers; if so, point this process at it."""
    told = subprocess.run([str(SCRIPT), "env"], capture_output=True, text=True)
    if told.returncode:
        return False
    os.environ["SLURM_CONF"] = told.stdout.strip().partition("=")[2]
    return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=120).returncode == 0


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=self.variables)
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

    def wait(self, name: str, wanted: tuple[str, ...] = OVER, seconds: float = 600) -> str:
        """Wait until a ticket or task is in one of these states; return it."""
        end = time.monotonic() + seconds
        while (found := self.state(name)) not in wanted:
            if time.monotonic() > end:
                raise AssertionError(f"{name} is still {found}:\n{self.job('status', 'why', name)}")
            time.sleep(0.5)
        return found


def running(task: Task, attempts: int, seconds: float = 300) -> dict[str, object]:
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


def interrupt(kind: str, task: Task, bench: Bench) -> None:
    """Do to a running task what its kind of interruption is."""
    last = task.last()
    node, name = str(last["node"]), task.folder.parent.name
    # One that is over by now gets no signal: the attempts tell that nothing was interrupted.
    acts: dict[str, Callable[[], object]] = {
        "preemption": lambda: slurm("srun", "-p", "urgent", "-w", node, "--exclusive", "true"),
        "requeue": lambda: slurm("scontrol", "requeue", task.slurm_id),
        # What Slurm sends before the time limit.
        "warning": lambda: slurm("scancel", "--batch", "--signal=USR2", task.slurm_id),
        "node failure": lambda: _lose(node, task),
        "kill of the job": lambda: signal_process(last["child"], signal.SIGKILL),
        "kill of everything": lambda: signal_process(last["process"], signal.SIGKILL),
        "term of the job": lambda: signal_process(last["child"], signal.SIGTERM),
        "term of everything": lambda: signal_process(last["process"], signal.SIGTERM),
        "cancel": lambda: bench.job("status", "cancel", name, "--wait", "240"),
    }
    acts[kind]()
    if kind in ("kill of everything", "term of everything", "cancel"):
        bench.wait(name, ("failed", "lost", "interrupted", "cancelled", "done"))
        bench.job("status", "requeue", name)


def _lose(node: str, task: Task) -> None:
    """Have a node die (its slurmd, the step daemon of the job, and the job); it is back when the job is elsewhere."""
    attendant = task.last()["process"]
    stat = Path("/proc", str(attendant["pid"]), "stat").read_text(errors="replace")
    daemon = identity(int(stat.rsplit(")", 1)[1].split()[1]))
    slurm(str(SCRIPT), "stop", node)
    try:
        for one in (daemon, attendant):
            signal_process(one, signal.SIGKILL)
        wait_until(lambda: len(task.attempts()) > 1 or "ended" in task.last(), 300)
    finally:
        slurm(str(SCRIPT), "start", node)


def wait_until(true: Callable[[], bool], seconds: float, pause: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(pause)


def submission(kind: str, moment: float) -> list[str]:
    """Return what is typed for a training that is to be stopped ``moment`` seconds after its start, if by itself."""
    if kind == "max_time":
        return [f"train.max_time={max(moment, 0.5) / 60:.4f}"]
    if kind == "time limit":
        # A minute is the shortest limit, and Slurm warns 10 s before its end: the first start waits for its moment.
        nap = f'[ "${{SLURM_RESTART_COUNT:-0}}" != 0 ] || sleep {max(0.0, 48 - moment):.1f}'
        return ["--profile", "minute", "--set", f"setup=[{json.dumps(nap)}]"]
    return []


@dataclass(frozen=True)
class Moment:
    """When to interrupt: after so many epochs and then some seconds; ``seconds`` from the start where that is asked."""

    epoch: int
    delay: float
    seconds: float = 5.0


def interrupted_once(bench: Bench, kind: str, training: list[str], moment: Moment, local: bool = False) -> Seen:
    """Submit a training, interrupt it at a moment, and wait until it is done."""
    by_itself = submission(kind, moment.seconds)
    words = ["train", str(bench.config), *training, *by_itself, *(["--cluster", "local"] * local)]
    with watching(bench.home) as most:
        (ticket,) = bench.submit(*words)
        task = ticket.tasks[0]
        wait_until(lambda: "child" in task.last(), 300)
        if not by_itself:
            log = Path(str(task.last()["log"]))
            wait_until(lambda: "ended" in task.last() or len(epochs(log)) >= moment.epoch, 600, 0.05)
            time.sleep(moment.delay)
            if "ended" not in task.last():
                interrupt(kind, task, bench)
        state = bench.wait(ticket.id, ("done", "failed", "cancelled"))
    if state != "done":
        raise AssertionError(bench.job("status", "why", ticket.id))
    attempts = task.attempts()
    found = [number for log in {Path(str(one["log"])) for one in attempts} for number in epochs(log)]
    (history,) = bench.home.glob("results/tiny/simple-*/history.json")
    kept = [entry["epoch"] for entry in json.loads(history.read_text(encoding="utf-8"))["epochs"]]
    return Seen(ticket, attempts, len(found), len(found) - len(set(found)), most[0], kept)


def epochs(log: Path) -> list[str]:
    """Return the epochs that a log tells of, in order."""
    return re.findall(r"  epoch +(\d+)", log.read_text(errors="replace")) if log.exists() else []


@dataclass(frozen=True)
class Seen:
    """What became of a training that was interrupted."""

    ticket: Ticket
    attempts: list[dict[str, object]]
    epochs: int
    """Lines in the logs of all attempts that tell of an epoch."""
    again: int
    """Those of them that tell of an epoch once more."""
    at_a_time: int
    """The most processes that were at it at the same moment."""
    kept: list[float]
    """The epochs of ``history.json`` in the end."""

    def each_epoch_once(self, kind: str, wanted: int) -> bool:
        """Tell whether every epoch was done, and only after a kill one of them again."""
        killed = kind in KILLS
        untold = wanted - (self.epochs - self.again)
        return self.kept == list(range(1, wanted + 1)) and 0 <= untold <= killed and (killed or self.again == 0)


@contextmanager
def watching(home: Path) -> Iterator[list[int]]:
    """Count processes of trainings below ``home`` while the block runs; yield the most that were seen at a time."""
    most = [0]

    def look() -> None:
        most[0] = max(most[0], trainings(home))

    with looking(look, 0.05):
        yield most


def trainings(home: Path) -> int:
    """Count the processes that run ``jobs/train.py`` on a config below ``home`` and are alive.

    What a training has forked looks like itself for a moment, so children of one that was counted are not.
    """
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            words = path.joinpath("cmdline").read_bytes().split(b"\0")
            if any(word.endswith(b"jobs/train.py") for word in words[:3]) and bytes(home) in b" ".join(words):
                state, parent = path.joinpath("stat").read_text(errors="replace").rsplit(")", 1)[1].split()[:2]
                if state not in "ZX":
                    parents[int(path.name)] = int(parent)
    return sum(parent not in parents for parent in parents.values())


def weights(home: Path) -> dict[str, object]:
    """Return the weights of the only run."""
    import torch

    (path,) = home.glob("results/tiny/simple-*/model.pt")
    return dict(torch.load(path, weights_only=True)["model"])


def equal(one: dict[str, object], other: dict[str, object]) -> bool:
    """Tell whether weights are the same, bit for bit."""
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)  # type: ignore[arg-type]


def main(count: int, wanted: int, seed: int, kinds: tuple[str, ...], local: bool) -> bool:
    """Interrupt ``count`` trainings, one after the other, and compare them; tell whether all was well."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.config.write_text(CONFIG, encoding="utf-8")
        write_world(World(start=date(1994, 12, 1), days=460, types=("1", "2A", "3B", "4A", "5")), bench.home / "raw")
        for job in ("derive", "store"):
            bench.job(job, str(bench.config))
        training = [f"train.epochs={wanted}", "train.ema.decay=0.9", "train.augment.noise=0.1"]
        began = time.monotonic()
        bench.job("train", str(bench.config), *training)
        alone, whole = time.monotonic() - began, weights(bench.home)
        print(f"uninterrupted: {alone:.1f} s", flush=True)
        good = 0
        for number in range(count):
            for path in bench.home.glob("results/tiny"):
                path.rename(path.with_name(f"tiny-{time.monotonic_ns()}"))
            kind, epoch = kinds[number % len(kinds)], chance.randrange(wanted * 9 // 10)
            # One in ten or so while the program begins, before it can listen.
            delay = chance.uniform(0.0, 1.0) if epoch > wanted // 10 else chance.uniform(0.0, 4.0)
            seconds = chance.uniform(0.1, 0.4) * alone if kind == "max_time" else chance.uniform(2.0, 6.0)
            moment = Moment(0 if delay > 1 else epoch, delay, seconds)
            began = time.monotonic()
            seen = interrupted_once(bench, kind, training, moment, local)
            same = equal(whole, weights(bench.home))
            once = seen.at_a_time == 1 and seen.each_epoch_once(kind, wanted)
            good += same and once
            ends = [f"{one.get('exit_code', 'gone')} {one.get('why') or one.get('then')}" for one in seen.attempts[:-1]]
            took = time.monotonic() - began
            print(
                f"{number + 1:3d} {kind:<18} epoch {moment.epoch:3d} + {moment.delay:.2f} s: "
                f"{len(seen.attempts)} starts, {took:5.1f} s, weights {'the same' if same else 'DIFFER'}, "
                f"epochs {seen.epochs} ({seen.again} again), at a time {seen.at_a_time} [{'; '.join(ends)}]",
                flush=True,
            )
    print(f"{good} of {count} ended with the weights of the uninterrupted run, bit for bit, and nothing was run twice")
    return good == count


if __name__ == "__main__":
    here = sys.argv[-1] == "local"
    if not here and not cluster_is_up():
        raise SystemExit(f"start the cluster first: {SCRIPT} up")
    typed = [int(word) for word in sys.argv[1:] if word.isdigit()]
    how_many, how_long, which = [*typed, *(30, 200, 1)[len(typed) :]]
    sys.exit(0 if main(how_many, how_long, which, HERE if here else KINDS, here) else 1)
