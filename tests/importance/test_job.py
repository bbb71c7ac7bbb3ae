"""The command line: kills, updates of configs, and what wrong settings are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.core.config import load
from pipeline.core.interrupt import Interrupt
from pipeline.importance import analysis
from pipeline.importance.config import ImportanceConfig
from pipeline.importance.folds import make_folds
from pipeline.importance.samples import load_samples
from pipeline.importance.stage import analyse
from tests.conftest import ROOT
from tests.importance.made_up_series import RESULTS, SMALL, contents, place, settings


def command(home: Path, *arguments: str) -> list[str]:
    (home / "made.yaml").write_text(yaml.safe_dump(SMALL))
    return [sys.executable, str(ROOT / "jobs" / "importance.py"), str(home / "made.yaml"), *arguments]


def test_killed_at_any_moment_the_same_command_ends_with_the_same_result(tmp_path: Path) -> None:
    home, quiet = place(tmp_path / "killed"), place(tmp_path / "quiet")
    expected = contents(analyse(settings(), quiet, Interrupt()).run)
    environment = {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    journals = ("trials.jsonl", "shuffles.jsonl")
    kills = 0
    for name, steps in ((journals[0], 1), (journals[1], 9)):
        process = subprocess.Popen(command(home), env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            found = [path for path in home.glob("results/made/importance-*/" + name) if not path.parent.is_symlink()]
            if found and found[0].read_bytes().count(b"\n") >= steps:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.wait()
    assert kills == 2
    ended = subprocess.run(command(home), env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    run = next(path for path in home.glob("results/made/importance-*") if not path.is_symlink())
    assert contents(run) == expected
    assert json.loads((run / "run.json").read_text())["sessions"] == 3
    assert {path.name for path in (run / "figures").iterdir()} == {
        f"importance_{name}.png" for name in ("permutation", "gain", "stability", "scores", "classes", "search")
    }


def test_update_by_the_command_line(done: Path, truth: Path) -> None:
    """A finished analysis is not done again; its columns go into a config, which says what else it needs."""
    config = truth / "charts.yaml"
    config.write_text(
        "name: charts\nstore:\n  images: {datasets: [a]}\n  series:\n    files: [truth.csv]  # ours\n"
        "    feature_columns: [noise_1]  # six\n"
    )
    environment = {**os.environ, "ISOBAR_HOME": str(truth), "OMP_NUM_THREADS": "1"}
    arguments = command(truth, "shap=true", "--update", str(config))
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "fresh already" in ended.stderr
    assert "-    feature_columns: [noise_1]  # six\n+    feature_columns: [signal, weak]  # six\n" in ended.stdout
    assert "set store.series.offset to -1" in ended.stderr
    assert "had a part in the choice" in ended.stderr
    assert "no more columns help" not in ended.stderr
    assert "feature_columns: [signal, weak]  # six" in config.read_text()
    assert "noise_1" in (truth / "charts.yaml.bak").read_text()
    config.write_text("name: charts\n")
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert (ended.returncode, config.read_text()) == (2, "name: charts\n")
    assert "has no section store.series" in ended.stderr


def test_wrong_settings_are_named_with_their_line(tmp_path: Path) -> None:
    arguments = command(tmp_path, "search.rounds=[9,3]", "features.indicators.rsi.period=[3]")
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "search.rounds: range [9, 3]: lowest first" in ended.stderr
    assert "features.indicators.rsi.period: unknown key; did you mean 'periods'?" in ended.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "importance").glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_configs_load(path: Path) -> None:
    config = load(path, ImportanceConfig).config
    for name in config.data.files:
        if not (ROOT / name).exists():
            pytest.skip(f"{name} is not here")
    samples, _ = load_samples(config, ROOT)
    folds = make_folds(config, samples)
    assert len(folds.walk) == 4
    assert folds.purge == config.labels.horizon


def test_names_of_the_journals_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "importance.md").read_text(encoding="utf-8")
    for name in (*RESULTS, analysis.TRIALS, analysis.SHUFFLES):
        assert f"`{name}`" in text
