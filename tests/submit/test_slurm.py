"""Submitted to a real Slurm; needs ``slurm/dev_cluster.sh up`` (root), and skips without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.submit.chain import STAGES
from pipeline.submit.ticket import Ticket
from tests.conftest import ROOT
from tests.submit.interruptions import KINDS, Bench, interrupted_once, running, slurm, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]
TRAINING = ["train.epochs=200", "train.ema.decay=0.9", "train.augment.noise=0.1"]


def weights(home: Path) -> dict[str, torch.Tensor]:
    (path,) = home.glob("results/tiny/simple-*/model.pt")
    return dict(torch.load(path, weights_only=True)["model"])


@pytest.fixture(scope="module")
def whole(stored_place: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training that nobody interrupted."""
    home = tmp_path_factory.mktemp("whole")
    bench = Bench(stored_place.copy(home).home)  # type: ignore[attr-defined]
    bench.job("train", str(bench.config), *TRAINING)
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


def test_the_pickle_names_a_task_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.variables["NTFY_TOKEN"] = "tk_of_somebody"
    (ticket,) = bench.submit("train", str(bench.config), "train.epochs=1", "--after", str(sleeper()))
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


def sleeper() -> int:
    told = slurm("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 30")
    return int(told)


def test_an_array_of_twenty(bench: Bench) -> None:
    bench.job("train", str(bench.config), "train.epochs=1")
    (ticket,) = bench.submit("thresholds", str(bench.config), "train.epochs=1", "--array", "thresholds.beta=1..20")
    assert len({task.slurm_id.partition("_")[0] for task in ticket.tasks}) == 1
    for number in range(20):
        assert bench.wait(f"{ticket.id}.{number}") == "done"
    assert {row["starts"] for row in bench.rows()} == {1}


def test_an_array_larger_than_the_cluster_takes(bench: Bench) -> None:
    told = bench.job("submit", "train", str(bench.config), "--array", "train.seed=1..60", "--dry-run")
    assert [line for line in told.splitlines() if "--array=" in line] == [
        "#SBATCH --array=0-24%25",
        "#SBATCH --array=0-24%25",
        "#SBATCH --array=0-9%10",
    ]


def test_a_chain_by_afterok_and_what_is_fresh_is_skipped(raw_place: object, tmp_path: Path) -> None:
    bench = Bench(raw_place.copy(tmp_path / "home").home)  # type: ignore[attr-defined]
    local = 'download:\n  source: local\n  files: ["raw/*.nc"]\nderive:\n'
    bench.config.write_text(bench.config.read_text().replace('derive:\n  raw: ["raw/*.nc"]\n', local))
    tickets = bench.submit("chain", str(bench.config))
    assert [ticket.facts["job"] for ticket in tickets] == list(STAGES)
    waiting = slurm("squeue", "-h", "-o", "%i %E", "-j", tickets[-1].tasks[0].slurm_id)
    assert "afterok" in waiting
    train = tickets[3].tasks[0]
    running(train, 1)
    slurm("scontrol", "requeue", train.slurm_id)  # those that wait for it go on waiting
    assert bench.wait(tickets[-1].id) == "done"
    assert [ticket.tasks[0].last()["exit_code"] for ticket in tickets] == [0] * 7
    assert list(bench.home.glob("results/tiny/simple-*/figures/loss_curve.png"))
    again = bench.job("submit", "chain", str(bench.config), "--dry-run")
    assert "train      skipped" in again
    assert "thresholds-tiny" in again


def test_what_waits_for_a_failure_never_starts(bench: Bench) -> None:
    (first,) = bench.submit("train", str(bench.config), "train.model.pretrained=nowhere.pt")
    (second,) = bench.submit("thresholds", str(bench.config), "--after", first.id)
    assert bench.wait(first.id) == "failed"
    assert bench.wait(second.id) == "cancelled"
    assert first.tasks[0].last()["exit_code"] == 2
    account = slurm("sacct", "-n", "-X", "-o", "ExitCode", "-j", first.tasks[0].slurm_id)
    assert account.strip() == "2:0"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "time limit"])
def test_interrupted_and_the_same_in_the_end(bench: Bench, whole: dict[str, torch.Tensor], kind: str) -> None:
    ticket, attempts = interrupted_once(bench, kind, TRAINING, 10, 0.1)
    assert len(attempts) == 2, attempts
    found = weights(bench.home)
    assert all(torch.equal(whole[name], value) for name, value in found.items())
    assert slurm("squeue", "-h", "-j", ticket.tasks[0].slurm_id).strip() == "", "no second copy waits"


def test_cancelled_jobs_are_not_queued_again(bench: Bench) -> None:
    (ticket,) = bench.submit("train", str(bench.config), "train.epochs=2000")
    running(ticket.tasks[0], 1)
    bench.job("status", "cancel", ticket.id)
    assert bench.wait(ticket.id) == "cancelled"
    time.sleep(3.0)
    assert slurm("squeue", "-h", "-j", ticket.tasks[0].slurm_id).strip() == ""
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
    wait_until(lambda: len(task.attempts()) == 2, 60)
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
    wait_until(lambda: (ticket / "job.json").exists(), 60)
    running(Ticket.read(ticket).tasks[0], 1)
    slurm("scontrol", "requeue", number)
    assert bench.wait(f"s{number}") == "done"
    (row,) = json.loads(bench.job("status", "list", "--json"))
    assert (row["name"], row["starts"]) == ("isobar-train", 2)
