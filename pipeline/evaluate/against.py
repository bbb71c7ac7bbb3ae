"""Two runs on the same samples: differences of scores, with intervals from the same resampled blocks of days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import (
    Decisions,
    Predictions,
    is_fresh,
    load_decisions,
    load_split,
    made_from,
    predictions_path,
)
from pipeline.contract.scores import Floats, average_precision, brier, f_score
from pipeline.core.artifact import read_json, sha256, write_json
from pipeline.core.config import signature
from pipeline.core.errors import InputError, shorten
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.core.run import existing_run
from pipeline.evaluate.bootstrap import Draws, ap_resamples, draw, f1_resamples, interval, macro_resamples
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.judge import Case, compared, make_case
from pipeline.evaluate.subject import TUNED

FOLDER, AGAINST = "against", 1
METRICS = {"macro_f1": "macro F1", "map": "mAP", "micro_f1": "micro F1", "brier": "Brier score"}
"""What is compared; of all but the last, more is better."""
LEAST_SHARE = 0.5
"""Of the samples of either run that both must have."""


@dataclass(frozen=True)
class Scored:
    """Scores of one run, on all samples and on R resamples."""

    overall: dict[str, float]
    f1: Floats
    precision: Floats
    resampled: dict[str, Floats]
    """R values each; empty where nothing was drawn."""
    f1_resampled: Floats
    """R × K."""
    precision_resampled: Floats


def compare_runs(config: EvaluateConfig, run: Path, other: Path) -> Path:
    """Compare two runs on validation and test samples; write ``against/<experiment>.<run>.json`` and return its path.

    Raises:
        InputError: there is no such run, or the two have not the same classes, labels or enough samples in common.
        EnvironmentFault: another process works in the folder, or it cannot be written.
    """
    other = existing_run(other).path
    if other == run.resolve():
        raise InputError(f"evaluate.against: {other} is the run itself; name another run folder")
    splits = [name for name in ("val", "test") if all(predictions_path(one, name).exists() for one in (run, other))]
    if not splits:
        raise InputError(f"evaluate.against: {other} and {run} have no split in common that both predicted; train them")
    path = run / FOLDER / f"{other.parent.name}.{other.name}.json"
    files = [*(predictions_path(run, split).name for split in splits), *TUNED]
    with exclusive(run):
        made = made_from([AGAINST, signature(config)], run, files)
        made |= {"against": {name: sha256(other / name) for name in files if (other / name).exists()}}
        if not is_fresh(path, made):
            found = {split: _compare(config, run, other, split) for split in splits}
            write_json(path, {"run": run.name, "against": other.name, "splits": found, "made_from": made})
    for split in read_json(path)["splits"].values():
        for note in split["notes"]:
            log.warning("%s", note)
    return path


def told(path: Path) -> str:
    """Return the plain sentence of the last split."""
    return str(list(read_json(path)["splits"].values())[-1]["sentence"])


def _compare(config: EvaluateConfig, run: Path, other: Path, split: str) -> dict[str, Any]:
    mine, theirs = (load_split(folder, split) for folder in (run, other))
    decisions = load_decisions(run, mine.labels), load_decisions(other, theirs.labels)
    mine, theirs, order, notes = matched(mine, theirs, other, len(mine.ids), len(theirs.ids))
    cases = make_case(mine, decisions[0], config.exclude), _in_order(theirs, decisions[1], order, config.exclude)
    block = config.block_days if mine.dated else 1
    draws = draw(mine.days, block, config.bootstrap, config.seed)
    ours, others = (_score(case, draws) for case in cases)
    differences = {key: _difference(ours, others, key, config.confidence) for key in METRICS}
    return {
        "samples": len(mine.ids),
        "first": mine.dates[0],
        "last": mine.dates[-1],
        "dated": mine.dated,
        "single": mine.single,
        "notes": [f"{split}: {note}" for note in notes],
        "method": {"confidence": config.confidence, "resamples": len(draws.times) if draws else 0, "block_days": block},
        "scores": {"run": ours.overall, "against": others.overall},
        "differences": differences,
        "per_class": _per_class(mine, ours, others, config.confidence),
        "sentence": sentence(run.name, other.name, split, mine, differences, config.confidence),
        "caution": _caution(len(mine.labels), config.confidence),
    }


def _caution(classes: int, level: float) -> str:
    return (
        "one training of each is compared: the luck of their seeds is not in the intervals; "
        f"of {classes} classes that do not differ, chance alone puts about {classes * (1 - level):.1g} beyond theirs"
    )


def matched(
    mine: Predictions, theirs: Predictions, other: Path, n: int, m: int
) -> tuple[Predictions, Predictions, NDArray[np.int64], list[str]]:
    """Return both runs' predictions of the samples that both have, and the place of our classes among theirs.

    Raises:
        InputError: kinds, classes or labels differ, or fewer than half of either run's samples are shared.
    """
    if mine.target_kind != theirs.target_kind:
        raise InputError(f"evaluate.against: {other} has {theirs.target_kind} targets, this run {mine.target_kind}")
    if set(mine.labels) != set(theirs.labels):
        differ = shorten(sorted(set(mine.labels) ^ set(theirs.labels)))
        raise InputError(f"evaluate.against: {other} has other classes ({differ} are in one run only); not comparable")
    order = np.array([theirs.labels.index(name) for name in mine.labels])
    _, here, there = np.intersect1d(mine.ids, theirs.ids, return_indices=True)
    by_time = np.argsort(here)
    here, there = here[by_time], there[by_time]
    if len(here) < LEAST_SHARE * max(n, m):
        raise InputError(
            f"evaluate.against: only {len(here)} {mine.split} samples are in both runs (of {n} and {m}); "
            "give a run that was judged on the same samples"
        )
    notes = [f"only the {len(here)} samples in both are compared (of {n} and {m})"] if len(here) < max(n, m) else []
    mine, theirs = _taken(mine, here), _taken(theirs, there)
    unlike = (mine.target != theirs.target[:, order]).any(axis=1)
    if unlike.any():
        raise InputError(
            f"evaluate.against: {int(unlike.sum())} of {len(here)} samples have other labels in {other} "
            f"({shorten(mine.ids[unlike])}); both runs must be judged by the same labels"
        )
    return mine, theirs, order, notes


def _taken(predictions: Predictions, places: NDArray[np.int64]) -> Predictions:
    names = ("logits", "target", "ids", "dates", "kinds")
    return replace(predictions, **{name: getattr(predictions, name)[places] for name in names})


def _in_order(theirs: Predictions, decisions: Decisions, order: NDArray[np.int64], exclude: list[str]) -> Case:
    """Return the other run's case with its classes in our order."""
    case = make_case(theirs, decisions, exclude)
    names = ("target", "score", "raw", "probability", "chosen")
    ordered = {name: getattr(case, name)[:, order] for name in names}
    return replace(case, **ordered, counted=case.counted[order])


