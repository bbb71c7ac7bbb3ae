"""Made-up folders of results: only the light files, with numbers drawn by lot, so that two hundred runs cost little."""

from __future__ import annotations

import base64
import json
import math
import random
from pathlib import Path
from typing import Any

CLASSES = ["1", "2A", "2B", "2C", "2D", "3A", "3B", "3C", "3D", "4A", "4B", "5", "6A", "6B", "6C"]
BASELINES = ("all_positive", "climatology", "persistence", "climatology_and_persistence")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

BEST, SECOND, LOST = "demo/simple-00000007", "demo/simple-00000003", "demo/simple-000000c0"
"""Of :func:`write_many`."""


def write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, **value}), encoding="utf-8")


def report(split: str, f1: float, draw: random.Random, classes: list[str] = CLASSES) -> dict[str, Any]:
    """Return a report as evaluate writes it, with a macro F1."""

    def near(value: float) -> float:
        return min(0.99, max(0.01, value + draw.gauss(0, 0.05)))

    def around(value: float) -> list[float]:
        return [value - 0.041, value + 0.037]

    own = {"map": f1 + 0.05, "macro_f1": f1, "macro_f1_excluding": f1 + 0.01, "micro_f1": f1 + 0.02}
    base = {name: 0.3 + 0.01 * k for k, name in enumerate(own)}
    others = {name: {**base, "f1": [near(0.3) for _ in classes]} for name in BASELINES}
    uplift = {name: own[name] - base[name] for name in own}
    rows = {
        name: {"precision": near(f1), "recall": near(f1), "f1-score": near(f1), "support": 20 + k}
        for k, name in enumerate(classes)
    }
    year = {"val": 1997, "test": 1998}[split]
    part = {"days": 90, "macro_f1": f1, "map": f1, "intervals": {"macro_f1": around(f1)}}
    return {
        "split": split,
        "kind": "multi_label",
        "dated": True,
        "note": "…",
        "warnings": [],
        "days": 359,
        "first": f"{year}-01-04",
        "last": f"{year}-12-28",
        "labels": classes,
        "support": [20 + k for k in range(len(classes))],
        "absent": [],
        "excluded": [],
        "classification_report": rows,
        "scores": {**own, "macro_f1_at_half": f1 - 0.02, "subset_accuracy": 0.6, "hamming_loss": 0.03, "brier": 0.02,
                   "brier_before_calibration": 0.03, "ece": 0.02, "ece_before_calibration": 0.05},
        "per_class": {"threshold": [0.4] * len(classes), "threshold_is_fallback": [False] * len(classes),
                      "average_precision": [near(f1) for _ in classes]},
        "baselines": others,
        "best_baseline": dict.fromkeys(own, "persistence"),
        "uplift": uplift,
        "intervals": {"confidence": 0.95, "resamples": 1000, "block_days": 7,
                      **{name: around(value) for name, value in own.items()},
                      "uplift": {name: around(value) for name, value in uplift.items()},
                      "per_class": {"f1": [around(rows[name]["f1-score"]) for name in classes]}},
        "subscores": {"season": {name: part for name in ("DJF", "MAM", "JJA", "SON")},
                      "kind": {name: part for name in ("composite", "single", "transition")},
                      "year": {str(year): part},
                      "class_size": {name: {**part, "class_names": classes[k::3]} for k, name in
                                     enumerate(("rarest", "middle", "most frequent"))}},
    }  # fmt: skip


