"""The sweep: runs that are finished are taken as they are, the others are trained and judged by the ordinary jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core import logs
from pipeline.core.errors import DONE, FAILED, INTERRUPTED, InputError, Interrupted, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.job import Job
from pipeline.core.lock import holding
from pipeline.core.logs import event, log
from pipeline.core.parts import Part
from pipeline.sweep import summary as told
from pipeline.sweep.crew import Ended, Task, work
from pipeline.sweep.machine import Share, divide
from pipeline.sweep.plan import Asked, Plan, Planned, make_plan, ready_store
from pipeline.sweep.scores import numbers_of
from pipeline.sweep.standing import how_far, is_finished

STAGES = ("train", "thresholds", "evaluate")
_NEXT = {"new": "begins", "done": "is judged", "failed": "is tried again"}


@dataclass
class _Course:
    """How far the sweep is."""

    plan: Plan
    part: Part
    mine: Sequence[Planned]
    rows: dict[str, told.Row] = field(default_factory=dict)
    """By run folder."""

    def begin(self, planned: Planned) -> None:
        """Tell that a run begins, or from where it goes on."""
        event(f"{planned}: {_NEXT.get(planned.run.status, 'goes on')} ({planned.run.path.name})")

    def note(self, planned: Planned, ended: Ended) -> None:
        """Note how a run ended, and tell."""
        if ended.code == DONE:
            row = self.take(planned)
            said = row["error"] or f"validation macro-F1 {row['val']['macro_f1'] or float('nan'):.3f}"
        else:
            status = told.INTERRUPTED if ended.code == INTERRUPTED else told.FAILED
            error = f"{ended.program}: {ended.error}" if status == told.FAILED else None
            row = self._put(told.row_of(planned, status, error, None))
            said = f"{status}: {error}" if error else status
        count = sum(row["status"] in (told.FINISHED, told.FAILED) for row in self.rows.values())
        (log.error if row["status"] == told.FAILED else event)(
            f"{count} of {len(self.mine)}: {planned}: {said} ({ended.seconds:.0f} s)"
        )
        self.write()

    def write(self) -> dict[str, Any]:
        """Write the summary of how things stand, but not as one of several parts; return it.

        After each run, so that a sweep that is killed leaves no summary of an earlier course behind.
        """
        summary = told.summarise(self.plan, self.all_rows())
        if self.part.whole:
            told.write_summary(self.plan, summary)
        return summary

    def take(self, planned: Planned) -> told.Row:
        """Take the numbers of a run whose folder says that it is finished."""
        try:
            return self._put(told.row_of(planned, told.FINISHED, None, numbers_of(planned.run)))
        except (InputError, KeyError) as error:
            return self._put(told.row_of(planned, told.FAILED, f"{type(error).__name__}: {error}", None))

    def _put(self, row: told.Row) -> told.Row:
        self.rows[row["run"]] = row
        return row

    def all_rows(self) -> list[told.Row]:
        """Return a row for each run of the plan, in its order."""
        waiting = (told.row_of(planned, told.WAITING, None, None) for planned in self.plan.runs)
        return [self.rows.get(row["run"], row) for row in waiting]


def plan(
    job: Job[Any], jobs: Path, existing_store: Callable[[], Path], formats: Mapping[str, int], offered: str
) -> Plan:
    """Return the runs that a command line asks for; where the store is not there, it is built first.

    Args:
        job: the command; its config has the settings of the sweep as ``sweep``.
        jobs: folder of the programs of the stages.
        existing_store: finds the folder of the store.
        formats: version of the results of thresholds and evaluate.
        offered: package that knows the names of backbones.

    Raises:
        InputError: a backbone, a fold or a setting is wrong, or does not go with a sweep.
        ProgramFailed: the store could not be built.
    """
    asked = Asked.by(job, jobs, existing_store, formats, offered)
    return make_plan(asked, ready_store(asked, job.interrupt))


def finished(plan: Plan, planned: Planned) -> bool:
    """Tell whether a run needs no program any more, from its files alone."""
    return is_finished(planned.run, plan.stamps["thresholds"], plan.stamps["evaluate"][planned.fold])


class RunsFailed(IsobarError):
    """One or more runs of the sweep failed; the table says which and why."""

    exit_code = FAILED


def standing(plan: Plan, planned: Planned) -> str:
    """Return how a run stands, in a few words."""
    return "finished" if finished(plan, planned) else how_far(planned.run)


@dataclass(frozen=True)
class Swept:
    """How a sweep ended."""

    plan: Plan
    summary: dict[str, Any]
    shown: bool
    """Whether there is a new summary to draw and print: not after a part, and not where nothing was to be started."""

    def told(self) -> str:
        """Return what was done, in a line, or turn runs that are not finished into the exit code of the sweep.

        Raises:
            RunsFailed: one or more runs failed.
            Interrupted: none failed, but some were stopped, by ``train.max_time`` or from outside.
        """
        plan, counts = self.plan, self.summary["counts"]
        if plan.settings.dry_run:
            return f"nothing was started (--dry-run); the summary would be in {plan.folder}"
        if counts[told.FAILED]:
            raise RunsFailed(
                f"{counts[told.FAILED]} of {len(plan.runs)} runs failed; what each printed is in "
                f"{plan.folder / 'logs'}; the same command tries them again"
            )
        if counts[told.INTERRUPTED]:
            raise Interrupted(f"{counts[told.INTERRUPTED]} runs were interrupted; run the same command again to go on")
        if plan.settings.parts:
            return f"part {plan.settings.parts} is done; the same command without --parts writes the summary"
        best = f"best by {self.summary['ordered_by']} on validation: {self.summary['best']}"
        return f"wrote {plan.folder} ({best})"


def sweep(plan: Plan, interrupt: Interrupt) -> Swept:
    """Do what is left of the sweep (or of one part of it), and write its summary (but not after a part).

    Raises:
        Interrupted: a stop was asked for; programs at work were told and have saved their state.
        EnvironmentFault: another process is at work on this sweep, or its folder cannot be written.
    """
    part = Part.parse(plan.settings.parts)
    course = _Course(plan, part, part.mine(plan.runs))
    if plan.settings.dry_run:
        for planned in course.mine:
            log.info("%s: %s (%s)", planned, standing(plan, planned), planned.run.path)
        return Swept(plan, told.summarise(plan, course.all_rows()), shown=False)
    with holding(plan.folder, part):
        logs.write_to(plan.folder, "sweep" if part.whole else f"sweep-{part.number}-of-{part.of}")
        left = [planned for planned in course.mine if not finished(plan, planned)]
        for planned in course.mine:
            if planned not in left:
                course.take(planned)
        event(f"{len(course.mine)} runs, {len(course.mine) - len(left)} of them finished already: {plan.folder}")
        result = course.write()
        if left:
            _work(course, left, interrupt)
            result = told.summarise(plan, course.all_rows())
    if interrupt.requested():
        done = result["counts"][told.FINISHED]
        raise Interrupted(
            f"stopped by {interrupt.reason}: {done} of {len(plan.runs)} runs are finished, those at work have saved "
            "their state; run the same command again to go on"
        )
    return Swept(plan, result, shown=part.whole)


def _work(course: _Course, left: Sequence[Planned], interrupt: Interrupt) -> None:
    plan = course.plan
    train = plan.experiment.train
    share = divide(plan.settings.jobs, len(left), train.threads, train.memory_gb, plan.data_gb)
    threads = f"{share.threads} thread{'s' * (share.threads > 1)}"
    memory = f"at most {share.memory_gb:.3g} GB for its data"
    event(f"{share.jobs} at a time, each with {threads} and {memory}; what they print: {plan.folder / 'logs'}")
    tasks = [_task(plan, planned, share) for planned in left]
    work(tasks, share.jobs, share.environment, interrupt, course.note, course.begin)


def _task(plan: Plan, planned: Planned, share: Share) -> Task[Planned]:
    commands = []
    for stage in STAGES:
        more = share.settings if stage == "train" else []
        commands.append([str(plan.jobs / f"{stage}.py"), *plan.typed, *planned.settings, *more])
    return Task(planned, commands, plan.folder / "logs" / f"{planned.run.path.name}.log")
