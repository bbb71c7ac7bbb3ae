"""What has to be made: each local month with its labels, the raw files it comes from and the signature of all that."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contract.raw import load_raw
from pipeline.core.artifact import digest8
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.derive.config import FORMAT, DeriveConfig
from pipeline.derive.days import Month, check_gaps, common_times, keep_days, keep_hours, local_months
from pipeline.derive.recipe import Need, Recipe, raw_needs
from pipeline.derive.series import Archive, name_of
from pipeline.raw.times import Seconds

_HOUR = 3600


@dataclass(frozen=True)
class Task:
    """One monthly file to make."""

    month: Month
    labels: tuple[str, ...]
    """The label of each time, empty where its day has none."""
    sources: tuple[Path, ...]
    """Raw files with a value that goes in, by name."""
    made_from: str

    @property
    def file(self) -> str:
        """The name of the monthly file."""
        return f"{self.month.name}.nc"


def expand(patterns: Sequence[str], home: Path, setting: str) -> list[Path]:
    """Return the files that paths and globs name (relative to ``home``, absolute, or from ``~``), each once, sorted.

    Raises:
        InputError: nothing is named, or a pattern matches no file.
    """
    if not patterns:
        raise InputError(f"{setting}: names no file; list files or globs, relative to {home}")
    found: dict[Path, None] = {}
    for pattern in patterns:
        wanted = str(home / Path(pattern).expanduser())
        matches = [Path(name) for name in sorted(glob.glob(wanted, recursive=True)) if Path(name).is_file()]
        if not matches:
            raise InputError(f"{setting}: no file matches {pattern!r} (looked for {wanted}); correct the path")
        found.update(dict.fromkeys(path.resolve() for path in matches))
    return sorted(found)


def expand_raw(patterns: Sequence[str], home: Path) -> tuple[list[Path], dict[Path, str]]:
    """Like :func:`expand` for ``derive.raw``, where a download's ``manifest.json`` stands for its files.

    Returns:
        The files, and the SHA-256 of those that a manifest vouches for: their size has not changed since the check.

    Raises:
        InputError: as :func:`expand`, or a manifest is not whole (see :func:`pipeline.contract.raw.load_raw`).
    """
    manifests = [home / Path(pattern).expanduser() for pattern in patterns if pattern.endswith(".json")]
    others = [pattern for pattern in patterns if not pattern.endswith(".json")]
    known: dict[Path, str] = {}
    for path in manifests:
        if not path.exists():
            raise InputError(f"derive.raw: {path} is not there; run download (jobs/download.py) with this config first")
        entries = load_raw(path)
        if not entries:
            raise InputError(f"{path}: lists no file; run download again")
        known |= {entry.file.resolve(): entry.sha256 for entry in entries}
    files = expand(others, home, "derive.raw") if others or not manifests else []
    return sorted({*files, *known}), known


def needs_of(fields: Mapping[str, Recipe]) -> list[Need]:
    """Return what the recipes need, each once."""
    return list(dict.fromkeys(need for recipe in fields.values() for need in raw_needs(recipe)))


def plan_months(
    config: DeriveConfig, fields: Mapping[str, Recipe], archive: Archive, days: Collection[str] = ()
) -> tuple[Month, ...]:
    """Return the local months that the raw files cover, or of them only the local ``days`` that are named.

    Raises:
        InputError: variables differ in times, a local day has two, a whole month is missing, or a field would be
            missing throughout.
    """
    needs = needs_of(fields)
    present = {name_of(need.key): archive.series[need.key].seconds for need in needs if not need.hours_before}
    kept = {name: keep_hours(times, config.hours) for name, times in present.items()}
    seconds = common_times({name: keep_days(times, config.timezone, days) for name, times in kept.items()})
    for name, recipe in fields.items():
        _report_absent(name, raw_needs(recipe), archive, seconds)
    months = local_months(seconds, config.timezone, config.hours)
    if not config.allow_gaps:
        check_gaps([month.name for month in months])
    return months


def plan_tasks(
    config: DeriveConfig, fields: Mapping[str, Recipe], archive: Archive, months: Iterable[Month],
    labels: Mapping[str, str], sha256: Callable[[Path], str],
) -> list[Task]:  # fmt: skip
    """Return the task of each month; its signature changes when anything that goes into the file does.

    ``sha256`` returns the checksum of a raw file.
    """
    settings = config.model_dump(include={"fields", "scalars", "timezone", "hours", "keep_bits"})
    grid = [archive.grid.latitude, archive.grid.longitude]
    tasks = []
    for month in months:
        mine = tuple(labels.get(day, "") for day in month.dates)
        sources = _sources(needs_of(fields), archive, month.seconds)
        contents = [[path.name, sha256(path)] for path in sources]
        made_from = digest8([FORMAT, settings, grid, contents, month.dates, mine])
        tasks.append(Task(month, mine, sources, made_from))
    return tasks


def _sources(needs: Sequence[Need], archive: Archive, seconds: Seconds) -> tuple[Path, ...]:
    paths = [archive.series[need.key].paths(seconds - need.hours_before * _HOUR) for need in needs]
    return tuple(sorted(set().union(*paths), key=lambda path: (path.name, path)))


def _report_absent(name: str, needs: Sequence[Need], archive: Archive, seconds: Seconds) -> None:
    """Log at how many times a field is missing because an earlier time is not there."""
    absent = np.zeros(len(seconds), np.bool_)
    for need in needs:
        if need.hours_before:
            absent |= ~np.isin(seconds - need.hours_before * _HOUR, archive.series[need.key].seconds)
    if not absent.any():
        return
    hours = shorten(sorted({need.hours_before for need in needs if need.hours_before}))
    times = [str(np.datetime64(int(time), "s")) for time in seconds[absent]]
    if absent.all():
        raise InputError(
            f"derive.fields: {name} would be missing at all {len(times)} times, because none of them has a time "
            f"{hours} hours before it; add raw files or leave the field out"
        )
    many = f"{len(times)} time{'s' if len(times) > 1 else ''}"
    log.info("%s is missing at %s without data %s hours before: %s", name, many, hours, shorten(times))
