"""Raw files → monthly files of derived fields: makes what is missing or stale, keeps what is fresh."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.contract.derived import DerivedSpec, Piece
from pipeline.core.artifact import Checksums, write_json
from pipeline.core.choose import choose
from pipeline.core.errors import shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import holding, updating
from pipeline.core.logs import event, log, tally
from pipeline.core.parts import Part
from pipeline.derive.config import DeriveConfig
from pipeline.derive.crew import Unit, cores, make
from pipeline.derive.days import Month, missing_days
from pipeline.derive.labels import read_labels, report_labels
from pipeline.derive.onefile import write_one_file
from pipeline.derive.piece import Writer
from pipeline.derive.plan import Task, expand, expand_raw, needs_of, plan_months, plan_tasks
from pipeline.derive.recipe import Recipe, check_grid, choose_fields
from pipeline.derive.record import Record
from pipeline.derive.season import SCALARS
from pipeline.derive.series import Archive, open_archive
from pipeline.derive.windows import costs_of_cuts, independent
from pipeline.raw.reader import keeping_open

COVERAGE = "coverage.json"
"""Days that are missing, and how labels and days match."""
_WORTH_A_PROCESS = 400_000_000
"""Bytes of raw values; below, starting a process takes longer than it saves."""


def derive(
    config: DeriveConfig, dataset: str, folder: Path, home: Path, interrupt: Interrupt, days: Collection[str] = ()
) -> DerivedSpec:
    """Bring ``folder`` up to date with the raw files, or with the local ``days`` of them; paths start from ``home``.

    Months whose raw files, settings and labels have not changed are kept, so a stopped or killed derivation goes on
    where it was, and ends with the bytes that an uninterrupted one writes.

    Returns:
        The manifest; of a part (``config.parts``) it may be incomplete, while the others are at work.

    Raises:
        InputError: a setting, a raw file or a label file is wrong.
        EnvironmentFault: another process works in ``folder``, or it cannot be written.
        Interrupted: a stop was asked for; all finished months are saved.
    """
    fields = choose_fields(config.fields)
    for name in config.scalars:
        choose(SCALARS, name, "derive.scalars")
    paths, known = expand_raw(config.raw, home)
    label_paths = expand(config.labels.files, home, "derive.labels.files") if config.labels.files else []
    labels = read_labels(label_paths, config.labels)
    part = Part.parse(config.parts)
    with keeping_open():
        archive = open_archive(paths, [need.key for need in needs_of(fields)])
        check_grid(fields, archive.grid)
        months = plan_months(config, fields, archive, days)
        coverage = _coverage(months, labels)
        with holding(folder, part):
            checksums = _Checked(folder.parent / f".checksums-{folder.name}.json", known)
            with updating(folder):
                tasks = plan_tasks(config, fields, archive, months, labels, checksums.of)
                checksums.save()
            work = Work(config, dataset, folder, fields, archive, tasks)
            spec = work.update(part, interrupt)
            with updating(folder):
                write_json(folder / COVERAGE, coverage)
                if config.one_file and spec.complete:
                    write_one_file(folder, spec)
    return spec


class _Checked(Checksums):
    """Checksums of raw files, those of a download taken from its manifest."""

    def __init__(self, cache: Path, known: Mapping[Path, str]) -> None:
        super().__init__(cache)
        self._trusted = known

    def of(self, path: Path) -> str:
        return self._trusted.get(path) or super().of(path)


@dataclass(frozen=True)
class Work:
    """Everything that is known before the first value is read."""

    config: DeriveConfig
    dataset: str
    folder: Path
    fields: Mapping[str, Recipe]
    archive: Archive
    tasks: Sequence[Task]

    def update(self, part: Part, interrupt: Interrupt) -> DerivedSpec:
        """Make the monthly files of ``part`` that are not fresh; the manifest always names every finished one."""
        record = Record(self.folder, self._spec(), {task.file: task.made_from for task in self.tasks})
        fresh = record.start()
        todo = [stale for unit in self._units(part) for stale in _stale(unit, fresh)]
        count, start, days = sum(map(len, todo)), time.monotonic(), 0
        with tally("derive", count) as advance:
            for piece in make(self._writer(), record, todo, self._workers(todo), interrupt):
                days += piece.days
                advance(1, piece.file)
        seconds = time.monotonic() - start
        rate = f", {1000 * seconds / days:.1f} ms a day" if days else ""
        spec = record.result()
        of = "" if spec.complete else f"; {len(spec.pieces)} of {len(self.tasks)} months are there now"
        event(
            f"{count} months made, {len(fresh)} were fresh{rate}{of}", made=count, days=days, seconds=round(seconds, 2)
        )
        return spec

    def _units(self, part: Part) -> list[Unit]:
        """Divide the months into units that share no compressed stretch; single months where a part had none else."""
        seconds = np.concatenate([task.month.seconds for task in self.tasks])
        keys = dict.fromkeys(need.key for need in needs_of(self.fields))
        costs = costs_of_cuts(seconds, keys, self.archive)
        units = [self.tasks[some] for some in independent(costs, [len(task.month.seconds) for task in self.tasks])]
        return part.mine(units if len(units) >= part.of else [[task] for task in self.tasks])

    def _workers(self, todo: Sequence[Unit]) -> int:
        """Return the number of processes: as many as set, or as there are cores and enough to do for each."""
        if self.config.workers:
            return self.config.workers
        times = sum(len(task.month.seconds) for unit in todo for task in unit)
        rows, columns = self.archive.grid.shape
        volume = 4 * times * rows * columns * len(self.archive.series)
        return min(cores(), max(1, volume // _WORTH_A_PROCESS))

    def _writer(self) -> Writer:
        config = self.config
        return Writer(
            folder=self.folder,
            dataset=self.dataset,
            timezone=config.timezone,
            names=tuple(self.fields),
            scalars=tuple(config.scalars),
            archive=self.archive,
            compression=config.compression,
            bits=config.keep_bits,
            memory=config.memory_gb * 1e9,
        )

    def _spec(self) -> DerivedSpec:
        grid = self.archive.grid
        return DerivedSpec(
            dataset=self.dataset,
            timezone=self.config.timezone,
            fields={name: recipe.units for name, recipe in self.fields.items()},
            scalars=dict.fromkeys(self.config.scalars, "1"),
            may_miss=tuple(name for name, recipe in self.fields.items() if recipe.may_miss),
            latitude=tuple(grid.latitude.tolist()),
            longitude=tuple(grid.longitude.tolist()),
            pieces=(),
            complete=False,
            sources=self.config.sources,
        )


def _stale(unit: Unit, fresh: Mapping[str, Piece]) -> Iterator[Unit]:
    """Yield the runs of months in a unit that have to be made."""
    for there, run in groupby(unit, key=lambda task: task.file in fresh):
        if not there:
            yield list(run)


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
