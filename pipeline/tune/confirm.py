"""The confirmation: the best trials trained again with other seeds, at full length, before one is called the winner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from pipeline.core.artifact import read_json, write_json
from pipeline.core.errors import EnvironmentFault, Interrupted, IsobarError
from pipeline.core.lock import is_held, updating
from pipeline.core.logs import event, log
from pipeline.core.run import RunFolder
from pipeline.tune.experiment import Base
from pipeline.tune.results import CONFIRM, ranked, score
from pipeline.tune.space import stored_values
from pipeline.tune.study import Study
from pipeline.tune.verdict import DEFAULT, Trained, called, early_score, verdict

if TYPE_CHECKING:
    from pipeline.tune.trial import Trainer

_WITHOUT_LENGTH = ("plateau", "step", "multistep", "exponential", "none")
"""Schedules whose first epochs are the same however many follow."""


@dataclass(frozen=True)
class Task:
    """One training of the confirmation."""

    number: int
    """Of the trial, or ``DEFAULT``."""
    seed: int
    experiment: Base
    run: RunFolder


def tasks(study: Study) -> list[Task]:
    """Return all trainings: the best distinct trials and the base's own settings, with each seed."""
    plan, config = study.plan, study.plan.config.confirm
    seeds = [int(plan.base.train.seed) + 1 + k for k in range(config.seeds)]
    candidates: dict[int, dict[str, Any]] = {
        trial.number: stored_values(plan.space, trial.params) for trial in best_distinct(study, config.best)
    }
    found = []
    for number, values in [*candidates.items(), (DEFAULT, {})]:
        for seed in seeds:
            experiment = plan.full(values, **{"train.seed": seed})
            found.append(Task(number, seed, experiment, RunFolder(plan.folder / "confirm" / _name(experiment))))
    return found


def best_distinct(study: Study, count: int) -> list[FrozenTrial]:
    """Return the best trials with different parameters."""
    found: list[FrozenTrial] = []
    for trial in ranked(study):
        if len(found) < count and all(trial.params != other.params for other in found):
            found.append(trial)
    return found


def _name(experiment: Base) -> str:
    return experiment.run().path.name


def confirm(study: Study, trainer: Trainer) -> None:
    """Do the trainings that no other worker is at; finished ones are kept. The last worker writes the table.

    Raises:
        Interrupted: a stop was asked for; the same command goes on.
        EnvironmentFault: the machine failed.
    """
    for task in tasks(study):
        trainer.interrupt.check("finished trainings of the confirmation are kept")
        if _ended(task.run) or _in_use(task.run):
            continue
        event(f"confirming {called(task.number)} with seed {task.seed}")
        try:
            trainer.train(task.experiment, task.run)
        except Interrupted:
            raise
        except EnvironmentFault:
            if not _in_use(task.run):
                raise
        except IsobarError as error:
            log.warning("%s with seed %d failed: %s", called(task.number), task.seed, error)
    write_confirmation(study)


def _in_use(run: RunFolder) -> bool:
    """Tell whether another worker holds a run's folder."""
    return is_held(run.path / ".lock")


def confirmed(study: Study) -> bool:
    """Tell whether all trainings have ended."""
    return all(_ended(task.run) for task in tasks(study))


def _ended(run: RunFolder) -> bool:
    return run.status in ("done", "failed")


def write_confirmation(study: Study) -> None:
    """Write ``confirm.json`` when all trainings have ended: means, spread, luck."""
    plan, done = study.plan, tasks(study)
    if not all(_ended(task.run) for task in done):
        return
    found = [_trained(study, task) for task in done if task.run.status == "done"]
    searched = {trial.number: trial.value for trial in ranked(study)}
    with updating(plan.folder):
        write_json(
            plan.folder / CONFIRM,
            {
                "metric": plan.metric,
                "direction": plan.direction,
                "complete": True,
                "epochs": {"search": plan.epochs, "confirmation": int(plan.base.train.epochs)},
                **verdict(found, searched, plan.config.confirm.seeds, plan.direction),
            },
        )


def _trained(study: Study, task: Task) -> Trained:
    history, plan = read_json(task.run.path / "history.json"), study.plan
    value = score(history, plan.metric)
    train = task.experiment.train
    same = plan.epochs == train.epochs or any(item.dotted == "train.epochs" for item in plan.space)
    early = value if same else None
    if not same and (train.schedule.name in _WITHOUT_LENGTH or train.schedule.length is not None):
        early = early_score(history["epochs"][: plan.epochs], plan.metric, plan.direction, train.select == "last")
    return Trained(task.number, task.seed, value, early, f"confirm/{task.run.path.name}")
