"""A training on images with unfreezing, killed at ten random moments, ends bit for bit as one that was not."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Place, run_job
from tests.test_kills import start

pytestmark = pytest.mark.slow
EPOCHS, UNFREEZE = 80, [14, 32, 52]
KILLED_AFTER = (2, 8, 16, 24, 34, 40, 46, 54, 62, 72)
"""Epochs."""
CONFIG = f"""\
name: tiny
store:
  images:
    train: charts/train
    val: charts/val
    test: charts/test
train:
  epochs: {EPOCHS}
  batch_size: 32
  threads: 1
  checkpoint_minutes: 0.002
  select: val_accuracy
  model:
    backbone: mobilenetv3_small_050
    hidden: 0
  augment:
    transforms:
      - RandomHorizontalFlip: {{p: 0.5}}
  optimizer:
    lr: 2e-3
  rates:
    by: stages
    head: 3e-3
    backbone: 1e-3
    decay: 0.5
  schedule:
    name: plateau
    patience: 3
  unfreeze:
    enabled: true
    epochs: {UNFREEZE}
  agc:
    enabled: true
  ema:
    decay: 0.9
  gradients:
    enabled: true
"""
KEPT = ("model.pt", "predictions_val.npz", "predictions_test.npz", "metrics.csv", "gradient_trace.csv", "norm.json")


def write_charts(folder: Path) -> None:
    """Write 32 × 32 pictures of three classes: a bright bar at a place of its own."""
    generator = np.random.default_rng(3)
    for split, count in (("train", 32), ("val", 12), ("test", 12)):
        for label in range(3):
            target = folder / split / f"class_{label}"
            target.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[4 + 10 * label : 8 + 10 * label] += 100
                Image.fromarray(pixels).save(target / f"{number}.png")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("charts"))
    write_charts(place.home / "charts")
    place.config.write_text(CONFIG, encoding="utf-8")
    ended = run_job("store", place.config)
    assert ended.code == 0, ended.text
    return place


def wait_for_training(process: subprocess.Popen[str]) -> None:
    """Read what the job tells until it trains; one killed before its first checkpoint begins anew."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if "training mobilenet" in line or "going on from" in line:
            return
    raise AssertionError("".join(told))


def position(place: Place) -> int:
    """Return the epochs that the run has behind it, by its table."""
    tables = list(place.home.glob("results/tiny/*-*/metrics.csv"))
    return len(tables[0].read_text().splitlines()) - 1 if tables else 0


def kill_in_its_stage(place: Place, epoch: int, aside: Path, chance: random.Random) -> None:
    """Kill the training a random moment after an epoch; where it was quicker than that stage, do it over again."""
    for _ in range(5):
        shutil.rmtree(aside, ignore_errors=True)
        place.copy(aside)
        process = start("train", place.config)
        wait_for_training(process)
        while position(place) < epoch and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL and stage_of(position(place)) == stage_of(epoch):
            return
        shutil.rmtree(place.home)
        Place(aside).copy(place.home)
    raise AssertionError(f"five times over before it could be killed after epoch {epoch}")


def stage_of(epoch: int) -> int:
    return sum(epoch >= first for first in UNFREEZE)


def test_killed_ten_times_in_every_stage(stored: Place, tmp_path: Path) -> None:
    whole, cut = stored.copy(tmp_path / "whole"), stored.copy(tmp_path / "cut")
    ended = run_job("train", whole.config)
    assert ended.code == 0, ended.text
    chance = random.Random(4)
    for epoch in KILLED_AFTER:
        kill_in_its_stage(cut, epoch, tmp_path / "aside", chance)
    ended = run_job("train", cut.config)
    assert ended.code == 0, ended.text
    for name in KEPT:
        pattern = f"results/tiny/*-*/{name}"
        assert cut.one(pattern).read_bytes() == whole.one(pattern).read_bytes(), name
    histories = [json.loads(place.one("results/tiny/*-*/history.json").read_text()) for place in (whole, cut)]
    for history in histories:
        for entry in history["epochs"]:
            del entry["seconds"]
    assert histories[0] == histories[1]
    names = [sorted(path.name for path in place.home.glob("results/tiny/*-*/checkpoints/*")) for place in (whole, cut)]
    assert names[0] == names[1]
