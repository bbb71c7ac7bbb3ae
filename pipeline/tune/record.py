"""``run.json`` of a study, so that it is a folder that jobs and people know."""

from __future__ import annotations

import os
import socket
import time

from pipeline.core.artifact import read_json, write_json
from pipeline.core.lock import updating
from pipeline.tune.plan import Plan


def begin_record(plan: Plan) -> None:
    """Note that a search is at work."""
    _note(plan, status="running", host=socket.gethostname(), pid=os.getpid(), ended=None)


def close_record(plan: Plan, status: str) -> None:
    """Note how a search stands: ``done``, ``interrupted`` or ``failed``."""
    _note(plan, status=status, ended=_now())


def _note(plan: Plan, **facts: object) -> None:
    path = plan.folder / "run.json"
    with updating(plan.folder):
        known = read_json(path) if path.exists() else {"job": "tune", "started": _now()}
        known.pop("schema_version", None)
        write_json(path, {**known, **facts, "n_trials": plan.config.study.n_trials, "heartbeat": _now()})


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
