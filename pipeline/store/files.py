"""The files of a store beside the big array: scalars, targets, moments, index, scale, and ``store.json`` itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, INDEX_COLUMNS, InputSpec, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, write_json, write_text, writing
from pipeline.store.config import grid_settings, target_of
from pipeline.store.content import Content
from pipeline.store.moments import Moments, merge, refuse_constant, refuse_unscaled
from pipeline.store.splits import years_of

GRID, SCALARS = "grid", "scalars"


def fold_scales(content: Content, moments: Moments, names: list[str]) -> dict[str, Moments]:
    """Return, for each fold, the moments of each channel (or scalar) over its training days.

    Raises:
        InputError: a channel is constant or empty there.
    """
    scales = {fold: merge(moments, content.training(fold)) for fold in content.folds}
    for fold, scale in scales.items():
        refuse_constant(scale, names, "the store" if fold == DEFAULT_FOLD else f"fold {fold}")
    return scales


def scalar_moments(content: Content) -> Moments:
    """Return the scalars as moments of one value each, N × S."""
    values = content.days.scalars
    return Moments(np.ones_like(values), values, np.zeros_like(values))


def write_scalars(folder: Path, content: Content, scale: Moments) -> None:
    """Write ``scalars.npy``: N × S float32, standardised by ``scale``.

    Raises:
        InputError: the training days do not have mean 0 and standard deviation 1 afterwards.
    """
    values = ((content.days.scalars - scale.mean) / scale.std).astype(np.float32)
    written = values.astype(np.float64)
    training = content.training(DEFAULT_FOLD)
    refuse_unscaled(merge(Moments(np.ones_like(written), written, np.zeros_like(written)), training), content.scalars)
    _write_npy(folder / "scalars.npy", values)


def write_small_files(folder: Path, content: Content, moments: Moments, scales: dict[str, dict[str, Moments]]) -> None:
    """Write targets, index, moments and scale; ``scales`` is ``{input: {fold: moments over its training days}}``."""
    _write_npy(folder / "target.npy", content.labels.target)
    write_text(folder / "index.csv", _index(content))
    moments.write(folder / "moments.npz")
    folds = {fold: {name: of_fold[fold].described() for name, of_fold in scales.items()} for fold in content.folds}
    write_json(folder / "scale.json", {"folds": folds})


def store_spec(
    content: Content, dataset: str, version: str, folder: Path, grid: dict[str, Any], moments: Moments
) -> StoreSpec:
    """Return the contents of ``store.json`` for the files in ``folder``; ``grid`` describes ``grid.npy``."""
    upstream = content.upstream
    inputs = {GRID: _grid_spec(content, moments)}
    if content.scalars:
        units = tuple(upstream.scalars[name] for name in content.scalars)
        names = tuple(content.scalars)
        inputs[SCALARS] = InputSpec(SCALARS, "scalars.npy", "float32", (len(names),), names, units)
    small = [spec.file for name, spec in inputs.items() if name != GRID]
    small += ["target.npy", "index.csv", "scale.json", "moments.npz"]
    return StoreSpec(
        dataset=dataset,
        version=version,
        samples=len(content.days),
        inputs=inputs,
        target=TargetSpec(target_of(content.config).kind, content.labels.classes),
        folds=tuple(content.folds),
        latitude=content.window.latitude,
        longitude=content.window.longitude,
        upstream={
            "derived": upstream.version,
            "dataset": upstream.dataset,
            "timezone": upstream.timezone,
            "settings": grid_settings(content.config),
        },
        files={"grid.npy": grid} | describe_files(folder, small),
        preflight=content.preflight,
    )


def _grid_spec(content: Content, moments: Moments) -> InputSpec:
    height, width = content.window.shape
    with_gaps = moments.count.min(axis=0) < height * width
    missing = tuple(name for name, gap in zip(content.names, with_gaps, strict=True) if gap)
    return InputSpec(
        kind=GRID,
        file="grid.npy",
        dtype=content.config.dtype,
        shape=(len(content.channels), height, width),
        channels=tuple(content.names),
        units=tuple(channel.units for channel in content.channels),
        missing=missing,
        masked=content.config.mask_missing and bool(missing),
    )


def _index(content: Content) -> str:
    days = content.days
    times = [f"{time}Z" for time in np.datetime_as_string(days.time, unit="s").tolist()]
    dates = days.date.astype(str).tolist()
    ids = dates if len(set(dates)) == len(dates) else times
    groups = years_of(days.date).astype(str).tolist()
    marks = [column.tolist() for column in content.folds.values()]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*INDEX_COLUMNS, *content.folds])
    kinds = content.labels.kinds.tolist()
    writer.writerows(zip(ids, times, dates, days.label.tolist(), kinds, groups, *marks, strict=True))
    return stream.getvalue()


def _write_npy(path: Path, values: NDArray[Any]) -> None:
    with writing(path) as part, part.open("wb") as stream:
        np.save(stream, values)
