"""The files of a store of images beside the pixels: windows, targets, index, scale, and ``store.json`` itself."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.store import INDEX_COLUMNS, InputSpec, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, sha256, write_json, write_text, writing
from pipeline.store.arrays import ArrayWriter
from pipeline.store.config import FORMAT, StoreConfig, image_settings, target_of
from pipeline.store.images.checksums import Digests
from pipeline.store.images.content import Content
from pipeline.store.images.decode import Decoded
from pipeline.store.images.pictures import Listing
from pipeline.store.images.series import Series
from pipeline.store.moments import Moments, merge

IMAGE, SERIES = "image", "series"
CHANNELS = ("red", "green", "blue")


def upstream_of(config: StoreConfig, listing: Listing, digests: Digests, series: Series | None) -> dict[str, Any]:
    """Return what the store is made from, by contents: with the settings it decides the version."""
    lines = hashlib.sha256()
    for one, value in zip(listing.pictures, digests, strict=True):
        facts = (one.id, one.split, one.label, one.group, str(one.time or ""), value.tobytes().hex())
        lines.update("\0".join(facts).encode() + b"\n")
    return {
        "images": {"files": len(listing.pictures), "sha256": lines.hexdigest(), "bars": listing.bars},
        "series": {} if series is None else {path.name: sha256(path) for path in series.files},
        "settings": image_settings(config),
        "format": FORMAT,
    }


def write_files(
    folder: Path, content: Content, decoded: Decoded, digests: Digests, scales: Mapping[str, Moments]
) -> dict[str, dict[str, Any]]:
    """Write all files but the pixels and ``store.json``; return their sizes and checksums.

    Args:
        folder: the store.
        content: of the images that are kept.
        decoded: the pixels as written.
        digests: SHA-256 of the kept files, N × 32.
        scales: of the series, for each fold; empty without series.
    """
    described = {"image.npy": decoded.described}
    if content.windows is not None:
        described["series.npy"] = _write_series(folder / "series.npy", content, scales)
    for name, values in (("target.npy", content.labels.target), ("sha256.npy", digests)):
        with writing(folder / name) as part, part.open("wb") as stream:
            np.save(stream, values)
    write_text(folder / "index.csv", _index(content))
    decoded.moments.write(folder / "moments.npz")
    folds = {}
    for fold in content.folds:
        folds[fold] = {IMAGE: merge(decoded.moments, content.training(fold)).described()}
        if scales:
            folds[fold][SERIES] = scales[fold].described()
    write_json(folder / "scale.json", {"folds": folds})
    return described | describe_files(folder, ["target.npy", "sha256.npy", "index.csv", "moments.npz", "scale.json"])


def store_spec(
    content: Content,
    dataset: str,
    version: str,
    size: tuple[int, int],
    upstream: Mapping[str, Any],
    files: dict[str, dict[str, Any]],
    report: dict[str, Any],
) -> StoreSpec:
    """Return the contents of ``store.json``; ``size`` is height and width of the images."""
    inputs = {IMAGE: InputSpec(IMAGE, "image.npy", "uint8", (3, *size), CHANNELS, ("1",) * 3)}
    windows = content.windows
    if windows is not None:
        missing = tuple(name for name, gap in zip(windows.features, windows.with_gaps(), strict=True) if gap)
        shape = (windows.size, len(windows.features))
        units = ("1",) * len(windows.features)
        inputs[SERIES] = InputSpec(SERIES, "series.npy", "float32", shape, windows.features, units, missing, True)
    return StoreSpec(
        dataset=dataset,
        version=version,
        samples=len(content.pictures),
        inputs=inputs,
        target=TargetSpec(target_of(content.config).kind, content.labels.classes),
        folds=tuple(content.folds),
        latitude=(),
        longitude=(),
        upstream={"dataset": dataset, "timezone": content.images.timezone, **upstream},
        files=files,
        preflight=report,
    )


def _write_series(path: Path, content: Content, scales: Mapping[str, Moments]) -> dict[str, Any]:
    windows = content.windows
    if windows is None:
        raise RuntimeError("no series in this store")
    shape = (len(windows), windows.size, len(windows.features))
    writer = ArrayWriter(path, "float32", shape, 0)
    try:
        for block in windows.blocks(next(iter(scales.values()))):
            writer.append(block)
        writer.flush()
        return writer.describe()
    finally:
        writer.close()


def _index(content: Content) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*INDEX_COLUMNS, *content.folds])
    marks = [column.tolist() for column in content.folds.values()]
    for one, kind, *splits in zip(content.pictures, content.labels.kinds.tolist(), *marks, strict=True):
        time = "" if one.time is None else f"{one.time.isoformat(timespec='seconds')}Z"
        date = "" if one.local is None else f"{one.local:%Y-%m-%d}"
        writer.writerow([one.id, time, date, one.label, kind, one.group, *splits])
    return stream.getvalue()
