"""What an analysis comes to, in plain sentences: above all where nothing was found."""

from __future__ import annotations

from typing import Any

from pipeline.core.errors import shorten
from pipeline.importance.config import ImportanceConfig

_MOST_OF_IT = 0.5
_MORE = {
    "positive": ("helps on the held-out folds", "columns help on the held-out folds"),
    "exceeds_null": ("exceeds shuffled labels", "columns exceed shuffled labels"),
}


def verdict(scores: dict[str, Any], test: dict[str, Any], level: float) -> str:
    """Return one sentence: is the score on the folds above that of shuffled labels, and does the last block agree?"""
    mean, p_value, null = float(scores["mean"]), scores["p_value"], scores["null"]
    if null is None:
        return f"macro-F1 {mean:.3f} on folds, not compared with shuffled labels (null.shuffles: 0)"
    reached = f"shuffled labels reach {min(null['macro_f1']):.3f} to {max(null['macro_f1']):.3f}"
    if p_value > level:
        return f"nothing found: macro-F1 {mean:.3f} on folds is not above chance ({reached}, p {p_value:.3f})"
    found = f"macro-F1 {mean:.3f} on folds is above chance ({reached}, p {p_value:.3f})"
    if test["p_value"] is None:
        return f"{found}; the last block is too short to say whether it agrees"
    agrees = "agrees" if test["p_value"] <= level else "does not agree"
    return f"{found}; the last block {agrees} ({test['macro_f1']:.3f}, p {test['p_value']:.3f})"


def warnings(config: ImportanceConfig, result: dict[str, Any]) -> list[str]:
    """Return what a reader of the selected columns has to know, the gravest first."""
    level, more = config.null.level, _MORE[config.require]
    rows = {row["column"]: row for row in result["columns"]}
    selected, scores = result["selected"], result["scores"]
    found = []
    if scores["p_value"] is not None and scores["p_value"] > level:
        found.append(f"{result['verdict']}; do not build on the order of the columns")
    last = _mean(scores["baselines"]["persistence"])
    if last >= float(scores["mean"]):
        found.append(f"the class last known, said again, has macro-F1 {last:.3f} on folds, no less than the model")
    weak = [name for name in selected if (rows[name]["p_permutation"] or 0) > level]
    if weak:
        found.append(f"selected, but shuffled labels reach as much: {shorten(weak, 10)}")
    if not selected:
        found.append(f"no column is selected: none {more[0]}")
    elif len(selected) < config.top:
        found.append(f"{len(selected)} selected, not {config.top}: no more {more[1]}")
    return found + _leaks(result, selected, level)


def _leaks(result: dict[str, Any], selected: list[str], level: float) -> list[str]:
    """Name a column that holds most of what is above chance: a discovery, or a value that was not known in time."""
    scores, first = result["scores"], result["columns"][0]
    if scores["null"] is None or scores["p_value"] > level or first["column"] not in selected:
        return []
    skill = float(scores["mean"]) - _mean(scores["null"]["macro_f1"])
    share = float(first["permutation"]) / skill if skill > 0 else 0.0
    if share < _MOST_OF_IT:
        return []
    return [
        f"{first['column']} alone holds {min(share, 1):.0%} of what is above chance: check that its values are known "
        "by the end of the last row of a sample (labels.offset), before you believe it"
    ]


def _mean(values: Any) -> float:
    return float(sum(values) / len(values))
