"""Where a store grows and how it gets its name: ``<folder>.part`` until it is whole, one builder at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.contract.store import StoreSpec, load_store_spec
from pipeline.core import logs
from pipeline.core.artifact import check_files, flush, read_json, write_json
from pipeline.core.errors import InputError
from pipeline.core.lock import exclusive

PROGRESS = "progress"
"""Folder of the notes of progress in the part that grows."""


def existing(folder: Path, version: str) -> StoreSpec | None:
    """Return the store in ``folder`` if it is there and whole.

    Raises:
        InputError: ``folder`` holds another store, or files are missing.
    """
    if not folder.exists():
        return None
    spec = load_store_spec(folder)
    if spec.version != version:
        raise InputError(f"{folder}: holds store {spec.version}, wanted {version}; delete it or choose another place")
    check_files(folder, spec.files)
    return spec


def grow(folder: Path, version: str, fill: Callable[[Path], None]) -> StoreSpec:
    """Have ``fill`` write the store into ``<folder>.part``, ``store.json`` last, and give it its name.

    Raises:
        EnvironmentFault: another process builds this store.
    """
    part = folder.with_name(f"{folder.name}.part")
    with exclusive(part):
        built = existing(folder, version)
        if built is not None:
            shutil.rmtree(part)
            return built
        if not _whole(part, version):
            fill(part)
        shutil.rmtree(part / PROGRESS, ignore_errors=True)
        os.replace(part, folder)
        flush(folder.parent)
        # The lock goes last: until the rename whoever opens it finds it held.
        (folder / ".lock").unlink(missing_ok=True)
    return load_store_spec(folder)


def _whole(part: Path, version: str) -> bool:
    """Tell whether ``part`` lacks nothing but its final name; empty it if it is of another store."""
    note = part / PROGRESS / "version.json"
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


def outcome(done: str, folder: Path, spec: StoreSpec) -> str:
    """Return the last line of the job: ``done`` (wrote, fresh already), where, and the shapes of the inputs."""
    shapes = ", ".join(f"{name} {' × '.join(map(str, one.shape))}" for name, one in spec.inputs.items())
    return f"{done}: {folder} ({spec.samples} samples of {shapes})"
