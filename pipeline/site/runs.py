"""One run folder, read: how it stands, its scores, curves, settings, pictures, and where it ran."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core.lock import is_held
from pipeline.site.finder import subfolders
from pipeline.site.pairs import read_pairs, read_worst
from pipeline.site.reading import WRONG, Faults, bounded, load, load_settings, number, significant, text, thousandths
from pipeline.site.scores import at_length, class_f1, in_short, labels_of, weakest

BROKEN, TRAINED, DONE, RUNNING, SILENT = "broken", "trained", "done", "running", "silent"
_KNOWN = (DONE, RUNNING, "interrupted", "failed")
_FILES = (
    "config.yaml", "run.json", "env.txt", "train.log", "history.json", "val_report.json", "test_report.json",
    "thresholds.json", "calibration.json", "norm.json", "events.jsonl",
)  # fmt: skip
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "lightning", "scikit_learn", "optuna", "lightgbm", "xarray")
_CURVES = ("train_loss", "val_loss", "train_f1", "val_f1", "val_map", "val_accuracy", "lr")
_LEAVE_OUT = ("data", "results", "report.", "download.", "name", "dataset", "evaluate.", "notify.")
_RUNTIME = {
    "train.device", "train.threads", "train.memory_gb", "train.max_time", "train.checkpoint_minutes",
    "train.workers", "train.tensorboard",
}  # fmt: skip
_POINTS, _SPARK, _MOST_FILES = 48, 24, 200
_SILENT_SECONDS = 90.0


def read_run(folder: Path) -> dict[str, Any]:
    """Return ``row`` (for the leaderboard), ``page`` (for its own page) and ``settings`` of a run."""
    faults = Faults()
    record = load(folder, "run.json", faults)
    row: dict[str, Any] = {"state": BROKEN, "why": ""}
    page: dict[str, Any] = {}
    with faults.noting("run.json"):
        row |= _standing(folder, record)
        page["ran"] = _ran(record)
    history = load(folder, "history.json", faults)
    with faults.noting("history.json"):
        row["spark"], page["curves"] = _curves(history, record.get("select"))
    reports = {split: load(folder, f"{split}_report.json", faults) for split in ("val", "test")}
    for split, report in reports.items():
        if report:
            with faults.noting(f"{split}_report.json"):
                page[split] = at_length(report)
                row |= {"kind": text(report.get("kind"), 20), "labels": labels_of(report), split: in_short(report)}
                if split == "val":
                    row["f1"], row["support"] = class_f1(report), page[split]["classes"]["n"]
                    row["weak"] = weakest(page[split]["parts"])
    thresholds = load(folder, "thresholds.json", faults)
    if thresholds:
        with faults.noting("thresholds.json"):
            fitted = thresholds["cross_fit"]
            told = reports["val"].get("cross_fit_flattery")
            if told is None or told == fitted.get("flatters_by"):
                row["cross"] = number(fitted["macro_f1_cross_fit"])
            else:
                faults.append("thresholds.json is of other thresholds than val_report.json; run the evaluate job again")
    norm = load(folder, "norm.json", faults)
    with faults.noting("norm.json"):
        page |= _inputs(norm)
    with faults.noting("env.txt"):
        page["packages"] = _packages(folder / "env.txt")
    settings = _deciding(load_settings(folder, faults))
    page["origin"] = _origin(load(folder, "provenance.json", faults))
    page["pictures"] = inside(folder, ".png")
    page["worst"] = read_worst(folder, faults)
    page["pairs"] = read_pairs(folder, faults)
    page["files"] = [name for name in _FILES if (folder / name).exists()] + inside(folder, ".csv")
    if row["state"] == DONE and "val" not in row:
        row["state"] = TRAINED
    if not record and not faults:
        faults.append("no run.json: the run was never begun, was cut off at once, or its folder did not come whole")
    if row["state"] == BROKEN:
        row["why"] = faults[0]
    return {"row": row | _model(record, settings), "page": page | {"faults": list(faults)}, "settings": settings}


def _standing(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    if not record:
        return {}
    status = text(record.get("status"), 20)
    if status not in _KNOWN:
        raise ValueError(f"status {status!r} is not known")
    return {
        "state": status,
        "why": text(record.get("error")),
        "beat": text(record.get("heartbeat"), 30),
        "began": text(record.get("started"), 30),
        "seconds": number(record.get("seconds"), 1),
        "epoch": number(record.get("epoch")),
        "epochs": number(record.get("epochs")),
        "best_epoch": number(record.get("best_epoch")),
        "host": text(record.get("host"), 60),
        "memory": number(record.get("peak_memory_mb"), 0),
    }


def alive(folder: Path, beat: str, now: float) -> bool:
    """Tell whether a run that says ``running`` is at work: its folder is held, or its heartbeat is young."""
    import calendar
    import time

    try:
        age = now - calendar.timegm(time.strptime(beat, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False
    return age < _SILENT_SECONDS or is_held(folder / ".lock")


def _model(record: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    model = record.get("model")
    known = model if isinstance(model, dict) else {}
    sizes = known.get("parameters")
    counts = [number(value) for value in sizes.values()] if isinstance(sizes, dict) else []
    return {
        "backbone": text(known.get("backbone") or settings.get("train.model.backbone"), 60),
        "seed": number(settings.get("train.seed")),
        "fold": text(settings.get("train.fold"), 40),
        "parameters": sum(count for count in counts if count is not None) or None,
    }


def _ran(record: Mapping[str, Any]) -> dict[str, Any]:
    git, slurm = record.get("git") or {}, record.get("slurm") or {}
    model = record.get("model") or {}
    return {
        "command": " ".join(text(word, 200) for word in (record.get("command") or [])[:60]),
        "git": text(git.get("sha"), 40),
        "dirty": bool(git.get("dirty")),
        "slurm": {text(key, 40): text(value, 40) for key, value in slurm.items()},
        "ticket": text(record.get("ticket"), 40),
        "pid": number(record.get("pid")),
        "sessions": number(record.get("sessions")),
        "ended": text(record.get("ended"), 30),
        "exit": number(record.get("exit_code")),
        "select": text(record.get("select"), 40),
        "weights": text(model.get("weights"), 200),
        "stand_in": text(model.get("reason")) if model.get("fallback") else "",
    }


def _curves(history: Mapping[str, Any], select: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the curve for the leaderboard, and those of the page: ``{"epoch": […], name: […]}``, thinned."""
    epochs = history.get("epochs") or []
    wanted = select if select in _CURVES and select != "lr" else "val_map"
    few = [epochs[place] for place in _places(len(epochs), _SPARK)]
    spark = [thousandths(one.get(wanted)) for one in few]
    kept = [epochs[place] for place in _places(len(epochs), _POINTS)]
    curves: dict[str, Any] = {"epoch": [number(one["epoch"]) for one in kept]}
    for name in _CURVES:
        values = [significant(one.get(name)) for one in kept]
        if any(value is not None for value in values):
            curves[name] = values
    return spark, curves if len(curves) > 1 else {}


