"""What every submitted job is doing: its files, the runs, and what Slurm says where it says something."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.submit import slurm
from pipeline.submit.runs import Run, all_runs, run_of
from pipeline.submit.slurm import Seen
from pipeline.submit.ticket import Task, Ticket, all_tickets, at_work, seconds_of, state

OVER = ("done", "failed", "cancelled")
"""Nothing more will happen by itself, and nothing need happen."""


@dataclass(frozen=True)
class Row:
    """One task (or one run that was typed) and how it stands."""

    id: str
    name: str
    state: str
    where: str = ""
    seconds: float | None = None
    run: Run | None = None
    heartbeat: float | None = None
    """Seconds since the last sign of life."""
    slurm_id: str = ""
    note: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)


def rows(home: Path, only: list[tuple[Ticket, Task]] | None = None) -> list[Row]:
    """Return all tasks, oldest first, then runs that were typed and are at work; or only the tasks that are named."""
    pairs = [(one, task) for one in all_tickets(home) for task in one.tasks] if only is None else only
    runs = all_runs(home / "results")
    files = [(ticket, task, state(ticket, task)) for ticket, task in pairs]
    asked = [(ticket, task) for ticket, task, found in files if ticket.on_slurm and (found != "done" or only)]
    queue = slurm.queue() if asked else {}
    accounts = _accounts(asked, queue)
    listed = [_row(ticket, task, found, runs, queue, accounts) for ticket, task, found in files]
    if only is not None:
        return listed
    submitted = {row.run.folder for row in listed if row.run}
    return listed + [_typed(run) for run in runs if run.at_work and run.folder not in submitted]


def _accounts(asked: list[tuple[Ticket, Task]], queue: dict[str, Seen]) -> dict[str, Seen]:
    ids = {task.slurm_id for _, task in asked} - {""}
    unknown = [one for one in ids if one not in queue or queue[one].final]
    since = min((ticket.facts["submitted"][:10] for ticket, _ in asked), default="")
    return slurm.accounts(unknown, since) if unknown else {}


def _row(
    ticket: Ticket, task: Task, found: str, runs: list[Run], queue: dict[str, Seen], accounts: dict[str, Seen]
) -> Row:
    attempts = task.attempts()
    last = attempts[-1] if attempts else {}
    seen = queue.get(task.slurm_id) or accounts.get(task.slurm_id) or Seen("")
    if ticket.on_slurm:
        found = with_slurm(found, bool(attempts), queue.get(task.slurm_id), accounts.get(task.slurm_id))
    beat = time.time() - seconds_of(last["heartbeat"]) if last and "ended" not in last else None
    return Row(
        id=ticket.label(task),
        name=ticket.name,
        state=found,
        where=_where(ticket, last.get("node", "")) or seen.node,
        seconds=sum(_seconds(one) for one in attempts) if attempts else None,
        run=run_of(runs, ticket.label(task), attempts),
        heartbeat=beat,
        slurm_id=task.slurm_id,
        note=_note(task, last, seen, found),
        attempts=attempts,
    )


def _where(ticket: Ticket, node: str) -> str:
    more = int((ticket.facts.get("ranks") or {}).get("nodes", 1)) - 1
    return f"{node} +{more}" if node and more else node


def with_slurm(files: str, begun: bool, queued: Seen | None, account: Seen | None) -> str:
    """Return the state of a task of Slurm from what the files, the queue and accounting say (``None``: nothing).

    The files know how the command ended; Slurm knows what never began, what died without a word, and what waits again.
    """
    ended = files in ("interrupted", "failed", "cancelled")
    if files == "done":
        return files
    if queued is not None and not queued.final:
        if queued.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "PREEMPTED"):
            return "requeued" if begun else "waiting"
        if queued.state == "RUNNING":
            return "running" if files == "running" else "starting"
        return queued.state.lower()
    seen = queued or account
    if seen is None or not seen.final:
        return files
    if seen.state.startswith("CANCELLED"):
        return "cancelled"
    return files if ended else "done" if seen.state.startswith("COMPLETED") else "failed"


def _note(task: Task, last: dict[str, Any], seen: Seen, found: str) -> str:
    """Return in a few words why a task is in its state."""
    if found == "cancelled" and task.cancelled:
        return task.cancelled
    if found == "waiting" or (found == "requeued" and seen.reason not in ("", "None")):
        return seen.reason if seen.reason not in ("None", "") else ""
    if last and "ended" in last and found in ("failed", "interrupted"):
        return str(last["why"] or f"exit code {last['exit_code']}")
    if seen.state and found in ("failed", "cancelled", "lost"):
        return seen.state
    return ""


def _seconds(attempt: dict[str, Any]) -> float:
    end = attempt.get("ended") or (attempt["heartbeat"] if not at_work(attempt) else "")
    return (seconds_of(end) if end else time.time()) - seconds_of(attempt["started"])


def _typed(run: Run) -> Row:
    slurm_id = (run.record.get("slurm") or {}).get("SLURM_JOB_ID", "")
    return Row(
        id=run.folder.name,
        name=f"{run.record['job']}-{run.folder.parent.name}",
        state="running",
        where=str(run.record.get("host", "")),
        seconds=float(run.record["seconds"]),
        run=run,
        heartbeat=time.time() - seconds_of(run.record["heartbeat"]),
        slurm_id=slurm_id,
        note="typed, not submitted",
    )


def table(listed: list[Row]) -> str:
    """Return rows as text in columns."""
    head = ["id", "name", "state", "node", "elapsed", "epoch", "metric", "left", "beat", "slurm", "note"]
    lines = [head, *(_cells(row) for row in listed)]
    used = [k for k in range(len(head)) if any(line[k] for line in lines[1:]) or k < 3]
    widths = {k: max(len(line[k]) for line in lines) for k in used}
    return "\n".join("  ".join(line[k].ljust(widths[k]) for k in used).rstrip() for line in lines)


def _cells(row: Row) -> list[str]:
    run = row.run
    left = run.seconds_left if run and row.state == "running" else None
    beat = f"{row.heartbeat:.0f} s ago" if row.heartbeat is not None and row.state not in OVER else ""
    times = len(row.attempts)
    shown = f"{row.state} ({times} starts)" if times > 1 else row.state
    return [
        row.id,
        row.name,
        shown,
        row.where,
        clock(row.seconds),
        run.epochs if run else "",
        run.metric if run else "",
        clock(left),
        beat,
        row.slurm_id,
        row.note,
    ]


def clock(seconds: float | None) -> str:
    """Return a duration as ``h:mm:ss``."""
    if seconds is None:
        return ""
    whole = int(max(seconds, 0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
