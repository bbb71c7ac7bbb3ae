"""The program beside a job: what ``--notify`` on every job starts, with the lines that core/job.py needs for it.

A job leaves after 8 s whatever the program beside it still has to tell, so that messages are waited for here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.notify.conftest import ROOT, Desk, until, waiting_for
from tests.notify.service import PATIENCE, Service

PYTHON = sys.executable

JOB = """
import logging, os, sys, time
from pipeline.core.teller import Teller

log = logging.getLogger("isobar")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler())
teller = Teller(["train.py", "configs/x.yaml"])
teller.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
log.addHandler(teller)
exec(sys.argv[1])
"""


def job(desk: Desk, body: str, **more: object) -> subprocess.Popen[str]:
    script = desk.home / "train.py"
    script.write_text(JOB)
    command = [PYTHON, str(script), body]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **more}
    return subprocess.Popen(command, text=True, cwd=desk.home, env=desk.environment, **pipes)  # type: ignore[call-overload]


def test_a_job_that_ends_well(desk: Desk, ntfy: Service) -> None:
    desk.environment["NTFY_LABEL"] = "via-tml2"
    process = job(desk, "log.info('epoch 1'); log.info('wrote results/x/気圧 (epoch 1: val_map 0.5)'); teller.end(0)")
    assert process.wait(PATIENCE) == 0
    ntfy.wait_for(2)
    assert ntfy.titles() == ["via-tml2: started · train.py configs/x.yaml", "via-tml2: done · train.py configs/x.yaml"]
    facts, headline, _, *lines = ntfy.got[1]["body"].splitlines()
    assert re.fullmatch(r"tml2 · \d+ s · exit 0", facts)
    assert headline == "wrote results/x/気圧 (epoch 1: val_map 0.5)"
    assert [line.split("INFO ")[1] for line in lines] == ["epoch 1", headline]


@pytest.mark.parametrize(("code", "word"), [(1, "FAILED"), (2, "FAILED"), (75, "interrupted")])
def test_other_ends(desk: Desk, ntfy: Service, code: int, word: str) -> None:
    process = job(desk, f"log.error('x.yaml:3: train.lr: token=abcdefgh'); teller.end({code}); sys.exit({code})")
    assert process.wait(PATIENCE) == code
    ntfy.wait_for(2)
    assert ntfy.titles()[1] == f"tml2: {word} · train.py configs/x.yaml"
    assert "abcdefgh" not in ntfy.got[1]["body"]
    assert ("x.yaml:3: train.lr: token=[hidden]" in ntfy.got[1]["body"]) is True


def test_a_job_that_is_killed_is_told(desk: Desk, ntfy: Service) -> None:
    """``kill -9`` leaves the job no word; the program beside it has the last lines all the same."""
    ready = desk.home / "ready"
    process = job(desk, f"log.info('epoch 7'); open({str(ready)!r}, 'w').close(); time.sleep(300)")
    ntfy.wait_for(1)
    until(ready.exists)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == -9
    told = ntfy.wait_for(2)[1]
    assert told["title"] == "tml2: FAILED · train.py configs/x.yaml"
    assert "vanished: killed (kill -9, out of memory) or crashed" in told["body"]
    assert told["body"].endswith("INFO epoch 7")


def test_the_last_words_of_a_crash_are_in_the_log_file(desk: Desk, ntfy: Service) -> None:
    go = desk.home / "go"
    with (desk.home / "log").open("w") as stream:
        body = waiting_for(go)
        body += (
            "log.info('epoch 7'); os.system('echo of a program that it ran'); os.write(2, b'Fatal Python'); os._exit(3)"
        )
        process = job(desk, body, stdout=stream, stderr=stream)
        ntfy.wait_for(1)
        go.touch()
        process.wait(PATIENCE)
    told = ntfy.wait_for(2)[1]["body"].splitlines()
    assert [line.split("INFO ")[-1] for line in told[-3:]] == ["epoch 7", "of a program that it ran", "Fatal Python"]


def test_a_job_that_is_killed_while_its_workers_live_on(desk: Desk, ntfy: Service) -> None:
    """Workers made by fork hold the pipe open; the end of the job's own process counts."""
    ready = desk.home / "ready"
    body = "child = os.fork(); child or time.sleep(300) or os._exit(0); log.info('epoch 7')\n"
    body += f"open({str(ready)!r}, 'w').write(f'{{child}}\\n'); time.sleep(300)"
    process = job(desk, body, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: ready.exists() and ready.read_text().endswith("\n"))
    worker = int(ready.read_text())
    try:
        ntfy.wait_for(1)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        assert "vanished" in ntfy.wait_for(2)[1]["body"]
        assert time.monotonic() - began < 2 * PATIENCE, "the worker was waited for"
    finally:
        os.kill(worker, signal.SIGKILL)


