"""A made-up store and trained run, written by the contracts: seasonal classes that last for days, imperfect logits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contract.derived import DerivedSpec
from pipeline.contract.predictions import Predictions
from pipeline.contract.store import INDEX_COLUMNS, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, write_json, writing
from pipeline.core.config import dump, load
from pipeline.experiment import Experiment

YOSHINO = ("1", "2A", "2B", "2C", "2D", "3A", "3B", "3C", "3D", "4A", "4B", "5", "6A", "6B", "6C")
LAMB = ("A", "C", "E", "N", "NE", "NW", "S", "SE", "SW", "U", "W")


@dataclass(frozen=True)
class MadeUp:
    home: Path
    config_path: Path
    config: Experiment
    run: Path
    store: Path


def labels(days: np.ndarray, classes: int, rng: np.random.Generator, rare: tuple[int, ...] = ()) -> np.ndarray:
    """Return N × K 0/1: each class has a season and lasts for some days; ``rare`` ones occur on few days."""
    phase = (days - days.astype("datetime64[Y]")).astype(float) / 365.25
    peak, base = rng.random(classes), rng.uniform(-3.0, -1.6, classes)
    season = 1.5 * np.cos(2 * np.pi * (phase[:, None] - peak))
    noise = rng.normal(size=(len(days), classes))
    weather = np.zeros_like(noise)
    for day in range(1, len(days)):
        weather[day] = 0.55 * weather[day - 1] + noise[day]
    base[list(rare)] -= 4.5
    target = rng.random((len(days), classes)) < 1 / (1 + np.exp(-(base + season + 1.2 * weather)))
    empty = ~target.any(axis=1)
    target[empty, rng.integers(0, classes - len(rare), empty.sum())] = True
    return target.astype(np.uint8)


def logits_for(target: np.ndarray, rng: np.random.Generator, skill: float = 2.2) -> np.ndarray:
    """Return logits that know the target up to noise and are too high, as after training with pos_weight."""
    share = np.clip(target.mean(axis=0), 1e-3, None)
    evidence = skill * (target - share) + rng.normal(size=target.shape)
    return (skill * evidence + 0.5 * np.log(share / (1 - share))).astype(np.float32)


def make(
    home: Path,
    classes: tuple[str, ...] = LAMB,
    years: tuple[list[int], list[int], list[int]] = ([2001, 2002, 2003], [2004], [2005]),
    rare: tuple[int, ...] = (),
    absent: tuple[int, ...] = (),
    skill: float = 2.2,
    seed: int = 0,
    days_a_year: int = 366,
    single: bool = False,
    dated: bool = True,
) -> MadeUp:
    """Write derived manifest, store, config and a run with predictions under ``home`` (use it as ``ISOBAR_HOME``)."""
    rng = np.random.default_rng(seed)
    every = [year for split in years for year in split]
    days = np.arange(f"{min(every)}-01-01", f"{max(every) + 1}-01-01", dtype="datetime64[D]")
    days = days[(days - days.astype("datetime64[Y]")).astype(int) < days_a_year]
    target = labels(days, len(classes), rng, rare)
    year = days.astype("datetime64[Y]").astype(int) + 1970
    target[np.ix_(np.isin(year, years[1] + years[2]), absent)] = 0
    if single:
        target = np.eye(len(classes), dtype=np.uint8)[np.argmax(target * rng.random(target.shape), axis=1)]
    marks = np.select([np.isin(year, part) for part in years], ["train", "val", "test"], "gap")
    home.mkdir(parents=True, exist_ok=True)
    config_path = home / "made_up.yaml"
    config_path.write_text("name: made_up\n", encoding="utf-8")
    config = load(config_path, Experiment).config
    empty = DerivedSpec("made_up", "UTC", {}, {}, (), (), (), (), True)
    empty.save(config.derived_folder())
    kinds = rng.choice(["single", "composite", "transition"], len(days), p=[1, 0, 0] if single else [0.6, 0.33, 0.07])
    dates = days.astype(str) if dated else np.full(len(days), "")
    ids = days.astype(str)
    kind = "single_label" if single else "multi_label"
    store = _store(config.store_folder(), classes, ids, dates, target, marks, kinds, kind)
    run = config.run().path
    _run(run, config, classes, ids, dates, target, marks, kinds, rng, skill, kind)
    return MadeUp(home, config_path, config, run, store)


def _store(folder: Path, classes, ids, dates, target, marks, kinds, kind: str) -> Path:
    folder.mkdir(parents=True)
    with writing(folder / "target.npy") as part, part.open("wb") as stream:
        np.save(stream, target)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow([*INDEX_COLUMNS, "default"])
        for name, day, label_kind, mark in zip(ids, dates, kinds, marks, strict=True):
            rows.writerow([name, f"{name}T00:00" if day else "", day, "", label_kind, name[:4], mark])
    write_json(folder / "scale.json", {"folds": {"default": {}}})
    spec = StoreSpec(
        dataset="made_up",
        version=folder.name,
        samples=len(ids),
        inputs={},
        target=TargetSpec(kind, classes),
        folds=("default",),
        latitude=(),
        longitude=(),
        upstream={},
        files=describe_files(folder, ["target.npy", "index.csv", "scale.json"]),
        preflight={},
    )
    write_json(folder / "store.json", spec.as_json())
    return folder


def _run(
    run: Path, config: Experiment, classes, ids, dates, target, marks, kinds, rng, skill: float, kind: str
) -> None:
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(dump(config), encoding="utf-8")
    write_json(run / "run.json", {"job": "train", "status": "done"})
    for split in ("val", "test"):
        rows = marks == split
        if rows.any():
            Predictions(
                logits_for(target[rows], rng, skill),
                target[rows],
                ids[rows],
                dates[rows],
                kinds[rows].astype(str),
                np.array(classes),
                kind,
                split,
                config.store_folder().name,
            ).save(run / f"predictions_{split}.npz")
    write_json(run / "history.json", history(rng))


def history(rng: np.random.Generator, epochs: int = 30) -> dict:
    """Return what training keeps of its epochs: over-fitting after the best one."""
    entries = []
    for epoch in range(1, epochs + 1):
        train, score = 0.3 * np.exp(-epoch / 9) + 0.05, 0.75 * (1 - np.exp(-epoch / 6)) - 0.002 * epoch
        entries.append(
            {
                "epoch": epoch,
                "lr": 1e-3 * 0.5 ** (epoch // 12),
                "train_loss": train,
                "val_loss": 0.31 * np.exp(-epoch / 8) + 0.12 + 0.0012 * epoch + 0.003 * rng.normal(),
                "val_map": score + 0.01 * rng.normal(),
                "val_f1": 0.85 * score + 0.012 * rng.normal(),
                "seconds": 1.5,
            }
        )
    best = max(entries, key=lambda entry: entry["val_map"])
    return {"epochs": entries, "best_epoch": best["epoch"], "select": "val_map", "best": best["val_map"]}
