"""Derived monthly files to one store: standardised arrays, targets, splits and their scale.

Everything that can be wrong with labels, splits and names is found before the first field is read. The store grows
in ``<folder>.part`` and gets its name when it is whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.contract.derived import load_derived
from pipeline.contract.store import DEFAULT_FOLD, StoreSpec, load_store_spec
from pipeline.core import logs
from pipeline.core.artifact import check_files, read_json, write_json
from pipeline.core.errors import EnvironmentFault, InputError, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.store.arrays import npy_bytes
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
from pipeline.store.moments import merge, refuse_unscaled
from pipeline.store.passes import Plan, measure, write
from pipeline.store.preflight import warn

_PROGRESS = "progress"
_SPARE_BYTES = 1 << 24
"""For the small files and the notes of progress."""


def build_store(config: StoreConfig, derived: Path, folder: Path, dataset: str, interrupt: Interrupt) -> StoreSpec:
    """Build the store ``folder`` from the derived files in ``derived``, or return it if it is built already.

    Raises:
        InputError: a setting, a label or a derived value is wrong, or ``folder`` holds something else.
        EnvironmentFault: the disk is full or closed, or another process builds this store.
        Interrupted: a stop was asked for; the same call goes on.
    """
    upstream = load_derived(derived)
    version = store_version(config, upstream.version)
    built = _built(folder, version)
    if built is not None:
        logs.log.info("%s is fresh: built from the same settings and data", folder)
        warn(built.preflight)
        return built
    try:
        return _build(read_content(config, derived, upstream), dataset, version, folder, interrupt)
    except OSError as error:
        fault = disk_fault(error, folder)
        if fault is None:
            raise
        raise fault from error


def _built(folder: Path, version: str) -> StoreSpec | None:
    """Return the store in ``folder`` if it is there and whole."""
    if not folder.exists():
        return None
    spec = load_store_spec(folder)
    if spec.version != version:
        raise InputError(f"{folder}: holds store {spec.version}, wanted {version}; delete it or choose another place")
    check_files(folder, spec.files)
    return spec


def _build(content: Content, dataset: str, version: str, folder: Path, interrupt: Interrupt) -> StoreSpec:
    part = folder.with_name(f"{folder.name}.part")
    with exclusive(part):
        built = _built(folder, version)
        if built is not None:
            shutil.rmtree(part)
            return built
        if not _whole(part, version):
            _fill(content, dataset, version, part, interrupt)
        shutil.rmtree(part / _PROGRESS, ignore_errors=True)
        os.replace(part, folder)
        _sync(folder.parent)
        # The lock goes last: until the rename whoever opens it finds it held.
        (folder / ".lock").unlink(missing_ok=True)
    return load_store_spec(folder)


def _whole(part: Path, version: str) -> bool:
    """Tell whether ``part`` lacks nothing but its final name; empty it if it is of another store."""
    note = part / _PROGRESS / "version.json"
    for path in (part / "store.json", note):
        if path.exists() and read_json(path).get("version") == version:
            logs.log.info("going on with %s", part)
            return path != note
    for entry in part.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
    write_json(note, {"version": version})
    return False


def _fill(content: Content, dataset: str, version: str, part: Path, interrupt: Interrupt) -> None:
    """Write all files into ``part``; ``store.json`` comes last and says that the rest is there."""
    months = months_of(content.days, content.derived, content.upstream.pieces)
    plan = Plan(months, content.upstream, content.channels, content.window, part / _PROGRESS, interrupt)
    _refuse_small_disk(plan, part / "grid.npy", content.config.dtype)
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


def _sync(folder: Path) -> None:
    """Make a rename in ``folder`` durable (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
