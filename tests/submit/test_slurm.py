"""Submitted to a real Slurm; needs ``slurm/dev_cluster.sh up`` (root), and skips without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pipeline.submit.chain import STAGES
from pipeline.submit.ticket import Ticket
from tests.conftest import ROOT, Place
from tests.submit.interruptions import (
    KINDS,
    Bench,
    Moment,
    Seen,
    epochs,
    equal,
    interrupted_once,
    running,
    slurm,
    wait_until,
    weights,
)

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]
TRAINING = ["train.epochs=60", "train.ema.decay=0.9", "train.augment.noise=0.1"]
LIMITED = ["train.epochs=300", *TRAINING[1:]]
"""Slurm warns of the time limit some seconds after it began: a fast machine must not be through by then."""
OF_A_NODE = ("preemption", "node failure")
"""What befalls all jobs of a node."""


@pytest.fixture(scope="module", autouse=True)
def limited(stored_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[tuple[Bench, Seen]]]:
    """A training that runs into its time limit, which takes a minute at least: beside all the other tests."""
    bench = Bench(stored_place.copy(tmp_path_factory.mktemp("limited") / "home").home)
    with ThreadPoolExecutor() as pool:
        yield pool.submit(lambda: (bench, interrupted_once(bench, "time limit", LIMITED, Moment(0, 0.0, 3.5))))


@pytest.fixture(scope="module")
def whole(stored_place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The weights of a training that nobody interrupted."""
    return uninterrupted(stored_place, tmp_path_factory.mktemp("whole"), TRAINING)


def uninterrupted(place: Place, home: Path, training: list[str]) -> dict[str, object]:
    """Train without an interruption, and return the weights."""
    bench = Bench(place.copy(home).home)
    bench.job("train", str(bench.config), *training)
    return weights(home)


def test_dry_run_prints_the_text_that_is_submitted(bench: Bench) -> None:
    words = ("thresholds", str(bench.config), "--set", "wckey=project", "--set", "partition=batch")
    told = bench.job("submit", *words, "--dry-run")
    assert not list((bench.home / "results").glob(".jobs/j*"))
    (ticket,) = bench.submit(*words)
    (script,) = ticket.folder.glob("*_submission.sh")
    text = script.read_text().strip()
    assert text in told
    assert "#SBATCH --wckey=project" in text
    assert "wckey" not in bench.job("submit", "thresholds", str(bench.config), "--dry-run")
    bench.job("status", "cancel", ticket.id)


@pytest.fixture
def sleeper() -> Iterator[str]:
    """The number of a Slurm job that lasts as long as the test."""
    number = slurm("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").strip()
    yield number
    slurm("scancel", number)


def test_the_pickle_names_a_task_and_nothing_else(bench: Bench, sleeper: str) -> None:
    bench.variables["NTFY_TOKEN"] = "tk_of_somebody"
    (ticket,) = bench.submit("train", str(bench.config), "train.epochs=1", "--after", sleeper)
    (pickle,) = ticket.folder.glob("*_submitted.pkl")
    data = pickle.read_bytes()
    assert len(data) < 1000
    assert b"tk_of_somebody" not in data
    assert b"simple-" not in data
    assert b"last.ckpt" not in data
    for path in ticket.folder.rglob("*"):
        assert path.is_dir() or b"tk_of_somebody" not in path.read_bytes(), path
    bench.job("status", "cancel", ticket.id)
    assert bench.state(ticket.id) == "cancelled"


def test_an_array_larger_than_the_cluster_takes(bench: Bench) -> None:
    """Thirty parts of a derivation on a cluster whose arrays have 25 tasks, and what comes after all of them."""
    words = ["derive", str(bench.config), "derive.fields=[msl]"]
    (parts,) = bench.submit(*words, "--array", "derive.parts=1..30/30", "--name", "parts")
    (whole,) = bench.submit(*words, "--after", "parts")
    arrays = [task.slurm_id.partition("_")[0] for task in parts.tasks]
    assert [arrays.count(one) for one in dict.fromkeys(arrays)] == [25, 5]
    assert bench.wait(whole.id) == "done"
    assert [task.last()["exit_code"] for task in parts.tasks] == [0] * 30
    assert {row["starts"] for row in bench.rows()} == {1}


