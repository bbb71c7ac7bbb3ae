"""Means with their spread, and differences between pairs of runs: signs, and Wilcoxon's signed ranks, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.contract.scores import Floats

LEAST_PAIRS = 6
"""With fewer, not even differences that are all of one sign reach p < 0.05: 2 / 2⁵ = 0.0625."""
_DECIMALS = 12
"""Differences are compared to this many places, so that ties in scores are ties, whatever their last bit."""


def spread(values: Iterable[float | None]) -> dict[str, float | int | None]:
    """Return mean, standard deviation (n − 1; ``None`` of one value), extremes and count; unmeasured are left out."""
    measured = np.array([value for value in values if value is not None and not math.isnan(value)], np.float64)
    if not measured.size:
        return {"mean": None, "sd": None, "min": None, "max": None, "n": 0}
    deviation = float(measured.std(ddof=1)) if measured.size > 1 else None
    low, high = float(measured.min()), float(measured.max())
    return {"mean": float(measured.mean()), "sd": deviation, "min": low, "max": high, "n": measured.size}


def by_unit(scores: Mapping[tuple[str, int], float]) -> tuple[str, dict[str, float]]:
    """Return what counts as one observation and its score: a fold, averaged over seeds; a seed where there is one fold.

    Seeds of one fold share its days, so as observations they would be counted too often.

    Args:
        scores: by (fold, seed).
    """
    folds = list(dict.fromkeys(fold for fold, _ in scores))
    if len(folds) > 1:
        means = {f: float(np.mean([value for (fold, _), value in scores.items() if fold == f])) for f in folds}
        return "fold", means
    return "seed", {str(seed): value for (_, seed), value in scores.items()}


def paired(
    ours: Mapping[tuple[str, int], float], best: Mapping[tuple[str, int], float], lower_is_better: bool = False
) -> dict[str, Any]:
    """Compare a backbone with the best, over the folds and seeds that both have.

    Returns:
        ``unit`` (fold or seed), ``differences`` by unit (ours − best), their mean and sd, how many are better, worse
        and equal, two-sided p of the sign test and of Wilcoxon's signed ranks (``None`` without differences), and
        whether the pairs are ``enough`` for p to tell anything.
    """
    shared = [key for key in ours if key in best and not math.isnan(ours[key] - best[key])]
    unit, mine = by_unit({key: ours[key] for key in shared})
    theirs = by_unit({key: best[key] for key in shared})[1]
    differences = {name: mine[name] - theirs[name] for name in mine}
    values: Floats = np.array([round(value, _DECIMALS) for value in differences.values()], np.float64)
    better = values < 0 if lower_is_better else values > 0
    counts = {"better": int(better.sum()), "equal": int((values == 0).sum())}
    counts["worse"] = len(values) - sum(counts.values())
    return {
        "unit": unit,
        "pairs": len(values),
        "enough": len(values) >= LEAST_PAIRS,
        "differences": differences,
        "mean": spread(differences.values())["mean"],
        "sd": spread(differences.values())["sd"],
        **counts,
        "p_sign": sign_test(counts["better"], counts["worse"]),
        "p_wilcoxon": signed_rank_test(values),
    }


def sign_test(better: int, worse: int) -> float | None:
    """Return the two-sided p of the sign test: that of so uneven a split of fair coins; ties are left out."""
    count, least = better + worse, min(better, worse)
    if count == 0:
        return None
    ways = sum(math.comb(count, hits) for hits in range(least + 1))
    return float(min(1.0, ways / 2 ** (count - 1)))


def signed_rank_test(differences: Floats | Sequence[float]) -> float | None:
    """Return the exact two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945); zeros are left out.

    The distribution of the sum of positive ranks over all 2ⁿ signs is counted, with mean ranks for ties; ranks are
    doubled so that those are whole numbers.
    """
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    if not values.size:
        return None
    size = np.abs(values)
    ranks = [int((size < one).sum()) * 2 + int((size == one).sum()) + 1 for one in size]
    ways = {0: 1}
    for rank in ranks:
        shifted = {total + rank: count for total, count in ways.items()}
        ways = {total: ways.get(total, 0) + shifted.get(total, 0) for total in ways.keys() | shifted.keys()}
    positive = sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)
    extreme = min(positive, sum(ranks) - positive)
    tail = sum(count for total, count in ways.items() if total <= extreme)
    return float(min(1.0, tail / 2 ** (values.size - 1)))


def statement(compared: Mapping[str, Any], metric: str, best: str) -> str:
    """Say in one line what the pairs tell."""
    pairs, unit = compared["pairs"], compared["unit"]
    if pairs == 0:
        return f"no {unit} in common with {best}"
    said = f"{compared['mean']:+.4f} {metric} against {best}; better in {compared['better']} of {pairs} {unit}s"
    said += f", worse in {compared['worse']}"
    if pairs < LEAST_PAIRS:
        return f"{said}; too few pairs for a test (fewer than {LEAST_PAIRS})"
    if compared["p_sign"] is None:
        return f"{said}; no difference"
    return f"{said}; p = {compared['p_sign']:.3f} (signs), {compared['p_wilcoxon']:.3f} (signed ranks)"
