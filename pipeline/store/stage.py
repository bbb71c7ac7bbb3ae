"""Derived monthly files to one store: standardised arrays, targets, splits and their scale.

Everything that can be wrong with labels, splits and names is found before the first field is read. The store grows
in ``<folder>.part`` and gets its name when it is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.contract.derived import load_derived
from pipeline.contract.store import DEFAULT_FOLD, StoreSpec
from pipeline.core import logs
from pipeline.core.artifact import check_files, write_json
from pipeline.core.errors import EnvironmentFault, InputError, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.store.arrays import npy_bytes
from pipeline.store.check import check_maps
from pipeline.store.config import StoreConfig, store_version
from pipeline.store.content import Content, read_content
from pipeline.store.days import months_of
from pipeline.store.files import (
    GRID,
    SCALARS,
    fold_scales,
    scalar_moments,
    store_spec,
    write_scalars,
    write_small_files,
)
from pipeline.store.labels import refuse_other_number
from pipeline.store.moments import merge, refuse_unscaled
from pipeline.store.passes import Plan, measure, write
from pipeline.store.place import PROGRESS, existing, grow, outcome
from pipeline.store.preflight import table, warn

_SPARE_BYTES = 1 << 24
"""For the small files and the notes of progress."""


def build_or_check_maps(
    config: StoreConfig, derived: Path, folder: Path, dataset: str, interrupt: Interrupt
) -> tuple[str, str]:
    """Build the store, or only look at what it would hold (``config.check``); return a text to print and what was done.

    Raises:
        IsobarError: as for :func:`build_store`.
    """
    if config.check:
        return check_maps(config, derived), "checked; nothing is stored"
    done = "fresh already" if folder.exists() else "wrote"
    spec = build_store(config, derived, folder, dataset, interrupt)
    return table(spec.preflight), outcome(done, folder, spec)


def build_store(config: StoreConfig, derived: Path, folder: Path, dataset: str, interrupt: Interrupt) -> StoreSpec:
    """Build the store ``folder`` from the derived files in ``derived``, or return it if it is built already.

    Raises:
        InputError: a setting, a label or a derived value is wrong, or ``folder`` holds something else.
        EnvironmentFault: the disk is full or closed, or another process builds this store.
        Interrupted: a stop was asked for; the same call goes on.
    """
    upstream = load_derived(derived)
    version = store_version(config, upstream.version)
    built = existing(folder, version)
    if built is not None:
        refuse_other_number(built.target.classes, config.target)
        logs.log.info("%s is fresh: built from the same settings and data", folder)
        warn(built.preflight)
        return built
    try:
        content = read_content(config, derived, upstream)
        return grow(folder, version, lambda part: _fill(content, dataset, version, part, interrupt))
    except OSError as error:
        fault = disk_fault(error, folder)
        if fault is None:
            raise
        raise fault from error


def _fill(content: Content, dataset: str, version: str, part: Path, interrupt: Interrupt) -> None:
    """Write all files into ``part``; ``store.json`` comes last and says that the rest is there."""
    months = months_of(content.days, content.derived, content.upstream.pieces)
    plan = Plan(months, content.upstream, content.channels, content.window, part / PROGRESS, interrupt)
    _refuse_small_disk(plan, part / "grid.npy", content.config.dtype)
    pieces = {piece.file: {"bytes": piece.bytes, "sha256": piece.sha256} for piece in content.upstream.pieces}
    check_files(content.derived, pieces, contents=True)
    try:
        moments = measure(plan)
        scales = {GRID: fold_scales(content, moments, content.names)}
        if content.scalars:
            scales[SCALARS] = fold_scales(content, scalar_moments(content), content.scalars)
            write_scalars(part, content, scales[SCALARS][DEFAULT_FOLD])
        scale = scales[GRID][DEFAULT_FOLD]
        written, described = write(plan, part / "grid.npy", content.config.dtype, scale)
        refuse_unscaled(merge(written, content.training(DEFAULT_FOLD)), content.names)
    except InputError:
        # Other data or other settings make another store, so nobody comes back for this one.
        shutil.rmtree(part)
        raise
    write_small_files(part, content, moments, scales)
    write_json(part / "store.json", store_spec(content, dataset, version, part, described, moments).as_json())


def _refuse_small_disk(plan: Plan, grid: Path, dtype: str) -> None:
    """Check the free space for what is still to be written."""
    there = grid.stat().st_blocks * 512 if grid.exists() else 0
    wanted = npy_bytes(dtype, plan.shape) + _SPARE_BYTES - there
    free = shutil.disk_usage(plan.progress.parent).free
    if wanted > free:
        raise EnvironmentFault(
            f"{grid.parent}: needs {wanted / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; make room, or set "
            "store.dtype: float16 or a larger store.coarsen"
        )
