"""Mode ``feature``: learned features on a plane, and what permuting each channel costs, as pictures and numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import write_json, write_text
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import progress
from pipeline.explain.config import ExplainConfig, FeatureConfig
from pipeline.explain.permutation import Column, Judge, columns_of, drops, order_of, permuted_logits
from pipeline.explain.pieces import Piece, Pieces
from pipeline.explain.plane import Plane, neighbours, plane_of
from pipeline.explain.subject import Rows, Subject, check_splits, spread
from pipeline.report.features import draw_class_importance, draw_classes, draw_importance, draw_plane
from pipeline.report.style import look, save

EMBEDDING, IMPORTANCE, TABLE = "embedding.json", "importance.json", "importance.csv"


def explain_features(
    subject: Subject, config: ExplainConfig, folder: Path, pieces: Pieces, interrupt: Interrupt, dpi: int
) -> tuple[str, ...]:
    """Write pictures and numbers of what features and channels are worth; return the names of the files.

    Raises:
        InputError: a split, channel or group that the run does not have; nothing is asked for.
        Interrupted: a stop was asked for; finished permutations are kept.
    """
    wanted = config.feature
    names: list[str] = []
    if wanted.projection == "none" and not wanted.importance:
        raise InputError("explain.feature: projection is none and importance is false, so there is nothing to do")
    columns = columns_of(subject, wanted.groups) if wanted.importance else []
    if wanted.projection != "none":
        check_splits(wanted.splits, subject, "explain.feature.splits")
        names += _embedding(subject, wanted, folder, pieces, interrupt, dpi)
    if columns:
        check_splits(["val"], subject, "explain.feature.importance")
        names += _importance(subject, wanted, columns, folder, pieces, interrupt, dpi)
    return tuple(names)


# --- features on a plane ---------------------------------------------------------------------------------------------


def _embedding(
    subject: Subject, config: FeatureConfig, folder: Path, pieces: Pieces, interrupt: Interrupt, dpi: int
) -> list[str]:
    splits: list[str] = list(dict.fromkeys(config.splits))
    rows = {split: spread(subject.rows(split), max(10, config.samples // len(splits))) for split in splits}
    features: dict[str, NDArray[np.float32]] = {}
    for split in splits:
        features[split] = pieces.get(f"features_{split}", partial(_features, subject, rows[split]))["features"]
        interrupt.check("features of some splits are computed")
    plane = plane_of(config, features)
    whose = np.concatenate([np.full(len(rows[split]), split) for split in splits])
    every = np.concatenate([rows[split] for split in splits])
    target = subject.store.target[every] > 0
    report = _embedding_report(subject, config, plane, every, whose, target)
    report["neighbours"] = _neighbours(subject, features, rows)
    write_json(folder / EMBEDDING, report)
    detail = f"{len(every)} samples: " + ", ".join(f"{len(rows[split])} {split}" for split in splits)
    with look(subject.classes):
        save(
            draw_plane(plane.told, detail, plane.points, target, whose, subject.classes), folder / "embedding.png", dpi
        )
        picture = draw_classes(plane.told, detail, plane.points, target, whose, subject.classes)
        save(picture, folder / "embedding_classes.png", dpi)
    return [EMBEDDING, "embedding.png", "embedding_classes.png"]


def _features(subject: Subject, rows: Rows) -> Piece:
    found = []
    for first in range(0, len(rows), 32):
        seen = subject.explainer.see(subject.arrays(rows[first : first + 32]))
        found.append(subject.explainer.features(seen))
    return {"features": np.concatenate(found)}


def _embedding_report(
    subject: Subject,
    config: FeatureConfig,
    plane: Plane,
    rows: Rows,
    whose: NDArray[np.str_],
    target: NDArray[np.bool_],
) -> dict[str, Any]:
    return {
        "projection": config.projection,
        "features": plane.width,
        "explained_variance": plane.explained,
        "seed": config.seed,
        "samples": {
            "id": subject.store.column("id")[rows],
            "split": whose,
            "labels": ["+".join(np.array(subject.classes)[has]) for has in target],
            "x": plane.points[:, 0].round(4),
            "y": plane.points[:, 1].round(4),
        },
    }


def _neighbours(
    subject: Subject, features: Mapping[str, NDArray[np.float32]], rows: Mapping[str, Rows]
) -> dict[str, Any] | None:
    """Return how often the nearest training samples of a validation sample share its class, and how often all do."""
    if "train" not in features or "val" not in features:
        return None
    target = {split: subject.store.target[rows[split]] > 0 for split in ("train", "val")}
    share, chance = neighbours(features["train"], features["val"], target["train"], target["val"])
    return {"nearest": 10, "share_with_the_class": dict(zip(subject.classes, share, strict=True)),
            "chance": dict(zip(subject.classes, chance, strict=True))}  # fmt: skip


# --- permutation importance ------------------------------------------------------------------------------------------


def _importance(
    subject: Subject,
    config: FeatureConfig,
    columns: list[Column],
    folder: Path,
    pieces: Pieces,
    interrupt: Interrupt,
    dpi: int,
) -> list[str]:
    rows = _validation(subject, config)
    base = pieces.get("base", partial(_logits, subject, rows, None, rows))["logits"]
    judge = Judge(subject, rows, base, config)
    jobs = [(column, repeat) for column in columns for repeat in range(config.repeats)]
    found: dict[str, list[Any]] = {column.name: [] for column in columns}
    for done, (column, repeat) in enumerate(progress(jobs, "explain: permutations", len(jobs)), start=1):
        order = order_of(subject, rows, config, repeat)
        name = f"column{columns.index(column)}_{repeat}"
        made = pieces.get(name, partial(_logits, subject, rows, column, order))
        found[column.name].append(made["logits"])
        interrupt.check(f"{done} of {len(jobs)} permutations are done")
    table = [{"name": one.name, "input": one.told, **drops(judge, found[one.name])} for one in columns]
    table.sort(key=lambda row: -row["map"]["drop"])
    write_json(folder / IMPORTANCE, _importance_report(subject, config, judge, rows, table))
    write_text(folder / TABLE, _csv(table))
    detail = f"{len(rows)} val samples, {config.repeats} permutations"
    with look([*subject.classes, *(column.name for column in columns)]):
        save(draw_importance(table, detail, config.confidence), folder / "importance.png", dpi)
        save(draw_class_importance(table, detail, subject.classes), folder / "importance_classes.png", dpi)
    return [IMPORTANCE, TABLE, "importance.png", "importance_classes.png"]


def _logits(subject: Subject, rows: Rows, column: Column | None, sources: Rows) -> Piece:
    return {"logits": permuted_logits(subject, rows, column, sources)}


def _validation(subject: Subject, config: FeatureConfig) -> Rows:
    """Return validation rows: all, or stretches of neighbouring ones over the split, so that blocks stay whole."""
    rows = subject.rows("val")
    if len(rows) <= config.importance_samples:
        return rows
    length = max(1, 4 * config.block_days)
    stretches = np.array_split(np.arange(len(rows)), max(1, len(rows) // length))
    chosen = spread(np.arange(len(stretches)), max(1, config.importance_samples // length))
    return np.concatenate([rows[stretches[place]] for place in chosen])


def _importance_report(
    subject: Subject, config: FeatureConfig, judge: Judge, rows: Rows, table: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "split": "val",
        "samples": len(rows),
        "repeats": config.repeats,
        "block_days": config.block_days if judge.dated else 0,
        "within_season": config.within_season and judge.dated,
        "confidence": config.confidence,
        "interval": "percentiles over permutations, each judged on resampled blocks of samples",
        "scores": judge.whole,
        "columns": table,
        "classes": subject.classes,
    }


def _csv(table: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = ("map", "macro_f1", "log_loss")
    head = [f"{name}_{what}" for name in measures for what in ("drop", "low", "high")]
    writer.writerow(["name", "input", *head])
    for row in table:
        numbers = [value for name in measures for value in (row[name]["drop"], *row[name]["interval"])]
        writer.writerow([row["name"], row["input"], *(f"{value:.6f}" for value in numbers)])
    return text.getvalue()
