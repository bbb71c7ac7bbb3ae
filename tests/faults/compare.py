"""What a job has made, as checksums that know nothing of when, where and how often it was run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

TIMES = frozenset({
    "seconds", "started", "ended", "heartbeat", "host", "pid", "sessions", "peak_memory_mb", "git", "ticket", "command",
    "time_started", "datetime_start", "datetime_complete", "created", "written", "made_at", "attempts", "asked",
    "slurm", "device_name", "duration", "fetched", "when", "updated", "environment", "digest",
})  # fmt: skip
"""Keys of records and columns of tables that tell of a session and not of a result."""
MADE = ("data", "results", "out")
"""Folders that jobs write into."""
_LEFT_OUT = (
    "run.json", "env.txt", "checksums.json", "cost.png", "data/raw/tiny/manifest.json", "figures/index.json",
    "results/index.html", "data/raw/tiny-daily/local.json",
)  # fmt: skip
_ENDINGS = (".log", ".lock", ".flock", ".jsonl", ".ckpt")
"""Checkpoints hold the seconds of their epoch; the weights in them are those of model.pt."""


def fingerprint(home: Path) -> dict[str, str]:
    """Return {path: SHA-256} of the results below a place: no logs, locks and records of sessions."""
    found: dict[str, str] = {}
    for top in MADE:
        for path in sorted((home / top).rglob("*")):
            if path.is_file() and not path.is_symlink() and _counts(path.relative_to(home)):
                found[str(path.relative_to(home))] = hashlib.sha256(_plain(path)).hexdigest()
    return found


def half_written(home: Path) -> list[str]:
    """Return what a killed or failed job must not leave: final names whose contents are not whole."""
    wrong = []
    for path in (path for top in MADE for path in (home / top).rglob("*.json")):
        if path.name.startswith(".") or path.is_symlink():
            continue
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            wrong.append(str(path.relative_to(home)))
    return wrong


def _counts(path: Path) -> bool:
    # The page of all results, results/.site/, tells when and how often each run was at work.
    hidden = any(part.startswith(".") for part in path.parts)
    logs = path.suffix in _ENDINGS or "tensorboard" in path.parts
    return not hidden and not logs and not str(path).endswith(_LEFT_OUT)


def _plain(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            value = _timeless(json.loads(data))
            if path.parent.name == "daily" and "run" in value:
                # Checksums of the run's files, which a line break at the end changes and nothing else notices.
                del value["run"]["files"]
            return json.dumps(value, sort_keys=True).encode()
        if path.suffix == ".csv":
            return _columns(data.decode())
    except ValueError:
        return data
    return data


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def _columns(text: str) -> bytes:
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        return b""
    kept = [place for place, name in enumerate(rows[0]) if not name.startswith(("seconds", "peak_memory", "made_at"))]
    return "\n".join(",".join(row[place] for place in kept if place < len(row)) for row in rows).encode()


def trials(home: Path) -> dict[str, str]:
    """Return {parameters: value} of the trials of a search that count, and which is best.

    Trials of killed workers are begun again under other numbers, so the table itself may differ.
    """
    found: dict[str, str] = {}
    for path in home.glob("results/*/*/trials_history.json"):
        for row in json.loads(path.read_text())["trials"]:
            if not row["begun_again"]:
                key = json.dumps(row["params"], sort_keys=True)
                assert key not in found, f"{key} was tried twice"
                found[key] = f"{row['state']} {row['value']!r}"
        best = json.loads(path.with_name("best_params.json").read_text())
        found["best"] = repr(best["best_value"])
    return found
