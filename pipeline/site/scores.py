"""The reports of evaluate, short: scores with intervals, baselines, classes, and parts of the days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.site.reading import number, numbers, text, thousandths

SHARED = {"f": "macro_f1", "m": "map", "a": "micro_f1", "x": "macro_f1_excluding"}
"""Scores that model and baselines share, and their names on the page."""
_OTHER = (
    "accuracy", "subset_accuracy", "hamming_loss", "macro_f1_at_half", "brier", "brier_before_calibration", "ece",
    "ece_before_calibration",
)  # fmt: skip


def in_short(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line of the leaderboard tells of a split: ``[value, lower, upper]`` of each score."""
    names = {key: SHARED[key] for key in ("f", "m")}
    return _scored(report, names) | {
        "by": text(report["best_baseline"]["macro_f1"], 60),
        "n": number(report["days"]),
        "from": text(report["first"], 20),
        "to": text(report["last"], 20),
        "warn": [text(line) for line in report["warnings"][:20]],
    }


def _scored(report: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    limits = report["intervals"]
    sure = bool(limits.get("resamples"))
    best, uplift = report["best_baseline"], limits.get("uplift", {})
    return {
        **{key: _sure(report["scores"][name], limits.get(name), sure) for key, name in names.items()},
        "base": {key: number(report["baselines"][best[name]][name]) for key, name in names.items()},
        "up": {key: _sure(report["uplift"][name], uplift.get(name), sure) for key, name in names.items()},
    }


def _sure(value: Any, limits: Any, sure: bool) -> list[float | int | None]:
    return [number(value), *(numbers(limits) if sure and isinstance(limits, list) else [None, None])]


def at_length(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page of a run tells of a split."""
    scores, limits = report["scores"], report["intervals"]
    return {
        **in_short(report),
        **_scored(report, SHARED),
        "dated": bool(report.get("dated", True)),
        "other": {name: number(scores[name]) for name in _OTHER if name in scores},
        "baselines": {
            text(name, 60): [number(values[key]) for key in SHARED.values()]
            for name, values in report["baselines"].items()
        },
        "sure": [number(limits.get(name)) for name in ("confidence", "resamples", "block_days")],
        "excluded": [text(name, 60) for name in report["excluded"]],
        "absent": [text(name, 60) for name in report["absent"]],
        "classes": _classes(report),
        "parts": parts_of(report),
    }


def labels_of(report: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes."""
    return [text(name, 80) for name in report["labels"]]


def class_f1(report: Mapping[str, Any]) -> list[float | int | None]:
    """Return F1 of each class in thousandths; ``None`` for one that does not occur."""
    rows = report["classification_report"]
    support = report["support"]
    return [
        thousandths(rows[name]["f1-score"]) if count else None
        for name, count in zip(report["labels"], support, strict=True)
    ]


def _classes(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a list for each column of the table of classes; scores in thousandths."""
    rows, own, labels = report["classification_report"], report["per_class"], report["labels"]
    found: dict[str, Any] = {
        "n": numbers(report["support"]),
        "f1": class_f1(report),
        "precision": [thousandths(rows[name]["precision"]) for name in labels],
        "recall": [thousandths(rows[name]["recall"]) for name in labels],
        "ap": numbers(own["average_precision"], thousandths),
        "threshold": numbers(own["threshold"], thousandths),
        "unfitted": [k for k, flag in enumerate(own["threshold_is_fallback"]) if flag],
    }
    base = report["baselines"][report["best_baseline"]["macro_f1"]].get("f1")
    if base:
        found["base"] = numbers(base, thousandths)
    limits = report["intervals"].get("per_class", {}).get("f1")
    if limits and report["intervals"].get("resamples"):
        found["limits"] = [numbers(pair, thousandths) for pair in limits]
    return found


def parts_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores of parts of the days: ``{division: [[part, days, macro F1, lower, upper, mAP, classes], …]}``."""
    divisions = report.get("subscores") or {"kind": report.get("kinds") or {}}
    return {text(by, 40): _rows(parts) for by, parts in divisions.items() if parts}


def _rows(division: Mapping[str, Any]) -> list[list[Any]]:
    rows = []
    for name, part in division.items():
        pair = part.get("intervals", {}).get("macro_f1")
        ends = numbers(pair) if isinstance(pair, list) else [None, None]
        names = ", ".join(text(one, 40) for one in part.get("class_names", []))
        scores = [number(part.get("macro_f1")), *ends, number(part.get("map"))]
        rows.append([text(name, 80), number(part.get("days")), *scores, text(names)])
    return rows[:60]


def weakest(parts: Mapping[str, Any]) -> list[list[Any]]:
    """Return the part with the lowest macro F1 of each division in several: ``[division, part, days, macro F1]``."""
    found = []
    for by, rows in parts.items():
        known = [row for row in rows if row[2] is not None]
        if len(known) > 1:
            low = min(known, key=lambda row: row[2])
            found.append([by, low[0], low[1], low[2]])
    return found[:4]
