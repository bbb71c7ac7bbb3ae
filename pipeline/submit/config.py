"""Profiles: what a job asks of the cluster, by name, in ``slurm/profiles.yaml``."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.core.choose import near
from pipeline.core.config import Section, load
from pipeline.core.errors import InputError, shorten

_TIMES = (
    (re.compile(r"^(\d+)$"), (1.0,)),
    (re.compile(r"^(\d+):(\d+)$"), (1.0, 1 / 60)),
    (re.compile(r"^(\d+):(\d+):(\d+)$"), (60.0, 1.0, 1 / 60)),
    (re.compile(r"^(\d+)-(\d+)$"), (1440.0, 60.0)),
    (re.compile(r"^(\d+)-(\d+):(\d+)$"), (1440.0, 60.0, 1.0)),
    (re.compile(r"^(\d+)-(\d+):(\d+):(\d+)$"), (1440.0, 60.0, 1.0, 1 / 60)),
)
"""The forms of sbatch's ``--time``: minutes, minutes:seconds, hours:minutes:seconds, days-hours, …"""


def minutes(text: str) -> int:
    """Return a time limit of sbatch's forms in whole minutes, rounded up.

    Raises:
        ValueError: not one of them, or no time at all.
    """
    for form, units in _TIMES:
        found = form.match(text)
        if found:
            total = math.ceil(sum(int(word) * unit for word, unit in zip(found.groups(), units, strict=True)))
            if total > 0:
                return total
    raise ValueError(f"a time limit is written '04:00:00', '2-00:00:00' or '30' (minutes), in quotes; found {text!r}")


def _time(text: str) -> str:
    minutes(text)
    return text


def _memory(text: str) -> str:
    if not re.match(r"^[1-9]\d*[KMGT]?$", text):
        raise ValueError(f"memory is written '16G' or '500M'; found {text!r}")
    return text


class Profile(Section):
    """What one kind of job asks for; what is not set is left to the cluster."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[str, AfterValidator(_time)] = "01:00:00"
    """Time limit; the job is told ``signal_before`` seconds earlier, saves, and is queued again."""
    gpus: int = Field(0, ge=0)
    """GPUs a node."""
    cpus: int = Field(1, ge=1)
    """Cores a process; OMP_NUM_THREADS is set to it."""
    memory: Annotated[str, AfterValidator(_memory)] | None = None
    """Memory a node."""
    nodes: int = Field(1, ge=1)
    """Nodes of a training; other jobs take one."""
    tasks_per_node: int = Field(1, ge=1)
    """Processes of a training on each node (one a GPU); other jobs are one process."""
    array_parallelism: int = Field(256, ge=1)
    """Tasks of an array at a time."""
    constraint: str | None = None
    exclude: str | None = None
    """Nodes to keep away from."""
    wckey: str | None = None
    setup: tuple[str, ...] = ()
    """Lines of shell before the job starts (``module load cuda``); they end up in the sbatch text, so no secrets."""
    extra: dict[str, str | int | bool] = Field(default_factory=dict)
    """Further options of sbatch: ``{nice: 100}`` becomes ``#SBATCH --nice=100``."""
    python: str = ""
    """Python of the jobs; the one that submits if empty."""
    container: str = ""
    """Image in which the job runs, by apptainer; the program that attends it stays outside."""
    binds: tuple[str, ...] = ()
    """Folders that the container sees beside ISOBAR_HOME and the code: ``/data`` or ``/data:/inside:ro``."""
    signal_before: int = Field(120, ge=1)
    """Seconds before the time limit at which the job is told; at most a fifth of the limit."""
    requeues: int = Field(50, ge=0)
    """How often a job queues itself again (time limit, killed process); what Slurm queues again is not counted."""

    @property
    def alone(self) -> Profile:
        """The same for a job of one process."""
        return self.model_copy(update={"nodes": 1, "tasks_per_node": 1})

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes."""
        return minutes(self.time)

    @property
    def warning_seconds(self) -> int:
        """Seconds before the time limit at which the job is told, never more than a fifth of it."""
        return min(self.signal_before, self.minutes * 12)


class Profiles(Section):
    """All profiles, and which is meant where none is named."""

    default: str
    profiles: dict[str, Profile]


def chosen_profiles(words: list[str], jobs: Collection[str]) -> dict[str, str]:
    """Return the profile of each job that was typed: ``gpu1`` (all jobs, under the empty name) or ``train=gpu1``.

    Raises:
        InputError: no such job, or one that is named twice.
    """
    found: dict[str, str] = {}
    for word in words:
        job, given, name = word.rpartition("=")
        if given and job not in jobs:
            raise InputError(f"command line: --profile {word}: no job {job!r}{near(job, list(jobs))} is submitted here")
        if job in found:
            raise InputError(f"command line: --profile {word}: given twice")
        found[job] = name
    return found


def read_profile(path: Path, name: str | None, overrides: list[str]) -> tuple[str, Profile]:
    """Return the profile of this name (or the default) with ``key=value`` overrides on top.

    Raises:
        InputError: one line for each mistake: file, line, key, what is allowed.
    """
    chosen = name or load(path, Profiles).config.default
    prefixed = [f"profiles.{chosen}.{text}" for text in overrides]
    known = load(path, Profiles).config.profiles
    if chosen not in known:
        raise InputError(f"{path}: no profile {chosen!r}{near(chosen, list(known))} Profiles: {shorten(known, 40)}")
    return chosen, load(path, Profiles, prefixed).config.profiles[chosen]
