"""The tune stage: a search that goes on wherever it was stopped, in one process or in many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.artifact import read_json
from pipeline.core.errors import Interrupted, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import updating
from pipeline.core.logs import event
from pipeline.tune.confirm import confirm, confirmed, write_confirmation
from pipeline.tune.crew import run_crew
from pipeline.tune.plan import Plan
from pipeline.tune.record import begin_record, close_record
from pipeline.tune.results import BEST, Summary, write_results
from pipeline.tune.roster import Roster
from pipeline.tune.storage import keep_memory, restore_memory
from pipeline.tune.study import Study, open_study

if TYPE_CHECKING:
    from pipeline.tune.trial import Trainer

_TABLES_SECONDS = 30.0
"""While a search goes on, tables are written so often at most."""
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Found:
    """How a search stands."""

    folder: Path
    summary: Summary
    best: dict[str, Any] | None
    """``best_params.json``; ``None`` where no trial is complete, and of a worker."""


def tune(plan: Plan, interrupt: Interrupt, worker_command: Callable[[int], list[str]]) -> Found:
    """Search until all trials are done, then confirm the best and write what was found.

    Args:
        plan: the checked search.
        interrupt: asks for a stop.
        worker_command: the command that is the worker of a number.

    Raises:
        Interrupted: a stop was asked for; the same command goes on.
        IsobarError: no trial came to its end; tables tell why.
    """
    if not plan.is_worker:
        plan.write()
    begin_record(plan)
    try:
        if plan.config.worker is not None or plan.config.workers == 1:
            _work(plan, interrupt)
        else:
            _work_together(plan, interrupt, worker_command)
    except Interrupted:
        if not plan.is_worker:
            _write(plan, final=False)
            close_record(plan, "interrupted")
        raise
    if plan.is_worker:
        return Found(plan.folder, _summary(plan), None)
    return _finish(plan)


def _work_together(plan: Plan, interrupt: Interrupt, worker_command: Callable[[int], list[str]]) -> None:
    """Search with several workers, and then confirm with all of them."""
    if not open_study(plan, None).finished:
        run_crew(plan, interrupt, worker_command, lambda: open_study(plan, None).finished)
    study = open_study(plan, None)
    if plan.config.confirm.best and study.finished and not confirmed(study):
        run_crew(plan, interrupt, worker_command, lambda: confirmed(study))
    if plan.config.confirm.best and study.finished:
        write_confirmation(study)


def _work(plan: Plan, interrupt: Interrupt) -> None:
    """Be one worker: try until nothing is left to begin, then take part in the confirmation."""
    from pipeline.tune.trial import Trainer  # torch: not for the one that only has workers work

    roster = Roster(plan.folder)
    try:
        study = open_study(plan, roster)
        restore_memory(study)
        trainer = Trainer(plan, interrupt, {})
        _search(study, trainer, interrupt)
        if plan.config.confirm.best and study.finished:
            confirm(study, trainer)
    finally:
        roster.close()


def _search(study: Study, trainer: Trainer, interrupt: Interrupt) -> None:
    from pipeline.tune.trial import run_trial

    limit, began = study.plan.config.study.timeout, time.monotonic()
    written = began
    while limit is None or time.monotonic() - began < 60 * limit:
        interrupt.check("finished trials are in the study")
        claimed = study.claim()
        if claimed is None:
            if study.finished or not study.plan.config.confirm.best:
                return
            time.sleep(_WAIT_SECONDS)  # for the trials of others: then all of us confirm
            continue
        try:
            run_trial(study, claimed, trainer)
        finally:
            keep_memory(study)
        if time.monotonic() - written >= _TABLES_SECONDS:
            with updating(study.plan.folder):
                write_results(study, final=False)
            written = time.monotonic()
    event(f"study.timeout: {limit} minutes are over, no further trial is begun")


def _summary(plan: Plan) -> Summary:
    study = open_study(plan, None)
    restore_memory(study)
    return Summary.of(study)


def _write(plan: Plan, final: bool) -> Study:
    study = open_study(plan, None)
    restore_memory(study)
    with updating(plan.folder):
        write_results(study, final)
    return study


def _finish(plan: Plan) -> Found:
    """Write all that was found.

    Raises:
        IsobarError: no trial came to its end.
    """
    study = _write(plan, final=True)
    summary = Summary.of(study)
    finished = study.finished
    if finished and summary.best is None:
        close_record(plan, "failed")
        raise IsobarError(f"{plan.folder}: no trial came to its end ({summary.text}); see trials_history.json")
    if plan.config.pictures:
        with updating(plan.folder):
            plan.ground.draw(plan.folder)
    close_record(plan, study.state)
    best = read_json(plan.folder / BEST)
    return Found(plan.folder, summary, best if best["trial"] is not None else None)
