"""The places that wrong inputs are brought into, and what is checked of each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from pipeline.testing import World, write_world
from tests.badinput.case import Case, Place
from tests.conftest import CONFIG
from tests.faults.nursery import Ended, Nursery
from tests.importance.made_up_series import SMALL, write_truth
from tests.store.images.made_up_images import write_charts, write_series

WORLD = World(start=date(1994, 12, 1), days=460, lat_points=5, lon_points=5, types=("1", "2A", "3B", "4A", "5"))
TUNE = """\
base: {base}
study: {{n_trials: 2}}
pictures: false
search_space:
  train.optimizer.lr: {{type: float, low: 1e-4, high: 1e-2, log: true}}
"""
CHARTS = """\
name: tiny
store:
  images: {datasets: [eur_15m_winsize4]}
  series: {files: [rates.csv], window_size: 5, offset: -1}
train:
  epochs: 1
  batch_size: 16
  threads: 1
  device: cpu
  model: {hidden: 16, series: {dim: 16, heads: 2, feedforward: 32}}
"""


@dataclass
class Grounds:
    """Places to copy, made when they are first needed, and the processes that jobs run in."""

    root: Path
    nursery: Nursery

    def copy(self, name: str, to: Path) -> Place:
        """Return a copy of a place."""
        made = self.root / name
        if not made.exists():
            MAKE[name](self, made)
        shutil.copytree(made, to, symlinks=True)
        return Place(to)

    def run(self, place: Place, job: str, *words: str, **limits: int) -> Ended:
        """Run a job in a place."""
        typed = [str(place.home / word[2:]) if word.startswith("./") else word for word in words]
        variables = {"HOME": str(self.root), "ISOBAR_GIT": "{}"}
        return self.nursery.run(job, *typed, home=place.home, variables=variables, **limits)

    def done(self, place: Place, *jobs: str) -> None:
        """Run jobs that must end well."""
        for job in jobs:
            ended = self.run(place, job, "./tiny.yaml")
            assert ended.code == 0, ended.text


def _raw(grounds: Grounds, home: Path) -> None:
    write_world(WORLD, home / "raw")
    text = CONFIG.replace("bootstrap: 50", "bootstrap: 20")
    (home / "tiny.yaml").write_text(text, encoding="utf-8")
    (home / "tune.yaml").write_text(TUNE.format(base="tiny.yaml"), encoding="utf-8")
    (home / "made.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    write_truth(home / "truth.csv", rows=200)


def _trained(grounds: Grounds, home: Path) -> None:
    place = grounds.copy("raw", home)
    grounds.done(place, "derive", "store", "train", "thresholds", "evaluate")


def _charts(grounds: Grounds, home: Path) -> None:
    write_charts(home, {"train": range(30), "val": range(40, 55), "test": range(60, 75)})
    write_series(home / "rates.csv", range(80))
    (home / "tiny.yaml").write_text(CHARTS, encoding="utf-8")


def _charts_trained(grounds: Grounds, home: Path) -> None:
    place = grounds.copy("charts", home)
    grounds.done(place, "store", "train", "thresholds")


MAKE: dict[str, Callable[[Grounds, Path], None]] = {
    "raw": _raw,
    "trained": _trained,
    "charts": _charts,
    "charts_trained": _charts_trained,
}


def visible(folder: Path) -> dict[Path, bytes]:
    """Return the files of a place that a person looks at."""
    return {path: b"" for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


def meet(case: Case, grounds: Grounds, to: Path) -> Ended:
    """Bring a case about and check how the job ended.

    Raises:
        AssertionError: another exit code, other words, several lines, a traceback, or something half-written.
    """
    place = grounds.copy(case.ground, to)
    words = case.spoil(place) if case.spoil else None
    before = set(to.rglob("*"))
    ended = grounds.run(place, case.job, *([*case.words, *case.more] if words is None else words), **case.limits)
    assert ended.code == case.code, f"exit code {ended.code}, expected {case.code}:\n{ended.text}"
    assert "Traceback" not in ended.text, ended.text
    said = errors(ended)
    assert any(re.search(case.says, line) for line in said), f"expected {case.says!r} in:\n{ended.text}"
    assert len(said) == case.lines, f"{len(said)} lines of errors:\n{ended.text}"
    new = [path for path in to.rglob("*") if path not in before]
    parts = [path for path in new if path.name.endswith(".part")]
    assert not parts, f"half-written: {parts}"
    return ended


def errors(ended: Ended) -> list[str]:
    """Return the lines of errors, without their time."""
    lines = [line.partition(" ERROR ")[2] for line in ended.text.splitlines() if " ERROR " in line]
    return lines or [line for line in ended.text.splitlines() if line.startswith("command line: ")]
