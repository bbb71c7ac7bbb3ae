"""The diary in ``results/<experiment>/daily/``: a JSON file a day, and one table of all days."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipeline.core.artifact import digest8, read_json, write_json, write_text
from pipeline.core.errors import InputError

TABLE = "daily.csv"
DONE, FAILED = "done", "failed"
PRELIMINARY, FINAL, OWN = "ERA5T", "ERA5", "local files"
"""What a day was classified from; files that somebody put there may be of any reanalysis."""
Day = dict[str, Any]
"""What is known of a day; its fields stand in docs/daily.md."""


@dataclass(frozen=True)
class Diary:
    """The folder of an experiment's days."""

    folder: Path

    def path(self, day: date) -> Path:
        """Return where the record of a day is."""
        return self.folder / f"{day}.json"

    def picture(self, day: date) -> Path:
        """Return where the map of a day is."""
        return self.folder / f"{day}.png"

    def read(self, day: date) -> Day:
        """Return the record of a day; empty where there is none.

        Raises:
            InputError: it cannot be read.
        """
        path = self.path(day)
        if not path.exists():
            return {}
        found = read_json(path)
        stated = found.pop("digest", "")
        if found.get("status") not in (DONE, FAILED) or found.get("date") != str(day):
            raise InputError(f"{path}: not the record of {day}; delete it, then the day is classified anew")
        if stated != _digest(found):
            raise InputError(f"{path}: changed since it was written; delete it, then the day is classified anew")
        return found

    def write(self, day: date, record: Day) -> None:
        """Keep the record of a day."""
        write_json(self.path(day), {**_said(record), "digest": _digest(record)})

    def days(self) -> list[date]:
        """Return the days that have a record, in order."""
        names = (path.stem for path in self.folder.glob("????-??-??.json"))
        return sorted(date.fromisoformat(name) for name in names)

    def all(self) -> list[Day]:
        """Return all records in order."""
        return [self.read(day) for day in self.days()]

    def write_table(self, records: list[Day]) -> None:
        """Write the table of all days: a line a day; a file that holds it already is left alone."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        classes = list(dict.fromkeys(name for record in records for name in record.get("classes", ())))
        numbers = [f"{kind}_{name}" for kind in ("p", "raw") for name in classes]
        writer.writerow(["date", "status", "labels", *numbers, "data", "filled", "run", "made_at"])
        writer.writerows(_line(record, classes) for record in records)
        write_text(self.folder / TABLE, stream.getvalue())


def _said(record: Day) -> Day:
    """Return a record without what is added when it is written."""
    return {key: value for key, value in record.items() if key not in ("schema_version", "digest")}


def _digest(record: Day) -> str:
    """Return what a flipped bit would change."""
    return digest8(_said(record))


def _line(record: Day, classes: list[str]) -> Iterator[str]:
    yield from (record["date"], record["status"], record.get("joiner", "+").join(record.get("labels", ())))
    for kind in ("probability", "raw"):
        values = record.get(kind, {})
        yield from (f"{values[name]:.6g}" if name in values else "" for name in classes)
    run = record.get("run", {}).get("name", "")
    yield from (record.get("data", ""), str(record.get("filled", "")), run, record.get("made_at", ""))


def now() -> str:
    """Return the time in UTC as records write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def labels_of(record: Mapping[str, Any]) -> str:
    """Return the labels of a day as people write them, a dash where none is said."""
    return str(record["joiner"].join(record["labels"])) or "–"


def failed(before: Day, day: date, reason: str, exit_code: int) -> Day:
    """Return the record of a day that could not be classified; one that was classified earlier stays, with a note."""
    old = before.get("trouble") or {}
    trouble = {
        "reason": reason,
        "exit_code": exit_code,
        "tries": int(old.get("tries", 0)) + 1,
        "first_tried": old.get("first_tried") or now(),
        "last_tried": now(),
    }
    if before.get("status") == DONE:
        return {**before, "trouble": trouble}
    return {"date": str(day), "status": FAILED, "trouble": trouble}


def revised(before: Day, record: Day) -> Day:
    """Return a new record of a day that was classified earlier, with what it said then and what changed."""
    if before.get("status") != DONE:
        return record
    kept = ("made_at", "data", "labels", "probability", "run")
    earlier = [*before.get("history", ()), {name: before[name] for name in kept}]
    return {**record, "history": earlier, "changed": _difference(before, record)}


def _difference(before: Day, record: Day) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {"before": before[name], "after": record[name]}
        for name in ("data", "labels", "run")
        if before[name] != record[name]
    }
    shared = [name for name in record["probability"] if name in before["probability"]]
    most = max(shared, key=lambda name: abs(record["probability"][name] - before["probability"][name]), default=None)
    if most is not None:
        old, new = before["probability"][most], record["probability"][most]
        found["largest"] = {"class": most, "before": old, "after": new}
    return found


def change_told(record: Day) -> str:
    """Return what changed, as a sentence part."""
    changed = record["changed"]
    largest = changed.get("largest")
    labels = changed.get("labels")
    was = f"was {record['joiner'].join(labels['before']) or '–'}" if labels else "same types"
    if largest is None or largest["before"] == largest["after"]:
        return f"{was}, same probabilities" if largest else was
    return f"{was}, largest change {largest['class']} {largest['before']:.2f} → {largest['after']:.2f}"
