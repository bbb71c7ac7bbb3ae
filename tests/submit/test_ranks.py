"""A training of several processes: what each noted tells which exit code counts. srun is played by a script here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.interrupt import Interrupt
from pipeline.submit.attend import attend
from pipeline.submit.process import alive, identity
from pipeline.submit.ranks import on_ranks, verdict
from tests.submit.interruptions import wait_until
from tests.submit.test_attend import ticket_of

SRUN = """\
#!/bin/sh
# Starts the command for two ranks, passes on one signal, and returns the highest exit code.
while case "$1" in -*) true ;; *) false ;; esac; do shift; done
SLURM_PROCID=0 "$@" & a=$!
SLURM_PROCID=1 "$@" & b=$!
trap 'kill -USR1 $a $b' USR1
wait $a; x=$?; while [ $x -gt 128 ] && kill -0 $a 2>/dev/null; do wait $a; x=$?; done
wait $b; y=$?; while [ $y -gt 128 ] && kill -0 $b 2>/dev/null; do wait $b; y=$?; done
[ $x -gt $y ] && exit $x || exit $y
"""
LAYOUT = {"nodes": 2, "per_node": 1, "cpus": 3}


def note(folder: Path, rank: int, told: str = "", **more: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{rank}.json").write_text(json.dumps({"schema_version": 1, "rank": rank, "told": told, **more}))


def test_the_command_line_of_srun() -> None:
    words = on_ranks(["python", "x.py"], LAYOUT, Path("notes"), "py")
    assert words[:6] == [
        "srun",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--ntasks=2",
        "--cpus-per-task=3",
        "--kill-on-bad-exit=1",
    ]
    assert words[-7:] == ["py", "-P", "-m", "pipeline.submit.ranks", "notes", "python", "x.py"]


KILLED = -int(signal.SIGKILL)


@pytest.mark.parametrize(
    ("srun", "first", "second", "expected"),
    [
        (0, {"exit_code": 0, "at": 1}, {"exit_code": 0, "at": 2}, 0),
        (75, {"exit_code": 75, "at": 1}, {"exit_code": 75, "at": 2}, 75),
        # Saved and left; the other came too late and was killed for it.
        (137, {"exit_code": 75, "at": 1}, {"told": "SIGUSR1"}, 75),
        (137, {"exit_code": 75, "at": 1}, {"told": "SIGTERM", "exit_code": KILLED, "at": 9}, 75),
        # A mistake of one; the other hung in a collective until it was killed.
        (137, {"exit_code": 1, "at": 1}, {"told": "SIGTERM"}, 1),
        (2, {"exit_code": 2, "at": 1}, {"exit_code": 2, "at": 1}, 2),
        # Out of memory, or its node died: the other lost sight of it and failed.
        (137, {"exit_code": 1, "at": 5}, {"exit_code": KILLED, "at": 4}, KILLED),
        (137, {"exit_code": 1, "at": 5}, {}, KILLED),
    ],
)
def test_what_happened_first_counts(
    tmp_path: Path, srun: int, first: dict[str, float], second: dict[str, float], expected: int
) -> None:
    note(tmp_path / "notes", 0, **first)  # type: ignore[arg-type]
    note(tmp_path / "notes", 1, **second)  # type: ignore[arg-type]
    code, notes = verdict(tmp_path / "notes", srun)
    assert code == expected
    assert [one["rank"] for one in notes] == [0, 1]


@pytest.mark.parametrize(("srun", "expected"), [(0, 0), (1, 1), (143, -15)])
def test_where_no_rank_began_the_code_of_srun_counts(tmp_path: Path, srun: int, expected: int) -> None:
    assert verdict(tmp_path / "notes", srun) == (expected, [])


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "srun").write_text(SRUN)
    (folder / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_training_of_two_processes_is_told_once_and_its_code_comes_back(tmp_path: Path, srun: None) -> None:
    ticket = ticket_of(tmp_path, [75], cluster="local", requeues=0)
    ticket.facts["ranks"] = LAYOUT
    (tmp_path / "program.py").write_text(
        "import os, signal, sys, time\ntold = []\nsignal.signal(10, lambda *_: told.append(1))\n"
        "open(os.path.join(os.path.dirname(__file__), 'up-' + os.environ['SLURM_PROCID']), 'w').close()\n"
        "end = time.time() + 300\nwhile not told and time.time() < end: time.sleep(0.05)\n"
        "sys.exit(75 if told else 1)\n"
    )
    interrupt = Interrupt()
    import threading

    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(attend(ticket, ticket.tasks[0], interrupt)))
    thread.start()
    wait_until(lambda: len(list(tmp_path.glob("up-*"))) == 2, 120)
    interrupt.reason = "SIGTERM"
    thread.join(timeout=120)
    assert codes == [75]
    (only,) = ticket.tasks[0].attempts()
    assert [one["exit_code"] for one in only["ranks"]] == [75, 75]
    assert only["peak_memory_mb"] > 5


def test_a_rank_that_is_killed_takes_its_command_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    command = [sys.executable, "-P", "-m", "pipeline.submit.ranks", str(tmp_path / "notes"), sys.executable, "-c", code]
    process = subprocess.Popen(command, env={**os.environ, "SLURM_PROCID": "1"})
    wait_until(lambda: mark.exists() and bool(mark.read_text()), 120)
    command_itself = identity(int(mark.read_text()))
    assert alive(command_itself)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(command_itself), 60)
    assert verdict(tmp_path / "notes", 137)[0] == KILLED
