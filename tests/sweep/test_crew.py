"""Programs side by side: how many at a time, what they said, and that nobody is left at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.errors import INTERRUPTED
from pipeline.core.interrupt import Interrupt
from pipeline.sweep.crew import Ended, Task, last_words, work
from tests.conftest import ROOT

PROGRAM = """
import signal, sys, time
from pathlib import Path
place, what = Path(sys.argv[1]), sys.argv[2]
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
(place / f"{what}.begun").touch()
began = time.monotonic()
while not stop and time.monotonic() - began < float(sys.argv[3]):
    time.sleep(0.01)
(place / f"{what}.ended").touch()
if sys.argv[4] == "9":
    import os
    print("about to die", flush=True)
    os.kill(os.getpid(), 9)
print("2026-01-01 10:00:00  at work\\n2026-01-01 10:00:00 ERROR no luck with " + what, file=sys.stderr)
sys.exit(75 if stop else int(sys.argv[4]))
"""


def task(place: Path, what: str, *programs: tuple[float, int]) -> Task[str]:
    script = place / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    commands = [[str(script), str(place), f"{what}{n}", str(s), str(code)] for n, (s, code) in enumerate(programs)]
    return Task(what, commands, place / "logs" / f"{what}.log")


def run(tasks: list[Task[str]], jobs: int, interrupt: Interrupt | None = None) -> dict[str, Ended]:
    found: dict[str, Ended] = {}
    work(tasks, jobs, lambda place: {"PLACE": str(place)}, interrupt or Interrupt(), found.__setitem__)
    return found


def test_the_next_program_follows_only_success(tmp_path: Path) -> None:
    found = run([task(tmp_path, "good", (0, 0), (0, 0)), task(tmp_path, "bad", (0, 2), (0, 0))], 2)
    assert found["good"].code == 0
    assert (found["bad"].code, found["bad"].error) == (2, "ERROR no luck with bad0"[6:])
    assert (tmp_path / "good1.ended").exists()
    assert not (tmp_path / "bad1.begun").exists()


def test_a_killed_program_is_told_with_its_signal_and_last_line(tmp_path: Path) -> None:
    found = run([task(tmp_path, "dies", (0, 9))], 1)
    assert found["dies"].code == -9
    assert found["dies"].error == "killed by SIGKILL (out of memory?); its last line: about to die"


def test_an_earlier_attempt_leaves_no_words(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("", encoding="utf-8")
    assert last_words(log, 3) == "ended with exit code 3 and said nothing"
    first = run([task(tmp_path, "again", (0, 2))], 1)["again"]
    log = tmp_path / "logs" / "again.log"
    size = log.stat().st_size
    assert first.error.startswith("no luck")
    run([task(tmp_path, "again", (0, 2))], 1)
    assert log.stat().st_size == size


def test_a_stop_is_passed_on_and_nothing_new_begins(tmp_path: Path) -> None:
    class WhenTwoHaveBegun(Interrupt):
        def requested(self) -> bool:
            if len(list(tmp_path.glob("*.begun"))) == 2:
                self.reason = "SIGTERM"
            return super().requested()

    interrupt = WhenTwoHaveBegun()
    tasks = [task(tmp_path, name, (600, 0), (0, 0)) for name in ("a", "b", "c")]
    found = run(tasks, 2, interrupt)
    assert {name: ended.code for name, ended in found.items()} == {"a": INTERRUPTED, "b": INTERRUPTED}
    assert not list(tmp_path.glob("c*.begun"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nobody_is_left_at_work(tmp_path: Path, how: signal.Signals) -> None:
    """kill -9 of the parent; and an error inside it (an uncaught Ctrl-C)."""
    tasks = [task(tmp_path, name, (600, 0)) for name in ("a", "b")]
    commands = [[list(command) for command in one.commands] for one in tasks]
    code = (
        "from pathlib import Path; from pipeline.core.interrupt import Interrupt; "
        "from pipeline.sweep.crew import Task, work; "
        f"work([Task(i, c, Path({str(tmp_path)!r}) / f'{{i}}.log') for i, c in enumerate({commands!r})], "
        "2, lambda place: {}, Interrupt(), print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 2
    parent.send_signal(how)
    parent.wait(timeout=120)
    wait_until(lambda: not any(alive(int(child)) for child in children))
    assert not list(tmp_path.glob("*.ended"))


def alive(process: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between opening and reading
        return False


def wait_until(true: object, seconds: float = 120) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
