"""Scores of parts of a split, with intervals: seasons, kinds of label, years, and classes by frequency in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from pipeline.contract.predictions import number
from pipeline.report.case import Case, figure_of
from pipeline.report.style import BASE, DASHED, FAINT, INK, MODEL, OTHER, key, new_figure, shortened

TITLES = {"season": "season", "kind": "kind of label", "year": "year", "class_size": "classes, by training"}
_SCORES = {"macro_f1": ("macro F1", MODEL), "map": ("mAP", OTHER)}


def subscore_dots(case: Case) -> Figure:
    """Draw one row a part: macro F1 and mAP with intervals, and on how many samples and labels they rest."""
    report = case.report
    rows = list(_rows(report))
    method = report["intervals"]
    legend = [key(name, colour, marker="o") for name, colour in _SCORES.values()]
    if method["resamples"]:
        block = method["block_days"]
        told = f"{method['confidence']:.0%} interval" + (f" (blocks of {block} days)" if block > 1 else "")
        legend.append(key(told, INK, "-"))
    height = 0.3 * len(rows) + 0.32 * len(report["subscores"]) + 0.8
    figure = new_figure(6.8, height, f"{case.split}: where the scores come from", case.period, legend)
    axis = figure.subplots()
    y, places, names = 0.0, [], []
    by = ""
    for group, name, part in rows:
        y += 1.0 if group == by else 1.9
        if group != by:
            axis.text(0.0, y - 0.85, TITLES[group], transform=axis.get_yaxis_transform(), weight="bold", fontsize=8.5)
        by = group
        _row(axis, y, part)
        places.append(y)
        names.append(shortened(_named(group, name, part), 30))
    _numbers(axis, places[0] - 0.9, (case.unit, "labels", "classes"), BASE)
    _frame(axis, places, names, report["scores"])
    return figure


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for by, parts in report["subscores"].items():
        for name, part in parts.items():
            yield by, name, part


def _named(by: str, name: str, part: dict[str, Any]) -> str:
    if by != "class_size":
        return name
    low, high = part["in_training"]
    return f"{name} ({low}–{high} each)" if low != high else f"{name} ({low} each)"


def _row(axis: Axes, y: float, part: dict[str, Any]) -> None:
    for shift, (score, (_, colour)) in zip((-0.14, 0.14), _SCORES.items(), strict=True):
        limits = part.get("intervals", {}).get(score, [None, None])
        axis.plot(
            [number(limit) for limit in limits], [y + shift] * 2, color=colour, linewidth=1.5, solid_capstyle="butt"
        )
        axis.plot([number(part[score])], [y + shift], "o", color=colour, markersize=4.5, zorder=4, clip_on=False)
    _numbers(axis, y, (str(part["days"]), str(part["positives"]), str(part["classes"])), INK)


def _numbers(axis: Axes, y: float, texts: tuple[str, ...], colour: str) -> None:
    """Write columns right of the panel."""
    for text, distance in zip(texts, (44, 84, 128), strict=True):
        axis.annotate(
            text, (1, y), (distance, 0), axis.get_yaxis_transform(), "offset points",
            ha="right", va="center", fontsize=8, color=colour, annotation_clip=False,
        )  # fmt: skip


def _frame(axis: Axes, places: list[float], names: list[str], scores: dict[str, Any]) -> None:
    axis.set(xlim=(0, 1), ylim=(places[-1] + 0.6, places[0] - 1.4), xlabel="score; dashed: all of the split")
    for key_, (_, colour) in _SCORES.items():
        axis.axvline(number(scores[key_]), color=colour, linewidth=0.8, linestyle=DASHED, zorder=0)
    axis.set_yticks(places, names)
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def subscore_table(case: Case) -> Table:
    """Return the parts of a split as a table."""
    table = Table(box=None, pad_edge=False)
    columns = (case.unit, "labels", "classes", "mAP", "macro F1", "interval", "micro F1")
    table.add_column("part")
    for name in columns:
        table.add_column(name, justify="right")
    by = ""
    for group, name, part in _rows(case.report):
        if by and group != by:
            table.add_section()
        by = group
        limits = part.get("intervals", {}).get("macro_f1", [None, None])
        spread = " – ".join(figure_of(limit) for limit in limits) if limits[0] is not None else ""
        counts = (str(part[key_]) for key_ in ("days", "positives", "classes"))
        scores = (figure_of(part["map"]), figure_of(part["macro_f1"]), spread, figure_of(part["micro_f1"]))
        table.add_row(_named(group, name, part), *counts, *scores)
    return table
