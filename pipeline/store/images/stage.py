"""Image files and series to one store: uint8 pixels, standardised windows, targets and splits.

Everything that can be wrong with names, labels, series and splits is found before the first image is decoded. Files
are known by their SHA-256, so a changed image makes another store. A small file beside the stores, the pointer, says
which store the settings made last, so that later stages need not look at the images.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.store import StoreSpec
from pipeline.core import logs
from pipeline.core.artifact import digest8, write_json
from pipeline.core.errors import EnvironmentFault, InputError, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.store.arrays import npy_bytes
from pipeline.store.config import StoreConfig, image_pointer
from pipeline.store.images.check import check_images
from pipeline.store.images.checksums import Digests, checksums
from pipeline.store.images.content import Content, read_content
from pipeline.store.images.decode import Plan, broken_files, cores, decode_all, stored_size
from pipeline.store.images.files import store_spec, upstream_of, write_files
from pipeline.store.images.pixels import fit_of
from pipeline.store.images.preflight import preflight, table
from pipeline.store.place import PROGRESS, existing, grow, outcome
from pipeline.store.preflight import warn

_SPARE_BYTES = 1 << 24


def build_or_check(config: StoreConfig, root: Path, home: Path, dataset: str, interrupt: Interrupt) -> tuple[str, str]:
    """Build the store, or only look at what it would hold (``config.check``); return a text to print and what was done.

    Raises:
        IsobarError: as for :func:`build_image_store`.
    """
    if config.check:
        text, sheet = check_images(config, root, home, dataset)
        return text, f"wrote: {sheet}; checked, nothing is stored"
    before = set(root.iterdir()) if root.exists() else set()
    spec, folder = build_image_store(config, root, home, dataset, interrupt)
    return table(spec.preflight), outcome("fresh already" if folder in before else "wrote", folder, spec)


def build_image_store(
    config: StoreConfig, root: Path, home: Path, dataset: str, interrupt: Interrupt
) -> tuple[StoreSpec, Path]:
    """Build the store of ``config.images`` in ``root/<version>``, or return it if it is built already.

    Args:
        config: the settings.
        root: ``data/store/<dataset>``.
        home: the folder that relative paths in the settings start from.
        dataset: the name of the data set.
        interrupt: asked for between blocks of images.

    Raises:
        InputError: a setting, a file name, an image, a time or a number is wrong.
        EnvironmentFault: the disk is full or closed, or another process builds this store.
        Interrupted: a stop was asked for; the same call goes on.
    """
    content = read_content(config, home)
    content.series_scales()  # refuses constant features now, not after the decoding
    pointer = root / image_pointer(config)
    workers = cores(content.images.workers)
    digests = checksums(content.pictures, pointer.with_suffix(".sha256"), workers, interrupt)
    upstream = upstream_of(config, content.listing, digests, content.series)
    version = digest8(upstream)
    folder = root / version
    spec = existing(folder, version)
    if spec is None:
        spec = _build(content, digests, upstream, dataset, folder, interrupt)
    else:
        logs.log.info("%s is fresh: built from the same settings and files", folder)
    warn(spec.preflight)
    write_json(pointer, {"version": version})
    return spec, folder


def _build(
    content: Content, digests: Digests, upstream: dict[str, Any], dataset: str, folder: Path, interrupt: Interrupt
) -> StoreSpec:
    def fill(part: Path) -> None:
        try:
            _fill(content, digests, upstream, dataset, part, interrupt)
        except InputError:
            # Other files or other settings make another store, so nobody comes back for this one.
            shutil.rmtree(part)
            raise

    try:
        return grow(folder, folder.name, fill)
    except OSError as error:
        fault = disk_fault(error, folder)
        if fault is None:
            raise
        raise fault from error


def _fill(
    content: Content, digests: Digests, upstream: dict[str, Any], dataset: str, part: Path, interrupt: Interrupt
) -> None:
    """Write all files into ``part``; ``store.json`` comes last and says that the rest is there."""
    images, fit = content.images, fit_of(content.images)
    plan = Plan(
        pictures=content.pictures,
        digests=digests,
        fit=fit,
        size=stored_size(content.pictures, fit),
        skip_broken=images.skip_broken,
        workers=cores(images.workers),
        progress=part / PROGRESS,
        interrupt=interrupt,
    )
    _refuse_small_disk(plan, content, part)
    decoded = decode_all(plan, part / "image.npy")
    kept = content.without(decoded.kept)
    scales = kept.series_scales()
    files = write_files(part, kept, decoded, digests[decoded.kept], scales)
    report = preflight(kept, broken_files(plan, decoded.kept), digests[decoded.kept])
    version = digest8(upstream)
    write_json(part / "store.json", store_spec(kept, dataset, version, plan.size, upstream, files, report).as_json())


def _refuse_small_disk(plan: Plan, content: Content, part: Path) -> None:
    """Check the free space for what is still to be written."""
    image = part / "image.npy"
    wanted = npy_bytes("uint8", plan.shape) + _SPARE_BYTES - (image.stat().st_blocks * 512 if image.exists() else 0)
    if content.windows is not None:
        wanted += 4 * int(np.prod((len(content.windows), content.windows.size, len(content.windows.features))))
    free = shutil.disk_usage(part).free
    if wanted > free:
        raise EnvironmentFault(
            f"{part}: needs {wanted / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; make room, or set a smaller "
            "store.images.size"
        )
