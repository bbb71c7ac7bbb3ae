"""Small stores of images and series, written as the store stage writes them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import INDEX_COLUMNS, InputSpec, Store, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, write_json

COLOURS = ("red", "green", "blue")


def marked_images(samples: int, classes: int, side: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy images (N × 3 × side × side), where class k has a bright bar in row k of K, and their classes."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, classes, samples)
    images = generator.integers(0, 90, (samples, 3, side, side), dtype=np.uint8)
    height = side // classes
    for number, which in enumerate(label):
        images[number, :, which * height : (which + 1) * height] += 120
    return images, label


def write_images(
    folder: Path,
    images: NDArray[np.uint8],
    label: NDArray[np.int64],
    series: NDArray[np.float32] | None = None,
    classes: int | None = None,
) -> Store:
    """Write a store of images (and windows N × T × F, NaN where history is short); 60 % train, 20 % val, 20 % test."""
    folder.mkdir(parents=True)
    count = classes or int(label.max()) + 1
    units = ("1",) * 3
    inputs = {"image": InputSpec("image", "image.npy", "uint8", images.shape[1:], COLOURS, units)}
    np.save(folder / "image.npy", images)
    train = round(0.6 * len(images))
    unit = images[:train].astype(np.float64) / 255
    scale: dict[str, Any] = {
        "image": {"mean": unit.mean((0, 2, 3)).tolist(), "std": unit.std((0, 2, 3)).tolist()},
    }
    if series is not None:
        names = tuple(f"feature{number}" for number in range(series.shape[2]))
        shape = (series.shape[1], series.shape[2])
        inputs["series"] = InputSpec(
            "series", "series.npy", "float32", shape, names, ("1",) * len(names), names, masked=True
        )
        np.save(folder / "series.npy", series)
        scale["series"] = {"mean": [0.0] * len(names), "std": [1.0] * len(names)}
    np.save(folder / "target.npy", np.eye(count, dtype=np.uint8)[label])
    marks = ["train"] * train + ["val"] * round(0.2 * len(images))
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*INDEX_COLUMNS, "default"])
        for number, which in enumerate(label):
            mark = marks[number] if number < len(marks) else "test"
            writer.writerow([f"{number:05d}.png", "", "", f"c{which}", "single", "a", mark])
    write_json(folder / "scale.json", {"folds": {"default": scale}})
    files = [*(spec.file for spec in inputs.values()), "target.npy", "index.csv", "scale.json"]
    spec = StoreSpec(
        dataset="charts",
        version=folder.name,
        samples=len(images),
        inputs=inputs,
        target=TargetSpec("single_label", tuple(f"c{number}" for number in range(count))),
        folds=("default",),
        latitude=(),
        longitude=(),
        upstream={},
        files=describe_files(folder, files),
        preflight={},
    )
    write_json(folder / "store.json", spec.as_json())
    return Store(folder)
