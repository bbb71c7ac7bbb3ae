"""Tiny made-up data in the guides' folder forms: each class has its own colour or slope."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("Class_A", "Class_B", "Class_C")
BARS = 40


def write_photos(root: Path, classes: int = 4, train: int = 12, val: int = 6) -> None:
    """Write ``root/{train,val}/<class>/*.png`` of different sizes."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(classes):
            for index in range(count):
                shape = (40 + 4 * (index % 3), 48, 3)
                pixels = random.integers(0, 80, shape) + 170 * np.eye(classes, 3, dtype=int)[number]
                _save(root / split / f"kind{number}" / f"photo {index}.png", pixels)


def write_charts(root: Path, datasets: tuple[str, ...] = ("dataset_a",), count: int = 16) -> None:
    """Write ``root/<dataset>_15m_winsize40/{train,val,test}/<class>/…`` and the series of the first data set.

    Splits lie weeks apart, so that none shares bars with another.
    """
    rows: list[datetime] = []
    for number, split in enumerate(("train", "val", "test")):
        start = datetime(2024, 1, 1, 9) + timedelta(weeks=4 * number)
        times = [start + timedelta(minutes=15 * bar) for bar in range(-BARS, count)]
        rows += times
        for place, dataset in enumerate(datasets):
            for index, time in enumerate(times[BARS:]):
                kind = (index + place) % 3
                folder = root / f"{dataset}_15m_winsize40" / split / CLASSES[kind]
                _save(folder / f"{dataset}_15m_{time:%Y%m%d_%H%M}_label_{kind}.png", _slope(kind))
    values = np.random.default_rng(1).normal(size=(len(rows), 6)).round(3)
    lines = [f"{time:%Y-%m-%d %H:%M:%S},{','.join(map(str, row))}" for time, row in zip(rows, values, strict=True)]
    header = "timestamp," + ",".join(f"feature_{number}" for number in range(1, 7))
    text = "\n".join([header, *lines, ""])
    (root / f"fix_labeled_data_{datasets[0]}_15m.csv").write_text(text, encoding="utf-8")


def _slope(number: int) -> np.ndarray:
    pixels = np.full((32, 32, 3), 255)
    for x in range(32):
        pixels[(x, 16, 31 - x)[number], x] = (200, 0, 0)
    return pixels


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
