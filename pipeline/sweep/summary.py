"""The summary of a sweep: ``summary.json`` and ``summary.csv``; order and best by validation, test days apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.artifact import write_json, write_text
from pipeline.core.errors import InputError
from pipeline.sweep.compare import paired, spread, statement
from pipeline.sweep.plan import Plan, Planned
from pipeline.sweep.scores import METRICS, TEST_METRICS, pooled_test, score

SUMMARY, TABLE, MEANS = "summary.json", "summary.csv", "backbones.csv"
FINISHED, FAILED, INTERRUPTED, WAITING = "finished", "failed", "interrupted", "not run"
COSTS = ("best_epoch", "epochs", "seconds", "parameters", "peak_memory_mb")
_LOWER_IS_BETTER = {"val_loss"}
NOTES = {
    "val": (
        "Validation days: best epoch, calibration and thresholds were chosen on them, so these numbers flatter every "
        "backbone; cross-fit is macro F1 with thresholds tuned on other blocks of these days. The best is compared by "
        "the numbers that chose it, folds share training days, and p is not corrected for the number of backbones: "
        "take it as a hint."
    ),
    "test": ("Test days: nothing was chosen by them. Whoever chooses a backbone by these columns has no test left."),
}
Row = dict[str, Any]


def row_of(planned: Planned, status: str, error: str | None, numbers: Mapping[str, Any] | None) -> Row:
    """Return what the summary tells of one run; a run that is not finished has no scores, whatever its folder holds."""
    known: Mapping[str, Any] = numbers or {"facts": {}, "val": None, "test": None, "excluded": []}
    return {
        "backbone": planned.backbone,
        "fold": planned.fold,
        "seed": planned.seed,
        "run": planned.run.path.name,
        "status": status,
        "error": error,
        **{name: known["facts"].get(name) for name in ("trained", "fallback", "select", *COSTS, "host")},
        "val": known["val"],
        "test": known["test"],
        "excluded": known["excluded"],
    }


def summarise(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the contents of ``summary.json``: all runs, and each backbone with its spread, the best first."""
    metric = plan.settings.by
    backbones = [_backbone(plan, name, [row for row in rows if row["backbone"] == name]) for name in _names(plan)]
    best = _best(backbones, metric)
    for one in backbones:
        one["against_best"] = None if best is None or one is best else _against(one, best, rows, metric)
    backbones.sort(key=lambda one: _rank(one, metric))
    states = [row["status"] for row in rows]
    return {
        "experiment": plan.experiment.name,
        "ordered_by": metric,
        "best": best["backbone"] if best else None,
        "complete": all(state == FINISHED for state in states),
        "counts": {state: states.count(state) for state in (FINISHED, FAILED, INTERRUPTED, WAITING)},
        "folds": list(dict.fromkeys(row["fold"] for row in rows)),
        "seeds": list(dict.fromkeys(row["seed"] for row in rows)),
        "excluded": next((row["excluded"] for row in rows if row["excluded"]), []),
        "notes": NOTES,
        "backbones": backbones,
        "runs": list(rows),
    }


def write_summary(plan: Plan, summary: dict[str, Any]) -> None:
    """Write the files of the summary; pictures of another one that was here before are taken away."""
    path = plan.folder / SUMMARY
    before = path.read_bytes() if path.exists() else b""
    write_text(plan.folder / TABLE, _csv(summary["runs"]))
    write_text(plan.folder / MEANS, _means(summary["backbones"]))
    write_json(path, summary)
    if path.read_bytes() != before:
        for picture in (plan.folder / "figures").glob("*.png"):
            picture.unlink()


def _names(plan: Plan) -> list[str]:
    return list(dict.fromkeys(planned.backbone for planned in plan.runs))


