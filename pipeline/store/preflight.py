"""What a store holds and what will go wrong with it, in numbers, before hours of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, SPLITS
from pipeline.core import logs
from pipeline.core.errors import shorten
from pipeline.store.labels import KINDS, Labels
from pipeline.store.splits import GAP, Marks, smallest_distance

FEW = 10
"""Fewer training days than this of a class: learning it is luck, and a warning says so."""
Dates = NDArray[np.datetime64]
_RANDOM = (
    "split by random days: neighbouring days are nearly equal, so validation and test scores will be too good; "
    "use store.split.by: years for any number that you report"
)


def preflight(
    dates: Dates, labels: Labels, folds: Mapping[str, Marks], unlabelled: int, random_days: bool
) -> dict[str, Any]:
    """Return the facts that ``store.json`` keeps: counts per split, class and kind, distances, warnings."""
    report = {
        name: fold_facts(dates, labels, marks) | {"smallest_distance_days": smallest_distance(dates, marks)}
        for name, marks in folds.items()
    }
    general = [_RANDOM] if random_days else []
    return {
        "samples": len(dates),
        "first": str(dates[0]),
        "last": str(dates[-1]),
        "dropped_unlabelled": unlabelled,
        "labels_with_a_repeated_type": labels.repeated,
        "kinds": kind_counts(labels.kinds),
        "types_per_day": round(float(labels.target.sum(axis=1).mean()), 4),
        "folds": report,
        "warnings": [*general, *report[DEFAULT_FOLD]["warnings"]],
    }


def warn(report: Mapping[str, Any]) -> None:
    """Log the warnings of the default fold, and that other folds have some."""
    for line in report["warnings"]:
        logs.log.warning("%s", line)
    others = [name for name, fold in report["folds"].items() if name != DEFAULT_FOLD and fold["warnings"]]
    if others:
        logs.log.warning("folds %s have warnings too: see preflight in store.json", shorten(others, 20))


def table(report: Mapping[str, Any], fold: str = DEFAULT_FOLD) -> str:
    """Return the preflight of one fold as lines of text: splits, then classes."""
    facts = report["folds"][fold]
    splits = facts["splits"]
    lines = [
        f"{report['samples']} labelled days, {report['first']} to {report['last']}, "
        f"{report['types_per_day']:.2f} types a day; {report['dropped_unlabelled']} days without label dropped",
        f"{'split':<10}{'days':>7}  {'first':<12}{'last':<12}" + "".join(f"{kind:>12}" for kind in KINDS),
    ]
    for name, split in splits.items():
        if split["samples"]:
            kinds = "".join(f"{split['kinds'][kind]:>12}" for kind in KINDS)
            lines.append(f"{name:<10}{split['samples']:>7}  {split['first']:<12}{split['last']:<12}{kinds}")
    distance = facts["smallest_distance_days"]
    lines.append(f"days between the nearest two splits: {'-' if distance is None else distance}")
    return "\n".join([*lines, *class_lines(facts)])


def class_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the lines of the classes in a table: counts in each split, share of the training samples, imbalance."""
    splits = facts["splits"]
    names = list(splits["train"]["classes"])
    width = max(9, *map(len, names)) + 1
    lines = [f"{'class':<{width}}" + "".join(f"{split:>8}" for split in SPLITS) + f"{'% train':>10}"]
    total = max(1, splits["train"]["samples"])
    for name in names:
        counts = [splits[split]["classes"][name] for split in SPLITS]
        cells = "".join(f"{count:>8}" for count in counts)
        lines.append(f"{name:<{width}}{cells}{100 * counts[0] / total:>10.1f}")
    if facts["imbalance"] is not None:
        lines.append(f"commonest class in train is {facts['imbalance']:.1f} times as frequent as the rarest")
    return lines


def fold_facts(dates: NDArray[Any], labels: Labels, marks: Marks, what: str = "day") -> dict[str, Any]:
    """Return the counts of one fold by split, class and kind, and its warnings; ``what`` is what a sample is called."""
    masks = {split: marks == split for split in (*SPLITS, GAP)} | {"unused": marks == ""}
    splits = {name: _split(dates[mask], labels, mask) for name, mask in masks.items()}
    present = [count for count in splits["train"]["classes"].values() if count]
    absent = {split: [name for name, count in splits[split]["classes"].items() if count == 0] for split in SPLITS}
    return {
        "splits": splits,
        "absent": absent,
        "imbalance": round(max(present) / min(present), 2) if present else None,
        "warnings": list(_warnings(splits, absent, what)),
    }


def _split(dates: NDArray[Any], labels: Labels, mask: NDArray[np.bool_]) -> dict[str, Any]:
    counts = labels.target[mask].sum(axis=0, dtype=np.int64).tolist()
    return {
        "samples": len(dates),
        "first": str(dates[0]) if len(dates) else None,
        "last": str(dates[-1]) if len(dates) else None,
        "classes": dict(zip(labels.classes, counts, strict=True)),
        "kinds": kind_counts(labels.kinds[mask]),
    }


def kind_counts(kinds: Marks) -> dict[str, int]:
    """Return how many samples have a label of each kind."""
    return {kind: int((kinds == kind).sum()) for kind in KINDS}


def _warnings(splits: Mapping[str, Any], absent: Mapping[str, list[str]], noun: str) -> Iterator[str]:
    train = splits["train"]["classes"]
    if absent["train"]:
        yield f"cannot be learned, no training {noun}: {shorten(absent['train'], 20)}"
    rare = [f"{name} ({count})" for name, count in train.items() if 0 < count < FEW]
    if rare:
        yield f"fewer than {FEW} training {noun}s: {shorten(rare, 20)}"
    for split, what in (("val", "no threshold can be chosen for"), ("test", "not measured")):
        if absent[split] and splits[split]["samples"]:
            yield f"{what}, no {split} {noun}: {shorten(absent[split], 20)}"
