"""Slurm's commands: asked with a time limit, believed when they answer, done without where they are missing."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.core.errors import EnvironmentFault

_SECONDS = 30.0
_FIELDS = "JobID,State,ExitCode,NodeList,Elapsed,MaxRSS,Reason"
_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")


@dataclass(frozen=True)
class Seen:
    """What Slurm says about a job or a task of an array."""

    state: str
    node: str = ""
    reason: str = ""
    elapsed: str = ""
    exit_code: str = ""
    memory: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state.startswith(_FINAL)


def available() -> bool:
    """Tell whether this machine submits to Slurm."""
    return shutil.which("sbatch") is not None


def ask(*command: str, seconds: float = _SECONDS) -> tuple[int, str, str]:
    """Run a command of Slurm; return its exit code (127: it is missing, 124: no answer) and what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError:
        return 127, "", f"{command[0]}: not found"
    except subprocess.TimeoutExpired:
        return 124, "", f"{command[0]}: no answer in {seconds:.0f} s"
    return done.returncode, done.stdout, done.stderr.strip()


def queue() -> dict[str, Seen]:
    """Return the user's jobs in the queue by id; empty where nobody answers."""
    code, text, _ = ask("squeue", "-h", "-r", "-u", getpass.getuser(), "-t", "all", "-o", "%i|%T|%N|%r|%M")
    if code:
        return {}
    rows = (line.split("|") for line in text.splitlines())
    return {row[0]: Seen(row[1], row[2], row[3], row[4]) for row in rows if len(row) == 5}


def accounts(ids: Iterable[str], since: str) -> dict[str, Seen]:
    """Return what accounting knows of these jobs since a day (``YYYY-MM-DD``); empty on a cluster without sacct."""
    wanted = sorted({one.partition("_")[0] for one in ids})
    if not wanted:
        return {}
    code, text, _ = ask("sacct", "-n", "-P", "-S", since, "-j", ",".join(wanted), "-o", _FIELDS)
    found: dict[str, Seen] = {}
    for row in (line.split("|") for line in text.splitlines()) if not code else ():
        name, dot, _step = row[0].partition(".")
        if not dot:
            found[name] = Seen(row[1], row[3], row[6], row[4], row[2], row[5])
        elif name in found and row[5]:  # memory is known of steps only
            old = found[name]
            found[name] = Seen(old.state, old.node, old.reason, old.elapsed, old.exit_code, row[5])
    return found


def state_of(slurm_id: str) -> str:
    """Return the state of a job as ``scontrol`` tells it; empty where it does not."""
    code, text, _ = ask("scontrol", "show", "job", slurm_id)
    found = re.search(r"\bJobState=(\w+)", text) if not code else None
    return found[1] if found else ""


def requeue(slurm_id: str) -> str:
    """Queue a job again, under the same id; return why that was refused, empty if it was not."""
    code, _, said = ask("scontrol", "requeue", slurm_id)
    return (said or f"exit code {code}") if code else ""


def cancel(slurm_id: str) -> str:
    """Cancel a job; return why that was refused, empty if it was not."""
    code, _, said = ask("scancel", slurm_id)
    return (said or f"exit code {code}") if code else ""


def max_array_size() -> int:
    """Return how many tasks an array may have, as the cluster says; 1001, Slurm's default, where it does not say."""
    code, text, _ = ask("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE) if not code else None
    return int(found[1]) if found else 1001


def resubmit(script: str, after: str, more: list[str]) -> str:
    """Submit a script again, to start when the job ``after`` has ended however it did; return the new id.

    Raises:
        EnvironmentFault: sbatch refused.
    """
    command = ["sbatch", "--parsable", *([f"--dependency=afterany:{after}"] if after else []), script, *more]
    code, text, said = ask(*command)
    if code:
        raise EnvironmentFault(
            f"sbatch: {' '.join(said.split()).removeprefix('sbatch: error: ') or f'exit code {code}'}"
        )
    return text.strip().partition(";")[0]
