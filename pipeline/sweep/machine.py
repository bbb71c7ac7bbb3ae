"""How the machine is divided among runs at work side by side: cores, memory and accelerators."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.logs import log

LIBRARIES_GB = 1.0
"""What a training process takes beside its data: Python, torch, a small model and its batches."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GROUPS = Path("/sys/fs/cgroup")
_V1, _V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


@dataclass(frozen=True)
class Share:
    """What each of ``jobs`` runs gets."""

    jobs: int
    threads: int
    memory_gb: float
    devices: tuple[str, ...] = ()
    """Accelerators to take turns on; empty: all runs see all."""

    @property
    def settings(self) -> list[str]:
        """What is typed for the training of a run; none of it changes its signature."""
        return [f"train.threads={self.threads}", f"train.memory_gb={self.memory_gb:.4g}"]

    def environment(self, place: int) -> dict[str, str]:
        """Return the variables of the run at a place among those at work."""
        found = dict.fromkeys(_THREAD_VARIABLES, str(self.threads))
        if self.devices:
            found["CUDA_VISIBLE_DEVICES"] = self.devices[place % len(self.devices)]
        return found


def divide(jobs: int, runs: int, threads: int, memory_gb: float, data_gb: float) -> Share:
    """Divide this machine among ``jobs`` runs at a time, fewer where there are fewer runs or too little memory.

    Args:
        jobs: how many at a time were asked for.
        runs: how many there are to do.
        threads: of each run, if its settings say so; 0: divide the cores.
        memory_gb: for the data of all runs at work together.
        data_gb: what the data of one run takes where it is held as a whole.
    """
    jobs = max(1, min(jobs, runs))
    free = free_memory_gb()
    fitting = jobs if free is None else _fitting(jobs, free, memory_gb, data_gb)
    if fitting < jobs:
        log.warning(
            "%.1f GB of memory are free: %d at a time and not %d (%.0f GB each, and %.3g GB for the data of all)",
            *(free, fitting, jobs, LIBRARIES_GB, min(memory_gb, jobs * data_gb)),
        )
        jobs = fitting
    told = int(os.environ.get("OMP_NUM_THREADS", "0") or 0) if os.environ.get("OMP_NUM_THREADS", "").isdigit() else 0
    cores = max(1, len(os.sched_getaffinity(0)) // jobs)
    return Share(jobs, threads or (min(told, cores) if told else cores), memory_gb / jobs, several_devices())


def _fitting(jobs: int, free: float, memory_gb: float, data_gb: float) -> int:
    """Return how many of ``jobs`` runs fit into ``free`` GB; one is always tried."""
    while jobs > 1 and jobs * LIBRARIES_GB + min(memory_gb, jobs * data_gb) > free:
        jobs -= 1
    return jobs


def free_memory_gb() -> float | None:
    """Return what this process may still take: of the machine, and of its control group; ``None`` if not told."""
    limits = [left for left in (_of_machine(), *_of_groups()) if left is not None]
    return min(limits) / 1e9 if limits else None


def _of_machine() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(found[0]) if found else None


def _of_groups() -> Iterator[float]:
    """Yield what is left below the memory limits of the control groups (versions 1 and 2) that this process is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root, names = (_GROUPS, _V2) if controllers == "" else (_GROUPS / "memory", _V1)
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                yield from _left(folder, names)


def _left(folder: Path, names: tuple[str, str]) -> Iterator[float]:
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in names)
    except OSError:
        return
    if limit != "max":
        yield float(limit) - float(used)


def several_devices() -> tuple[str, ...]:
    """Return the CUDA devices to take turns on, if this process sees more than one."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
    else:
        names = sorted(path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*"))
    return tuple(names) if len(names) > 1 else ()
