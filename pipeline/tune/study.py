"""An open study: which trial is next, which are lost with their workers, how many there are."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipeline.core.artifact import make_folder
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.lock import updating
from pipeline.core.logs import log
from pipeline.tune.choosing import Grid, build_pruner, build_sampler
from pipeline.tune.journal import Journal, check_readable
from pipeline.tune.locks import locked
from pipeline.tune.plan import Plan
from pipeline.tune.roster import Roster, at_work
from pipeline.tune.space import grid_size, suggest

WORKER, RETRY_OF, RETRIES, ERROR, RUN = "worker", "retry_of", "retries", "error", "run"
"""Names of what a trial tells besides its parameters."""
_FOLDER, _ENQUEUED = "folder", "enqueued"
_CLAIM_SECONDS = 120.0
"""Longer than any sampler takes for the parameters of a trial."""


@dataclass(frozen=True)
class Claimed:
    """A trial that is this worker's to run."""

    trial: Trial
    values: dict[str, Any]
    """Of its parameters, by their names."""
    run: str
    """Name of its run folder where an earlier worker began it, else empty."""


@dataclass
class Study:
    """A study in its storage."""

    plan: Plan
    optuna: optuna.Study
    roster: Roster | None
    """``None`` for somebody who only looks."""

    @property
    def target(self) -> int:
        """Trials in all; a grid has no more than its points."""
        wanted, config = self.plan.config.study.n_trials, self.plan.config
        return min(wanted, grid_size(self.plan.space)) if config.sampler.name == "Grid" else wanted

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by their numbers, those of killed workers too."""
        return self.optuna.get_trials(deepcopy=False)

    def counted(self) -> list[FrozenTrial]:
        """Return the trials that count: begun, and not begun again under another number."""
        trials = self.trials()
        lost = again(trials)
        return [trial for trial in trials if trial.state != TrialState.WAITING and trial.number not in lost]

    @property
    def finished(self) -> bool:
        """Whether there are as many trials as were asked for, all of them ended."""
        counted = self.counted()
        return len(counted) >= self.target and all(trial.state.is_finished() for trial in counted)

    def claim(self) -> Claimed | None:
        """Return the next trial for this worker, one of a dead worker first; ``None`` if all are begun."""
        with self._alone():
            self._reap()
            self._enqueue_first()
            count = len(self.counted())
            if count >= self.target:
                return None
            config = self.plan.config
            self.optuna.sampler = build_sampler(config.sampler, config.study.seed, count, self.plan.space)
            trial = self.optuna.ask()
            if self.roster is not None:
                trial.set_user_attr(WORKER, self.roster.me)
            return Claimed(trial, suggest(trial, self.plan.space), str(trial.user_attrs.get(RUN, "")))

    def give_back(self, trial: Trial, reason: str) -> None:
        """Fail a trial and queue it again with its parameters and its run folder."""
        with self._alone():
            self._requeue(self.frozen(trial.number), reason, killed=False)

    def fail(self, trial: Trial, error: str) -> None:
        """Record a trial that failed by itself."""
        trial.set_user_attr(ERROR, error)
        self.optuna.tell(trial, state=TrialState.FAIL)

    @property
    def state(self) -> str:
        """``done``, ``running`` where a worker is at it somewhere, or ``interrupted``."""
        if self.finished:
            return "done"
        return "running" if at_work(self.plan.folder) else "interrupted"

    def _alone(self) -> AbstractContextManager[None]:
        """Hold the study's list of trials, against workers of other machines too."""
        return locked(self.plan.folder / ".claim", _CLAIM_SECONDS)

    def frozen(self, number: int) -> FrozenTrial:
        """Return a trial as the storage has it."""
        return next(trial for trial in self.trials() if trial.number == number)

    def _reap(self) -> None:
        """Queue again what workers left that were killed; to be called under the lock."""
        for trial in self.trials():
            if trial.state != TrialState.RUNNING or self.roster is None:
                continue
            worker = trial.user_attrs.get(WORKER)
            # One without worker died in `claim`, since whoever is there holds the lock; ours is over when we claim.
            if worker is None or worker == self.roster.me or not self.roster.alive(worker):
                self._requeue(trial, "its worker was killed", killed=True)
                self.roster.forget(worker)

    def _requeue(self, trial: FrozenTrial, reason: str, killed: bool) -> None:
        retries = int(trial.user_attrs.get(RETRIES, 0)) + killed
        if retries > self.plan.config.study.max_retries:
            self._end(trial, f"its worker was killed {retries} times")
            return
        # First the copy, then the end: a kill between them leaves both, and the copy is found here.
        if trial.number not in again(self.trials()):
            kept = {RUN: trial.user_attrs[RUN]} if RUN in trial.user_attrs else {}
            attributes = {RETRY_OF: trial.number, RETRIES: retries, **kept}
            if parameters := self._parameters(trial):
                self.optuna.enqueue_trial(parameters, user_attrs=attributes)
            else:  # it died before the first was chosen; an empty choice would be one to a grid
                self.optuna.add_trial(create_trial(state=TrialState.WAITING, user_attrs=attributes))
        log.warning("trial %d: %s; it is queued again with its parameters", trial.number, reason)
        self._end(trial, reason)

    def _end(self, trial: FrozenTrial, error: str) -> None:
        self.optuna._storage.set_trial_user_attr(trial._trial_id, ERROR, error)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _parameters(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return all that is known of a trial's parameters, also where its worker died while choosing them."""
        fixed = dict(trial.system_attrs.get("fixed_params", {}))
        config = self.plan.config
        if config.sampler.name == "Grid" and "grid_id" in trial.system_attrs:
            grid = build_sampler(config.sampler, config.study.seed, 0, self.plan.space)
            if isinstance(grid, Grid):
                fixed = grid.point(trial.system_attrs["grid_id"])
        return fixed | trial.params

    def _enqueue_first(self) -> None:
        """Queue the trials that the config lists, once."""
        wanted = self.plan.config.study.enqueue
        done = int(self.optuna.user_attrs.get(_ENQUEUED, 0))
        for first in wanted[done:]:
            self.optuna.enqueue_trial(self.plan.stored(first))
            done += 1
            self.optuna.set_user_attr(_ENQUEUED, done)


def again(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials that were begun again under another number."""
    return {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}


def open_study(plan: Plan, roster: Roster | None) -> Study:
    """Open the study of a plan, or create it.

    Raises:
        InputError: sampler or pruner cannot be built.
        EnvironmentFault: the storage cannot be read or written.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    config = plan.config
    sampler = build_sampler(config.sampler, config.study.seed, 0, plan.space)
    pruner = build_pruner(config.pruner, plan.epochs)
    make_folder(plan.folder)
    with updating(plan.folder):
        try:
            study = optuna.create_study(
                storage=_storage(plan), sampler=sampler, pruner=pruner, study_name=plan.folder.name,
                direction=plan.direction, load_if_exists=True,
            )  # fmt: skip
            study.get_trials(deepcopy=False)
            if study.user_attrs.get(_FOLDER) is None:
                study.set_user_attr(_FOLDER, str(plan.folder))
        except (KeyError, ValueError, AttributeError, TypeError, optuna.exceptions.StorageInternalError) as error:
            if config.storage.kind == "journal":
                check_readable(plan.storage_file)
            reason = str(error.__cause__ or error).split("\n")[0]
            raise EnvironmentFault(f"{plan.storage_file}: cannot be read as a study ({reason})") from None
    return Study(plan, study, roster)


def _storage(plan: Plan) -> BaseStorage:
    kind, path = plan.config.storage.kind, plan.storage_file
    if kind == "memory":
        return InMemoryStorage()
    if kind == "journal":
        return JournalStorage(Journal(path))
    make_folder(path.parent)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise EnvironmentFault(f"{path}: cannot be opened as an SQLite file ({reason}); see storage.path") from None


def existing_study(plan: Plan) -> Study:
    """Open a study to look at it.

    Raises:
        InputError: it has not been begun.
    """
    missing = InputError(f"{plan.folder}: no study yet; begin it with the same command without show or watch")
    if not plan.folder.exists():
        raise missing
    if plan.config.storage.kind != "memory" and not plan.storage_file.exists():
        raise missing
    with suppress(KeyError):
        return open_study(plan, None)
    raise missing
