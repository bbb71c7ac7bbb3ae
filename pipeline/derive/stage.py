"""Raw files → monthly files of derived fields: makes what is missing or stale, keeps what is fresh."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.contract.derived import DerivedSpec, Piece, read_derived
from pipeline.core.artifact import MANIFEST, Checksums, write_json
from pipeline.core.choose import choose
from pipeline.core.errors import InputError, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.core.logs import event, log, progress
from pipeline.derive.config import DeriveConfig
from pipeline.derive.days import Month, missing_days
from pipeline.derive.labels import read_labels, report_labels
from pipeline.derive.piece import Writer
from pipeline.derive.plan import Task, expand, needs_of, plan_months, plan_tasks
from pipeline.derive.recipe import check_grid, choose_fields
from pipeline.derive.season import SCALARS
from pipeline.derive.series import open_archive
from pipeline.raw.reader import keeping_open

COVERAGE = "coverage.json"
"""Days that are missing, and how labels and days match."""


def derive(config: DeriveConfig, dataset: str, folder: Path, home: Path, interrupt: Interrupt) -> DerivedSpec:
    """Bring ``folder`` up to date with the raw files; relative paths start from ``home``.

    Months whose raw files, settings and labels have not changed are kept, so a stopped or killed derivation goes on
    where it was, and ends with the bytes that an uninterrupted one writes.

    Raises:
        InputError: a setting, a raw file or a label file is wrong.
        EnvironmentFault: another process works in ``folder``, or it cannot be written.
        Interrupted: a stop was asked for; all finished months are saved.
    """
    fields = choose_fields(config.fields)
    for name in config.scalars:
        choose(SCALARS, name, "derive.scalars")
    paths = expand(config.raw, home, "derive.raw")
    label_paths = expand(config.labels.files, home, "derive.labels.files") if config.labels.files else []
    labels = read_labels(label_paths, config.labels)
    with keeping_open():
        archive = open_archive(paths, [need.key for need in needs_of(fields)])
        check_grid(fields, archive.grid)
        months = plan_months(config, fields, archive)
        coverage = _coverage(months, labels)
        with exclusive(folder):
            checksums = Checksums(folder.parent / f".checksums-{folder.name}.json")
            tasks = plan_tasks(config, fields, archive, months, labels, checksums)
            writer = Writer(
                folder=folder,
                dataset=dataset,
                timezone=config.timezone,
                fields=fields,
                scalars=tuple(config.scalars),
                archive=archive,
                compression=config.compression,
                sources=config.sources,
            )
            spec = _update(writer, tasks, interrupt)
            write_json(folder / COVERAGE, coverage)
    return spec


def _update(writer: Writer, tasks: Sequence[Task], interrupt: Interrupt) -> DerivedSpec:
    """Make the monthly files that are not fresh; the manifest names every finished one at every moment."""
    before = _previous(writer.folder)
    kept = {piece.file: piece for piece in before.pieces} if before else {}
    _report_uncovered(kept, tasks)
    pieces = {task.file: kept[task.file] for task in tasks if _fresh(kept.get(task.file), task, writer.folder)}
    todo = [task for task in tasks if task.file not in pieces]
    start, days = time.monotonic(), 0
    if todo:
        _spec(writer, pieces.values(), complete=False).save(writer.folder)
    for task in progress(todo, "derive", len(todo)):
        interrupt.check(f"{len(pieces)} of {len(tasks)} months are saved")
        pieces[task.file] = writer.write(task)
        days += pieces[task.file].days
        _spec(writer, pieces.values(), complete=False).save(writer.folder)
    spec = _spec(writer, pieces.values(), complete=True)
    if todo or spec != before:
        spec.save(writer.folder)
    seconds = time.monotonic() - start
    rate = f", {1000 * seconds / days:.1f} ms a day" if days else ""
    event(
        f"{len(todo)} months made, {len(tasks) - len(todo)} were fresh{rate}",
        made=len(todo),
        days=days,
        seconds=round(seconds, 2),
    )
    return spec


def _previous(folder: Path) -> DerivedSpec | None:
    if not (folder / MANIFEST).exists():
        return None
    try:
        return read_derived(folder)
    except (InputError, KeyError, TypeError) as error:
        log.warning("%s: the manifest cannot be used (%s); every month is made anew", folder, error)
        return None


def _fresh(piece: Piece | None, task: Task, folder: Path) -> bool:
    if piece is None or piece.made_from != task.made_from:
        return False
    path = folder / task.file
    return path.exists() and path.stat().st_size == piece.bytes


def _report_uncovered(kept: Mapping[str, Piece], tasks: Iterable[Task]) -> None:
    gone = sorted(kept.keys() - {task.file for task in tasks})
    if gone:
        log.warning(
            "%d months are not in the raw files any more and leave the data set; their files stay: %s",
            len(gone),
            shorten(gone),
        )


def _spec(writer: Writer, pieces: Iterable[Piece], complete: bool) -> DerivedSpec:
    grid = writer.archive.grid
    return DerivedSpec(
        dataset=writer.dataset,
        timezone=writer.timezone,
        fields={name: recipe.units for name, recipe in writer.fields.items()},
        scalars=dict.fromkeys(writer.scalars, "1"),
        may_miss=tuple(name for name, recipe in writer.fields.items() if recipe.may_miss),
        latitude=tuple(grid.latitude.tolist()),
        longitude=tuple(grid.longitude.tolist()),
        pieces=tuple(sorted(pieces, key=lambda piece: piece.file)),
        complete=complete,
        sources=writer.sources,
    )


def _coverage(months: Sequence[Month], labels: Mapping[str, str]) -> dict[str, object]:
    """Return, and log, which days are missing and how labels match."""
    dates = [day for month in months for day in month.dates]
    missing = missing_days(dates)
    if missing:
        log.warning("%d days between %s and %s are missing: %s", len(missing), dates[0], dates[-1], shorten(missing))
    return {
        "first": dates[0],
        "last": dates[-1],
        "days": len(set(dates)),
        "times": len(dates),
        "missing_days": missing,
        "labels": report_labels(dict(labels), dates),
    }
