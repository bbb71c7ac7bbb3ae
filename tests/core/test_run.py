import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.errors import EnvironmentFault, InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.core.programs import ProgramFailed, run_in_turn
from pipeline.core.run import existing_run, run_folder


def test_the_same_signature_finds_the_same_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "exp", "cnn", {"lr": 1})
    assert run.path.parent == tmp_path / "exp"
    assert run.path == run_folder(tmp_path, "exp", "cnn", {"lr": 1}).path
    assert run.path != run_folder(tmp_path, "exp", "cnn", {"lr": 2}).path
    assert run.status == "new"


def test_new_starts_a_further_version(tmp_path: Path) -> None:
    first = run_folder(tmp_path, "exp", "cnn", {})
    first.begin("a: 1\n")
    with first.session("train"):
        pass
    second = run_folder(tmp_path, "exp", "cnn", {}, new=True)
    assert second.path.name == f"{first.path.name}.2"


def test_run_json_tells_how_it_ended(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "exp", "cnn", {})
    run.begin("a: 1\n")
    with run.session("train") as session:
        assert run.status == "running"
        session.beat(force=True, epoch=3)
    assert (run.status, run.record["exit_code"], run.record["epoch"]) == ("done", 0, 3)
    with pytest.raises(Interrupted), run.session("train"):
        raise Interrupted("stopped by SIGTERM")
    assert (run.status, run.record["exit_code"], run.record["sessions"]) == ("interrupted", 75, 2)
    with pytest.raises(ValueError, match="boom"), run.session("train"):
        raise ValueError("boom")
    assert (run.status, run.record["exit_code"], run.record["error"]) == ("failed", 1, "ValueError: boom")
    assert (run.path.parent / "latest").resolve() == run.path.resolve()
    assert existing_run(run.path.parent / "latest").path == run.path.resolve()


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        existing_run(tmp_path)


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.core.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(EnvironmentFault, match=f"in use by process {holder.pid}"), exclusive(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with exclusive(tmp_path):
        pass


def test_a_signal_only_sets_a_flag() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        interrupt = Interrupt()
        interrupt.install()
        interrupt.check("nothing yet")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert interrupt.requested()
        with pytest.raises(Interrupted, match="stopped by SIGUSR1: epoch 3 is saved"):
            interrupt.check("epoch 3 is saved")
    finally:
        for name in ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGUSR1, before)


def test_time_limit() -> None:
    interrupt = Interrupt()
    interrupt.limit(0.01)
    time.sleep(0.02)
    with pytest.raises(Interrupted, match="stopped by max_time"):
        interrupt.check("saved")


def test_a_series_stops_at_the_first_failure(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).touch(); sys.exit(int(sys.argv[2]))")
    commands = [[str(script), str(tmp_path / name), code] for name, code in (("a", "0"), ("b", "2"), ("c", "0"))]
    with pytest.raises(ProgramFailed) as error:
        run_in_turn(commands, Interrupt())
    assert error.value.exit_code == 2
    assert [(tmp_path / name).exists() for name in "abc"] == [True, True, False]
    with pytest.raises(Interrupted):
        run_in_turn([[str(script), str(tmp_path / "d"), "75"]], Interrupt())


def test_a_killed_series_leaves_nobody_at_work(tmp_path: Path) -> None:
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text("import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    code = (
        "import sys; from pipeline.core.interrupt import Interrupt; from pipeline.core.programs import run_in_turn\n"
        "run_in_turn([[sys.argv[1]]], Interrupt())"
    )
    series = subprocess.Popen([sys.executable, "-c", code, str(sleeper)], stdout=subprocess.PIPE, text=True)
    assert series.stdout is not None
    child = int(series.stdout.readline())
    series.kill()
    series.wait()
    deadline = time.monotonic() + 60
    while (state := _state(child)) not in ("gone", "Z") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert state in ("gone", "Z")


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
