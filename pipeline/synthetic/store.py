"""Small stores made in memory, for tests and benchmarks of what comes after the store stage."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, INDEX_COLUMNS, InputSpec, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, write_json, writing

Floats = NDArray[np.float32]


def blobs(
    samples: int, channels: int, points: int, classes: int, seed: int = 0, noise: float = 1.0
) -> tuple[Floats, NDArray[np.uint8]]:
    """Return maps (N × C × H × W) and targets (N × K) where class k is a bump at a place of its own.

    Each class occurs on about a third of the days, independently, so some days carry several or none.
    """
    generator = np.random.default_rng(seed)
    target = (generator.random((samples, classes)) < 0.35).astype(np.uint8)
    axis = np.linspace(0, 1, points)
    centres = np.random.default_rng(1).random((classes, 2))
    bumps = np.stack([np.exp(-((axis[:, None] - y) ** 2 + (axis[None] - x) ** 2) / 0.02) for y, x in centres])
    maps = np.einsum("nk,khw->nhw", target, bumps)[:, None] + noise * generator.standard_normal(
        (samples, channels, points, points), dtype=np.float32
    )
    return maps.astype(np.float32), target


def write_store(
    folder: Path,
    grid: Floats,
    target: NDArray[np.uint8],
    splits: Sequence[float] = (0.6, 0.2, 0.2),
    scalars: Floats | None = None,
    dtype: str = "float32",
) -> Path:
    """Write a store of the given maps, split in order of time by the given shares; return its folder.

    Maps and scalars are standardised by the training days, as the store stage does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.round(np.cumsum(splits) * len(grid)).astype(int)
    marks = ["train"] * edges[0] + ["val"] * (edges[1] - edges[0]) + ["test"] * (edges[2] - edges[1])
    inputs: dict[str, InputSpec] = {}
    scale: dict[str, Any] = {}
    given = {"grid": grid} if scalars is None else {"grid": grid, "scalars": scalars}
    for name, values in given.items():
        channels = tuple(f"{name}{number}" for number in range(values.shape[1]))
        scale[name] = _write_input(folder / f"{name}.npy", values, edges[0], dtype)
        units = ("1",) * len(channels)
        inputs[name] = InputSpec(name, f"{name}.npy", dtype, values.shape[1:], channels, units)
    _write_npy(folder / "target.npy", target)
    _write_index(folder / "index.csv", marks)
    write_json(folder / "scale.json", {"folds": {DEFAULT_FOLD: scale}})
    names = [*(spec.file for spec in inputs.values()), "target.npy", "index.csv", "scale.json"]
    spec = StoreSpec(
        dataset="synthetic",
        version=folder.name,
        samples=len(grid),
        inputs=inputs,
        target=TargetSpec("multi_label", tuple(f"c{number}" for number in range(target.shape[1]))),
        folds=(DEFAULT_FOLD,),
        latitude=(),
        longitude=(),
        upstream={},
        files=describe_files(folder, names),
        preflight={},
    )
    write_json(folder / "store.json", spec.as_json())
    return folder


def _write_input(path: Path, values: Floats, train: int, dtype: str) -> dict[str, list[float]]:
    axes = (0, *range(2, values.ndim))
    shape = (1, -1) + (1,) * (values.ndim - 2)
    mean = values[:train].mean(axis=axes, dtype=np.float64)
    std = values[:train].std(axis=axes, dtype=np.float64)
    _write_npy(path, ((values - mean.reshape(shape)) / std.reshape(shape)).astype(dtype))
    return {"mean": mean.tolist(), "std": std.tolist()}


def _write_npy(path: Path, values: NDArray[Any]) -> None:
    with writing(path) as part, part.open("wb") as stream:
        np.save(stream, values)


def _write_index(path: Path, marks: Sequence[str]) -> None:
    first = datetime.date(2001, 1, 1)
    with writing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*INDEX_COLUMNS, DEFAULT_FOLD])
        for number, mark in enumerate(marks):
            day = str(first + datetime.timedelta(number))
            writer.writerow([day, f"{day}T00:00:00", day, "", "single", day[:4], mark])