def _backbone(plan: Plan, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    finished = [row for row in rows if row["status"] == FINISHED]
    others = sorted({row["trained"] for row in finished if row["fallback"]})
    return {
        "backbone": name,
        "planned": len(rows),
        "finished": len(finished),
        "failed": sum(row["status"] == FAILED for row in rows),
        "stand_ins": others,
        "val": {metric: spread(row["val"][metric] for row in finished) for metric in METRICS},
        **{cost: spread(row[cost] for row in finished) for cost in COSTS},
        "test": _tested(plan, rows, finished),
    }


def _tested(plan: Plan, rows: Sequence[Row], finished: Sequence[Row]) -> dict[str, Any]:
    tested = [row for row in finished if row["test"]]
    means = {metric: spread(row["test"][metric] for row in tested) for metric in TEST_METRICS}
    return means | {"runs": len(tested), "pooled": _pooled(plan, rows)}


def _pooled(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the scores of all folds' test days together, for each seed of which every fold is finished."""
    folds = {row["fold"] for row in rows}
    if len(folds) < 2:
        return {"seeds": {}, "why_not": "one fold only"}
    parent, seeds, reason = plan.folder.parents[1], {}, "no seed has all folds finished and tested"
    for seed in dict.fromkeys(row["seed"] for row in rows):
        mine = [row for row in rows if row["seed"] == seed and row["status"] == FINISHED and row["test"]]
        if len(mine) < len(folds):
            continue
        try:
            seeds[str(seed)] = pooled_test([parent / row["run"] for row in mine])
        except InputError as error:
            reason = str(error)
    if not seeds:
        return {"seeds": {}, "why_not": reason}
    means = {name: spread(one[name] for one in seeds.values()) for name in ("macro_f1", "weighted_f1", "map")}
    return {**means, "days": next(iter(seeds.values()))["days"], "seeds": seeds, "why_not": None}


def _best(backbones: Sequence[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """Return the best of those of which most runs are finished: means over other folds cannot be compared."""
    measured = [one for one in backbones if one["val"][metric]["mean"] is not None]
    most = max((one["finished"] for one in measured), default=0)
    complete = [one for one in measured if one["finished"] == most]
    return min(complete, key=lambda one: _rank(one, metric), default=None)


def _rank(one: Mapping[str, Any], metric: str) -> tuple[float, float]:
    mean = one["val"][metric]["mean"]
    if mean is None:
        return (1.0, 0.0)
    return (-one["finished"] / one["planned"], mean if metric in _LOWER_IS_BETTER else -mean)


def _against(one: Mapping[str, Any], best: Mapping[str, Any], rows: Sequence[Row], metric: str) -> dict[str, Any]:
    ours, theirs = (
        {(row["fold"], row["seed"]): score(row, metric) for row in rows if row["backbone"] == which["backbone"]}
        for which in (one, best)
    )
    compared = paired(ours, theirs, metric in _LOWER_IS_BETTER)
    return {"best": best["backbone"], **compared, "statement": statement(compared, metric, best["backbone"])}


def _csv(rows: Sequence[Row]) -> str:
    plain = ("backbone", "fold", "seed", "status", "run", "trained", "fallback", *COSTS)
    header = [*plain, *(f"val_{_short(name)}" for name in METRICS), *(f"test_{name}" for name in TEST_METRICS), "error"]
    lines = []
    for row in rows:
        val, test = (row[split] or {} for split in ("val", "test"))
        scores = [*(val.get(name) for name in METRICS), *(test.get(name) for name in TEST_METRICS)]
        lines.append([*(row[name] for name in plain), *scores, row["error"]])
    return _lines(header, lines)


def _means(backbones: Sequence[Mapping[str, Any]]) -> str:
    """Return a line a backbone: mean and standard deviation of every score and cost, and the pairs with the best."""
    plain, pairs = ("backbone", "planned", "finished", "failed"), ("unit", "pairs", "mean", "sd", "better", "worse")
    compared = (*pairs, "p_sign", "p_wilcoxon")
    kinds = [*((f"val_{_short(name)}", ("val", name)) for name in METRICS), *((name, (name,)) for name in COSTS)]
    kinds += [(f"test_{name}", ("test", name)) for name in TEST_METRICS]
    header = [*plain, *(f"{title}_{part}" for title, _ in kinds for part in ("mean", "sd"))]
    lines = []
    for one in backbones:
        spreads = [one[keys[0]] if len(keys) == 1 else one[keys[0]][keys[1]] for _, keys in kinds]
        against = one["against_best"] or {}
        means = [spread[part] for spread in spreads for part in ("mean", "sd")]
        lines.append([*(one[name] for name in plain), *means, *(against.get(name) for name in compared)])
    return _lines([*header, *(f"against_best_{name}" for name in compared)], lines)


def _lines(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([header, *lines])
    return stream.getvalue()


def _short(metric: str) -> str:
    return metric.removeprefix("val_")
