"""What a confirmation says: means and spread, how much of the search's best was luck, what was gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.artifact import read_json
from pipeline.tune.results import CONFIRM

DEFAULT = -1
"""Stands for the base's own settings among the numbers of trials."""


@dataclass(frozen=True)
class Trained:
    """One training of the confirmation."""

    number: int
    """Of the trial, or ``DEFAULT``."""
    seed: int
    value: float
    early: float | None
    """What it would have been with as few epochs as in the search; ``None`` where that cannot be told."""
    run: str


def called(number: int) -> str:
    """Return what people call a candidate."""
    return "the base's settings" if number == DEFAULT else f"trial {number}"


def early_score(epochs: Sequence[Mapping[str, float]], metric: str, direction: str, last: bool) -> float | None:
    """Return the metric that a training would have ended with after these first epochs of it."""
    values = [entry[metric] for entry in epochs if entry.get(metric) is not None]
    if not values:
        return None
    if last:
        return float(values[-1])
    return float(max(values) if direction == "maximize" else min(values))


def verdict(
    trained: Sequence[Trained], searched: Mapping[int, float | None], seeds: int, direction: str
) -> dict[str, Any]:
    """Return the tables of ``confirm.json``.

    Args:
        trained: finished trainings.
        searched: {trial: its value in the search}.
        seeds: how many trainings each candidate should have; one that has fewer is ranked behind the others.
        direction: ``maximize`` or ``minimize``.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    numbers = dict.fromkeys(item.number for item in trained)
    rows = [_row([item for item in trained if item.number == number], searched.get(number)) for number in numbers]
    rows.sort(key=lambda row: (len(row["values"]) < seeds, -sign * row["mean"]))
    candidates = [row for row in rows if row["number"] != DEFAULT]
    default = next((row for row in rows if row["number"] == DEFAULT), None)
    return {
        "trials": candidates,
        "default": default,
        "luck": _luck(candidates, sign),
        "beats_default": _beats(candidates, default, sign),
    }


def _row(mine: Sequence[Trained], searched: float | None) -> dict[str, Any]:
    values = np.array([item.value for item in mine])
    early = [item.early for item in mine]
    known = np.array(early, dtype=np.float64) if None not in early else None
    return {
        "number": mine[0].number,
        "search_value": searched,
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else None,
        "min": float(values.min()),
        "max": float(values.max()),
        "mean_at_search_epochs": None if known is None else float(known.mean()),
        "std_at_search_epochs": None if known is None or len(known) < 2 else float(known.std(ddof=1)),
        "seeds": [item.seed for item in mine],
        "values": values.tolist(),
        "runs": [item.run for item in mine],
    }


def _luck(rows: Sequence[dict[str, Any]], sign: float) -> dict[str, Any]:
    """Return how far the search's best value lies above what its settings give with seeds nobody chose.

    Positive: that much of it was luck. Only trainings of one length are compared.
    """
    if not rows:
        return {"known": False, "reason": "no training of the confirmation came to its end"}
    best = max(rows, key=lambda row: sign * row["search_value"])
    mean, spread = best["mean_at_search_epochs"], best["std_at_search_epochs"]
    if mean is None:
        reason = (
            "trials of the search were shorter than the confirmation, under a schedule that depends on the length; "
            "search with study.epochs at the full length to know it"
        )
        return {"known": False, "reason": reason, "trial": best["number"]}
    return {
        "known": True,
        "trial": best["number"],
        "search_value": best["search_value"],
        "confirmed_mean": mean,
        "confirmed_std": spread,
        "luck": sign * (best["search_value"] - mean),
    }


def _beats(rows: Sequence[dict[str, Any]], default: dict[str, Any] | None, sign: float) -> dict[str, Any] | None:
    """Return the winner's gain over the base's settings, seed by seed, with its standard error."""
    if not rows or default is None:
        return None
    ours = dict(zip(rows[0]["seeds"], rows[0]["values"], strict=True))
    theirs = dict(zip(default["seeds"], default["values"], strict=True))
    gains = np.array([sign * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs])
    if len(gains) < 2:
        return None
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    return {"mean": float(gains.mean()), "standard_error": error, "seeds": len(gains)}


def confirmation_text(folder: Path) -> str:
    """Return the confirmation in words, for people; empty where there was none."""
    path = folder / CONFIRM
    if not path.exists():
        return ""
    found = read_json(path)
    lines = [f"confirmed at {found['epochs']['confirmation']} epochs by {found['metric']}, mean ± sd over seeds:"]
    for row in [*found["trials"], *([found["default"]] if found["default"] else [])]:
        search = "" if row["search_value"] is None else f"  (search {row['search_value']:.4f})"
        lines.append(
            f"  {called(row['number']):<22} {_spread(row['mean'], row['std'])}  n={len(row['values'])}{search}"
        )
    lines.append(_luck_line(found["luck"], found["epochs"]["search"]))
    gain = found["beats_default"]
    if gain:
        sure = "" if gain["mean"] >= 2 * gain["standard_error"] else "; below twice its standard error, no finding"
        lines.append(
            f"gain of {called(found['trials'][0]['number'])} over the base's settings: {gain['mean']:+.4f} ± "
            f"{gain['standard_error']:.4f} (standard error over {gain['seeds']} seeds{sure})"
        )
    return "\n".join(lines)


def _spread(mean: float, std: float | None) -> str:
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def _luck_line(luck: dict[str, Any], epochs: int) -> str:
    if not luck["known"]:
        return f"luck: not known; {luck['reason']}"
    mean = _spread(luck["confirmed_mean"], luck["confirmed_std"])
    share = f"{luck['luck']:+.4f} of it was luck" if luck["luck"] > 0 else f"none of it was luck ({luck['luck']:+.4f})"
    return (
        f"luck: the search's best, trial {luck['trial']}, was {luck['search_value']:.4f}; with other seeds its "
        f"settings give {mean} after {epochs} epochs: {share}"
    )