def test_a_chain_by_afterok_and_what_is_fresh_is_skipped(raw_place: Place, tmp_path: Path) -> None:
    bench = Bench(raw_place.copy(tmp_path / "home").home)
    local = 'download:\n  source: local\n  files: ["raw/*.nc"]\nderive:\n'
    bench.config.write_text(bench.config.read_text().replace('derive:\n  raw: ["raw/*.nc"]\n', local))
    words = ("chain", str(bench.config), "train.epochs=60")
    tickets = bench.submit(*words)
    assert [ticket.facts["job"] for ticket in tickets] == list(STAGES)
    waiting = slurm("squeue", "-h", "-o", "%i %E", "-j", tickets[-1].tasks[0].slurm_id)
    assert "afterok" in waiting
    train = tickets[3].tasks[0]
    running(train, 1, 600)  # download, derive and store come before it
    slurm("scontrol", "requeue", train.slurm_id)  # those that wait for it go on waiting
    assert bench.wait(tickets[-1].id) == "done"
    assert [ticket.tasks[0].last()["exit_code"] for ticket in tickets] == [0] * 7
    assert list(bench.home.glob("results/tiny/simple-*/figures/loss_curve.png"))
    again = bench.job("submit", *words, "--dry-run")
    assert "train      skipped" in again
    assert "thresholds-tiny" in again


def test_what_waits_for_a_failure_never_starts(bench: Bench, tmp_path: Path) -> None:
    (first,) = bench.submit("train", str(bench.config), "train.model.pretrained=nowhere.pt")
    (second,) = bench.submit("thresholds", str(bench.config), "--after", first.id)
    assert bench.wait(first.id) == "failed"
    assert bench.wait(second.id) == "cancelled"
    assert first.tasks[0].last()["exit_code"] == 2
    account = slurm("sacct", "-n", "-X", "-o", "ExitCode", "-j", first.tasks[0].slurm_id)
    assert account.strip() == "2:0"
    why = bench.job("status", "why", first.id)
    assert "nowhere.pt" in why
    assert "Slurm      FAILED, exit code 2:0" in why
    (tmp_path / "sacct").write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    bench.variables["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    assert [row["state"] for row in bench.rows()] == ["failed", "cancelled"]
    assert "nowhere.pt" in bench.job("status", "why", first.id)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in (*OF_A_NODE, "warning", "max_time", "time limit")] + [*OF_A_NODE]
)
def test_interrupted_and_the_same_in_the_end(
    bench: Bench, whole: dict[str, object], limited: Future[tuple[Bench, Seen]], kind: str
) -> None:
    if kind in OF_A_NODE:
        limited.result(timeout=600)  # it may be on that node
    # On a busy machine these may take longer than what is left of the training that they are to interrupt.
    moment = Moment(2 if kind in (*OF_A_NODE, "cancel") else 10, 0.1)
    seen = interrupted_once(bench, kind, TRAINING, moment)
    _same_and_once(bench, seen, whole, kind, 60)


def test_at_the_time_limit_and_the_same_in_the_end(
    limited: Future[tuple[Bench, Seen]], stored_place: Place, tmp_path: Path
) -> None:
    bench, seen = limited.result(timeout=600)
    _same_and_once(bench, seen, uninterrupted(stored_place, tmp_path / "whole", LIMITED), "time limit", 300)
    assert seen.attempts[0]["then"] == "queued again by scontrol requeue"
    state = slurm("sacct", "-n", "-X", "-D", "-o", "State", "-j", seen.ticket.tasks[0].slurm_id).split()
    assert "TIMEOUT" not in state, "it left in good time"


def _same_and_once(bench: Bench, seen: Seen, whole: dict[str, object], kind: str, wanted: int) -> None:
    assert len(seen.attempts) >= 2, seen.attempts
    assert equal(whole, weights(bench.home))
    assert seen.at_a_time == 1
    assert seen.each_epoch_once(kind, wanted), seen
    task = seen.ticket.tasks[0]
    # The attempt's record says that it has ended, a moment before its process does and Slurm knows.
    wait_until(lambda: not _in_line(task.slurm_id, "RUNNING"), 120)
    assert not _in_line(task.slurm_id), "no second copy waits"
    assert len(task.attempts()) == len(seen.attempts), "no second copy ran meanwhile"


def _in_line(number: str, states: str = "PENDING,RUNNING,SUSPENDED") -> str:
    """Return what waits or runs of a job; one that a node still cleans up after (CG) does neither."""
    return slurm("squeue", "-h", "-t", states, "-j", number).strip()