def _places(count: int, most: int) -> list[int]:
    """Return at most ``most`` places of a list of ``count``, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _inputs(norm: Mapping[str, Any]) -> dict[str, Any]:
    if not norm:
        return {}
    inputs = {
        text(name, 40): [f"{text(c, 40)} ({text(u, 20)})" for c, u in zip(one["channels"], one["units"], strict=False)]
        for name, one in norm["inputs"].items()
    }
    years = {split: [text(year, 10) for year in values] for split, values in (norm.get("years") or {}).items()}
    return {"inputs": inputs, "years": years}


def _packages(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = [line for line in lines if line.split("==")[0].replace("-", "_") in _PACKAGES]
    return [text(line, 120) for line in [*lines[:1], *wanted]]


def _origin(noted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where the data came from, with the first 16 digits of each checksum."""
    found = bounded(dict(noted))
    with suppress(*WRONG):
        for part, name in (("store", "files"), ("raw", "sha256")):
            if name in found.get(part, {}):
                found[part][name] = {file: str(value)[:16] for file, value in found[part][name].items()}
    return found or None


def _deciding(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that decide the outcome, as text."""
    return {
        text(name, 100): text(value, 160) if value is not None else "null"
        for name, value in sorted(settings.items())
        if not name.startswith(_LEAVE_OUT) and name not in _RUNTIME
    }


def inside(folder: Path, ending: str) -> list[str]:
    """Return the files of a kind in the folders of a folder, by their paths from it."""
    found: list[str] = []
    for one in subfolders(folder):
        for place, folders, names in os.walk(one):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            below = Path(place).relative_to(folder)
            found += [str(below / name) for name in sorted(names) if name.endswith(ending) and name[0] != "."]
    return found[:_MOST_FILES]
