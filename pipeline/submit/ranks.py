"""A training of several processes: srun starts them on the nodes of the job, and each notes how it fared.

srun's own exit code is the highest of its tasks', and when one of them ends with an error, the others are killed after
a while; so a rank that saved and left (75) beside one that was killed for coming late would read as 137. What each
rank notes tells what happened first.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core.artifact import make_folder, read_json, write_json
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.programs import bound_to

PARALLEL = ("train",)
"""Jobs that several processes do together; any other job would only be done several times."""
TOLD_BY = signal.SIGUSR1
"""What srun is told by: it passes this one on, where SIGTERM would have it kill its tasks at once."""
_POLL_SECONDS = 0.1


def on_ranks(command: Sequence[str], layout: dict[str, int], notes: Path, python: str) -> list[str]:
    """Return the command that starts ``command`` once a rank.

    Args:
        command: of one rank.
        layout: ``nodes``, ``per_node`` (ranks) and ``cpus`` (cores a rank).
        notes: folder in which each rank notes how it fares.
        python: of the program that stands beside each rank.
    """
    srun = ["srun", f"--nodes={layout['nodes']}", f"--ntasks-per-node={layout['per_node']}"]
    # Since Slurm 22.05 srun does not take the cores a task over from sbatch.
    srun += [f"--ntasks={size(layout)}", f"--cpus-per-task={layout['cpus']}"]
    srun += ["--kill-on-bad-exit=1", "--input=none", "--mpi=none"]
    return [*srun, python, "-P", "-m", "pipeline.submit.ranks", str(notes), *command]


def size(layout: dict[str, int]) -> int:
    """Return how many ranks there are."""
    return layout["nodes"] * layout["per_node"]


def layout_of_template() -> dict[str, int] | None:
    """Return the layout of the Slurm job that we are in, as sbatch's options gave it; ``None`` for one process."""
    found = {name: os.environ.get(f"SLURM_{name}", "") for name in ("JOB_NUM_NODES", "NTASKS", "CPUS_PER_TASK")}
    numbers = {name: int(text) if text.isdigit() else 1 for name, text in found.items()}
    nodes = numbers["JOB_NUM_NODES"]
    layout = {"nodes": nodes, "per_node": max(1, numbers["NTASKS"] // nodes), "cpus": numbers["CPUS_PER_TASK"]}
    return layout if size(layout) > 1 else None


def verdict(notes: Path, code: int) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code that counts (negative: a signal), and what the ranks noted.

    A rank that vanished without being told to end counts first (its node, or want of memory; the others only lost sight
    of it), then what ended first of all that did not end well.

    Args:
        notes: folder of the notes.
        code: srun's exit code, which counts where no rank began.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(notes.glob("*.json")):
        with suppress(InputError):
            found.append(read_json(path))
    found.sort(key=lambda note: int(note["rank"]))
    if code == 0 or not found:
        return (128 - code if code > 128 else code), found
    if any("exit_code" not in note and not note["told"] for note in found):
        return -int(signal.SIGKILL), found
    ended = sorted((note for note in found if note.get("exit_code")), key=lambda note: float(note["at"]))
    return (int(ended[0]["exit_code"]) if ended else -int(signal.SIGKILL)), found


def rank(notes: Path, command: list[str]) -> int:
    """Run one rank's command, pass on what it is told, note how it ended and return its exit code as a shell does."""
    number = int(os.environ.get("SLURM_PROCID", "0"))
    interrupt = Interrupt()
    interrupt.install()
    note: dict[str, Any] = {"rank": number, "node": os.environ.get("SLURMD_NODENAME", ""), "told": ""}
    make_folder(notes)
    _write(notes, note)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=bound_to(os.getpid()))
    while (code := child.poll()) is None:
        if interrupt.requested() and not note["told"]:
            note["told"] = interrupt.reason
            _write(notes, note)
            child.send_signal(getattr(signal, str(interrupt.reason)))
        time.sleep(_POLL_SECONDS)
    peak = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6, 1)
    _write(notes, {**note, "exit_code": code, "at": time.time(), "peak_memory_mb": peak})
    return 128 - code if code < 0 else code


def _write(notes: Path, note: dict[str, Any]) -> None:
    # The training is worth more than the note about it.
    with suppress(EnvironmentFault):
        write_json(notes / f"{note['rank']}.json", note)


if __name__ == "__main__":
    sys.exit(rank(Path(sys.argv[1]), sys.argv[2:]))
