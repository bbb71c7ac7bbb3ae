"""Scores of parts of a split: seasons, kinds of label, years, and classes by how often training saw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import Predictions
from pipeline.contract.scores import Floats, average_precision, f_score, macro
from pipeline.evaluate.bootstrap import Draws, ap_resamples, f1_resamples, interval, macro_resamples
from pipeline.evaluate.climate import year_of
from pipeline.evaluate.metrics import micro_f1

Flags = NDArray[np.bool_]
SEASONS = ("DJF", "MAM", "JJA", "SON")
SIZES = {1: ("all",), 2: ("rarer half", "more frequent half"), 3: ("rarest", "middle", "most frequent")}
"""Names of groups of classes, by how many groups there are."""


@dataclass(frozen=True)
class Part:
    """Some samples and some classes of a split."""

    rows: Flags
    classes: Flags
    facts: dict[str, Any]


def subscores(
    predictions: Predictions, chosen: Flags, score: Floats, trained: NDArray[Any], draws: Draws | None, level: float
) -> dict[str, dict[str, Any]]:
    """Return, by what the split is divided by, the scores of each part: ``{by: {part: scores}}``.

    A part has ``days`` (samples), ``positives`` (how often its classes occur in them), ``classes`` (how many occur),
    ``map``, ``macro_f1``, ``micro_f1``, and intervals of the three where they can be drawn. Macro means are over the
    classes that occur in the part, so parts differ in what they average.

    Args:
        predictions: N samples.
        chosen: N × K decisions.
        score: N × K, ranks the samples of each class.
        trained: K, on how many training samples each class occurs.
        draws: resamples of the N samples; ``None``: no intervals.
        level: confidence of the intervals.
    """
    target = predictions.target > 0
    return {
        by: {name: _scores(part, target, chosen, score, draws, level) for name, part in parts.items()}
        for by, parts in _divisions(predictions, trained)
    }


def _divisions(predictions: Predictions, trained: NDArray[Any]) -> Iterator[tuple[str, dict[str, Part]]]:
    everything = np.ones(len(trained), np.bool_)

    def by_value(values: NDArray[Any], order: list[str]) -> dict[str, Part]:
        return {name: Part(values == name, everything, {}) for name in order if (values == name).any()}

    if predictions.dated:
        yield "season", by_value(season_of(predictions.days), list(SEASONS))
    yield "kind", by_value(predictions.kinds, sorted(set(predictions.kinds.tolist())))
    if predictions.dated:
        years = year_of(predictions.days).astype(str)
        yield "year", by_value(years, sorted(set(years.tolist())))
    yield "class_size", _by_size(predictions, trained)


def season_of(days: NDArray[np.datetime64]) -> NDArray[np.str_]:
    """Return the meteorological season of each day by the initials of its months."""
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    return np.array(SEASONS)[(month + 1) % 12 // 3]


def _by_size(predictions: Predictions, trained: NDArray[Any]) -> dict[str, Part]:
    """Divide classes in three groups of equal number (fewer where there are few), the rarest in training first."""
    order = np.argsort(trained, kind="stable")
    names = SIZES[min(3, len(order))]
    parts = {}
    for name, group in zip(names, np.array_split(order, len(names)), strict=True):
        flags = np.zeros(len(order), np.bool_)
        flags[group] = True
        facts = {"class_names": predictions.classes[group], "in_training": [trained[group[0]], trained[group[-1]]]}
        parts[name] = Part(np.ones(len(predictions.target), np.bool_), flags, facts)
    return parts


def _scores(
    part: Part, target: Flags, chosen: Flags, score: Floats, draws: Draws | None, level: float
) -> dict[str, Any]:
    # Days outside the part are emptied, not dropped, for F1: they add nothing, and the blocks stay what they are.
    inside = part.rows[:, None]
    truth, said = ((values & inside)[:, part.classes] for values in (target, chosen))
    ranked = score[part.rows][:, part.classes]
    precision, f1 = average_precision(truth[part.rows], ranked), f_score(truth, said)
    found = {
        "days": int(part.rows.sum()),
        "positives": int(truth.sum()),
        "classes": int(truth.any(axis=0).sum()),
        **part.facts,
        "map": macro(precision),
        "macro_f1": macro(f1),
        "micro_f1": micro_f1(truth, said),
    }
    if draws is None or len(np.unique(draws.block[part.rows])) < 2:
        return found
    own = replace(draws, block=draws.block[part.rows])
    f1_drawn, micro = f1_resamples(draws, truth, said)
    limits = {
        "map": macro_resamples(ap_resamples(own, truth[part.rows], ranked), precision),
        "macro_f1": macro_resamples(f1_drawn, f1),
        "micro_f1": micro,
    }
    return found | {"intervals": {key: interval(values, level) for key, values in limits.items()}}
