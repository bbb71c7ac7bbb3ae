"""Searches, analyses of importance and sweeps, read from the tables that their jobs wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.site.reading import Faults, load, number, numbers, significant, text
from pipeline.site.runs import inside

_MOST_TRIALS, _MOST_COLUMNS, _MOST_RUNS = 400, 20, 400


def read_study(folder: Path) -> dict[str, Any]:
    """Return what the page tells of a search: its best, its trials, what mattered, and the confirmation."""
    faults = Faults()
    found: dict[str, Any] = {"kind": "study"}
    record = load(folder, "run.json", faults)
    with faults.noting("run.json"):
        found |= {
            "state": text(record.get("status"), 20),
            "beat": text(record.get("heartbeat"), 30),
            "began": text(record.get("started"), 30),
            "target": number(record.get("n_trials")),
        }
    statistics = load(folder, "study_statistics.json", faults)
    with faults.noting("study_statistics.json"):
        found |= _statistics(statistics)
    best = load(folder, "best_params.json", faults)
    with faults.noting("best_params.json"):
        found["best"] = _best(best)
    history = load(folder, "trials_history.json", faults)
    with faults.noting("trials_history.json"):
        found["trials"] = [
            [number(one["number"]), text(one["state"], 12), significant(one.get("value"))]
            for one in (history.get("trials") or [])[:_MOST_TRIALS]
            if not one.get("begun_again")
        ]
    confirmed = load(folder, "confirm.json", faults)
    with faults.noting("confirm.json"):
        found["confirm"] = _confirmed(confirmed)
    html = folder / "html"
    pages = sorted(path.name for path in html.glob("*.html")) if html.is_dir() else []
    return found | {"pictures": inside(folder, ".png"), "pages": pages[:20], "faults": list(faults)}


def _statistics(statistics: Mapping[str, Any]) -> dict[str, Any]:
    names = ("n_trials", "complete", "pruned", "failed", "running", "begun_again")
    return {
        "metric": text(statistics.get("metric"), 40),
        "direction": text(statistics.get("direction"), 20),
        "sampler": text(statistics.get("sampler"), 40),
        "pruner": text(statistics.get("pruner"), 40),
        "counts": {name: number(statistics.get(name)) for name in names},
        "spread": [significant(statistics.get(name)) for name in ("best", "worst", "mean", "std")],
        "importances": _shares(statistics.get("importances")),
        "seconds": number((statistics.get("seconds") or {}).get("sum"), 0),
        "errors": {text(name, 160): number(count) for name, count in (statistics.get("errors") or {}).items()},
    }


def _shares(importances: Any) -> list[list[Any]]:
    return [[text(name, 80), number(share, 3)] for name, share in list((importances or {}).items())[:15]]


def _best(best: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": significant(best.get("best_value")),
        "trial": number(best.get("trial")),
        "run": text(best.get("run"), 120),
        "by": text(best.get("chosen_by"), 20),
        "epochs": number(best.get("epochs")),
        "settings": {text(name, 80): text(value, 80) for name, value in (best.get("settings") or {}).items()},
    }


def _confirmed(confirmed: Mapping[str, Any]) -> dict[str, Any] | None:
    if not confirmed:
        return None
    luck, gain = confirmed["luck"], confirmed.get("beats_default") or {}
    rows = [*confirmed["trials"], *([confirmed["default"]] if confirmed.get("default") else [])]
    return {
        "epochs": [number(confirmed["epochs"][name]) for name in ("search", "confirmation")],
        "rows": [
            [number(row["number"]), *(significant(row[name]) for name in ("mean", "std", "search_value")),
             numbers(row["values"], significant)]
            for row in rows[:20]
        ],
        "luck": significant(luck.get("luck")) if luck.get("known") else None,
        "why": text(luck.get("reason")),
        "gain": [significant(gain.get("mean")), significant(gain.get("standard_error")), number(gain.get("seeds"))],
    }  # fmt: skip


def read_importance(folder: Path) -> dict[str, Any]:
    """Return what the page tells of an analysis: the verdict, scores against chance, the first columns."""
    faults = Faults()
    record, found = load(folder, "run.json", faults), load(folder, "importance.json", faults)
    told: dict[str, Any] = {"kind": "importance"}
    with faults.noting("run.json"):
        told |= {"state": text(record.get("status"), 20), "beat": text(record.get("heartbeat"), 30),
                 "why": text(record.get("error")), "began": text(record.get("started"), 30)}  # fmt: skip
    if found:
        with faults.noting("importance.json"):
            told |= _analysis(found)
    return told | {"pictures": inside(folder, ".png"), "faults": list(faults)}


def _analysis(found: Mapping[str, Any]) -> dict[str, Any]:
    scores, null = found["scores"], found["scores"].get("null") or {}
    return {
        "verdict": text(found["verdict"]),
        "warnings": [text(line) for line in found["warnings"][:20]],
        "selected": [text(name, 80) for name in found["selected"][:60]],
        "folds": numbers(scores["macro_f1"]),
        "mean": number(scores["mean"]),
        "null": numbers(null.get("macro_f1") or []),
        "p": number(scores.get("p_value")),
        "baselines": {text(name, 40): number(_mean(values)) for name, values in scores["baselines"].items()},
        "test": [number(found["test"].get(name)) for name in ("macro_f1", "p_value")],
        "data": [text(found["data"][name], 40) for name in ("samples", "first", "last", "columns")],
        "columns": [
            [text(one["column"], 80), *(significant(one.get(name)) for name in _MEASURES), int(bool(one["selected"]))]
            for one in found["columns"][:_MOST_COLUMNS]
        ],
    }


_MEASURES = ("permutation", "permutation_sd", "null_q95", "p_permutation")


def _mean(values: list[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def read_sweep(folder: Path) -> dict[str, Any]:
    """Return what the page tells of a sweep: each backbone with its spread, pairs with the best, and the runs."""
    faults = Faults()
    summary = load(folder, "summary.json", faults)
    told: dict[str, Any] = {"kind": "sweep"}
    if not summary and not faults:
        faults.append("no summary.json: no run of the sweep has ended yet")
    if summary:
        with faults.noting("summary.json"):
            told |= _sweep(summary)
    return told | {"pictures": inside(folder, ".png"), "faults": list(faults)}


def _sweep(summary: Mapping[str, Any]) -> dict[str, Any]:
    metric = text(summary["ordered_by"], 40)
    return {
        "metric": metric,
        "best": text(summary["best"], 60),
        "complete": bool(summary["complete"]),
        "counts": {text(name, 20): number(count) for name, count in summary["counts"].items()},
        "folds": [text(fold, 40) for fold in summary["folds"][:60]],
        "seeds": numbers(summary["seeds"][:60]),
        "backbones": [_backbone(one, metric) for one in summary["backbones"][:60]],
        "runs": [
            [text(run["backbone"], 60), text(run["fold"], 40), number(run["seed"]), text(run["run"], 100),
             text(run["status"], 20), number((run["val"] or {}).get(metric)), text(run["error"], 200)]
            for run in summary["runs"][:_MOST_RUNS]
        ],
    }  # fmt: skip


def _backbone(one: Mapping[str, Any], metric: str) -> dict[str, Any]:
    against, test = one.get("against_best") or {}, one["test"]
    in_test = test.get(metric) or test.get("macro_f1") or {}
    pooled = (test.get("pooled") or {}).get("macro_f1") or {}
    return {
        "name": text(one["backbone"], 60),
        "runs": [number(one["finished"]), number(one["planned"]), number(one["failed"])],
        "val": [significant(one["val"][metric][name]) for name in ("mean", "sd")],
        "cross": [significant(one["val"].get("macro_f1_cross_fit", {}).get(name)) for name in ("mean", "sd")],
        "test": [significant(in_test.get(name)) for name in ("mean", "sd")],
        "pooled": significant(pooled.get("mean")),
        "seconds": significant((one.get("seconds") or {}).get("mean")),
        "parameters": significant((one.get("parameters") or {}).get("mean")),
        "against": text(against.get("statement")),
        "gap": [significant(against.get(name)) for name in ("mean", "sd", "pairs", "p_sign", "p_wilcoxon")],
        "differences": numbers(list((against.get("differences") or {}).values())[:60]),
        "stand_ins": [text(name, 60) for name in one.get("stand_ins", [])[:5]],
    }
