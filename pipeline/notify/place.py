"""Where a process runs, as its scheduler tells it: so that a job of many processes tells one story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """What Slurm and torchrun say in the environment."""

    rank: int = 0
    job: str = ""
    array: str = ""
    task: str = ""
    tasks: int = 0
    restarts: int = 0

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> Place:
        """Read the environment."""

        def number(*names: str) -> int:
            texts = (environment.get(name, "") for name in names)
            return next((int(text) for text in texts if text.isdigit()), 0)

        job = environment.get("SLURM_JOB_ID", "")
        array = environment.get("SLURM_ARRAY_JOB_ID", "")
        rank = number("SLURM_PROCID", "RANK", "OMPI_COMM_WORLD_RANK") if job or "WORLD_SIZE" in environment else 0
        task, tasks = environment.get("SLURM_ARRAY_TASK_ID", ""), number("SLURM_ARRAY_TASK_COUNT")
        return cls(rank, job, array, task, tasks, number("SLURM_RESTART_COUNT"))

    @property
    def words(self) -> str:
        """What a message says of it."""
        if self.array:
            return f"Slurm job {self.array}, task {self.task} of {self.tasks}"
        return f"Slurm job {self.job}" if self.job else ""
