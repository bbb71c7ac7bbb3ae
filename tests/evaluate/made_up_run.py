"""A made-up store and trained run, written by the contracts: seasonal classes that last for days, imperfect logits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contract.derived import DerivedSpec
from pipeline.contract.predictions import Predictions
from pipeline.contract.store import INDEX_COLUMNS, InputSpec, StoreSpec, TargetSpec
from pipeline.core.artifact import describe_files, read_json, write_json, writing
from pipeline.core.config import dump, load
from pipeline.experiment import Experiment
from pipeline.store.config import image_pointer

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
    inputs: tuple[str, ...] = (),
    settings: str = "",
    folds: bool = False,
) -> MadeUp:
    """Write derived manifest, store, config and a run with predictions under ``home`` (use it as ``ISOBAR_HOME``).

    ``inputs`` are ``grid``, ``image`` or ``series``, each a pattern of the sample's classes with noise. With ``folds``
    each year is the test split of a fold named after it as well; ``settings`` are lines for the config.
    """
    rng = np.random.default_rng(seed)
    every = [year for split in years for year in split]
    days = np.arange(f"{min(every)}-01-01", f"{max(every) + 1}-01-01", dtype="datetime64[D]")
    days = days[(days - days.astype("datetime64[Y]")).astype(int) < days_a_year]
    target = labels(days, len(classes), rng, rare)
    year = days.astype("datetime64[Y]").astype(int) + 1970
    target[np.ix_(np.isin(year, years[1] + years[2]), absent)] = 0
    if single:
        target = np.eye(len(classes), dtype=np.uint8)[np.argmax(target * rng.random(target.shape), axis=1)]
    marks = {"default": np.select([np.isin(year, part) for part in years], ["train", "val", "test"], "gap")}
    for one in sorted(set(year.tolist())) if folds else ():
        before = (one - min(every) - 1) % len(every) + min(every)
        marks[str(one)] = np.select([year == one, year == before], ["test", "val"], "train")
    home.mkdir(parents=True, exist_ok=True)
    config_path = home / "made_up.yaml"
    images = "store: {images: {datasets: [pictures]}}\n" if "image" in inputs else ""
    config_path.write_text(f"name: made_up\n{images}{settings}", encoding="utf-8")
    config = load(config_path, Experiment).config
    if images:
        write_json(config.store_root() / image_pointer(config.store), {"version": "0123abcd"})
    else:
        DerivedSpec("made_up", "UTC", {}, {}, (), (), (), (), True).save(config.derived_folder())
    kinds = rng.choice(["single", "composite", "transition"], len(days), p=[1, 0, 0] if single else [0.6, 0.33, 0.07])
    dates = days.astype(str) if dated else np.full(len(days), "")
    ids = days.astype(str)
    kind = "single_label" if single else "multi_label"
    store = _store(config.store_folder(), classes, ids, dates, target, marks, kinds, kind, inputs)
    run = config.run().path
    _run(run, config, classes, ids, dates, target, marks["default"], kinds, rng, skill, kind)
    return MadeUp(home, config_path, config, run, store)


def run_of_fold(made: MadeUp, fold: str, target: np.ndarray, seed: int, skill: float = 2.2) -> Path:
    """Write the run of another fold, with logits that know ``target`` (of all samples), and return its folder."""
    from pipeline.contract.store import Store

    config = load(made.config_path, Experiment, [f'train.fold="{fold}"']).config
    store, rng = Store(made.store), np.random.default_rng(seed)
    columns = [store.column(name) for name in ("id", "date", "kind")]
    marks, run = store.column(fold), config.run().path
    given, kind = store.target, store.spec.target.kind
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text(dump(config), encoding="utf-8")
    write_json(run / "run.json", {"job": "train", "status": "done"})
    logits = logits_for(target, rng, skill)
    for split in ("val", "test"):
        rows = marks == split
        if not rows.any():
            continue
        ids, dates, kinds = (column[rows] for column in columns)
        names = np.array(store.spec.target.classes)
        said = Predictions(logits[rows], given[rows], ids, dates, kinds, names, kind, split, store.spec.version)
        said.save(run / f"predictions_{split}.npz")
    return run


def relabel(made: MadeUp, target: np.ndarray) -> None:
    """Put other labels into the store, as if its label file had been another."""
    np.save(made.store / "target.npy", target)
    spec = read_json(made.store / "store.json")
    spec["files"] |= describe_files(made.store, ["target.npy"])
    write_json(made.store / "store.json", spec)


SHAPES = {"grid": (2, 9, 11), "image": (3, 12, 16), "series": (6, 5)}
CHANNELS = {"grid": ("msl", "vo850"), "image": ("red", "green", "blue"), "series": ("a", "b", "c", "d", "e")}
UNITS = {"grid": ("hPa", "s-1"), "image": ("1",) * 3, "series": ("1",) * 5}
SCALE = {"mean": [1010.0, 0.0, 0.5, 3.0, 4.0], "std": [8.0, 1e-5, 0.1, 2.0, 0.2]}


def values_of(name: str, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a pattern of each class, added up, with noise: as a store holds it."""
    shape = SHAPES[name]
    patterns = rng.normal(size=(target.shape[1], *shape))
    values = np.tensordot(target.astype(float), patterns, 1) + 0.3 * rng.normal(size=(len(target), *shape))
    if name == "image":
        return np.clip(128 + 40 * values, 0, 255).astype(np.uint8)
    return values.astype(np.float32)


def _inputs(folder: Path, names: tuple[str, ...], target: np.ndarray) -> tuple[dict[str, InputSpec], dict]:
    specs, scale = {}, {}
    for name in names:
        values = values_of(name, target, np.random.default_rng(5))
        with writing(folder / f"{name}.npy") as part, part.open("wb") as stream:
            np.save(stream, values)
        channels = CHANNELS[name]
        specs[name] = InputSpec(name, f"{name}.npy", str(values.dtype), SHAPES[name], channels, UNITS[name])
        scale[name] = {key: numbers[: len(channels)] for key, numbers in SCALE.items()}
        if name == "image":
            scale[name] = {"mean": [0.5] * 3, "std": [0.2] * 3}
    return specs, scale


def _store(folder: Path, classes, ids, dates, target, marks: dict, kinds, kind: str, names: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    inputs, scale = _inputs(folder, names, target)
    with writing(folder / "target.npy") as part, part.open("wb") as stream:
        np.save(stream, target)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow([*INDEX_COLUMNS, *marks])
        for name, day, label_kind, *mark in zip(ids, dates, kinds, *marks.values(), strict=True):
            rows.writerow([name, f"{name}T00:00" if day else "", day, "", label_kind, name[:4], *mark])
    write_json(folder / "scale.json", {"folds": dict.fromkeys(marks, scale)})
    spec = StoreSpec(
        dataset="made_up",
        version=folder.name,
        samples=len(ids),
        inputs=inputs,
        target=TargetSpec(kind, classes),
        folds=tuple(marks),
        latitude=tuple(np.linspace(50, 30, SHAPES["grid"][1])) if "grid" in names else (),
        longitude=tuple(np.linspace(120, 150, SHAPES["grid"][2])) if "grid" in names else (),
        upstream={},
        files=describe_files(folder, ["target.npy", "index.csv", "scale.json", *(f"{name}.npy" for name in names)]),
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