def _score(case: Case, draws: Draws | None) -> Scored:
    f1, precision = f_score(case.target, case.chosen), average_precision(case.target, case.score)
    scores = compared(case, case.model)
    errors = ((case.probability - case.target) ** 2).mean(axis=1, keepdims=True)
    overall = {key: scores[key] for key in METRICS if key in scores} | {
        "brier": float(brier(case.target, case.probability).mean())
    }
    if draws is None:
        nothing = np.empty((0, len(f1)))
        return Scored(overall, f1, precision, {key: np.empty(0) for key in METRICS}, nothing, nothing)
    f1_drawn, micro = f1_resamples(draws, case.target, case.chosen)
    precision_drawn = ap_resamples(draws, case.target, case.score)
    resampled = {
        "macro_f1": macro_resamples(f1_drawn, f1),
        "map": macro_resamples(precision_drawn, precision),
        "micro_f1": micro,
        "brier": (draws.totals(errors) / draws.totals(np.ones_like(errors)))[:, 0],
    }
    return Scored(overall, f1, precision, resampled, f1_drawn, precision_drawn)


def _difference(ours: Scored, others: Scored, key: str, level: float) -> dict[str, Any]:
    drawn = ours.resampled[key] - others.resampled[key]
    limits = interval(drawn, level)
    return {
        "name": METRICS[key],
        "value": ours.overall[key] - others.overall[key],
        "interval": limits,
        "beyond_chance": limits[0] is not None and bool(limits[0] > 0 or limits[1] < 0),
        "share_of_resamples_above_zero": float((drawn > 0).mean()) if drawn.size else None,
    }


def _per_class(mine: Predictions, ours: Scored, others: Scored, level: float) -> list[dict[str, Any]]:
    limits = [
        interval(a - b, level) if len(a) else [[None, None]] * a.shape[1]
        for a, b in ((ours.f1_resampled, others.f1_resampled), (ours.precision_resampled, others.precision_resampled))
    ]
    return [
        {
            "class": name,
            "support": int(mine.target[:, k].sum()),
            "f1": {"run": ours.f1[k], "against": others.f1[k], "difference": ours.f1[k] - others.f1[k]}
            | {"interval": limits[0][k]},
            "average_precision": {"run": ours.precision[k], "against": others.precision[k]}
            | {"difference": ours.precision[k] - others.precision[k], "interval": limits[1][k]},
        }
        for k, name in enumerate(mine.labels)
    ]


def sentence(run: str, other: str, split: str, mine: Predictions, differences: dict[str, Any], level: float) -> str:
    """Say in plain words what the comparison of macro F1 tells."""
    found = differences["macro_f1"]
    value, (low, high) = found["value"], found["interval"]
    unit = "days" if mine.dated and not mine.single else "samples"
    what = f"On {len(mine.ids)} {split} {unit} the macro F1 of {run} is {abs(value):.3f} "
    what += f"{'higher' if value >= 0 else 'lower'} than that of {other}"
    if low is None:
        return f"{what}; there are too few {unit} for an interval."
    what += f" ({level:.0%} interval {low:+.3f} to {high:+.3f})"
    if found["beyond_chance"]:
        return f"{what}: more than the choice of {unit} explains."
    return f"{what}: the interval includes 0, so these {unit} do not tell which is better."
