"""Small folders of images and series whose contents are known."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.contract.store import Store
from pipeline.core.interrupt import Interrupt
from pipeline.store.config import StoreConfig
from pipeline.store.images.stage import build_image_store

CLASSES = ("Up", "Down", "Flat")
START = datetime(2024, 1, 1, 9, 0)
STEP = timedelta(minutes=15)


def pixels(seed: int, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def time_of(bar: int) -> datetime:
    return START + bar * STEP


def name_of(bar: int, number: int, dataset: str = "eur", separator: str = "_", frame: str = "15m") -> str:
    return f"{dataset}_{frame}_{time_of(bar):%Y%m%d}{separator}{time_of(bar):%H%M}_label_{number}.png"


def write_charts(
    home: Path,
    splits: Mapping[str, Iterable[int]] = {"train": range(60), "val": range(70, 80), "test": range(90, 100)},
    dataset: str = "eur",
    bars: int = 4,
    classes: Sequence[str] = CLASSES,
    folder: str | None = None,
) -> str:
    """Write a folder after the convention: the class of bar b is b modulo their number; return its name."""
    root = folder or f"{dataset}_15m_winsize{bars}"
    for split, numbers in splits.items():
        for bar in numbers:
            number = bar % len(classes)
            save(home / root / split / classes[number] / name_of(bar, number, dataset), pixels(bar))
    return root


def feature(bar: int, column: int) -> float:
    """A value that tells which row and column it is."""
    return 10.0 * bar + column


def write_series(path: Path, bars: Iterable[int], features: int = 2, extra: Mapping[str, str] = {}) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["timestamp", *(f"f{column}" for column in range(features)), *extra])
        for bar in bars:
            values = [feature(bar, column) for column in range(features)]
            writer.writerow([f"{time_of(bar):%Y-%m-%d %H:%M:%S}", *values, *extra.values()])
    return path


def settings(images: dict[str, Any], **other: Any) -> StoreConfig:
    return StoreConfig.model_validate({"images": images, **other})


def build(home: Path, config: StoreConfig, interrupt: Interrupt | None = None) -> Store:
    """Build the store in ``home/store`` and open it."""
    folder = build_image_store(config, home / "store", home, "made_up", interrupt or Interrupt())[1]
    return Store(folder)
