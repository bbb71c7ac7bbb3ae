"""A search against one job a trial, and what Optuna and its journal take of it.

600 days × 12 channels × 41 × 41, three epochs of the small CNN on one thread, no pruning. The other side trains the
same settings with a program a trial, as a shell loop over jobs/train.py would; the two take turns.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import yaml

from benchmarks.table import Figure
from pipeline.synthetic.store import blobs, write_store
from pipeline.tune.study import Study
from tests.tune.small import BASE, search, write

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks tune"
TRIALS, ROUNDS = 5, 3
SPACE = {
    "train.optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "train.model.dropout": {"type": "float", "low": 0.0, "high": 0.5},
}
# jobs/train.py, but for an experiment whose store is there already.
ALONE = """
from importlib import import_module
from pipeline.core.config import dump
from pipeline.core.job import Outcome, job_main
from pipeline.experiment import home
from tests.tune.small import Tiny
def main(job):
    run = job.config.run()
    run.begin(dump(job.config))
    from pipeline.train.stage import train
    train(job.config.train, job.config.store_folder(), run, job.interrupt, home(),
          lambda at: import_module("pipeline.report.training").draw_training(at, True))
    return Outcome("done")
job_main(main, Tiny, "")
"""


def measure() -> list[Figure]:
    """Return trials a minute of both sides, and the share of Optuna and its journal."""
    base: dict[str, Any] = BASE | {"train": BASE["train"] | {"epochs": 3, "batch_size": 64, "model": {}}}
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, ISOBAR_HOME=name):
        place = Path(name)
        write_store(place / "store", *blobs(600, 12, 41, 8))
        search(write(place, base, search_space=SPACE, study={"n_trials": 1, "name": "imports"}))
        ours, alone, kept = [], [], []
        for number in range(ROUNDS):
            study = {"n_trials": TRIALS, "name": f"round{number}", "seed": number}
            path = write(place, base, search_space=SPACE, pruner="none", study=study)
            with _timed() as book:
                began = time.perf_counter()
                plan = search(path)
                ours.append((time.perf_counter() - began) / TRIALS)
            kept.append(sum(book) / TRIALS)
            rows = json.loads((plan.folder / "trials_history.json").read_text())["trials"]
            alone.append(_alone(place, rows[:2], number))
    trial, program, shares = (statistics.median(values) for values in (ours, alone, kept))
    return [
        Figure(
            "search, trials a minute",
            f"{60 / trial:.0f} ({trial:.2f} s a trial)",
            f"a program a trial: {60 / program:.1f} ({program:.2f} s); promised: 3 times as many",
            f"{program / trial:.1f}",
            COMMAND,
        ),
        Figure(
            "Optuna and its journal, ms a trial",
            f"{1000 * shares:.0f}",
            f"the trial: {1000 * trial:.0f}; promised: < 5 %",
            f"{shares / trial:.3f}",
            COMMAND,
        ),
    ]


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Note the seconds inside of everything that asks or tells the study."""
    book: list[float] = []
    places: list[tuple[Any, str]] = [
        *[(Study, name) for name in ("claim", "frozen")],
        *[(optuna.Trial, name) for name in ("report", "should_prune")],
        (optuna.Study, "tell"),
    ]
    with ExitStack() as stack:
        for kind, name in places:
            stack.enter_context(mock.patch.object(kind, name, _watched(getattr(kind, name), book)))
        yield book


def _watched(method: Any, book: list[float]) -> Any:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            book.append(time.perf_counter() - began)

    return timed


def _alone(place: Path, rows: list[dict[str, Any]], number: int) -> float:
    base = yaml.safe_load((place / "base.yaml").read_text()) | {"results": f"alone{number}"}
    (place / "alone.yaml").write_text(yaml.safe_dump(base))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    began = time.perf_counter()
    for row in rows:
        typed = [f"{key}={value}" for key, value in row["settings"].items()]
        command = [sys.executable, "-c", ALONE, str(place / "alone.yaml"), *typed]
        subprocess.run(command, check=True, env=environment, capture_output=True)
    return (time.perf_counter() - began) / len(rows)
