"""Who starts an interrupted job again: once, and only who should. Slurm's commands are played by small scripts here."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.core.interrupt import Interrupt
from pipeline.submit.attend import attend
from pipeline.submit.process import identity
from pipeline.submit.ticket import Ticket, new_ticket, stamp
from tests.submit.interruptions import wait_until
from tests.submit.test_tickets import attempt

PROGRAM = """\
import os, sys
from pathlib import Path
here = Path(__file__).parent
starts = len(list(here.glob("start-*"))) + 1
(here / f"start-{starts}").write_text(os.environ["ISOBAR_TICKET"])
codes = [int(word) for word in sys.argv[1:]]
code = codes[min(starts, len(codes)) - 1]
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def ticket_of(home: Path, codes: list[int], cluster: str = "slurm", requeues: int = 5) -> Ticket:
    (home / "program.py").write_text(PROGRAM)
    facts = {
        "name": "made-up",
        "cluster": cluster,
        "job": "train",
        "tasks": [[str(code) for code in codes]],
        "program": [sys.executable, str(home / "program.py")],
        "place": str(home),
        "variables": {},
        "after": [],
        "requeues": requeues,
    }
    return new_ticket(home, facts)


class Slurm:
    """Scripts in place of Slurm's commands, and what they were asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("SLURM_JOB_ID", "12")

    def command(self, name: str, text: str = "", code: int = 0) -> None:
        path = self.folder / name
        log = self.folder / "asked"
        path.write_text(f"#!/bin/sh\necho {name} \"$@\" >> '{log}'\necho '{text}'\nexit {code}\n")
        path.chmod(0o755)

    def scontrol(self, state: str, refuses: bool = False) -> None:
        path = self.folder / "scontrol"
        log = self.folder / "asked"
        answer = "echo 'Requested operation is presently disabled' >&2; exit 1" if refuses else "exit 0"
        path.write_text(
            f"#!/bin/sh\n[ \"$1\" = show ] && {{ echo 'JobId=12 JobState={state}'; exit 0; }}\n"
            f"echo scontrol \"$@\" >> '{log}'\n{answer}\n"
        )
        path.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path / "bin", monkeypatch)


def starts(home: Path) -> int:
    return len(list(home.glob("start-*")))


def run(ticket: Ticket, interrupt: Interrupt | None = None) -> int:
    return attend(ticket, ticket.tasks[0], interrupt or Interrupt())


@pytest.mark.parametrize("code", [0, 1, 2])
def test_an_exit_code_is_passed_on_and_nobody_is_asked(tmp_path: Path, slurm: Slurm, code: int) -> None:
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [code])
    assert run(ticket) == code
    assert slurm.asked == []
    (only,) = ticket.tasks[0].attempts()
    assert (only["exit_code"], only["slurm"]) == (code, "12")
    assert (tmp_path / "start-1").read_text() == ticket.id


def test_what_still_runs_is_queued_again_once(tmp_path: Path, slurm: Slurm) -> None:
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [75])
    assert run(ticket) == 75
    assert slurm.asked == ["scontrol requeue 12"]
    assert starts(tmp_path) == 1


@pytest.mark.parametrize("state", ["COMPLETING", "PENDING", "CANCELLED", "PREEMPTED", "NODE_FAIL"])
def test_what_slurm_has_ended_is_left_to_slurm(tmp_path: Path, slurm: Slurm, state: str) -> None:
    slurm.scontrol(state)
    ticket = ticket_of(tmp_path, [75])
    assert run(ticket) == 75
    assert slurm.asked == []
    assert "left to Slurm" in ticket.tasks[0].last()["then"]


@pytest.mark.parametrize("missing", [True, False])
def test_where_requeue_is_refused_the_job_submits_itself_once(tmp_path: Path, slurm: Slurm, missing: bool) -> None:
    if not missing:
        slurm.scontrol("RUNNING", refuses=True)
    slurm.command("sbatch", "13")
    ticket = ticket_of(tmp_path, [75])
    (ticket.folder / "again.sh").write_text("")
    assert run(ticket) == 75
    expected = f"sbatch --parsable --dependency=afterany:12 {ticket.folder / 'again.sh'} 0"
    assert slurm.asked == ([] if missing else ["scontrol requeue 12"]) + [expected]
    assert ticket.tasks[0].slurm_id == "13"


def test_told_to_stop_where_nobody_can_be_asked(tmp_path: Path, slurm: Slurm) -> None:
    """SIGTERM may be a cancellation: what cannot be looked up is not started again."""
    slurm.command("sbatch", "13")
    ticket = ticket_of(tmp_path, [75])
    (ticket.folder / "again.sh").write_text("")
    interrupt = Interrupt()
    interrupt.reason = "SIGTERM"
    assert run(ticket, interrupt) == 75
    assert slurm.asked == []


def test_a_cancelled_task_is_not_queued_again(tmp_path: Path, slurm: Slurm) -> None:
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [75])
    ticket.tasks[0].cancel("by somebody")
    assert run(ticket) == 75
    assert slurm.asked == []


def test_what_slurm_queues_again_is_not_counted(tmp_path: Path, slurm: Slurm) -> None:
    """Preempted twice, then at the time limit twice: only the limits count."""
    ticket = ticket_of(tmp_path, [75], requeues=1)
    for state, expected in (("PREEMPTED", 0), ("COMPLETING", 0), ("RUNNING", 1), ("PENDING", 1), ("RUNNING", 1)):
        slurm.scontrol(state)
        assert run(ticket) == 75
        assert len(slurm.asked) == expected
    assert "all that the profile's requeues allow" in ticket.tasks[0].last()["then"]


SLOW = """\
import signal, sys, time
from pathlib import Path
here = Path(__file__).parent
signal.signal(12, lambda *_: (here / "told").touch())
(here / "ready").touch()
while not (here / "go").exists():
    time.sleep(0.05)
