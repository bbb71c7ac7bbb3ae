"""Where a process runs, as its scheduler tells it: so that a job of many processes tells one story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """What Slurm, torchrun and the program that attends a submitted job say in the environment."""

    rank: int = 0
    job: str = ""
    array: str = ""
    """Names the array to all its tasks; differs from that of any other array."""
    task: str = ""
    tasks: int = 0
    restarts: int = 0
    words: str = ""
    """What a message says of it."""
    attended: bool = False
    """Whether somebody starts it again when it was killed."""

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> Place:
        """Read the environment."""

        def number(*names: str) -> int:
            texts = (environment.get(name, "") for name in names)
            return next((int(text) for text in texts if text.isdigit()), 0)

        job, ticket = environment.get("SLURM_JOB_ID", ""), environment.get("ISOBAR_TICKET", "")
        rank = number("SLURM_PROCID", "RANK", "OMPI_COMM_WORLD_RANK") if job or "WORLD_SIZE" in environment else 0
        array, task = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
        tasks = number("SLURM_ARRAY_TASK_COUNT")
        words = f"Slurm job {array}, task {task} of {tasks}" if array else f"Slurm job {job}" if job else ""
        if not ticket:
            return cls(rank, job, array, task, tasks, number("SLURM_RESTART_COUNT"), words)
        # A ticket stays the same where its job gets another id, and counts all the pieces that an array was cut into.
        array, tasks, task = environment.get("ISOBAR_ARRAY", ""), number("ISOBAR_TASKS"), ticket.partition(".")[2]
        slurm = f" · Slurm job {environment.get('SLURM_ARRAY_JOB_ID') or job}" if job else ""
        words = f"{ticket}{f' of {tasks} tasks' if array else ''}{slurm}"
        return cls(rank, ticket, array, task, tasks, max(0, number("ISOBAR_ATTEMPT") - 1), words, attended=True)
