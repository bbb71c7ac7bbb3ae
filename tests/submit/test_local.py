"""``--cluster local``: the same commands without a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.submit.process import alive
from pipeline.submit.ticket import Ticket, jobs_folder
from tests.conftest import ROOT
from tests.submit.interruptions import Bench, epochs, equal, running, wait_until, weights

LONG = ("train.epochs=200", "train.ema.decay=0.9", "--cluster", "local")
"""So many epochs that commands typed while it trains, which take as long as some dozen of them, come in time."""


@pytest.fixture(autouse=True)
def nothing_stays(bench: Bench) -> object:
    yield
    for path in jobs_folder(bench.home).glob("j*/keeper.json"):
        keeper = json.loads(path.read_text())
        if alive(keeper):
            with suppress(ProcessLookupError):  # it may end just now
                os.killpg(keeper["pid"], signal.SIGKILL)


def test_dry_run_writes_nothing(bench: Bench) -> None:
    told = bench.job("submit", "train", str(bench.config), "train.seed=3", "--cluster", "local", "--dry-run")
    assert "jobs/train.py" in told
    assert "seed: 3" in told
    assert not jobs_folder(bench.home).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "{config}"], "no job 'trian'; did you mean 'train'?"),
        (["train", "{config}", "train.sede=1"], "did you mean 'seed'"),
        (["train", "nowhere.yaml"], "no such config"),
        (["train", "{config}", "--after", "j77"], "no job of this id or name"),
        (["train", "{config}", "--profile", "huge"], "no profile 'huge'"),
        (["train", "{config}", "--array", "oops"], "neither key=value nor a config file"),
        (["train"], "the following arguments are required: config"),
    ],
)
def test_a_mistake_costs_one_line_and_nothing_is_submitted(bench: Bench, words: list[str], message: str) -> None:
    words = [word.replace("{config}", str(bench.config)) for word in words]
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), *words, "--cluster", "local"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT, env=bench.variables)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(jobs_folder(bench.home).glob("j*"))


@pytest.mark.slow
def test_a_job_outlives_its_terminal_is_stopped_started_again_and_ends_with_the_same_weights(
    bench: Bench, tmp_path: Path
) -> None:
    (ticket,) = bench.submit("train", str(bench.config), *LONG)
    first = running(ticket.tasks[0], 1)
    keeper = ticket.keeper
    assert os.getsid(keeper["pid"]) == keeper["pid"], "it has a session of its own, so no hang-up reaches it"
    assert bench.state(ticket.id) == "running"

    os.kill(first["child"]["pid"], signal.SIGKILL)  # the kernel, for want of memory
    second = running(ticket.tasks[0], 2)
    assert ticket.tasks[0].attempts()[0]["why"].startswith("killed")
    os.kill(second["child"]["pid"], signal.SIGTERM)  # somebody else
    running(ticket.tasks[0], 3)

    assert "j1: cancelled" in bench.job("status", "cancel", ticket.id, "--wait", "240")
    assert not alive(second["child"])
    assert "stopped by SIGTERM" in bench.job("status", "why", ticket.id)
    assert "started again" in bench.job("status", "requeue", ticket.id)
    running(ticket.tasks[0], 4)

    os.killpg(ticket.keeper["pid"], signal.SIGKILL)  # the machine
    wait_until(lambda: bench.state(ticket.id) == "lost", 120)
    assert "started again" in bench.job("status", "resume", "train-tiny")
    assert bench.wait(ticket.id) == "done"
    assert "epoch" in bench.job("status", "tail", ticket.id, "-n", "5")

    other = Bench(Path(str(tmp_path / "other")) if (tmp_path / "other").mkdir() is None else tmp_path)
    for name in ("tiny.yaml", "data", "raw"):
        (other.home / name).symlink_to(bench.home / name)
    other.job("train", str(other.home / "tiny.yaml"), *LONG[:2])
    assert equal(weights(other.home), weights(bench.home))


@pytest.mark.slow
def test_what_fails_is_told_and_what_waits_for_it_is_cancelled(bench: Bench) -> None:
    (first,) = bench.submit("train", str(bench.config), "train.model.pretrained=nowhere.pt", "--cluster", "local")
    (second,) = bench.submit("thresholds", str(bench.config), "--cluster", "local", "--after", "train-tiny")
    assert bench.wait(second.id) == "cancelled"
    assert bench.state(first.id) == "failed"
    assert "nowhere.pt" in bench.job("status", "why", first.id)
    assert "what it waits for has failed" in bench.job("status", "list")


@pytest.mark.slow
def test_a_chain_of_folds_and_nothing_is_done_twice(bench: Bench) -> None:
    words = ("chain", str(bench.config), "--cluster", "local", "--array", "train.seed=1..2")
    for path in bench.home.glob("data/derived/*/manifest.json"):
        os.utime(path)  # the raw files beside it were copied for this test, after it was written
    told = bench.job("submit", *words)
    assert "derive     skipped" in told
    assert "store      skipped" in told
    last = "j4"
    for number in (0, 1):
        assert bench.wait(f"{last}.{number}") == "done"
    assert [row["name"] for row in bench.rows()] == [
        name for name in ("train-tiny", "thresholds-tiny", "evaluate-tiny", "report-tiny") for _ in (0, 1)
    ]
    assert len(list(bench.home.glob("results/tiny/simple-*/figures/loss_curve.png"))) == 2
    assert "train      skipped: all 2 runs are finished" in bench.job("submit", *words, "--dry-run")
    assert {row["starts"] for row in bench.rows()} == {1}


@pytest.mark.slow
def test_a_submitted_job_does_not_see_later_edits(bench: Bench) -> None:
    """The config is edited while the job waits; the job does what was submitted."""
    (first,) = bench.submit("train", str(bench.config), "train.epochs=5000", *LONG[1:])
    (second,) = bench.submit(
        "train", str(bench.config), "train.epochs=1", "train.seed=5", "--cluster", "local", "--after", first.id
    )
    bench.config.write_text(bench.config.read_text().replace("batch_size: 32", "batch_size: 16"))
    bench.job("status", "cancel", first.id)
    assert bench.wait(second.id) == "cancelled"
    code = Path(second.facts["code"]["snapshot"])
    assert (code / "jobs" / "train.py").read_bytes() == (ROOT / "jobs" / "train.py").read_bytes()
    copied = Path(second.facts["tasks"][0][0])
    assert "batch_size: 32" in copied.read_text()
    assert str(code) in second.facts["variables"]["PYTHONPATH"]


@pytest.mark.slow
def test_a_run_that_was_typed_is_listed_and_cancelled(bench: Bench) -> None:
    command = [sys.executable, str(ROOT / "jobs" / "train.py"), str(bench.config), "train.epochs=5000"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT, env=bench.variables)
    try:
        wait_until(lambda: bool(list(bench.home.glob("results/tiny/simple-*/run.json"))), 240)
        (row,) = bench.rows()
        assert (row["state"], row["note"]) == ("running", "typed, not submitted")
        (log,) = bench.home.glob("results/tiny/simple-*/train.log")
        wait_until(lambda: bool(epochs(log)), 240)
        assert "stopped" in bench.job("status", "cancel", str(row["id"]), "--wait", "240")
        assert process.wait(timeout=60) == 75
    finally:
        process.kill()
        process.wait()


def test_tickets_survive_a_cluster_that_does_not_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without squeue, sacct and scontrol the files tell how things stand."""
    from pipeline.submit.overview import rows
    from tests.submit.test_tickets import attempt, ticket_in

    ticket = ticket_in(bench.home, cluster="slurm", tasks=2)
    for task in ticket.tasks:
        task.is_of_slurm(f"5_{task.number}")
        task.claim()
    attempt(ticket.tasks[0], 1, slurm="6", ended="2026-01-01T00:00:00Z", exit_code=0)
    attempt(ticket.tasks[1], 1, slurm="7")
    monkeypatch.setenv("PATH", "")
    assert [row.state for row in rows(bench.home)] == ["done", "running"]
    assert isinstance(Ticket.read(ticket.folder), Ticket)
