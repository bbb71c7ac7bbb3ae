"""The job itself, started by torchrun: the same run in the same folder as by one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.train.checkpoint import load_tensors
from tests.conftest import ROOT, Ended, Place, environment, run_job

pytestmark = pytest.mark.slow
MORE = ("train.seed=7", "train.epochs=2", "train.ranks_timeout=2")


def by_two(place: Place) -> Ended:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "jobs" / "train.py"), str(place.config), *MORE]
    variables = {**environment(place.config), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=variables)
    return Ended(done.returncode, done.stdout + done.stderr)


def newest(place: Place) -> Path:
    return Path(os.path.realpath(place.home / "results" / "tiny" / "latest"))


def test_torchrun_trains_the_same_run(trained_place: Place, tmp_path: Path) -> None:
    alone, shared = trained_place.copy(tmp_path / "alone"), trained_place.copy(tmp_path / "shared")
    ended = run_job("train", alone.config, *MORE)
    assert ended.code == 0, ended.text
    ended = by_two(shared)
    assert ended.code == 0, ended.text
    assert ended.text.count("2 ranks have met") == 1, "one of them tells"
    assert ended.text.count("next: python jobs/thresholds.py") == 1
    left, right = newest(alone), newest(shared)
    assert left.name == right.name, "the number of ranks is in no signature"
    assert json.loads((right / "run.json").read_text())["ranks"] == 2
    weights = [load_tensors(run / "model.pt")["model"] for run in (left, right)]
    for name, value in weights[0].items():
        # Two epochs of a small CNN: measured 4e-7 of the largest weight.
        assert float((weights[1][name] - value).abs().max()) < 1e-4 * max(float(value.abs().max()), 1e-3), name
    again = by_two(shared)
    assert again.code == 0
    assert "is finished already" in again.text
