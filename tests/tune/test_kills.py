"""Workers that are killed or told to stop: no trial is lost, none is doubled, and the count is exact."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.artifact import read_json
from pipeline.tune import locks
from tests.conftest import ROOT
from tests.tune.small import plan_of, search, write

PROGRAM = Path(__file__).with_name("small.py")
LONG = {"train.optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}


def start(path: Path, *typed: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "ISOBAR_HOME": str(path.parent),
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, str(PROGRAM), str(path), *typed]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return list(read_json(folder / "trials_history.json")["trials"])


def check(folder: Path, count: int) -> list[dict[str, Any]]:
    """Check that a history is whole: ``count`` trials count, each lost one was begun again once, as it was."""
    rows = rows_of(folder)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    counted = [row for row in rows if not row["begun_again"]]
    assert len(counted) == count
    assert {row["state"] for row in counted} <= {"COMPLETE", "PRUNED"}
    again = [row["retry_of"] for row in rows if row["retry_of"] is not None]
    assert len(again) == len(set(again)), "no trial is begun again twice"
    assert sorted(again) == [row["number"] for row in rows if row["begun_again"]]
    for row in rows:
        if row["retry_of"] is not None:
            first = rows[row["retry_of"]]
            assert first["state"] == "FAIL"
            assert first["params"].items() <= row["params"].items()
            assert first["run"] in (None, row["run"])
    runs = [row["run"] for row in counted]
    assert len(set(runs)) == len(runs), "each trial has a run folder of its own"
    return rows


def until(condition: Any, seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/checkpoints/last.ckpt") if not path.parents[1].is_symlink())


def epochs(folder: Path) -> int:
    """Return how many epochs all trials have behind them."""
    paths = [path for path in folder.glob("*/history.json") if not path.parent.is_symlink()]
    return sum(len(json.loads(path.read_text())["epochs"]) for path in paths)


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_its_checkpoint_with_its_parameters(place: Path) -> None:
    path = write(place, study={"n_trials": 2, "epochs": 400}, search_space=LONG)
    folder = plan_of(path).folder
    process = start(path)
    until(lambda: checkpoints(folder))
    process.kill()
    process.wait()
    ckpt = checkpoints(folder)[0]
    before = json.loads((ckpt.parents[1] / "history.json").read_text())["epochs"]
    assert 0 < len(before) < 400
    # From here in this process, with so few epochs to go that the test ends soon: the folder is what counts.
    process = start(path)
    until(lambda: len(json.loads((ckpt.parents[1] / "history.json").read_text())["epochs"]) > len(before))
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 75, text
    after = json.loads((ckpt.parents[1] / "history.json").read_text())["epochs"]
    plain = [{k: v for k, v in entry.items() if k != "seconds"} for entry in after[: len(before)]]
    assert plain == [{k: v for k, v in entry.items() if k != "seconds"} for entry in before]
    rows = rows_of(folder)
    assert rows[0]["state"] == "FAIL"
    assert "killed" in rows[0]["error"]
    assert rows[1]["retry_of"] == 0
    assert rows[1]["params"] == rows[0]["params"]
    assert rows[1]["run"] == rows[0]["run"] == ckpt.parents[1].name
    assert "SIGTERM" in rows[1]["error"]
    assert rows[2]["state"] == "WAITING"


def test_two_workers_and_a_kill(place: Path) -> None:
    path = write(place, study={"n_trials": 6, "epochs": 3})
    folder = plan_of(path).folder
    process = start(path, "--workers", "2")
    until(lambda: checkpoints(folder))
    kill_a_worker(process.pid, random.Random(1))
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    check(folder, 6)
    assert read_json(folder / "best_params.json")["n_trials"] == 6


def kill_a_worker(parent: int, dice: random.Random) -> bool:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    with suppress(FileNotFoundError, ProcessLookupError):  # of the parent, of the worker: it may end meanwhile
        workers = [int(word) for word in children.read_text().split()]
        if workers:
            os.kill(dice.choice(workers), signal.SIGKILL)
            return True
    return False


@pytest.mark.slow
def test_four_workers_and_ten_kills(place: Path) -> None:
    path = write(place, study={"n_trials": 18, "epochs": 60, "max_retries": 10}, search_space=LONG)
    folder = plan_of(path).folder
    process, dice, kills = start(path, "--workers", "4"), random.Random(5), 0
    # A kill after every 25 of the 1080 epochs or so: in the middle of trainings, however fast the machine is.
    while kills < 10 and process.poll() is None:
        seen = epochs(folder)
        until(lambda seen=seen: epochs(folder) >= seen + 25 or process.poll() is not None)
        time.sleep(dice.uniform(0, 0.3))
        kills += kill_a_worker(process.pid, dice)
    text, _ = process.communicate(timeout=280)
    assert process.returncode == 0, text
    assert kills == 10
    rows = check(folder, 18)
    assert sum(row["begun_again"] for row in rows) >= 1


@pytest.mark.slow
def test_sigterm_reaches_the_workers(place: Path) -> None:
    path = write(place, study={"n_trials": 4, "epochs": 2000}, pruner="none")
    folder = plan_of(path).folder
    process = start(path, "--workers", "2")
    until(lambda: len(checkpoints(folder)) == 2)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 75, text
    assert read_json(folder / "run.json")["status"] == "interrupted"
    states = [row["state"] for row in rows_of(folder)]
    assert states.count("WAITING") == 2
    assert "RUNNING" not in states


@pytest.mark.slow
def test_the_same_command_on_several_machines(place: Path) -> None:
    """Two commands at a time, of two workers each, make one study of exactly as many trials."""
    path = write(place, study={"n_trials": 10, "epochs": 20})
    folder = plan_of(path).folder
    both = [start(path, "--workers", "2") for _ in range(2)]
    for process in both:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    rows = check(folder, 10)
    assert len({row["user_attrs"]["worker"] for row in rows}) > 1
    assert read_json(folder / "run.json")["status"] == "done"


def test_a_torn_line_and_a_lock_left_behind_are_mended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = search(write(place, study={"n_trials": 2}))
    journal = plan.folder / "journal.log"
    whole = journal.read_bytes()
    with journal.open("ab") as stream:
        stream.write(b'{"op_code":8,"worker_id":"x","trial_id":0,"user_at')
    import socket

    journal.with_name("journal.log.lock").write_text(f"isobar {socket.gethostname()} 1 1")
    clock = SimpleNamespace(monotonic=time.monotonic, time_ns=time.time_ns, sleep=_refuse)
    monkeypatch.setattr(locks, "time", clock)
    search(place / "tune.yaml", "study.n_trials=3")
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    check(plan.folder, 3)


def _refuse(seconds: float) -> None:
    raise AssertionError(f"waited for {seconds} s, as Optuna's own lock would be for 30")


def test_a_trial_that_kills_its_workers_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claim is left behind three times; then it counts as failed and the search goes on."""
    from pipeline.tune.roster import Roster
    from pipeline.tune.study import open_study

    plan = plan_of(write(place, study={"n_trials": 3, "max_retries": 2}))
    for _ in range(3):
        roster = Roster(plan.folder)
        assert open_study(plan, roster).claim() is not None
        roster.close()
    search(place / "tune.yaml")
    rows = rows_of(plan.folder)
    assert [row["state"] for row in rows] == ["FAIL", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert len({json.dumps(row["params"]) for row in rows[:3]}) == 1
    assert "killed 3 times" in rows[2]["error"]
    assert not rows[2]["begun_again"]
