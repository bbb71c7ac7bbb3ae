"""The whole site, made or brought up to date: everything below ``results/`` that changed is read, all pages follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import make_folder
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.lock import updating
from pipeline.core.logs import log
from pipeline.site.daily import read_day
from pipeline.site.finder import DAILY, RUN, SITE, SWEEP, Found, find
from pipeline.site.memory import Memory
from pipeline.site.pages import write_pages
from pipeline.site.provenance import note_origin
from pipeline.site.reading import Faults, load
from pipeline.site.relations import Related, relate
from pipeline.site.runs import BROKEN, RUNNING, SILENT, alive, read_run
from pipeline.site.searches import read_importance, read_study, read_sweep

PAGE = "index.html"


@dataclass(frozen=True)
class Built:
    """What was built."""

    page: Path
    runs: int
    read: int
    """Folders that had changed."""
    broken: int
    """Runs of which something could not be read."""

    def told(self) -> str:
        """Return it in a few words."""
        broken = f", {self.broken} of them not whole" if self.broken else ""
        return f"{self.page} (runs: {self.runs}{broken}; folders that had changed: {self.read})"


def build(results: Path, data: Path | None = None) -> Built:
    """Bring the site of a results folder up to date; several processes may ask for it at a time.

    Args:
        results: the folder with experiments in it.
        data: the folder of raw, derived and stored arrays, where it is at hand.

    Raises:
        InputError: there is no such folder.
        EnvironmentFault: the site cannot be written.
    """
    if not results.is_dir():
        raise InputError(f"{results}: no such folder; train a run first, or give the folder that holds experiments")
    make_folder(results / SITE)
    with updating(results / SITE):
        memory = Memory(results / SITE)
        entries = [(found, _entry(found, memory, data)) for found in find(results)]
        memory.save()
        content = _content(entries)
        write_pages(results, content)
    runs = content["runs"]
    broken = sum(run.row["state"] == BROKEN or bool(run.row["faults"]) for run in runs)
    return Built(results / PAGE, len(runs), memory.read, broken)


_READERS: Mapping[str, Callable[[Path], dict[str, Any]]] = {SWEEP: read_sweep, DAILY: read_day}
_OF_JOB: Mapping[str, Callable[[Path], dict[str, Any]]] = {"tune": read_study, "importance": read_importance}


def _entry(found: Found, memory: Memory, data: Path | None) -> dict[str, Any]:
    """Return what is known of a folder, read anew if one of its files changed."""
    if found.kind == RUN and data is not None and (found.path / "norm.json").exists():
        with suppress(EnvironmentFault):  # Somebody else's run: the page says that the origin is not known here.
            note_origin(found.path, data)
    stamp = found.stamp()
    known = memory.recall(found.id, stamp)
    if known is not None:
        return known
    if found.kind == RUN:
        job = load(found.path, "run.json", Faults()).get("job")
        reader = _OF_JOB.get(job if isinstance(job, str) else "", read_run)
    else:
        reader = _READERS[found.kind]
    return memory.keep(found.id, stamp, {"as_of": _newest(stamp), **reader(found.path)})


def _newest(stamp: list[list[str | int]]) -> str:
    newest = max((int(one[2]) for one in stamp), default=0)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest / 1e9)) if newest else ""


def _content(entries: list[tuple[Found, dict[str, Any]]]) -> dict[str, Any]:
    """Return everything the pages show, with what runs are to each other."""
    now = time.time()
    runs, told = [], []
    days: dict[str, list[Any]] = {}
    for found, entry in entries:
        if "row" in entry:
            row = {**entry["row"], "id": found.id, "faults": len(entry["page"]["faults"])}
            row["warnings"] = sum(len(row[split]["warn"]) for split in ("val", "test") if split in row)
            if row["state"] == RUNNING and not alive(found.path, row["beat"], now):
                row["state"] = SILENT
            runs.append((Related(found.id, row, entry["settings"]), entry["page"]))
        elif found.kind == DAILY:
            days.setdefault(found.experiment, []).append(entry["day"])
        else:
            told.append({"id": found.id, **{name: value for name, value in entry.items() if name != "as_of"}})
    names = relate([run for run, _ in runs])
    return {
        "as_of": max((entry["as_of"] for _, entry in entries), default=""),
        "runs": [run for run, _ in runs],
        "pages": [page for _, page in runs],
        "pairs": [pair for _, page in runs for pair in page["pairs"]],
        "varying": names,
        "days": [{"experiment": name, "days": found} for name, found in days.items()],
        **{f"{kind}s": list(_of_kind(told, kind)) for kind in ("study", "importance", "sweep")},
    }


def _of_kind(told: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    return (one for one in told if one["kind"] == kind)


def update(run: Path, experiment: str, data: Path) -> Built | None:
    """Bring the site up to date after a job on a run; ``None`` where the run does not lie in a results folder.

    Args:
        run: folder of the run, ``<results>/<experiment>/<run>``, or deeper (a trial of a search).
        experiment: name of its experiment, as its config has it.
        data: the folder of raw, derived and stored arrays.
    """
    folder = next((parent for parent in run.parents if parent.name == experiment), None)
    if folder is None:
        log.info("%s is not in results/%s/, so no page is made", run, experiment)
        return None
    return build(folder.parent, data)
