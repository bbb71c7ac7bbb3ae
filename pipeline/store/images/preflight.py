"""What a store of images holds and what will go wrong with it, in numbers, before hours of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.contract.store import DEFAULT_FOLD, SPLITS
from pipeline.core.errors import shorten
from pipeline.store.images.checksums import Digests
from pipeline.store.images.content import Content
from pipeline.store.images.folds import overlaps
from pipeline.store.images.series import describe
from pipeline.store.preflight import class_lines, fold_facts, kind_counts
from pipeline.store.splits import GAP, Marks

_MUCH = 0.2
"""A larger share of the training images lost to the embargo is warned about."""


def preflight(content: Content, skipped: Mapping[str, str], digests: Digests | None = None) -> dict[str, Any]:
    """Return the facts that ``store.json`` keeps: counts per split and class, overlaps, windows, warnings.

    Args:
        content: the store.
        skipped: why each file that was left out could not be read.
        digests: SHA-256 of each file, N × 32, to find images that are in two splits; ``None``: they are not known.
    """
    days = _days(content)
    labels = content.labels
    folds = {name: _fold(content, marks, digests) for name, marks in content.folds.items()}
    report: dict[str, Any] = {
        "samples": len(content.pictures),
        "first": str(days[0]),
        "last": str(days[-1]),
        "dropped_unlabelled": 0,
        "skipped": dict(skipped),
        "labels_with_a_repeated_type": labels.repeated,
        "kinds": kind_counts(labels.kinds),
        "types_per_day": round(float(labels.target.sum(axis=1).mean()), 4),
        "groups": {group: int((content.samples.group == group).sum()) for group in _groups(content)},
        "image_bars": content.listing.bars,
        "embargo_bars": content.embargo,
        "folds": folds,
        "warnings": [*_general(content, skipped), *folds[DEFAULT_FOLD]["warnings"]],
    }
    if content.series is not None and content.windows is not None:
        steps = content.windows.steps
        report["series"] = {
            "files": [path.name for path in content.series.files],
            "of": describe(content.series),
            "windows_whole": int((steps == content.windows.size).sum()),
            "windows_short": int(((steps > 0) & (steps < content.windows.size)).sum()),
            "windows_empty": int((steps == 0).sum()),
        }
    return report


def table(report: Mapping[str, Any], fold: str = DEFAULT_FOLD) -> str:
    """Return the preflight of one fold as lines of text: splits, then classes."""
    facts = report["folds"][fold]
    timed = f", {report['first']} to {report['last']}" if report["first"] else ", without times"
    groups = [f"{name} {count}" for name, count in report["groups"].items() if name]
    lines = [f"{report['samples']} images{timed}{f' ({shorten(groups)})' if len(groups) > 1 else ''}"]
    if report["skipped"]:
        lines.append(f"{len(report['skipped'])} files that cannot be read are left out: {shorten(report['skipped'])}")
    if "series" in report:
        series = report["series"]
        lines.append(
            f"windows: {series['windows_whole']} whole, {series['windows_short']} short, "
            f"{series['windows_empty']} empty"
        )
    lines.append(f"{'split':<10}{'images':>8}  {'first':<12}{'last':<12}")
    for name, split in facts["splits"].items():
        if split["samples"]:
            lines.append(f"{name:<10}{split['samples']:>8}  {split['first']:<12}{split['last']:<12}".rstrip())
    lines.append(
        f"val and test images that share bars with a training image: {facts['overlaps']} "
        f"(embargo {report['embargo_bars']} bars)"
        if report["first"]
        else "without times nobody can tell which images are neighbours"
    )
    return "\n".join([*lines, *class_lines(facts)])


def _fold(content: Content, marks: Marks, digests: Digests | None) -> dict[str, Any]:
    facts = fold_facts(_days(content), content.labels, marks, "image")
    facts["overlaps"] = overlaps(marks, content.samples, content.span)
    facts["copies"] = None if digests is None else _copies(digests, marks)
    facts["warnings"] += _fold_warnings(content, marks, facts)
    return facts


def _fold_warnings(content: Content, marks: Marks, facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["overlaps"]:
        yield (
            f"{facts['overlaps']} images of val and test share bars with training images: their scores will be too "
            "good; use blocks of time and the embargo for any number that you report"
        )
    if facts["copies"]:
        yield f"{facts['copies']} images of val and test are copies of training images, byte for byte; remove them"
    gaps, train = int((marks == GAP).sum()), facts["splits"]["train"]["samples"]
    if gaps > _MUCH * (gaps + train):
        yield (
            f"the embargo of {content.embargo} bars drops {gaps} images, {train} are left to train on: the splits lie "
            "among each other in time; divide by blocks of time instead"
        )
    if content.windows is not None:
        empty = content.windows.steps == 0
        counts = [f"{split} {int(empty[marks == split].sum())}" for split in SPLITS if empty[marks == split].any()]
        if counts:
            yield f"images without a single row of the series: {', '.join(counts)}"


def _copies(digests: Digests, marks: Marks) -> int:
    """Count the images of val and test whose file has the contents of a training image."""
    train = {value.tobytes() for value in digests[marks == "train"]}
    return sum(value.tobytes() in train for value in digests[np.isin(marks, ("val", "test"))])


def _general(content: Content, skipped: Mapping[str, str]) -> Iterator[str]:
    if content.config.split.by == "random":
        yield (
            "split at random: images that are neighbours (of one recording, in time) come to both sides, and scores "
            "will be too good; right only for images that have no order"
        )
    if skipped:
        yield f"{len(skipped)} files cannot be read and are left out: {shorten(skipped)}"
    if content.config.series is not None and content.config.series.offset > 0:
        yield (
            f"store.series.offset {content.config.series.offset}: windows hold rows after the image's time; scores "
            "show what a leak does and nothing else"
        )


def _days(content: Content) -> np.ndarray[Any, Any]:
    date = content.samples.date
    return np.full(len(content.pictures), "", np.str_) if date is None else date


def _groups(content: Content) -> list[str]:
    return [str(group) for group in np.unique(content.samples.group)]
