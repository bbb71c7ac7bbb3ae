"""States are read from files and processes, and Slurm is believed where it knows better."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.artifact import write_json
from pipeline.core.errors import InputError
from pipeline.submit.overview import with_slurm
from pipeline.submit.process import alive, identity, signal_process
from pipeline.submit.slurm import Seen
from pipeline.submit.ticket import Task, Ticket, find, new_ticket, next_id, stamp, state
from tests.conftest import ROOT


def ticket_in(home: Path, name: str = "train-tiny", tasks: int = 1, cluster: str = "local") -> Ticket:
    facts = {
        "name": name,
        "cluster": cluster,
        "job": "train",
        "tasks": [["x.yaml"]] * tasks,
        "after": [],
        "requeues": 3,
    }
    return new_ticket(home, facts)


def attempt(task: Task, number: int, **more: Any) -> None:
    record = {
        "attempt": number,
        "process": identity(os.getpid()),
        "started": stamp(),
        "heartbeat": stamp(),
        "node": "n",
    }
    write_json(task.attempt(number), {**record, "slurm": "", "log": "", **more})


def test_numbers_are_given_once(tmp_path: Path) -> None:
    assert [ticket_in(tmp_path).id for _ in range(3)] == ["j1", "j2", "j3"]
    assert next_id(tmp_path) == "j4"


def test_attempts_are_claimed_once_by_processes_at_the_same_time(tmp_path: Path) -> None:
    ticket = ticket_in(tmp_path)
    code = (
        "import sys; from pathlib import Path; from pipeline.submit.ticket import Ticket\n"
        f"task = Ticket.read(Path({str(ticket.folder)!r})).tasks[0]\n"
        "print(*[task.claim() for _ in range(20)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    numbers = [int(word) for one in running for word in one.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 61))


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    who = identity(child.pid)
    assert alive(who)
    assert not alive({**who, "began": who["began"] - 1})
    assert not alive({**who, "machine": "elsewhere/0"})
    assert not signal_process({**who, "began": who["began"] - 1}, 9)
    assert child.poll() is None
    assert signal_process(who, 9)
    child.wait()
    assert not alive(who)


def test_states_of_a_local_task(tmp_path: Path) -> None:
    ticket = ticket_in(tmp_path)
    task = ticket.tasks[0]
    assert state(ticket, task) == "waiting"
    dead = subprocess.Popen(["true"])
    ticket.is_kept_by(dead.pid)
    dead.wait()
    assert state(ticket, task) == "lost"
    task.claim()
    attempt(task, 1)
    assert state(ticket, task) == "running"
    attempt(task, 1, process={**identity(os.getpid()), "began": 1})
    assert state(ticket, task) == "lost"
    elsewhere = {"pid": 1, "began": 1, "machine": "elsewhere/0"}
    attempt(task, 1, process=elsewhere)
    assert state(ticket, task) == "running"
    attempt(task, 1, process=elsewhere, heartbeat=stamp(time.time() - 300))
    assert state(ticket, task) == "lost"
    for code, expected in ((0, "done"), (1, "failed"), (2, "failed"), (75, "interrupted")):
        attempt(task, 1, ended=stamp(), exit_code=code)
        assert state(ticket, task) == expected
    task.cancel("by somebody")
    assert state(ticket, task) == "cancelled"


@pytest.mark.parametrize(
    ("files", "begun", "queued", "account", "expected"),
    [
        ("waiting", False, "PENDING", None, "waiting"),
        ("interrupted", True, "PENDING", None, "requeued"),
        ("lost", True, "PENDING", None, "requeued"),
        ("waiting", False, "RUNNING", None, "starting"),
        ("running", True, "RUNNING", None, "running"),
        ("running", True, None, None, "running"),
        ("waiting", False, None, None, "waiting"),
        ("waiting", False, None, "CANCELLED by 0", "cancelled"),
        ("lost", True, None, "OUT_OF_MEMORY", "failed"),
        ("lost", True, "NODE_FAIL", None, "failed"),
        ("lost", True, None, None, "lost"),
        ("interrupted", True, "FAILED", None, "interrupted"),
        ("failed", True, None, "FAILED", "failed"),
        ("done", True, "PENDING", None, "done"),
        ("done", True, None, "FAILED", "done"),
        ("lost", True, "COMPLETING", None, "completing"),
    ],
)
def test_states_with_what_slurm_says(
    files: str, begun: bool, queued: str | None, account: str | None, expected: str
) -> None:
    seen = [None if one is None else Seen(one) for one in (queued, account)]
    assert with_slurm(files, begun, seen[0], seen[1]) == expected


def test_a_job_is_found_by_id_name_task_and_slurm_id(tmp_path: Path) -> None:
    ticket_in(tmp_path)
    ticket_in(tmp_path, "other")
    array = ticket_in(tmp_path, tasks=3, cluster="slurm")
    for task in array.tasks:
        task.is_of_slurm(f"77_{task.number}")
    for word, expected in (
        ("j1", [("j1", 0)]),
        ("other", [("j2", 0)]),
        ("train-tiny", [("j3", 0), ("j3", 1), ("j3", 2)]),
        ("j3.1", [("j3", 1)]),
        ("77_2", [("j3", 2)]),
        ("77", [("j3", 0), ("j3", 1), ("j3", 2)]),
    ):
        assert [(ticket.id, task.number) for ticket, task in find(tmp_path, word)] == expected
    with pytest.raises(InputError, match="no job of this id or name"):
        list(find(tmp_path, "j9"))


def test_a_log_is_followed_until_its_job_is_over(tmp_path: Path) -> None:
    ticket = ticket_in(tmp_path)
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ticket.tasks[0].claim()
    attempt(ticket.tasks[0], 1, process=identity(worker.pid), log=str(log))
    command = [sys.executable, str(ROOT / "jobs" / "status.py"), "tail", "j1", "-f", "-n", "2"]
    environment = {**os.environ, "ISOBAR_HOME": str(tmp_path)}
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(2)] == ["line 98\n", "line 99\n"]
    with log.open("a") as stream:
        stream.write("line 100\n")
    assert follower.stdout.readline() == "line 100\n"
    assert follower.poll() is None
    worker.kill()
    worker.wait()
    assert follower.wait(timeout=120) == 0