def add_run(results: Path, identity: str, f1: float = 0.7, seed: int = 1, epochs: int = 30, **record: Any) -> Path:
    """Write the light files of a run; ``record`` changes its ``run.json``."""
    folder, draw = results / identity, random.Random(f"{identity} {seed}")
    told = {
        "job": "train", "status": "done", "epochs": epochs, "epoch": epochs, "best_epoch": epochs - 2,
        "select": "val_map",
        "host": "node01", "pid": 1, "slurm": {"SLURM_JOB_ID": "4711"}, "ticket": "",
        "command": ["train.py", "configs/demo.yaml", f"train.seed={seed}"], "git": {"sha": "0" * 40, "dirty": False},
        "started": f"2026-11-{1 + seed % 28:02d}T04:46:51Z", "heartbeat": "2026-11-21T04:48:49Z", "sessions": 1,
        "seconds": 60.0 + seed, "peak_memory_mb": 900.0, "exit_code": 0, "error": None, "ended": "2026-11-21T04:48:49Z",
        "model": {"backbone": "simple", "parameters": {"trained": 591727, "frozen": 0}, "weights": "random"},
    }  # fmt: skip
    write(folder / "run.json", {**told, **record})
    rate = draw.choice(["0.001", "0.003", "0.01"])
    folder.joinpath("config.yaml").write_text(
        f"name: {json.dumps(identity.split('/')[0])}\nstore:\n  channels: [ALL]\n"
        f"train:\n  seed: {seed}\n  epochs: {epochs}\n"
        f"  fold: default\n  optimizer:\n    name: adamw\n    lr: {rate}\n  model:\n    backbone: simple\n"
    )
    folder.joinpath("env.txt").write_text("python 3.11.7 on Linux\nnumpy==2.1.0\ntorch==2.5.1\n")
    write(folder / "history.json", {"epochs": [_epoch(k, epochs, f1, draw) for k in range(1, epochs + 1)]})
    write(folder / "norm.json", {"inputs": {"grid": {"channels": ["msl"], "units": ["hPa"]}},
                                 "years": {"train": ["1995", "1996"], "val": ["1997"], "test": ["1998"]}})  # fmt: skip
    write(folder / "thresholds.json", {"cross_fit": {"macro_f1_cross_fit": f1 - 0.02}})
    write(folder / "calibration.json", {})
    for split, value in (("val", f1), ("test", f1 - 0.03)):
        write(folder / f"{split}_report.json", report(split, value, draw))
    add_pictures(folder)
    return folder


def _epoch(k: int, epochs: int, f1: float, draw: random.Random) -> dict[str, Any]:
    risen = f1 * (1 - 1 / (k + 1))
    return {
        "epoch": k, "lr": 5e-4 * (1 + math.cos(math.pi * k / epochs)), "train_loss": draw.gauss(1, 0.05) / k,
        "val_loss": draw.gauss(1.1, 0.05) / k, "val_map": risen + draw.gauss(0.02, 0.003),
        "val_f1": risen + draw.gauss(0, 0.003), "train_f1": f1 + draw.gauss(0, 0.003), "seconds": 1.0,
    }  # fmt: skip


def add_origin(folder: Path) -> None:
    """Write where the data came from, as long as for a data set with daily files of seven years."""
    draw = random.Random(str(folder))
    checksum = "%064x"
    names = ("grid.npy", "scalars.npy", "target.npy", "index.csv", "scale.json", "moments.npz")
    write(folder / "provenance.json", {
        "store": {"version": "ce933e59", "dataset": "demo", "samples": 2922, "warnings": [],
                  "files": {name: checksum % draw.getrandbits(256) for name in names}},
        "upstream": {"derived": "d3f68947", "dataset": "demo", "timezone": "UTC"},
        "derived": {"version": "d3f68947", "timezone": "UTC", "fields": ["ug", "vg", "vog", "msl_dt24"], "files": 96,
                    "sources": ["data/raw/demo/slp_daily_2001_2008.nc", "data/raw/demo/lamb_types_2001_2008.csv"],
                    "first": "2001-01-01", "last": "2008-12-31", "sha256_of_all": checksum % draw.getrandbits(256)},
    })  # fmt: skip