sys.exit(75)
"""


@pytest.mark.parametrize(("told", "asked"), [("SIGUSR2", ["scontrol requeue 12"]), ("SIGTERM", [])])
def test_what_does_not_stop_in_time_is_queued_again_before_the_limit(
    tmp_path: Path, slurm: Slurm, told: str, asked: list[str]
) -> None:
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [75])
    ticket.facts["warning"] = 1.0
    (tmp_path / "program.py").write_text(SLOW.replace("12", str(int(getattr(signal, told)))))
    interrupt = Interrupt()
    thread = threading.Thread(target=lambda: run(ticket, interrupt))
    thread.start()
    try:
        wait_until((tmp_path / "ready").exists, 60)
        interrupt.reason = told
        wait_until((tmp_path / "told").exists, 60)
        if asked:
            wait_until(lambda: bool(slurm.asked), 60)
        else:
            time.sleep(1.5)  # more than the patience of 0.6 s, after which SIGUSR2 has it queued again
        assert slurm.asked == asked, "while the command is still at work"
    finally:
        (tmp_path / "go").touch()
        thread.join(timeout=60)
    assert not thread.is_alive()
    assert slurm.asked == ["scontrol requeue 12"], "once in all"


def test_a_warning_that_nobody_heard_is_made_up_for(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's signal came while the lines of ``setup`` ran: the clock says the same."""
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [0])
    ticket.facts.update(limit=60, warning=12)
    (tmp_path / "program.py").write_text(
        "import signal, sys, time\nsignal.signal(12, lambda *_: sys.exit(75))\ntime.sleep(300)\n"
    )
    monkeypatch.setenv("ISOBAR_BEGAN", str(int(time.time()) - 42))  # so the program has 6 s to come up
    assert run(ticket) == 75
    assert slurm.asked == ["scontrol requeue 12"]


def test_requeues_are_limited(tmp_path: Path, slurm: Slurm) -> None:
    slurm.scontrol("RUNNING")
    ticket = ticket_of(tmp_path, [75], requeues=2)
    assert [run(ticket) for _ in range(3)] == [75, 75, 75]
    assert len(slurm.asked) == 2
    assert "all that the profile's requeues allow" in ticket.tasks[0].last()["then"]


def test_here_an_interrupted_job_is_started_again_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "99")  # of an allocation that somebody sits in; it is none of our business
    ticket = ticket_of(tmp_path, [75, -9, -15, 0], cluster="local")
    assert run(ticket) == 0
    assert [one["exit_code"] for one in ticket.tasks[0].attempts()] == [75, 75, 75, 0]
    assert {one["slurm"] for one in ticket.tasks[0].attempts()} == {""}


def test_three_kills_in_a_row_are_a_failure(tmp_path: Path) -> None:
    ticket = ticket_of(tmp_path, [-9], cluster="local", requeues=50)
    assert run(ticket) == 137
    assert starts(tmp_path) == 3


def test_a_crash_is_not_repeated(tmp_path: Path) -> None:
    ticket = ticket_of(tmp_path, [-11], cluster="local")
    assert run(ticket) == 139
    assert (starts(tmp_path), ticket.tasks[0].last()["why"]) == (1, "ended by SIGSEGV")


def test_an_attempt_waits_until_the_one_before_has_given_way(tmp_path: Path) -> None:
    ticket = ticket_of(tmp_path, [0], cluster="local")
    task = ticket.tasks[0]
    task.claim()
    attempt(task, 1)  # at work: it is this process
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(run(ticket)))
    thread.start()
    wait_until(lambda: len(task.attempts()) == 2, 60)
    time.sleep(1.5)
    assert starts(tmp_path) == 0
    attempt(task, 1, ended=stamp(), exit_code=75)
    thread.join(timeout=60)
    assert (done, starts(tmp_path)) == ([0], 1)


def test_an_attempt_does_not_wait_for_one_whose_process_is_gone(tmp_path: Path) -> None:
    ticket = ticket_of(tmp_path, [0], cluster="local")
    ticket.tasks[0].claim()
    attempt(ticket.tasks[0], 1, process={**identity(os.getpid()), "began": 1})
    assert run(ticket) == 0


def test_an_attempt_gives_way_to_a_later_one(tmp_path: Path) -> None:
    """A job that Slurm started elsewhere, because it had lost sight of this node, gets the run to itself."""
    ticket = ticket_of(tmp_path, [0], cluster="local")
    (tmp_path / "program.py").write_text(
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(75))\ntime.sleep(300)\n"
    )
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(ticket)))
    thread.start()
    wait_until(lambda: bool(ticket.tasks[0].attempts()), 60)
    assert ticket.tasks[0].claim() == 2
    thread.join(timeout=120)
    assert codes == [75]
    assert "another attempt has taken over" in Ticket.read(ticket.folder).tasks[0].attempts()[0]["then"]
