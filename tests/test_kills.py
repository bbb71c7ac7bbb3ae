"""Jobs killed at random moments and typed again end as if nothing had happened."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, Place, environment, run_job

pytestmark = pytest.mark.slow
TRAINING = ("train.epochs=500", "train.model.hidden=64", "train.ema.decay=0.9", "train.augment.noise=0.1")


def start(job: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(*arguments)
    )


def kill_repeatedly(job: str, arguments: tuple[object, ...], kills: int, seconds: float, number: int) -> int:
    """Start the job until it was killed ``kills`` times at random moments (or ended by itself); return the kills.

    ``seconds``: how long it takes when nobody kills it; most of the first third is the start of Python.
    """
    chance, done = random.Random(number), 0
    while done < kills:
        process = start(job, *arguments)
        time.sleep(chance.uniform(0.3, 0.9) * seconds)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        done += 1
    return done


def timed(job: str, place: Place) -> float:
    began = time.monotonic()
    ended = run_job(job, place.config)
    assert ended.code == 0, ended.text
    return time.monotonic() - began


def wait_for(process: subprocess.Popen[str], *texts: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if any(text in line for text in texts):
            return
    raise AssertionError(f"ended without {texts}")


def weights(place: Place) -> dict[str, torch.Tensor]:
    loaded = torch.load(place.one("results/tiny/simple-*/model.pt"), weights_only=True)
    return dict(loaded["model"])


def sums(folder: Path, pattern: str) -> dict[str, str]:
    found = {str(path.relative_to(folder)): path for path in sorted(folder.glob(pattern))}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if path.suffix}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def stored(raw_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = raw_place.copy(tmp_path_factory.mktemp("stored"))
    for job in ("derive", "store"):
        assert run_job(job, place.config).code == 0
    return place


@pytest.fixture(scope="module")
def whole(stored: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = stored.copy(tmp_path_factory.mktemp("whole"))
    ended = run_job("train", place.config, *TRAINING)
    assert ended.code == 0, ended.text
    return place


def test_train_killed_ten_times(stored: Place, whole: Place, tmp_path: Path) -> None:
    place, chance, kills = stored.copy(tmp_path), random.Random(1), 0
    while kills < 10:
        process = start("train", place.config, *TRAINING)
        wait_for(process, "training simple", "going on")
        time.sleep(chance.uniform(0.2, 1.5))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    ended = run_job("train", place.config, *TRAINING)
    assert ended.code == 0, ended.text
    assert kills == 10, "the training was over before it could be killed ten times"
    assert same(weights(place), weights(whole))
    for split in ("val", "test"):
        name = f"results/tiny/simple-*/predictions_{split}.npz"
        assert place.one(name).read_bytes() == whole.one(name).read_bytes()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_train_told_to_stop(stored: Place, whole: Place, tmp_path: Path, name: str) -> None:
    place, codes = stored.copy(tmp_path), []
    for _ in range(3):
        process = start("train", place.config, *TRAINING)
        wait_for(process, "epoch")
        process.send_signal(getattr(signal, name))
        codes.append(process.wait(timeout=60))
        if codes[-1] == 0:
            break
    assert codes[0] == 75
    assert set(codes) <= {0, 75}
    assert run_job("train", place.config, *TRAINING).code == 0
    assert same(weights(place), weights(whole))


@pytest.mark.parametrize(("job", "result"), [("derive", "data/derived/*/*"), ("store", "data/store/*/*/*")])
def test_data_jobs_killed(raw_place: Place, tmp_path: Path, job: str, result: str) -> None:
    left, right = raw_place.copy(tmp_path / "left"), raw_place.copy(tmp_path / "right")
    if job == "store":
        for place in (left, right):
            timed("derive", place)
    kills = kill_repeatedly(job, (right.config,), 10, timed(job, left), number=len(job))
    assert kills >= 1
    timed(job, right)
    expected = sums(left.home, result)
    assert expected
    assert sums(right.home, result) == expected


def test_chain_killed(raw_place: Place, tmp_path: Path) -> None:
    """The whole chain, killed at random moments, ends with the report of one that was not."""
    left, right = raw_place.copy(tmp_path / "left"), raw_place.copy(tmp_path / "right")
    kills = kill_repeatedly("chain", (right.config,), 10, timed("chain", left), number=3)
    ended = run_job("chain", right.config)
    assert ended.code == 0, ended.text
    assert kills >= 2
    for name in ("thresholds.json", "val_report.json", "test_report.json", "figures/loss_curve.png"):
        pattern = f"results/tiny/simple-*/{name}"
        if name.endswith(".png"):
            assert right.one(pattern).stat().st_size > 0
        else:
            assert right.one(pattern).read_bytes() == left.one(pattern).read_bytes(), name
