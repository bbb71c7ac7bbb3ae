"""One trial: an ordinary run with the suggested settings, stopped early where the pruner says so."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from pipeline.contract.store import Store
from pipeline.core.artifact import read_json
from pipeline.core.errors import EnvironmentFault, InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import event, log
from pipeline.core.run import RunFolder
from pipeline.train.stage import open_shared, train
from pipeline.tune.experiment import Base
from pipeline.tune.plan import Plan
from pipeline.tune.results import score
from pipeline.tune.study import RUN, Claimed, Study


class Pruned(Interrupted):
    """The pruner stopped a trial; its run could go on from its checkpoint."""


@dataclass
class Trainer:
    """Trains runs of a study in this process, with each store opened once."""

    plan: Plan
    interrupt: Interrupt
    stores: dict[Path, Store]

    def train(self, experiment: Base, run: RunFolder, after_epoch: Any = None) -> dict[str, Any]:
        """Train a run, going on from its checkpoint; return its ``history.json``.

        Raises:
            Interrupted: a stop was asked for, or the pruner said so.
            EnvironmentFault: the store is damaged, which is no result of the trial's settings.
            IsobarError: as the train stage says.
        """
        if run.status != "done":
            run.begin(self.plan.ground.dump(experiment))
            folder = experiment.store_folder()
            if folder not in self.stores:
                if not (folder / "store.json").exists():
                    raise InputError(f"{folder}: no store yet; run jobs/store.py with these settings first")
                self.stores[folder] = self._open(folder)
            with own_log():
                train(
                    experiment.train, folder, run, self.interrupt, self.plan.ground.home, after_epoch=after_epoch,
                    opened=self.stores[folder],
                )  # fmt: skip
        return read_json(run.path / "history.json")

    def _open(self, folder: Path) -> Store:
        try:
            return open_shared(folder, self.plan.config.workers if self.plan.is_worker else 1)
        except InputError as error:
            raise EnvironmentFault(str(error)) from None


@contextmanager
def own_log() -> Iterator[None]:
    """Have what is logged inside the block go to the run's files, and only warnings to the terminal."""
    before = [(handler, handler.level) for handler in log.handlers]
    for handler, level in before:
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler in [item for item in log.handlers if item not in [known for known, _ in before]]:
            log.removeHandler(handler)
            handler.close()
        for handler, level in before:
            handler.setLevel(level)


def run_trial(study: Study, claimed: Claimed, trainer: Trainer) -> None:
    """Run a trial to its end and tell the study how it was.

    Raises:
        Interrupted: a stop was asked for; the trial is queued again and goes on from its checkpoint.
        EnvironmentFault: the machine failed; the trial is queued again.
    """
    trial, began = claimed.trial, time.monotonic()
    try:
        value = _trained(study, claimed, trainer)
    except Pruned:
        study.optuna.tell(trial, state=TrialState.PRUNED)
        _told(study, claimed, "pruned", began)
    except (Interrupted, EnvironmentFault, KeyboardInterrupt) as error:
        study.give_back(trial, f"stopped: {str(error).splitlines()[0] if str(error) else 'Ctrl-C'}")
        raise
    except Exception as error:
        # Whatever a combination of settings does wrong is a result of the search, recorded with its place.
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).splitlines()[0] if str(error) else ""
        study.fail(trial, f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})")
        log.warning("trial %d failed: %s: %s", trial.number, type(error).__name__, text)
        log.debug("%s", traceback.format_exc())
    else:
        study.optuna.tell(trial, value)
        _told(study, claimed, f"{value:.4f}", began)


def _trained(study: Study, claimed: Claimed, trainer: Trainer) -> float:
    """Train the run of a trial; return the metric of the weights that it keeps."""
    plan, trial = study.plan, claimed.trial
    experiment = plan.trial(claimed.values)
    name = claimed.run or f"{experiment.run().path.name}.{trial.number}"
    trial.set_user_attr(RUN, name)
    reported = set(study.frozen(trial.number).intermediate_values)

    def report(history: list[dict[str, float]]) -> None:
        for number, entry in enumerate(history, 1):
            if number not in reported and plan.metric in entry:
                reported.add(number)
                trial.report(entry[plan.metric], number)

    def after_epoch(progress: Any) -> None:
        report(progress.history)
        if not progress.finished and trial.should_prune():
            raise Pruned(f"pruned after epoch {progress.epoch}; the training could go on from there")

    done = trainer.train(experiment, RunFolder(plan.folder / name), after_epoch)
    report(done["epochs"])
    return score(done, plan.metric)


def _told(study: Study, claimed: Claimed, result: str, began: float) -> None:
    shown = ", ".join(f"{name} {_short(value)}" for name, value in claimed.values.items())
    seconds = time.monotonic() - began
    event(f"trial {claimed.trial.number}: {result}  ({shown})  {seconds:.1f} s", trial=claimed.trial.number)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
