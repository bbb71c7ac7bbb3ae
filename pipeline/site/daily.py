"""The classifications of the daily job, a file a day, in short for the calendar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.site.reading import Faults, load, number, text

_MOST_CLASSES = 5
_LEAST = 0.02
"""Probabilities below it are not listed."""


def read_day(path: Path) -> dict[str, Any]:
    """Return what the calendar tells of a day: labels, the likeliest classes, kind of data, and what went wrong."""
    faults = Faults()
    day: dict[str, Any] = {"date": path.stem, "state": "broken"}
    record = load(path.parent, path.name, faults)
    with faults.noting(path.name):
        if record:
            day |= {
                "state": text(record["status"], 20),
                "labels": text(record.get("joiner", "+"), 3).join(text(one, 40) for one in record.get("labels", [])),
                "p": _likeliest(record.get("probability") or {}),
                "data": text(record.get("data"), 20),
                "run": text((record.get("run") or {}).get("name"), 120),
                "made": text(record.get("made_at"), 20),
                "why": text((record.get("trouble") or {}).get("reason")),
                "was": _was(record),
                "strange": ", ".join(text(one, 40) for one in record.get("strange") or []),
            }
    if (path.parent / f"{path.stem}.png").exists():
        day["map"] = 1
    if faults:
        day["why"] = "; ".join(faults)
    return {"kind": "day", "day": {name: value for name, value in day.items() if value not in ("", [], None)}}


def _likeliest(probability: dict[str, Any]) -> list[list[Any]]:
    known = [(text(name, 40), number(value, 3)) for name, value in probability.items()]
    order = sorted(((name, value) for name, value in known if value is not None), key=lambda pair: -pair[1])
    return [[name, value] for name, value in order[:_MOST_CLASSES] if value >= _LEAST]


def _was(record: dict[str, Any]) -> str:
    """Return the labels before the day was classified anew, where they changed."""
    changed = (record.get("changed") or {}).get("labels") or {}
    return text(record.get("joiner", "+"), 3).join(text(one, 40) for one in changed.get("before", []))
