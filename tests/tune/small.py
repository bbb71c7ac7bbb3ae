"""A tiny experiment to search, and the job as a program that searches it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.config import load
from pipeline.core.interrupt import Interrupt
from pipeline.core.job import Job, Outcome, run_job
from pipeline.experiment import Experiment, home
from pipeline.tune.config import TuneConfig
from pipeline.tune.experiment import Ground
from pipeline.tune.job import search_or_look
from pipeline.tune.plan import Plan, make_plan
from pipeline.tune.sections.words import FLAGS, options

BASE: dict[str, Any] = {
    "name": "tiny",
    "train": {
        "epochs": 2,
        "batch_size": 8,
        "threads": 1,
        "device": "cpu",
        "model": {"backbone": "simple", "hidden": 0, "dropout": 0, "head_dropout": 0, "pool_size": 2},
    },
}
SPACE: dict[str, Any] = {
    "train.optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16]},
}


class Tiny(Experiment):
    """An experiment whose store is there."""

    def store_folder(self) -> Path:
        return home() / "store"


def ground(place: Path) -> Ground:
    return Ground(lambda path, more: load(path, Tiny, more).config, Tiny, place, lambda folder: ())


def write(place: Path, experiment: dict[str, Any] | None = None, **tuning: Any) -> Path:
    """Write base and tuning config; return the latter's path."""
    (place / "base.yaml").write_text(yaml.safe_dump(experiment or BASE))
    config = {"base": "base.yaml", "search_space": SPACE, "pictures": False} | tuning
    (place / "tune.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return place / "tune.yaml"


def plan_of(path: Path, *typed: str) -> Plan:
    config = load(path, TuneConfig, typed).config
    return make_plan(config, ground(path.parent), str(path), typed)


def search(path: Path, *typed: str, interrupt: Interrupt | None = None) -> Plan:
    """Search in this process as the job does."""
    from pipeline.tune.stage import tune

    plan = plan_of(path, *typed)
    tune(plan, interrupt or Interrupt(), lambda number: [__file__, str(path), *typed, "--worker", str(number)])
    return plan


def main(job: Job[TuneConfig]) -> Outcome:
    return search_or_look(job, ground(home()), __file__, lambda folder: None)


if __name__ == "__main__":
    sys.exit(run_job(main, TuneConfig, __doc__, options(sys.argv[1:]), FLAGS))
