"""What a person can do to a job: look at its log, ask why, stop it, start it again; always by recorded ids."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.submit import slurm
from pipeline.submit.local import detach
from pipeline.submit.overview import OVER, Row, clock, rows
from pipeline.submit.process import alive, signal_process
from pipeline.submit.runs import Run, all_runs
from pipeline.submit.ticket import Task, Ticket, at_work, find, state

_BLOCK = 1 << 16
_STEP_SECONDS = 0.2


def tail(home: Path, word: str, lines: int, follow: bool) -> None:
    """Print the last lines of a job's log; with ``follow`` go on until the job is over.

    Raises:
        InputError: no such job, several tasks, or nothing is written yet.
    """
    run = _typed_run(home, word)
    if run is not None:
        path = run.folder / f"{run.record['job']}.log"
        over = lambda: not Run(run.folder, all_record(run)).at_work  # noqa: E731
    else:
        ticket, task = _one(home, word)
        path = _log(ticket, task)
        over = lambda: rows(home, [(ticket, task)])[0].state in (*OVER, "interrupted", "lost")  # noqa: E731
    end = path.stat().st_size
    for line in last_lines(path, lines, end):
        print(line, flush=follow)
    if follow:
        _follow(path, end, over)


def why(home: Path, word: str) -> str:
    """Return what is known about how a job stands: state, exit codes, attempts, last errors, most memory."""
    run = _typed_run(home, word)
    if run is not None:
        return "\n".join(_about_run(run))
    pairs = list(find(home, word))
    told = [_why(ticket, task, rows(home, [(ticket, task)])[0]) for ticket, task in pairs]
    return "\n\n".join(told)


def cancel(home: Path, word: str, seconds: float, force: bool) -> Iterator[str]:
    """Stop the tasks of a job for good (until ``requeue``), and wait until they have saved; tell of each.

    Args:
        home: where results are.
        word: id or name.
        seconds: how long to wait.
        force: kill what has not ended by then.
    """
    run = _typed_run(home, word)
    if run is not None:
        yield _stop_typed(run, seconds, force)
        return
    pairs = [(ticket, task) for ticket, task in find(home, word)]
    open_ones = [(ticket, task) for ticket, task in pairs if _state(home, ticket, task) not in OVER]
    for ticket, task in pairs:
        if (ticket, task) not in open_ones:
            yield f"{ticket.label(task)}: is {_state(home, ticket, task)} already"
    for _, task in open_ones:
        task.cancel("by status.py cancel")
        task.take()
    refused = [_scancel(ticket, open_ones) for ticket in {one.id: one for one, _ in open_ones}.values()]
    yield from (text for text in refused if text)
    end = time.monotonic() + seconds
    settled = (*OVER, "interrupted", "lost")
    while time.monotonic() < end and any(_state(home, *pair) not in settled for pair in open_ones):
        time.sleep(_STEP_SECONDS)
    for ticket, task in open_ones:
        if force and state(ticket, task) == "running":
            signal_process(task.last()["process"], signal.SIGKILL)
            time.sleep(_STEP_SECONDS)
        found = _state(home, ticket, task)
        yield f"{ticket.label(task)}: {found if found in settled else 'still at work; it stops when it has saved'}"


def requeue(home: Path, word: str) -> Iterator[str]:
    """Start again what was interrupted, lost, cancelled or has failed; tell of each task."""
    for ticket, task in find(home, word):
        found = _state(home, ticket, task)
        if found not in ("interrupted", "lost", "cancelled", "failed"):
            yield f"{ticket.label(task)}: is {found}; there is nothing to start again"
            continue
        task.allow()
        yield f"{ticket.label(task)}: {_again(ticket, task)}"


def _again(ticket: Ticket, task: Task) -> str:
    if not ticket.on_slurm:
        task.ask_again()
        end = time.monotonic() + 3.0
        while task.asked_again and alive(ticket.keeper) and time.monotonic() < end and ticket.facts["parallel"] > 1:
            time.sleep(_STEP_SECONDS)
        if task.asked_again and not alive(ticket.keeper):
            return f"started again, process {detach(ticket)}"
        return "is started again by the process that looks after its ticket"
    script = ticket.folder / "again.sh"
    refused = slurm.requeue(task.slurm_id) if slurm.state_of(task.slurm_id) else "Slurm has forgotten the job"
    if not refused:
        return f"queued again as job {task.slurm_id}"
    if not script.exists():
        raise InputError(f"{ticket.id}: {refused}, and it was not submitted by submit.py; type its sbatch line again")
    new = slurm.resubmit(str(script), "", [str(task.number)])
    task.is_of_slurm(new)
    return f"submitted again as job {new} ({refused})"


def _scancel(ticket: Ticket, open_ones: list[tuple[Ticket, Task]]) -> str:
    mine = [task for one, task in open_ones if one.id == ticket.id]
    if not ticket.on_slurm:
        return ""
    ids = {task.slurm_id for task in mine} - {""}
    whole = {one.partition("_")[0] for one in ids} if len(mine) == len(ticket.tasks) else ids
    texts = [slurm.cancel(one) for one in sorted(whole)]
    return "; ".join(f"{ticket.id}: {text}" for text in texts if text)


def _state(home: Path, ticket: Ticket, task: Task) -> str:
    return rows(home, [(ticket, task)])[0].state if ticket.on_slurm else state(ticket, task)


def _one(home: Path, word: str) -> tuple[Ticket, Task]:
    pairs = list(find(home, word))
    if len(pairs) > 1:
        ids = f"{pairs[0][0].label(pairs[0][1])} … {pairs[-1][0].label(pairs[-1][1])}"
        raise InputError(f"command line: {word!r} has {len(pairs)} tasks; name one of {ids}")
    return pairs[0]


def _log(ticket: Ticket, task: Task) -> Path:
    log = task.last().get("log", "") or str(task.folder / "log")
    guesses = sorted(ticket.folder.glob(f"{task.slurm_id}_*_log.out")) if task.slurm_id else []
    path = next((one for one in (Path(log), *guesses) if one.exists()), None)
    if path is None:
        raise InputError(f"{ticket.label(task)}: has written nothing yet; status.py why {ticket.label(task)}")
    return path


def _typed_run(home: Path, word: str) -> Run | None:
    """Return the run that is meant by its folder or its name, among those that were typed."""
    path = Path(word)
    runs = all_runs(home / "results")
    if "/" in word and path.is_dir():
        return next((run for run in runs if run.folder.resolve() == path.resolve()), None)
    return next((run for run in runs if run.folder.name == word), None)


def all_record(run: Run) -> dict[str, object]:
    """Return the present record of a run."""
    found = [one for one in all_runs(run.folder.parents[1]) if one.folder == run.folder]
    return found[0].record if found else {}


def _stop_typed(run: Run, seconds: float, force: bool) -> str:
    if not run.here:
        return f"{run.folder.name}: runs on {run.record.get('host')}; log in there, or cancel its Slurm job by its id"
    if run.record.get("status") != "running" or not run.has_process:
        return f"{run.folder.name}: is not at work"
    os.kill(int(run.record["pid"]), signal.SIGTERM)
    end = time.monotonic() + seconds
    while run.has_process and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)
    if run.has_process and force:
        os.kill(int(run.record["pid"]), signal.SIGKILL)
        return f"{run.folder.name}: killed"
    return f"{run.folder.name}: {'still at work; it stops when it has saved' if run.has_process else 'stopped'}"


def last_lines(path: Path, count: int, end: int | None = None) -> list[str]:
    """Return the last lines of a log (of its first ``end`` bytes), without reading more of it than needed."""
    with path.open("rb") as stream:
        position = stream.seek(0, os.SEEK_END) if end is None else end
        data = b""
        while position and data.count(b"\n") <= count:
            step = min(_BLOCK, position)
            position -= step
            stream.seek(position)
            data = stream.read(step) + data
    return data.decode("utf-8", "replace").splitlines()[-count:]


def _follow(path: Path, start: int, over: object) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with path.open("rb") as stream:
        stream.seek(start)
        ended = False
        looked = time.monotonic()
        while True:
            data = stream.read()
            if data:
                sys.stdout.write(decoder.decode(data))
                sys.stdout.flush()
            elif ended:
                return
            if time.monotonic() - looked > 2.0:
                looked, ended = time.monotonic(), bool(callable(over) and over())
            time.sleep(_STEP_SECONDS)


def _why(ticket: Ticket, task: Task, row: Row) -> str:
    lines = [f"{row.id} {row.name}: {row.state}{f' ({row.note})' if row.note else ''}"]
    lines.append(f"  typed      python {ticket.facts.get('typed') or ' '.join([ticket.facts['job'], *task.words])}")
    for one in row.attempts:
        open_end = "at work" if at_work(one) else "gone without a word"
        end = f"exit code {one['exit_code']}" if "ended" in one else open_end
        more = [text for text in (one.get("why"), one.get("then")) if text]
        slurm_id = f", Slurm job {one['slurm']}" if one["slurm"] else ""
        lines.append(
            f"  attempt {one['attempt']}  {one['started']} on {one['node']}{slurm_id}: {'; '.join([end, *more])}"
        )
        lines += [f"    {_about_rank(rank)}" for rank in one.get("ranks", [])]
    peaks = [float(one["peak_memory_mb"]) for one in row.attempts if one.get("peak_memory_mb")]
    account = (
        slurm.accounts([task.slurm_id], ticket.facts["submitted"][:10]).get(task.slurm_id) if task.slurm_id else None
    )
    if row.run is not None:
        lines += [f"  {line}" for line in _about_run(row.run)]
        peaks.append(float(row.run.record.get("peak_memory_mb") or 0.0))
    if account is not None:
        lines.append(
            f"  Slurm      {account.state}, exit code {account.exit_code}, {account.elapsed}, {account.memory}"
        )
    if peaks:
        lines.append(f"  memory     at most {max(peaks):.0f} MB")
    return "\n".join([*lines, *_errors(ticket, task)])


def _about_rank(note: dict[str, Any]) -> str:
    end = f"exit code {note['exit_code']}" if "exit_code" in note else "gone without a word"
    told = f", told by {note['told']}" if note["told"] else ""
    memory = f", at most {float(note['peak_memory_mb']):.0f} MB" if "peak_memory_mb" in note else ""
    return f"process {note['rank']} on {note['node']}: {end}{told}{memory}"


def _about_run(run: Run) -> list[str]:
    record = run.record
    error = f": {record['error']}" if record.get("error") else ""
    shown = [f"run        {run.folder}", f"           {record['status']}{error}"]
    done = [text for text in (f"epoch {run.epochs}" if run.epochs else "", run.metric) if text]
    return [*shown, f"           {', '.join([*done, clock(float(record['seconds']))])}"]


def _errors(ticket: Ticket, task: Task) -> list[str]:
    try:
        found = last_lines(_log(ticket, task), 400)
    except InputError:
        return []
    errors = [line for line in found if " ERROR " in line or "error:" in line or line.startswith("Traceback")]
    chosen = errors[-5:] or found[-3:]
    return ["  last lines" if not errors else "  last errors", *(f"    {line}" for line in chosen)]