def test_signals_to_the_whole_session_do_not_end_the_watch(desk: Desk, ntfy: Service) -> None:
    """As Slurm does: every process of the job gets the signal; the job saves and ends with 75."""
    body = "import signal; flag = []; signal.signal(15, lambda *_: flag.append(1))\nprint('ready', flush=True)\n"
    body += "while not flag: time.sleep(0.01)\nlog.info('saved'); teller.end(75); sys.exit(75)"
    process = job(desk, body)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    ntfy.wait_for(1)
    for beside in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(beside), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 75
    ntfy.wait_for(2)
    assert "interrupted" in ntfy.titles()[1]


def test_a_dead_server_costs_the_job_nothing(desk: Desk) -> None:
    desk.environment |= {"NTFY_SERVER": "http://127.0.0.1:1", "NTFY_TOPIC": "runs"}
    began = time.monotonic()
    process = job(desk, "log.info('wrote x'); teller.end(3); sys.exit(3)")
    assert process.wait(PATIENCE) == 3
    assert time.monotonic() - began < PATIENCE
    until(lambda: len(desk.kept()) == 2)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_watch_that_is_stopped_or_dead_does_not_hold_up_the_job(desk: Desk, ntfy: Service, number: int) -> None:
    body = f"beside = teller._program.pid; os.kill(beside, {int(number)})\n"
    process = job(desk, body + "[log.info('x' * 999) for _ in range(500)]; print(beside)", stderr=subprocess.DEVNULL)
    beside = int(process.communicate(timeout=PATIENCE)[0])
    assert process.returncode == 0
    if number == signal.SIGSTOP:
        os.kill(beside, signal.SIGKILL)


def test_nobody_to_tell_is_said_and_the_job_runs(desk: Desk) -> None:
    process = job(desk, "log.info('x'); teller.end(0)")
    text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "nobody to tell" in text


def test_a_job_under_notify_run_is_told_once(desk: Desk, ntfy: Service) -> None:
    script = desk.home / "train.py"
    script.write_text(JOB)
    code, _ = desk.run("outer", "--", PYTHON, script, "log.info('x'); teller.end(0)")
    assert code == 0
    assert [title.split(":")[0] for title in ntfy.titles()] == ["outer", "outer"]


def test_a_job_that_notify_run_only_submitted_tells_of_itself(desk: Desk, ntfy: Service) -> None:
    """sbatch hands the environment on; only a notify-run that is above the process counts."""
    desk.environment["ISOBAR_NOTIFY_RUN"] = f"{os.uname().nodename}:999999"
    assert job(desk, "teller.end(0)").wait(PATIENCE) == 0
    assert len(ntfy.wait_for(2)) == 2


def test_the_jobs_of_this_project_are_found_from_anywhere() -> None:
    command = [PYTHON, "-P", "-m", "pipeline.notify", "--help"]
    done = subprocess.run(command, capture_output=True, cwd="/", timeout=PATIENCE)
    assert done.returncode == 0
    assert (ROOT / "jobs/notify_run.py").exists()