def add_worst(folder: Path) -> None:
    """Write the samples that a run got most wrong, as many as ``misclassified`` lists by itself."""
    draw = random.Random(str(folder))
    shown = [
        {"date": f"1998-{1 + k % 12:02d}-17", "id": str(k), "truth": draw.sample(CLASSES, 2),
         "said": draw.sample(CLASSES, 1), "probability_of_label": draw.random()} for k in range(20)
    ]  # fmt: skip
    confusions = [{"missed": draw.choice(CLASSES), "said": draw.choice(CLASSES), "samples": k} for k in range(20)]
    told = {"split": "test", "wrong": 101, "samples": 359, "shown": shown, "confusions": confusions}
    write(folder / "misclassified" / "test.json", told)


def add_pictures(folder: Path) -> None:
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("loss_curve", "confusion_val", "confusion_test", "pr_curves_val", "reliability_val", "scores_val"):
        (folder / "figures" / f"{name}.png").write_bytes(PNG)


def unfinished(folder: Path, **record: Any) -> None:
    """Take a run's reports away and change its record."""
    for name in ("val_report.json", "test_report.json", "thresholds.json"):
        (folder / name).unlink()
    told = json.loads((folder / "run.json").read_text())
    folder.joinpath("run.json").write_text(json.dumps({**told, **record}))


def add_against(results: Path, ours: str, theirs: str) -> None:
    """Write a comparison by paired bootstrap as evaluate does."""
    limits = {"name": "macro F1", "value": 0.03, "interval": [0.01, 0.05], "beyond_chance": True}
    split: dict[str, Any] = {"samples": 359, "method": {"confidence": 0.95}, "notes": [], "caution": "c"}
    split["differences"] = {"macro_f1": limits}
    experiment, name = theirs.split("/")
    value = {"run": ours.split("/")[1], "against": name, "splits": {"val": split}}
    write(results / ours / "against" / f"{experiment}.{name}.json", value)


def add_day(results: Path, experiment: str, day: str, labels: list[str], **more: Any) -> None:
    """Write a day of the daily job."""
    record = {"date": day, "status": "done", "labels": labels, "joiner": "+", "classes": CLASSES, "data": "ERA5T",
              "probability": {"1": 0.9, "2A": 0.3}, "raw": {"1": 0.8, "2A": 0.2}, "filled": 0,
              "run": {"name": "simple-00000000"}, "made_at": f"{day}T06:00:00Z", **more}  # fmt: skip
    write(results / experiment / "daily" / f"{day}.json", record)
    (results / experiment / "daily" / f"{day}.png").write_bytes(PNG)


def _add_whole(results: Path, identity: str, f1: float, seed: int) -> None:
    folder = add_run(results, identity, f1, seed, epochs=90)
    add_worst(folder)
    add_origin(folder)


def write_many(results: Path) -> None:
    """Write 200 runs of three experiments with all that their pages tell, a comparison, and the diary of 19 days."""
    for k in range(196):
        name = ("demo", "natlantic", "charts")[k % 20 // 9]
        _add_whole(results, f"{name}/simple-{k:08x}", 0.5 + 0.001 * (k * 37 % 190), seed=k % 12)
    _add_whole(results, BEST, 0.81, seed=7)
    _add_whole(results, SECOND, 0.79, seed=3)
    add_against(results, BEST, SECOND)
    running = {"status": "running", "epoch": 7, "heartbeat": "2025-11-20T03:12:00Z", "exit_code": None, "ended": None}
    unfinished(add_run(results, LOST), **running)
    unfinished(add_run(results, "demo/simple-000000c1"), status="failed", error="InputError: the loss became NaN")
    unfinished(add_run(results, "demo/simple-000000c2"), status="interrupted", error="Interrupted: stopped by SIGTERM")
    (add_run(results, "demo/simple-000000c3") / "run.json").write_text('{"schema_version": 1, "job": "tr')
    for day in range(1, 20):
        add_day(results, "demo", f"2026-10-{day:02d}", ["1", "2A"][: day % 3])
