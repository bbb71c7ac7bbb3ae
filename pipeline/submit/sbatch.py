"""Tickets to Slurm through submitit: its sbatch text, arrays and pickles, which name a task and nothing else."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import Checkpointable
from submitit.slurm.slurm import SlurmExecutor

from pipeline.core.artifact import write_text
from pipeline.core.errors import EnvironmentFault
from pipeline.core.interrupt import Interrupt
from pipeline.submit.attend import attend
from pipeline.submit.config import Profile
from pipeline.submit.plan import chunks
from pipeline.submit.ticket import Task, Ticket

_BEGIN = "trap : USR1 USR2; export ISOBAR_BEGAN=$(date +%s)"
"""Slurm may send its warning a minute early, and would end the shell with it; who attends the job has a clock too."""


class Attend(Checkpointable):
    """What submitit carries to the node: which task of which ticket. There is no state in it, so it never grows old."""

    def __init__(self, ticket: str, task: int) -> None:
        """Name a task."""
        self.ticket, self.task = ticket, task

    def __call__(self) -> None:
        """Attend the task and leave with its exit code, which Slurm then knows as well.

        submitit's signal handlers, which save inside the handler and take every stop of a job of ten minutes or less
        for a time-out, are replaced by flags; they serve only in the moments before.
        """
        interrupt = Interrupt()
        interrupt.install()
        ticket = Ticket.read(Path(self.ticket))
        sys.exit(attend(ticket, ticket.tasks[self.task], interrupt))


def texts(folder: Path, facts: dict[str, Any], profile: Profile, dependencies: list[str], most: int) -> list[str]:
    """Return the sbatch text of each piece of a ticket, exactly as it is submitted."""
    return [
        _text(piece, dependency, facts, folder, profile) for piece, dependency in _pieces(facts, dependencies, most)
    ]


def submit(ticket: Ticket, profile: Profile, dependencies: list[str], most: int) -> list[str]:
    """Submit a ticket and note the ids of its tasks; return them.

    Args:
        ticket: what to submit.
        profile: what it asks for.
        dependencies: ``--dependency`` of each piece, or one for all, or none.
        most: tasks that an array of the cluster may have.

    Raises:
        EnvironmentFault: sbatch refused.
    """
    write_text(ticket.folder / "again.sh", _again(ticket, profile))
    ids: list[str] = []
    for piece, dependency in _pieces(ticket.facts, dependencies, most):
        executor = _executor(ticket.folder, ticket.facts, profile, dependency)
        tasks = [ticket.tasks[number] for number in piece]
        try:
            with redirect_stderr(StringIO()):  # submitit prints what sbatch said, before it raises it
                jobs = executor.submit_array([Attend(str(ticket.folder), task.number) for task in tasks])
        except (FailedJobError, FailedSubmissionError) as error:
            _give_up(ticket, tasks, ids)
            raise EnvironmentFault(f"sbatch: {_said(error)}") from None
        for task, job in zip(tasks, jobs, strict=True):
            task.is_of_slurm(str(job.job_id))
            ids.append(str(job.job_id))
    return ids


def _pieces(facts: dict[str, Any], dependencies: list[str], most: int) -> list[tuple[range, str]]:
    pieces = chunks(len(facts["tasks"]), most)
    each = dependencies if len(dependencies) == len(pieces) else [",".join(dependencies)] * len(pieces)
    return list(zip(pieces, each, strict=True))


def _text(piece: range, dependency: str, facts: dict[str, Any], folder: Path, profile: Profile) -> str:
    executor = _executor(folder, facts, profile, dependency)
    if len(piece) > 1:
        executor.parameters["map_count"] = len(piece)
    return str(executor._make_submission_file_text(executor._submitit_command_str, "")) + "\n"


def _again(ticket: Ticket, profile: Profile) -> str:
    """Return a script that does one task (its argument), for clusters that do not requeue."""
    executor = _executor(ticket.folder, ticket.facts, profile, "")
    command = f'{executor.python} -m pipeline.submit.attend {shlex.quote(str(ticket.folder))} "$1"'
    return str(executor._make_submission_file_text(command, "")) + "\n"


def _executor(folder: Path, facts: dict[str, Any], profile: Profile, dependency: str) -> SlurmExecutor:
    python = f"exec {shlex.quote(str(facts['python']))} -P"
    executor = SlurmExecutor(folder, max_num_timeout=profile.requeues, python=python)
    named: dict[str, Any] = {
        "job_name": facts["name"],
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "time": profile.minutes,
        "gpus_per_node": profile.gpus or None,
        "cpus_per_task": profile.cpus,
        "mem": profile.memory,
        "nodes": profile.nodes,
        **({"ntasks_per_node": profile.tasks_per_node} if facts.get("ranks") else {}),
        "array_parallelism": profile.array_parallelism,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "wckey": profile.wckey,
        "dependency": dependency or None,
    }
    variables = {"OMP_NUM_THREADS": profile.cpus, **facts["variables"]}
    exports = [f"export {name}={shlex.quote(str(value))}" for name, value in variables.items()]
    executor.update_parameters(
        **named,
        setup=[_BEGIN, *profile.setup, *exports],
        stderr_to_stdout=True,
        # The program that attends replaces the shell, so that the signal before the time limit reaches it; without srun
        # a job may submit jobs.
        use_srun=False,
        additional_parameters=_more(facts, profile, dependency),
    )
    return executor


def _more(facts: dict[str, Any], profile: Profile, dependency: str) -> dict[str, Any]:
    """Return options of sbatch that submitit does not name; ``extra`` of a profile may change them, false drops one."""
    options: dict[str, Any] = {
        "signal": f"B:USR2@{profile.warning_seconds}",
        "chdir": facts["place"],
        "requeue": True,
        "kill-on-invalid-dep": "yes" if dependency else False,
        **profile.extra,
    }
    return {name: value for name, value in options.items() if value is not False}


def _give_up(ticket: Ticket, tasks: Sequence[Task], ids: list[str]) -> None:
    """Note that tasks were refused by Slurm; those that it took (ids) go on."""
    for task in ticket.tasks[len(ids) :]:
        task.cancel("Slurm refused it")


def _said(error: Exception) -> str:
    lines = [
        line.strip().removeprefix("sbatch: error: ") for line in str(error).splitlines() if "error" in line.lower()
    ]
    return "; ".join(dict.fromkeys(lines)) or str(error).strip().splitlines()[0]
