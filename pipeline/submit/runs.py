"""Runs under ``results/``: which of them a task is at, how far it is, and those that were typed and not submitted."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.submit.process import machine
from pipeline.submit.ticket import LOST_SECONDS, seconds_of


@dataclass(frozen=True)
class Run:
    """A run folder and its ``run.json``."""

    folder: Path
    record: dict[str, Any]

    @property
    def here(self) -> bool:
        """Whether its process belongs to this machine (its name; a restart is seen by the process being gone)."""
        return bool(self.record.get("host") == machine().partition("/")[0])

    @property
    def at_work(self) -> bool:
        """Whether its process is at work: by the process itself here, by the heartbeat elsewhere."""
        if self.record.get("status") != "running":
            return False
        if self.here:
            return self.has_process
        return time.time() - seconds_of(self.record["heartbeat"]) < LOST_SECONDS

    @property
    def has_process(self) -> bool:
        """Whether the recorded process is there and is that program; a number alone may be somebody else's by now."""
        path = Path(f"/proc/{self.record.get('pid')}/cmdline")
        try:
            words = [os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]]
        except OSError:
            return False
        command = [str(word) for word in self.record.get("command", [])]
        return bool(command) and words[-len(command) + 1 :] == command[1:] and command[0] in " ".join(words)

    @property
    def epochs(self) -> str:
        """Epochs done of those wanted; empty for other jobs than training."""
        done, wanted = self.record.get("epoch"), self.record.get("epochs")
        return "" if wanted is None else f"{done or 0}/{wanted}"

    @property
    def metric(self) -> str:
        """The best value so far of the metric that chooses the epoch."""
        best, name = self.record.get("best"), self.record.get("select")
        return f"{name} {best:.3f}" if isinstance(best, float) and name else ""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last epoch, if each takes as long as those so far; early stopping may come before."""
        done, wanted = self.record.get("epoch"), self.record.get("epochs")
        if not done or not wanted or self.record.get("status") == "done":
            return None
        return float(self.record["seconds"]) / float(done) * float(wanted - done)


def all_runs(results: Path) -> list[Run]:
    """Return all runs of ``results/<experiment>/<run>``; those that cannot be read are left out."""
    found: list[Run] = []
    for path in sorted(results.glob("*/*/run.json")):
        if path.parent.is_symlink():
            continue
        try:
            found.append(Run(path.parent, read_json(path)))
        except InputError:
            continue
    return found


def run_of(runs: list[Run], label: str, attempts: list[dict[str, Any]]) -> Run | None:
    """Return the run that the attempts of a task are (or were) at: by their ticket, Slurm job, or process."""
    if not attempts:
        return None
    for run in runs:
        record = run.record
        if record.get("ticket") == label:
            return run
    for run in runs:
        if run.record["started"] >= attempts[0]["started"] and _same_job(run.record, attempts[-1]):
            return run
    return None


def _same_job(record: dict[str, Any], attempt: dict[str, Any]) -> bool:
    if "ended" in attempt and record["started"] > attempt["ended"]:
        return False
    if attempt["slurm"]:
        return bool((record.get("slurm") or {}).get("SLURM_JOB_ID") == attempt["slurm"])
    child = attempt.get("child", {})
    same = record.get("pid") == child.get("pid") and str(child.get("machine", "")).startswith(f"{record['host']}/")
    return bool(same and record["started"] >= attempt["started"])
