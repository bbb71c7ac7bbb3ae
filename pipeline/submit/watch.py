"""``jobs/status.py``: list, tail, cancel, requeue, why, clean."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from pipeline.core import logs
from pipeline.submit.act import cancel, requeue, tail, why
from pipeline.submit.overview import OVER, Row, rows, table
from pipeline.submit.prune import clean
from pipeline.submit.typed import Parser, guarded

_RECENT = 20


def status_main(doc: str | None, arguments: list[str], home: Path) -> int:
    """Do what ``jobs/status.py`` was asked to; return the exit code."""
    typed = _parser(doc or "").parse_args(arguments or ["list"])
    logs.start()
    try:
        return guarded(lambda: _act(typed, home.resolve()))
    except KeyboardInterrupt:
        return 0


def _act(typed: argparse.Namespace, home: Path) -> None:
    if typed.what == "list":
        _list(typed, home)
    elif typed.what == "tail":
        tail(home, typed.id, typed.lines, typed.follow)
    elif typed.what == "why":
        print(why(home, typed.id))
    elif typed.what == "clean":
        for line in clean(home, typed.older, typed.dry_run):
            print(line, flush=True)
    else:
        told = cancel(home, typed.id, typed.wait, typed.force) if typed.what == "cancel" else requeue(home, typed.id)
        for line in told:
            print(line, flush=True)


def _list(typed: argparse.Namespace, home: Path) -> None:
    while True:
        listed = rows(home)
        chosen = listed if typed.all else _recent(listed)
        if typed.json:
            print(json.dumps([_plain(row) for row in chosen], ensure_ascii=False, indent=1))
        else:
            shown = table(chosen) if chosen else f"no jobs in {home / 'results' / '.jobs'}"
            print(f"\033[H\033[2J{shown}" if typed.watch and sys.stdout.isatty() else shown, flush=True)
        if not typed.watch:
            return
        time.sleep(typed.watch)


def _age(text: str) -> float:
    unit = {"d": 86400.0, "h": 3600.0}.get(text[-1:])
    if unit is None or not text[:-1].isdigit():
        raise argparse.ArgumentTypeError(f"an age is written 30d or 12h, found {text!r}")
    return unit * int(text[:-1])


def _recent(listed: list[Row]) -> list[Row]:
    """Return what is not over, and the last few that are."""
    over = [row for row in listed if row.state in OVER][-_RECENT:]
    return [row for row in listed if row.state not in OVER or row in over]


def _plain(row: Row) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "node": row.where,
        "seconds": row.seconds,
        "run": str(row.run.folder) if row.run else None,
        "epochs": row.run.epochs if row.run else None,
        "metric": row.run.metric if row.run else None,
        "heartbeat_seconds": row.heartbeat,
        "slurm": row.slurm_id,
        "note": row.note,
        "starts": len(row.attempts),
    }


def _parser(doc: str) -> argparse.ArgumentParser:
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parts = parser.add_subparsers(dest="what", required=True, parser_class=Parser)
    one = parts.add_parser("list", help="what every job is doing")
    one.add_argument("--all", action="store_true", help=f"all that are over, not only the last {_RECENT}")
    one.add_argument("--watch", type=float, metavar="SECONDS", help="again and again")
    one.add_argument("--json", action="store_true", help="for programs")
    one = parts.add_parser("clean", help="forget old jobs that are over; results stay")
    one.add_argument(
        "--older", type=_age, default="30d", metavar="30d", help="than 30d (days) or 12h; 30d if not given"
    )
    one.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    for name, aliases, about in (
        ("tail", [], "the last lines of a job's log"),
        ("why", [], "state, exit code, attempts, last errors, most memory"),
        ("cancel", [], "stop a job; it saves first"),
        ("requeue", ["resume"], "start again what was interrupted, lost, cancelled or has failed"),
    ):
        one = parts.add_parser(name, aliases=aliases, help=about)
        one.add_argument(
            "id", help="j12, j12.3 (a task of an array), a name (its newest job), Slurm's id, or a run folder"
        )
        if name == "tail":
            one.add_argument("-n", "--lines", type=int, default=20)
            one.add_argument("-f", "--follow", action="store_true", help="go on until the job is over")
        if name == "cancel":
            one.add_argument(
                "--wait", type=float, default=30.0, metavar="SECONDS", help="how long to wait for it to save"
            )
            one.add_argument("--force", action="store_true", help="kill what has not ended by then")
    return parser
