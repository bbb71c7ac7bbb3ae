"""A training on images with unfreezing, killed at ten random moments, ends bit for bit as one that was not."""

from __future__ import annotations

import json
import random
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
EPOCHS, UNFREEZE = 40, [7, 16, 26]
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


def test_killed_ten_times_in_every_stage(stored: Place, tmp_path: Path) -> None:
    whole, cut = stored.copy(tmp_path / "whole"), stored.copy(tmp_path / "cut")
    ended = run_job("train", whole.config)
    assert ended.code == 0, ended.text
    chance, places = random.Random(4), []
    for number in range(10):
        process = start("train", cut.config)
        wait_for_training(process)
        # On the way to a tenth more of the epochs each time, and a random moment after that.
        until = time.monotonic() + 60
        while position(cut) < (number * EPOCHS) // 11 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.5))
        assert process.poll() is None, "the training was over before it could be killed ten times"
        process.send_signal(signal.SIGKILL)
        process.wait()
        places.append(position(cut))
    ended = run_job("train", cut.config)
    assert ended.code == 0, ended.text
    stages = {sum(place >= epoch for epoch in UNFREEZE) for place in places}
    assert stages == {0, 1, 2, 3}, f"killed after epochs {places}: not in every stage of unfreezing"
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
