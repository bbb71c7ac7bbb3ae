"""Whether this process is one of several ranks of a job, as ``srun`` or ``torchrun`` tells each by its environment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.errors import InputError

_PORTS = range(20000, 29000)
_INTERACTIVE = 0xFFFFFFF0
"""Ids of steps from here on are Slurm's own: the batch script, the shell of ``salloc``."""


@dataclass(frozen=True)
class Launch:
    """One of ``count`` ranks, the ``local_rank``-th of ``local_count`` on its node."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes, logs and tells people."""
        return self.rank == 0


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """Return what this process was started as.

    A batch script with several tasks, and a shell inside an allocation, are one process each: only ``srun`` numbers
    the tasks of a step. ``torchrun`` inside a step counts, not the step.
    """
    count = _number(environment, "WORLD_SIZE")
    if count > 1 and environment.get("RANK", "").isdigit():
        here = _number(environment, "LOCAL_WORLD_SIZE") or 1
        return Launch(_number(environment, "RANK"), count, _number(environment, "LOCAL_RANK"), here)
    count = _number(environment, "SLURM_STEP_NUM_TASKS")
    if count > 1 and environment.get("SLURM_PROCID", "").isdigit() and _step(environment) < _INTERACTIVE:
        here = _tasks_here(environment)
        return Launch(_number(environment, "SLURM_PROCID"), count, _number(environment, "SLURM_LOCALID"), here)
    return Launch()


def meeting_point(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Return host and port where the ranks meet: ``MASTER_ADDR`` and ``MASTER_PORT``, else by the Slurm step.

    That is the first node of the step, and a port by the numbers of job and step, so that two jobs rarely share one.

    Raises:
        InputError: the environment does not say.
    """
    address, port = environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    if not address and not nodes:
        raise InputError(
            "environment: RANK and WORLD_SIZE are set without MASTER_ADDR; start with torchrun or srun, or set it"
        )
    if not (port.isdigit() and int(port)) and (port or not nodes):
        raise InputError(f"environment: MASTER_PORT must be the number of a free port, found {port!r}")
    job = _number(environment, "SLURM_JOB_ID")
    own = _PORTS[(17 * job + _step(environment)) % len(_PORTS)]
    return address or first_node(nodes), int(port) if port else own


def first_node(nodes: str) -> str:
    """Return the first host of a Slurm list like ``n[07-09,12],login``; by ``scontrol`` where that is at hand."""
    try:
        told = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True, timeout=30
        )
        return told.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        # In a container there is often no scontrol; lists of one bracket are what clusters use.
        found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
        return "".join(part or "" for part in found.groups()) if found else nodes


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Read ``SLURM_STEP_TASKS_PER_NODE``, a list like ``2(x3),1``, at the place of this node."""
    listed: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        listed += [int(tasks)] * int(times or 1)
    node = _number(environment, "SLURM_NODEID")
    return listed[node] if node < len(listed) else 1


def _step(environment: Mapping[str, str]) -> int:
    return _number(environment, "SLURM_STEP_ID")


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdigit() else 0
