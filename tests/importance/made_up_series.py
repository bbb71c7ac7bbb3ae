"""Series of which it is known what tells something about the label."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.importance.config import ImportanceConfig

START = datetime(2024, 1, 1)
HOURS = timedelta(hours=1)


def write_truth(path: Path, rows: int = 500, seed: int = 0) -> None:
    """Write hourly rows: ``signal`` and, less well, ``weak`` tell the class of the next row; the rest is noise.

    ``answer`` names the class of its own row, as rows do that determine their label.
    """
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, 6))
    score = 1.6 * values[:, 0] + 0.8 * values[:, 1] + 0.4 * random.normal(size=rows)
    classes = np.array(["low", "mid", "high"])[np.digitize(score, [-0.8, 0.8])]
    label = np.append("", classes[:-1])
    answer = np.array([{"": 0, "low": 1, "mid": 2, "high": 3}[text] for text in label.tolist()])
    lines = ["time,signal,weak,noise_1,noise_2,noise_3,noise_4,answer,label"]
    for row in range(rows):
        numbers = ",".join(f"{value:.5f}" for value in values[row])
        lines.append(f"{START + row * HOURS:%Y-%m-%d %H:%M},{numbers},{answer[row]},{label[row]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_bars(path: Path, rows: int = 400, seed: int = 1) -> None:
    """Write a random walk of bars, about which nothing can be known."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
    lines = ["time,open,high,low,close,volume"]
    for row, price in enumerate(close.tolist()):
        cells = (price * 0.999, price * 1.004, price * 0.995, price, 100 + row % 7)
        lines.append(f"{START + row * HOURS:%Y-%m-%d %H:%M}," + ",".join(f"{cell:.5f}" for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


SMALL: dict[str, Any] = {
    "name": "made",
    "data": {"files": ["truth.csv"]},
    "labels": {"column": "label"},
    "features": {"raw": ["signal", "weak", "noise_1", "noise_2", "noise_3", "noise_4"], "statistics": ["last"]},
    "validation": {"splits": 3},
    "lightgbm": {"rounds": 15, "num_leaves": 7, "min_data_in_leaf": 10},
    "search": {"trials": 3, "rounds": [5, 20], "num_leaves": [3, 9]},
    "null": {"shuffles": 19},
    "repeats": 2,
    "top": 2,
    "threads": 1,
}


def settings(**changes: Any) -> ImportanceConfig:
    """Return the small config with sections changed."""
    merged = {
        name: {**SMALL[name], **value} if isinstance(value, dict) and isinstance(SMALL.get(name), dict) else value
        for name, value in {**SMALL, **changes}.items()
    }
    return ImportanceConfig.model_validate(merged)


RESULTS = ("importance.json", "importance.csv", "features.csv", "trials.jsonl", "shuffles.jsonl")


def place(folder: Path) -> Path:
    """Make a project folder with the series of known truth."""
    folder.mkdir(exist_ok=True)
    write_truth(folder / "truth.csv")
    return folder


def read(run: Path) -> dict[str, Any]:
    """Return the result of a run."""
    return dict(json.loads((run / "importance.json").read_text()))


def contents(run: Path) -> dict[str, bytes]:
    """Return everything that a run has found, to compare byte for byte."""
    return {name: (run / name).read_bytes() for name in RESULTS}