def test_two_nodes_train_what_one_process_trains_and_go_on_after_a_requeue(bench: Bench, tmp_path: Path) -> None:
    """Bit for bit what two nodes train that nobody interrupts, and up to rounding what one process trains."""
    whole, alone = (Bench(Place(bench.home).copy(tmp_path / name).home) for name in ("whole", "alone"))
    words = ["train.epochs=40", "train.keep_checkpoints=40", *TRAINING[1:]]
    (ticket,) = bench.submit("train", str(bench.config), *words, "--profile", "two")
    task = ticket.tasks[0]
    first = running(task, 1)
    wait_until(lambda: len(epochs(Path(str(first["log"])))) >= 1, 300, 0.02)
    slurm("scontrol", "requeue", task.slurm_id)
    (other,) = whole.submit("train", str(whole.config), *words, "--profile", "two")
    alone.job("train", str(alone.config), *words)
    assert bench.wait(ticket.id) == "done"
    assert whole.wait(other.id) == "done"
    stopped, ended = task.attempts()
    assert [one["exit_code"] for one in stopped["ranks"]] == [75, 75]
    assert [one["node"] for one in ended["ranks"]] == ["n1", "n2"]
    found = epochs(Path(str(ended["log"])))
    assert len(found) == len(set(found)) == 40, "one rank logs, and no epoch is done twice"
    assert equal(weights(whole.home), weights(bench.home))
    # At the 12th epoch: measured 2e-7. Sums in another order differ by 1e-8 at first, and a training amplifies that
    # sooner or later (this one from its 17th epoch on, to 9e-2), that of one process with two threads just as well; a
    # slice or a mask that differed would give 1e-2 and more.
    assert distance(kept(alone.home, 12), kept(bench.home, 12)) < 1e-3


def kept(home: Path, epoch: int) -> dict[str, object]:
    """Return the weights after an epoch of the only run, and their average, from the checkpoint of that epoch."""
    (path,) = home.glob(f"results/tiny/simple-*/checkpoints/epoch={epoch:05d}-*.ckpt")
    states = torch.load(path, weights_only=True)
    return {f"{name} {one}": value for name in ("model", "ema") for one, value in states[name].items()}


def distance(one: dict[str, object], other: dict[str, object]) -> float:
    """Return the root mean square of the weights' differences, in that of the weights."""
    ours, theirs = (torch.cat([value.double().flatten() for value in each.values()]) for each in (one, other))  # type: ignore[attr-defined]
    return float((ours - theirs).norm() / ours.norm())


def test_cancelled_jobs_are_not_queued_again(bench: Bench) -> None:
    (ticket,) = bench.submit("train", str(bench.config), "train.epochs=5000")
    running(ticket.tasks[0], 1)
    bench.job("status", "cancel", ticket.id)
    assert bench.wait(ticket.id) == "cancelled"
    time.sleep(3.0)
    assert not _in_line(ticket.tasks[0].slurm_id)
    told = bench.job("status", "requeue", ticket.id)
    assert "queued again as job" in told or "submitted again as job" in told
    bench.job("status", "cancel", ticket.id)


def test_a_cluster_that_refuses_to_requeue_gets_the_job_again_once(bench: Bench) -> None:
    """``scontrol requeue`` is refused (``--no-requeue``), so the job submits itself, to start when it has ended."""
    (ticket,) = bench.submit("train", str(bench.config), *TRAINING, "--set", "extra={no-requeue: true, requeue: false}")
    task = ticket.tasks[0]
    first = task.slurm_id
    record = running(task, 1)
    os.kill(int(str(record["child"]["pid"])), 15)  # type: ignore[index]
    wait_until(lambda: len(task.attempts()) == 2, 300)
    assert task.slurm_id != first
    assert bench.wait(ticket.id) == "done"
    assert "submitted again as job" in task.attempts()[0]["then"]


def test_plain_templates_work_alike(bench: Bench) -> None:
    command = ["sbatch", "--parsable", "--cpus-per-task=1", "--mem=500M", f"--output={bench.home}/%x-%j.log"]
    script = [str(ROOT / "slurm" / "train.sbatch"), str(bench.config), *TRAINING]
    variables = {**bench.variables, "ISOBAR_PYTHON": sys.executable}
    done = subprocess.run([*command, *script], capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode == 0, done.stderr
    number = done.stdout.strip()
    ticket = bench.home / "results" / ".jobs" / f"s{number}"
    wait_until(lambda: (ticket / "job.json").exists(), 300)
    running(Ticket.read(ticket).tasks[0], 1)
    slurm("scontrol", "requeue", number)
    assert bench.wait(f"s{number}") == "done"
    (row,) = json.loads(bench.job("status", "list", "--json"))
    assert (row["name"], row["starts"]) == ("isobar-train", 2)
