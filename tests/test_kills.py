"""Jobs killed at random moments and typed again end as if nothing had happened."""

from __future__ import annotations

import hashlib
import random
import shutil
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


Moment = tuple[str, int]
"""A pattern of files below a place, and how many of them there are when a job is killed, or a little later."""
DERIVE: tuple[Moment, ...] = tuple(("data/derived/*/*.nc", count) for count in (1, 3, 5, 8, 11, 14))
STORE: tuple[Moment, ...] = tuple(
    (f"data/store/*/*.part/{name}", 1)
    for name in ("progress", "progress/version.json", "progress/moments", "progress/grid", "moments.npz", "scale.json")
)
RUN: tuple[Moment, ...] = tuple(
    (f"results/tiny/simple-*/{name}", 1)
    for name in ("run.json", "checkpoints/last.ckpt", "thresholds.json", "val_report.json", "figures/*.png")
)


def kill_at(job: str, place: Place, moments: tuple[Moment, ...], number: int) -> int:
    """Start the job for each moment and kill it there or a little later; return how often it was still at work."""
    chance, kills = random.Random(number), 0
    for pattern, count in moments:
        process = start(job, place.config)
        while process.poll() is None and len(list(place.home.glob(pattern))) < count:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.01))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
    return kills


def run(job: str, place: Place) -> None:
    ended = run_job(job, place.config)
    assert ended.code == 0, ended.text


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
        wait_for(process, f"epoch {40 * (kills + 1):>3}/500")
        time.sleep(chance.uniform(0, 0.1))
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
        codes.append(process.wait(timeout=300))
        if codes[-1] == 0:
            break
    assert codes[0] == 75
    assert set(codes) <= {0, 75}
    assert run_job("train", place.config, *TRAINING).code == 0
    assert same(weights(place), weights(whole))


@pytest.mark.parametrize(
    ("job", "moments", "result"), [("derive", DERIVE, "data/derived/*/*"), ("store", STORE, "data/store/*/*/*")]
)
def test_data_jobs_killed(raw_place: Place, tmp_path: Path, job: str, moments: tuple[Moment, ...], result: str) -> None:
    left, right = raw_place.copy(tmp_path / "left"), raw_place.copy(tmp_path / "right")
    if job == "store":
        for place in (left, right):
            run("derive", place)
    run(job, left)
    # Both take tenths of a second: where one was quicker than the kills, it is done all over again.
    for attempt in range(20):
        shutil.rmtree(right.home / result.split("/*")[0], ignore_errors=True)
        if kill_at(job, right, moments, number=attempt) >= 2:
            break
    else:
        raise AssertionError("never killed twice at work")
    run(job, right)
    expected = sums(left.home, result)
    assert expected
    assert sums(right.home, result) == expected


def test_chain_killed(raw_place: Place, tmp_path: Path) -> None:
    """The whole chain, killed in each of its stages, ends with the report of one that was not."""
    left, right = raw_place.copy(tmp_path / "left"), raw_place.copy(tmp_path / "right")
    run("chain", left)
    assert kill_at("chain", right, (*DERIVE[::2], *STORE[::2], *RUN), number=3) >= 6
    run("chain", right)
    for name in ("thresholds.json", "val_report.json", "test_report.json", "figures/loss_curve.png"):
        pattern = f"results/tiny/simple-*/{name}"
        if name.endswith(".png"):
            assert right.one(pattern).stat().st_size > 0
        else:
            assert right.one(pattern).read_bytes() == left.one(pattern).read_bytes(), name
