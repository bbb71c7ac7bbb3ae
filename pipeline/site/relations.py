"""What runs are to each other: judged on the same days, the same but for the seed, the closest in settings."""

from __future__ import annotations

import operator
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SEED = "train.seed"
_MOST_SETTINGS = 12
_MOST_DIFFERENCES = 60


@dataclass
class Related:
    """A run among the others of its experiment."""

    id: str
    row: dict[str, Any]
    settings: Mapping[str, str]
    others: list[Related] = field(default_factory=list)
    varied: tuple[str | None, ...] = ()
    """Its values of the settings that differ between runs of the experiment."""


def relate(runs: Sequence[Related]) -> dict[str, Any]:
    """Add to each run's row its group, its family and what varies; return the names of what varies, by experiment."""
    experiments: dict[str, list[Related]] = defaultdict(list)
    for run in runs:
        experiments[run.id.split("/")[0]].append(run)
    names = {}
    for experiment, members in experiments.items():
        varying = _varying([run.settings for run in members])
        names[experiment] = varying[:_MOST_SETTINGS]
        _group(members)
        _families(members, varying)
        for run in members:
            run.row["set"] = [run.settings.get(name) for name in names[experiment]]
            run.others = members
            run.varied = tuple(run.settings.get(name) for name in varying)
    return names


def _varying(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the settings that differ between runs, those of the training first."""
    known = [one for one in settings if one]
    every = set().union(*known) if known else set()
    found = [name for name in every if len({one.get(name) for one in known}) > 1]
    return sorted(found, key=lambda name: (not name.startswith("train."), name))


def _group(members: Sequence[Related]) -> None:
    """Number the sets of days that runs of an experiment are judged on, the largest 0: scores compare within one."""
    keys = {run.id: _days(run.row) for run in members if "val" in run.row}
    counts = [key for key in keys.values()]
    order = sorted(set(counts), key=lambda key: (-counts.count(key), key))
    for run in members:
        run.row["group"] = order.index(keys[run.id]) if run.id in keys else 0


def _days(row: Mapping[str, Any]) -> str:
    splits = [row["val"], row.get("test") or {}]
    days = [[one.get(name) for name in ("n", "from", "to")] for one in splits]
    return repr([row.get("kind"), row.get("labels"), days])


def _families(members: Sequence[Related], varying: Sequence[str]) -> None:
    """Give runs that differ by the seed alone the mean and spread of their validation scores."""
    names = [name for name in varying if name != _SEED]
    families: dict[tuple[Any, ...], list[Related]] = defaultdict(list)
    for run in members:
        if "val" in run.row and run.settings:
            families[(run.row["group"], *(run.settings.get(name) for name in names))].append(run)
    for family in families.values():
        values = [run.row["val"]["f"][0] for run in family if run.row["val"]["f"][0] is not None]
        if len({run.settings.get(_SEED) for run in family}) > 1 and len(values) > 1:
            spread = [len(values), round(statistics.fmean(values), 4), round(statistics.stdev(values), 4)]
            for run in family:
                run.row["family"] = spread


def differences(run: Related) -> dict[str, Any] | None:
    """Return how a run's settings differ from those of its parent, or of the run that is closest; ``None`` if alone."""
    parent, kind = _parent(run), "parent"
    if parent is None:
        parent, kind = _closest(run), "closest"
    if parent is None:
        return None
    ours, theirs = run.settings, parent.settings
    rows = [[name, ours.get(name), theirs.get(name)] for name in sorted({*ours, *theirs})]
    rows = [row for row in rows if row[1] != row[2]]
    more = max(0, len(rows) - _MOST_DIFFERENCES)
    return {"run": parent.id, "kind": kind, "rows": rows[:_MOST_DIFFERENCES], "more": more}


def _parent(run: Related) -> Related | None:
    """Return the run that the weights came from, where it is among the others."""
    given = (run.settings.get(name) for name in ("train.start_from", "train.resume"))
    parts = next(filter(None, given), "").replace("\\", "/").split("/")
    return next((other for other in run.others if other is not run and other.id.split("/")[1] in parts), None)


def _closest(run: Related) -> Related | None:
    """Return the run with the fewest other settings; of several, the one that began last before it."""
    if not run.settings:
        return None
    others = [other for other in run.others if other is not run and other.settings]

    def distance(other: Related) -> tuple[int, int, str]:
        count = sum(map(operator.ne, run.varied, other.varied))
        later = other.row.get("began", "") > run.row.get("began", "")
        return count, int(later), other.id

    return min(others, key=distance, default=None)
